"""A container as a process of this machine: its command, exactly its environment, each line of its output.

For the stand-ins of clouds that run containers. What is in the image's working folder is copied from `content`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_LINE = 16384  # container engines cut what they log into pieces of this size


@dataclass
class Container:
    """One container. `memory` is in bytes, `on_line` hears each line without its newline, a thread of ours calls it."""

    command: list[str]
    environment: dict[str, str] = field(repr=False)
    on_line: Callable[[str], object]
    memory: float = float("inf")
    stop_timeout: float = 30.0
    content: Path | None = None
    out_of_memory: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _folder: Path | None = None

    def start(self) -> None:
        """Start it. A program that is not there is a container that ends at once, with 127."""
        self._folder = image = Path(tempfile.mkdtemp(prefix="container-"))
        if self.content is not None:
            shutil.copytree(self.content, image, dirs_exist_ok=True)
        (image / "bin").mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (image / "bin" / name).symlink_to(sys.executable)
        path = self.environment.get("PATH", f"{Path(sys.executable).parent}:{image / 'bin'}:/usr/bin:/bin")
        try:
            self._process = subprocess.Popen(
                self.command,
                env={"PATH": path, "HOME": str(image), **self.environment},
                cwd=image,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            self.on_line(f"exec: {exc}")
            return
        if self.memory != float("inf"):
            threading.Thread(target=self._watch_memory, daemon=True).start()

    def wait(self) -> int:
        """Hand on its output until it has ended, and return its exit code: 128 + n for a signal, as engines count."""
        try:
            return self._wait()
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> int:
        if self._process is None:
            return 127
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip(b"\n")
            for at in range(0, max(len(text), 1), LONGEST_LINE):
                self.on_line(text[at : at + LONGEST_LINE].decode(errors="replace"))
        code = self._process.wait()
        self._process.stdout.close()
        self.kill()  # what it left behind in its session
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL when that was not enough."""
        self._signal(signal.SIGTERM)
        timer = threading.Timer(self.stop_timeout, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        """SIGKILL, to all that is in its session."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _watch_memory(self) -> None:
        process = self._process
        assert process is not None
        while process.poll() is None:
            try:
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, IndexError):
                return
            if resident > self.memory:
                self.out_of_memory = True
                self.kill()
                return
            time.sleep(0.02)
