"""A folder of code to make images of, and a Docker configuration with nobody's logins."""

from __future__ import annotations

import pytest
from clouds.docker import base_image, engine, registry  # noqa: F401 - fixtures


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder with a flow and with things that nobody wants in an image, as the current one."""
    folder = tmp_path / "my flows"
    for name, text in {
        "flow.py": "import beside\nfrom poolform import flow\n@flow\ndef greet(name='you'): print('Hello,', name)\n",
        "beside.py": "",
        ".env": "TOKEN=s3cret",
        ".git/config": "s3cret",
        "__pycache__/flow.pyc": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _docker_config(tmp_path, monkeypatch):
    """Nobody's own logins; a folder that tells what was kept."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    (tmp_path / "docker-config").mkdir()
