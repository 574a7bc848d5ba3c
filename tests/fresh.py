"""A virtual environment that finds what is installed in this one: quick to make, and nothing to download."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Environment:
    """A virtual environment; packages installed into it are nowhere else."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        # addsitedir: the .pth files there are wanted too, by which an editable install is found.
        seen = [sysconfig.get_path("purelib"), *site.getsitepackages()]
        lines = [f"import site; site.addsitedir({path!r})\n" for path in dict.fromkeys(seen)]
        (self.site / "of_the_tests.pth").write_text("".join(lines))
        self._write_program("poolform", "from poolform.cli.app import main; main()")
        self._write_program("pytest", "import sys, pytest; sys.exit(pytest.main())")
        self._write_program("pip", "import runpy; runpy.run_module('pip', run_name='__main__')")

    def _write_program(self, name: str, code: str) -> None:
        """Write what installing a package into the environment would have."""
        path = self.bin / name
        path.write_text(f"#!{self.bin / 'python'}\n{code}\n")
        path.chmod(0o755)

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a shell is where it is activated. pip asks nobody for anything."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTEST_"))}
        return {
            **kept,
            "PATH": f"{self.bin}{os.pathsep}{kept['PATH']}",
            "VIRTUAL_ENV": str(self.bin.parent),
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there shall be none
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, or any other."""
        return subprocess.run(
            [self.bin / command[0] if (self.bin / command[0]).exists() else command[0], *command[1:]],
            cwd=cwd,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
