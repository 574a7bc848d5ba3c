"""The queries, one noun after the other, on both databases."""

from __future__ import annotations

import threading

import pytest

from poolform.core.errors import AlreadyExists, Busy, NotFound, NotReady, UsageError
from poolform.core.store import blocks, deployments, history, logs, pools, queues, runs, workers


def make_pool(store, name="lab", **more):
    with store.write() as tx:
        return pools.create(tx, name=name, type="process", plugin="poolform", plugin_version="0.1", **more)


def make_deployment(store, pool, name="nightly", **more):
    with store.write() as tx:
        queue = queues.get(tx, pool.id)
        return deployments.save(
            tx, flow_name="etl", name=name, pool_id=pool.id, queue_id=queue.id, entrypoint="f.py:etl", **more
        )


def submit(store, pool, **more):
    with store.write() as tx:
        return runs.submit(tx, pool=pool, flow_name="etl", **more)


def test_a_pool_comes_back_as_it_was_stored(store):
    made = make_pool(store, variables={"a": [1, {"b": "ü"}]}, identity={"account": "1"}, concurrency_limit=3)
    with store.read() as tx:
        assert pools.get(tx, "lab") == made
        assert [queue.name for queue in queues.list_all(tx, made.id)] == ["default"]
    assert made.variables == {"a": [1, {"b": "ü"}]}
    assert made.state == "not-provisioned"
    assert made.connection is None
    assert made.paused is False
    assert len(made.id) == 8
    assert made.id[0].isalpha()


def test_what_is_due_in_a_pool_is_the_soonest_however_many_wait(store):
    pool = make_pool(store)
    with store.write() as tx:
        now = tx.now()
        for place in (3, 1, 2, 9):
            runs.submit(tx, pool=pool, flow_name="etl", name=str(place), scheduled_at=now + place)
        assert [run.name for run in runs.due(tx, pool.id, until=now + 5, limit=2)] == ["1", "2"]
        assert [run.name for run in runs.due(tx, pool.id, until=now + 5, limit=9)] == ["1", "2", "3"]


def test_half_a_character_of_a_parameter_is_kept(store):
    """What Python makes of a byte of a command line that is no UTF-8."""
    run = submit(store, make_pool(store), parameters={"name": "\udcff"}, tags=["\udcff", "ü"])
    assert (run.parameters, run.tags) == ({"name": "\udcff"}, ["\udcff", "ü"])


@pytest.mark.parametrize(
    ("values", "said"), [({"name": "hunter\udcff"}, "is not UTF-8"), ({"retries": 10**20}, "number .* is too large")]
)
def test_what_no_database_can_hold_is_refused_and_not_repeated(store, values, said):
    pool = make_pool(store)
    with pytest.raises(UsageError, match=said) as caught:
        submit(store, pool, **values)
    assert "hunter" not in str(caught.value)


def test_a_taken_name_is_refused(store):
    make_pool(store)
    with pytest.raises(AlreadyExists, match="named lab exists"):
        make_pool(store)


def test_an_unknown_pool_names_its_neighbours(store):
    make_pool(store, "laboratory")
    with store.read() as tx, pytest.raises(NotFound) as caught:
        pools.get(tx, "labratory")
    assert caught.value.hint == "Did you mean laboratory?"


