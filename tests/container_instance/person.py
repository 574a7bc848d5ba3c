"""Somebody with an Azure login, and flows in an image that the stand-in knows."""

from __future__ import annotations

import os
from pathlib import Path

import people
from people import kill_tree

FLOWS = Path(__file__).parent / "flows"
IMAGE = "lab/flows:1"

__all__ = ["FLOWS", "IMAGE", "Person", "kill_tree"]


class Person(people.Person):
    """Has somebody's Azure login, too; Terraform finds the stand-in providers running."""

    @classmethod
    def at(cls, root, credentials, **more):
        configuration = root / "terraform.rc"
        configuration.touch()
        nowhere = {"AZURE_CONFIG_DIR": str(root / "nowhere"), "TF_CLI_CONFIG_FILE": str(configuration)}
        made = super().at(root, FLOWS, **credentials, **nowhere, **more)
        for name in os.environ:
            if name.startswith(("ARM_", "AZURE_")) and name not in {**credentials, **nowhere, **more}:
                made.environment.pop(name, None)
        return made
