"""Run every benchmark, one after the other: `python benchmarks/run.py [NAME …]`."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

NAMES = ("cli_start", "provision", "process_pool", "managed", "dispatch", "schedules", "many_workers", "scale", "storm")


def main() -> None:
    """Run those that are named, or all."""
    print(f"{platform.platform()}, Python {platform.python_version()}, {platform.machine()}", flush=True)
    for name in sys.argv[1:] or NAMES:
        subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py")], check=True)


if __name__ == "__main__":
    main()
