"""What starting the runtime costs, and what it may not import."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import poolform

HEAVY = ("pydantic", "asyncio", "inspect", "typing", "importlib.metadata", "argparse", "pathlib", "subprocess")
TRIVIAL = "from poolform import flow\n@flow\ndef run(): import sys; print(*sys.modules)"


def test_a_trivial_flow_imports_nothing_heavy(tmp_path):
    (tmp_path / "work.py").write_text(TRIVIAL)
    environ = {**os.environ, "POOLFORM_ENTRYPOINT": "work.py:run"}
    # An editable install imports pathlib and more at every start of Python, so: no site, and Poolform by its folder.
    (tmp_path / "poolform").symlink_to(Path(poolform.__file__).parent)
    code = "from poolform.runtime.job import main; main()"
    command = [sys.executable, "-S", "-c", code]
    output = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout
    assert not set(HEAVY) & set(output.split())
    assert {name for name in output.split() if name.startswith("poolform.core.")} == {
        "poolform.core.runs",
        "poolform.core.runs.flows",
    }


def test_the_runtime_costs_at_most_40_ms_of_cpu_more_than_python_itself(tmp_path):
    """The budget of the design, compiled, less what `python -c pass` costs in this environment."""
    (tmp_path / "work.py").write_text("from poolform import flow\n@flow\ndef run(): pass")
    environ = {**os.environ, "POOLFORM_ENTRYPOINT": "work.py:run"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def cpu(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    cpu("-m", "poolform.runtime")  # compiles
    nothing = statistics.median(cpu("-c", "pass") for _ in range(5))
    ours = statistics.median(cpu("-m", "poolform.runtime") for _ in range(5))
    assert ours - nothing <= 0.040


@pytest.mark.parametrize("statement", ["import poolform", "import poolform.runtime"])
def test_importing_the_package_is_free(statement):
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name.startswith("poolform") for name in output.split())
