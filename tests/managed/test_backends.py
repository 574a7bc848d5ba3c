"""A pool whose state is in PostgreSQL; two machines work on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import teams
from people import Person

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]
FLOWS = Path(__file__).parent / "flows"


def test_two_machines_share_a_pool(postgresql_url, folder, index, tmp_path):
    address = f"{postgresql_url}{'&' if '?' in postgresql_url else '?'}sslmode=disable"
    (tmp_path / "terraform.rc").touch()
    own = {**teams.shared(tmp_path), "TF_CLI_CONFIG_FILE": str(tmp_path / "terraform.rc"), "PG_CONN_STR": address}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (Person.at(tmp_path / name, FLOWS, **own) for name in ("one", "other"))
    variables = ("--set", f"folder={folder}", "--set", "isolation=process")
    teams.share(
        one,
        other,
        create=("--type", "managed", *variables, "--backend", "pg"),
        options=("--source", "inline", "--job-variable", 'pip_packages=["acorn==1.0"]'),
        change=("--set", f"folder={folder}-2"),
        secrets=[address],
    )
    assert states(postgresql_url) == []


def states(url):
    """What resources are in the states that the database holds."""
    import json

    import psycopg

    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT data FROM terraform_remote_state.states").fetchall()
    return [resource for (state,) in rows for resource in json.loads(state)["resources"]]
