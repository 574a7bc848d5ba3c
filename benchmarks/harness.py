"""How everything here is timed: whole processes, in turn with their rivals, medians, in an environment of its own.

The product is measured as people get it: the built wheel, compiled, in a fresh virtual environment. An editable install
adds some 12 ms to every Python start, and PYTHONDONTWRITEBYTECODE distorts everything.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
VENV = ROOT / "build" / "bench-venv"


@dataclass(frozen=True)
class Figure:
    """What was measured of one contender: seconds, sorted; and the CPU time of a run, all its processes together.

    On a machine with other work the CPU time says more than the seconds do.
    """

    name: str
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        spread = f"{self.seconds[0]:.3f} to {self.seconds[-1]:.3f}"
        cpu = f"{statistics.median(self.cpu):.3f} s of CPU"
        return f"  {self.name:<46} {self.median:8.3f} s  ({spread}, {len(self.seconds)} runs; {cpu})"


def installed() -> Path:
    """Return the `bin` of an environment with the built wheel, made anew when the sources are newer."""
    python = VENV / "bin" / "python"
    stamp = VENV / ".built"
    sources = [p for p in ROOT.rglob("*.py") if "build" not in p.parts and ".venv" not in p.parts]
    if not stamp.exists() or max(path.stat().st_mtime for path in sources) > stamp.stat().st_mtime:
        with tempfile.TemporaryDirectory() as folder:
            run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
            shutil.rmtree(VENV, ignore_errors=True)
            run(sys.executable, "-m", "venv", VENV)
            (wheel,) = Path(folder).glob("*.whl")
            run(python, "-m", "pip", "install", "--quiet", f"{wheel}[embedded,postgresql,aws]")
        run(python, "-m", "compileall", "-q", VENV / "lib")
        stamp.touch()
    return VENV / "bin"


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment for the product: a home of its own, compiled code, no one's Terraform configuration."""
    dropped = ("POOLFORM_", "TF_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    configuration = home.parent / "terraform.rc"
    configuration.touch()
    settled = {"POOLFORM_HOME": str(home), "TF_CLI_CONFIG_FILE": str(configuration), "CHECKPOINT_DISABLE": "1"}
    return {**env, **settled, **more}


def run(*command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command to its end and return what it printed; what went wrong is shown."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def in_turn(contenders: Mapping[str, Callable[[], object]], *, runs: int, warm_up: int = 1) -> dict[str, Figure]:
    """Time contenders A B A B …, so that a machine whose speed drifts is unfair to none."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(warm_up + runs):
        for name, contender in contenders.items():
            start, cpu = time.perf_counter(), _cpu_of_children()
            contender()
            if number >= warm_up:
                found[name].append((time.perf_counter() - start, _cpu_of_children() - cpu))
    return {name: Figure(name, *(tuple(sorted(kind)) for kind in zip(*f, strict=True))) for name, f in found.items()}


def _cpu_of_children() -> float:
    """Return the CPU seconds of every process that was started from here and has ended, with their own children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(title: str, figures: Mapping[str, Figure], verdicts: Sequence[str]) -> None:
    """Print one benchmark."""
    print(f"\n{title}")
    for figure in figures.values():
        print(figure)
    for verdict in verdicts:
        print(f"  {verdict}")


def verdict(what: str, value: float, budget: float, *, at_least: bool = False, unit: str = "") -> str:
    """Return a line that holds a value against its budget."""
    holds = value >= budget if at_least else value <= budget
    sign = "≥" if at_least else "≤"
    return f"{'ok  ' if holds else 'OVER'} {what}: {value:.2f}{unit} (budget {sign} {budget:g}{unit})"


@contextmanager
def throwaway() -> Iterator[Path]:
    """Yield a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="poolform-bench-") as folder:
        yield Path(folder)


def prefect() -> Path | None:
    """Return the rival's executable where there is one: what BENCH_PREFECT names, else one on PATH."""
    named = os.environ.get("BENCH_PREFECT") or shutil.which("prefect")
    return Path(named) if named else None