def test_of_two_who_provision_one_gets_it(store):
    pool = make_pool(store)
    outcomes = []

    def provision():
        try:
            with store.write() as tx:
                pools.update(tx, pool.id, expect={"not-provisioned"}, state="provisioning")
            outcomes.append("mine")
        except Busy as exc:
            outcomes.append(exc.message)

    threads = [threading.Thread(target=provision) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = "Work pool lab is provisioning now, and this is for one that is not provisioned."
    assert sorted(outcomes) == [refused, "mine"]


def test_a_module_is_replaced(store):
    pool = make_pool(store)
    with store.write() as tx:
        assert pools.get_module(tx, pool.id) is None
        pools.save_module(tx, pool.id, {"main.tf": "a"}, lock_file=None, digest="1")
        pools.save_module(tx, pool.id, {"main.tf": "b"}, lock_file="l", digest="2")
        module = pools.get_module(tx, pool.id)
        assert (module.files, module.lock_file, module.digest) == ({"main.tf": "b"}, "l", "2")
        pools.delete_module(tx, pool.id)
        assert pools.get_module(tx, pool.id) is None


def test_a_pool_in_use_is_not_deleted(store):
    pool = make_pool(store, state="ready")
    with store.write() as tx, pytest.raises(NotReady, match="still has infrastructure") as caught:
        pools.delete(tx, pool.id)
    assert "work-pool deprovision lab" in caught.value.hint
    with store.write() as tx:
        pools.update(tx, pool.id, state="not-provisioned")
    make_deployment(store, pool)
    with store.write() as tx, pytest.raises(NotReady, match="used by 1 deployment: etl/nightly"):
        pools.delete(tx, pool.id)
    run = submit(store, pool)
    with store.write() as tx:
        pools.delete(tx, pool.id, with_deployments=True)
        assert deployments.list_all(tx) == []
        assert queues.list_all(tx) == []
        past = runs.get(tx, run.id)
    assert (past.state, past.reason, past.pool) == ("cancelled", "work pool lab was deleted", None)


def test_history_outlives_the_pool(store):
    pool = make_pool(store)
    with store.write() as tx:
        entry = history.add(
            tx, pool_id=pool.id, pool_name="lab", who="ana", action="provision", outcome="done", summary={"add": 2}
        )
        pools.delete(tx, pool.id)
        assert history.of_pool(tx, "lab") == [entry]


def test_blocks(store):
    with store.write() as tx:
        made = blocks.create(tx, type="aws", name="prod", data="token")
        assert blocks.get(tx, "aws", "prod") == made
        assert "token" not in repr(made)
        assert blocks.replace_data(tx, made, "other") is True
        assert blocks.replace_data(tx, made, "third") is False
        assert blocks.save(tx, type="aws", name="prod", data="new", key_id="k").id == made.id
        assert blocks.delete(tx, "aws", "prod") is True
        assert blocks.delete(tx, "aws", "prod") is False
    with store.read() as tx, pytest.raises(NotFound):
        blocks.get(tx, "aws", "prod")


def test_queues(store):
    pool = make_pool(store)
    with store.write() as tx:
        fast = queues.create(tx, pool.id, "fast", priority=1, concurrency_limit=2)
        assert queues.update(tx, fast.id, paused=True, concurrency_limit=None).paused is True
        with pytest.raises(UsageError):
            queues.delete(tx, queues.get(tx, pool.id))
        run = runs.submit(tx, pool=pool, flow_name="etl", queue_id=fast.id)
        queues.delete(tx, fast)
        assert runs.get(tx, run.id).queue == "default"
        with pytest.raises(NotFound) as caught:
            queues.get(tx, pool.id, "defalt")
    assert caught.value.hint == "Did you mean default? Or make it: poolform work-queue create defalt --pool lab"


def test_a_deployment_keeps_its_id_and_its_pause(store):
    pool = make_pool(store)
    first = make_deployment(store, pool, parameters={"x": 1}, tags=["a"], concurrency_limit=1)
    with store.write() as tx:
        deployments.update(tx, first.id, paused=True)
    again = make_deployment(store, pool, parameters={"x": 2})
    assert (again.id, again.created_at, again.paused) == (first.id, first.created_at, True)
    assert (again.parameters, again.tags, again.concurrency_limit) == ({"x": 2}, [], None)
    assert (again.pool, again.queue, again.full_name) == ("lab", "default", "etl/nightly")
    with store.read() as tx, pytest.raises(NotFound) as caught:
        deployments.get(tx, "nightly")
    assert caught.value.hint == "A deployment is named FLOW/NAME. Did you mean etl/nightly?"


def test_a_run_comes_back_as_it_was_submitted(store):
    pool = make_pool(store)
    deployment = make_deployment(store, pool)
    run = submit(store, pool, deployment=deployment, parameters={"x": [1]}, tags=["t"], retries=2, timeout_seconds=1.5)
    assert (run.deployment, run.pool, run.queue, run.state, run.attempt) == (
        "etl/nightly",
        "lab",
        "default",
        "scheduled",
        1,
    )
    assert (run.parameters, run.tags, run.retries, run.timeout_seconds) == ({"x": [1]}, ["t"], 2, 1.5)
    with store.read() as tx:
        assert runs.get(tx, run.id[:8]) == run
        assert [change.state for change in runs.states(tx, run.id)] == ["scheduled"]
        with pytest.raises(NotFound):
            runs.get(tx, "zzzz")


def test_a_run_can_be_named_where_only_one_is_called_so(store):
    pool = make_pool(store)
    one, *twins = (submit(store, pool, name=name) for name in ("daring-swan", "twin", "twin"))
    with store.read() as tx:
        assert runs.get(tx, "daring-swan") == one
        with pytest.raises(UsageError, match=r"^Several flow runs are called twin\.$") as caught:
            runs.get(tx, "twin")
    assert caught.value.hint.startswith("Say which by its id: ")
    assert {run.id[:12] in caught.value.hint for run in twins} == {True}


def test_an_idempotency_key_submits_once(store):
    pool = make_pool(store)
    deployment = make_deployment(store, pool)
    first = submit(store, pool, deployment=deployment, idempotency_key="today")
    assert submit(store, pool, deployment=deployment, idempotency_key="today") == first
    assert submit(store, pool, deployment=deployment, idempotency_key="tomorrow").id != first.id


def test_lists_are_newest_first_and_filtered(store):
    pool, other = make_pool(store), make_pool(store, "other")
    made = [submit(store, pool) for _ in range(3)]
    submit(store, other)
    with store.write() as tx:
        runs.cancel(tx, made[0].id)
    with store.read() as tx:
        assert [run.id for run in runs.list_recent(tx, pool_id=pool.id)] == [run.id for run in reversed(made)]
        assert [run.id for run in runs.list_recent(tx, state="cancelled")] == [made[0].id]
        assert len(runs.list_recent(tx, limit=2)) == 2
        older = runs.list_recent(tx, pool_id=pool.id, before=made[2].created_at)
        assert [run.id for run in older] == [made[1].id, made[0].id]


def test_what_runs_in_a_pool_without_infrastructure_is_ended_and_let_go(store):
    pool, other = make_pool(store), make_pool(store, "other")
    held, ended, elsewhere, waiting = (submit(store, p) for p in (pool, pool, other, pool))
    with store.write() as tx:
        for run, state in ((held, "running"), (ended, "completed"), (elsewhere, "running")):
            tx.execute(
                "UPDATE flow_runs SET state = :state, worker_id = 'w', lease_expires_at = 9e9 WHERE id = :id",
                {"state": state, "id": run.id},
            )
        assert runs.abandon(tx, pool_id=pool.id, reason="gone") == 1
        found = {run.id: runs.get(tx, run.id) for run in (held, ended, elsewhere, waiting)}
        assert [change.state for change in runs.states(tx, held.id)][-1] == "cancelled"
        assert runs.count_active(tx, pool.id) == 0
    assert {found[run.id].state for run in (elsewhere,)} == {"running"}
    assert (found[held.id].state, found[held.id].reason) == ("cancelled", "gone")
    assert (found[ended.id].state, found[waiting.id].state) == ("completed", "scheduled")
    assert {found[run.id].worker_id for run in (held, ended)} == {None}


def test_a_waiting_run_is_cancelled_at_once_and_can_be_retried(store):
    run = submit(store, make_pool(store))
    with store.write() as tx:
        assert runs.cancel(tx, run.id).state == "cancelled"
        assert runs.cancel(tx, run.id).state == "cancelled"
        again = runs.retry(tx, run.id)
        assert (again.state, again.attempt, again.cancel_requested, again.ended_at) == ("scheduled", 2, False, None)
        with pytest.raises(NotReady):
            runs.retry(tx, run.id)
        assert [change.state for change in runs.states(tx, run.id)] == ["scheduled", "cancelled", "scheduled"]
        runs.delete(tx, run.id)
        assert runs.find(tx, run.id) is None


def test_log_lines_keep_their_order_and_any_text(store):
    run = submit(store, make_pool(store))
    lines = ["plain", "nul \0 inside", "half \ud800 pair", "ünïcode", "100% :name"]
    with store.write() as tx:
        logs.append(tx, [logs.LogRow(run.id, 1, seq, 1.5, line) for seq, line in enumerate(lines, 1)])
        logs.append(tx, [logs.LogRow(run.id, 2, 1, 2.5, "again")])
        assert [row.line for row in logs.of_run(tx, run.id)] == [
            "plain", "nul \ufffd inside", "half ? pair", "ünïcode", "100% :name", "again",
        ]  # fmt: skip
        assert [row.line for row in logs.of_run(tx, run.id, after=(1, 4), limit=1)] == ["100% :name"]
        assert logs.last_seq(tx, run.id, 1) == 5
        assert logs.last_seq(tx, run.id, 3) == 0


def test_dead_workers_are_not_live(store):
    with store.write() as tx:
        now = tx.now()
        alive = workers.Worker("1", "w1", None, "host", 1, now, now, now + 10)
        dead = workers.Worker("2", "w2", "p", "host", 2, now, now - 20, now - 10)
        workers.save(tx, alive)
        workers.save(tx, alive)
        workers.save(tx, dead)
        assert workers.live(tx, pool_id="p") == [alive]
        workers.delete(tx, "1")
        assert workers.live(tx) == []
