"""Somebody with an AWS user's credentials, and flows in an image that the stand-in knows."""

from __future__ import annotations

from pathlib import Path

import people
from people import kill_tree

FLOWS = Path(__file__).parent / "flows"
IMAGE = "lab/flows:1"

__all__ = ["FLOWS", "IMAGE", "Person", "kill_tree"]


class Person(people.Person):
    """Has an AWS user's credentials, too, and finds the provider on disk."""

    @classmethod
    def at(cls, root, credentials, cli_config, **more):
        return super().at(root, FLOWS, **credentials, TF_CLI_CONFIG_FILE=str(cli_config), **more)
