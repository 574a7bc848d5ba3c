"""A process pool whose folder is to be another one: nothing is left in the old one, and no run is lost sight of."""

from __future__ import annotations

import pytest

from poolform.core.errors import NotReady
from poolform.core.pools import moving
from poolform.core.pools.contract import Connection, Moves
from poolform.core.pools.proposal import Proposal, Sentence
from poolform.core.settings import Settings
from poolform.core.store import pools, runs
from poolform.core.store.database import open_store
from poolform.core.terraform.plan import NOTHING
from poolform.provisioners.managed.pool_type import Managed
from poolform.provisioners.managed.variables import ManagedVariables

FLOW = "from poolform import flow\n\n@flow\ndef f():\n    print('hello')\n"


@pytest.mark.slow
def test_a_pool_moves_when_nothing_runs_in_it_and_takes_its_folder_along(poolform, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    poolform("work-pool", "create", "p", "--type", "process", "--set", f"folder={old}", "--provision-infra", "--yes")
    (left,) = old.iterdir()
    (tmp_path / "f.py").write_text(FLOW)
    poolform("deploy", "f.py:f", "-n", "x", "-p", "p")
    assert poolform("work-pool", "plan", "p", "--set", f"folder={old}").code == 0
    move = ("work-pool", "provision-infra", "p", "--set", f"folder={new}", "--yes")
    run_id = poolform("deployment", "run", "f/x").out.strip()
    with open_store(Settings.from_environment()) as store:
        with store.write() as tx:
            tx.execute("UPDATE flow_runs SET state = 'running'")
        refused = poolform(*move)
        said = "Error: 1 run is in progress in the work pool p, which cannot move meanwhile: "
        assert (refused.code, said in refused.err) == (1, True), refused.err
        assert "poolform work-pool pause p" in refused.err
        with store.read() as tx, pytest.raises(NotReady):
            moving.require_idle(tx, pools.get(tx, "p"))
        with store.write() as tx:
            tx.execute("UPDATE flow_runs SET state = 'scheduled'")
            assert runs.get(tx, run_id).handle is None
    planned = poolform("work-pool", "plan", "p", "--set", f"folder={new}")
    assert (planned.code, f"- Remove the folder {left}, which its jobs used" in planned.err) == (4, True), planned.err
    moved = poolform(*move)
    assert moved.code == 0, moved.err
    assert not left.exists()
    assert [folder.name for folder in new.iterdir()] == [left.name]
    done = poolform("deployment", "run", "f/x", "--watch")
    assert (done.code, done.out) == (0, "hello\n"), done.err
    assert poolform(*move).code == 0


def test_a_move_is_asked_about_though_terraform_has_nothing_to_do():
    effects = (Sentence("destroy", "Remove the folder /old"),)
    parts = {"pool": None, "recorded_at": None, "module": None, "workspace": None, "plan": NOTHING, "binary": None}
    assert not Proposal("provision", **parts, effects=effects).is_empty
    assert Proposal("deprovision", **parts, effects=effects).is_empty


def test_a_managed_pool_moves_as_well(tmp_path):
    assert isinstance(Managed(), Moves)
    here = Connection(settings={"folder": str(tmp_path / "old" / "ab12cd34")})
    assert Managed().leaves(here, ManagedVariables(folder=str(tmp_path / "old"))) is None
    told = Managed().leaves(here, ManagedVariables(folder=str(tmp_path / "new")))
    assert told == f"Remove the folder {tmp_path}/old/ab12cd34, which its jobs used"
