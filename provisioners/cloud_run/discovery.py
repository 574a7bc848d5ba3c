"""What the environment says about project and region, as Google's own tools would read it. No library, no network.

https://cloud.google.com/sdk/docs/properties
"""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROJECT = ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "GCLOUD_PROJECT", "GOOGLE_PROJECT")
_REGION = ("CLOUDSDK_RUN_REGION", "GOOGLE_CLOUD_REGION", "GOOGLE_REGION", "CLOUDSDK_COMPUTE_REGION")


def discover() -> Mapping[str, str]:
    """Return the active project and region, where there are any."""
    configured = _configured()
    project = _first(_PROJECT) or configured.get(("core", "project")) or _of_key_file()
    region = _first(_REGION) or configured.get(("run", "region")) or configured.get(("compute", "region"))
    return {name: value for name, value in (("project", project), ("region", region)) if value}


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _configured() -> dict[tuple[str, str], str]:
    """Read the active configuration of gcloud."""
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        name = os.environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or _read(folder / "active_config") or "default"
        parser.read(folder / "configurations" / f"config_{name}", encoding="utf-8")
        return {(section, key): value for section in parser.sections() for key, value in parser[section].items()}
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _of_key_file() -> str | None:
    """Return the project of the service account that GOOGLE_APPLICATION_CREDENTIALS names."""
    try:
        found = json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text(encoding="utf-8"))
        return str(found["project_id"])
    except (KeyError, OSError, TypeError, ValueError):
        return None
