"""Somebody with Google credentials, and flows in an image that the stand-in knows."""

from __future__ import annotations

from pathlib import Path

import people
from people import kill_tree

FLOWS = Path(__file__).parent / "flows"
IMAGE = "lab/flows:1"

__all__ = ["FLOWS", "IMAGE", "Person", "kill_tree"]


class Person(people.Person):
    """Has somebody's Google credentials, too; Terraform finds the stand-in provider running."""

    @classmethod
    def at(cls, root, credentials, **more):
        configuration = root / "terraform.rc"
        configuration.touch()
        nowhere = {"CLOUDSDK_CONFIG": str(root / "nowhere"), "TF_CLI_CONFIG_FILE": str(configuration)}
        return super().at(root, FLOWS, **credentials, **nowhere, **more)
