"""examples/poolform-ray, a plugin on the public API alone, passes its own tests: on a real Ray cluster of two nodes.

Ray wants packages of its own, so it has an environment of its own: `make ray`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RAY = ROOT / ".venv" / "ray" / "bin" / "python"
EXAMPLE = ROOT / "examples" / "poolform-ray"


@pytest.mark.ray
@pytest.mark.slow
def test_the_example_for_ray_passes_its_own_tests():
    if not RAY.exists():
        pytest.skip("Ray is not installed in .venv/ray: make ray")
    done = subprocess.run(
        [RAY, "-m", "pytest", "-q", "-rfE", "tests"],
        cwd=EXAMPLE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:]


def test_it_uses_the_public_api_alone():
    for file in EXAMPLE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "poolform.core" not in text, file
        assert "poolform.provisioners" not in text, file
