"""The keys of blocks: made once, whoever comes first, and never rotated away from under what they encrypt."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from poolform.core.blocks import Blocks, Document
from poolform.core.settings import Settings
from poolform.core.store import blocks as rows
from poolform.core.store import leases, pools, runs
from poolform.core.store.database import open_store


@pytest.fixture
def settings(tmp_path):
    return Settings.from_environment({"POOLFORM_HOME": str(tmp_path)})


@pytest.fixture
def store(settings):
    with open_store(settings) as opened:
        yield opened


def keys(settings):
    return (settings.home / "secret.keys").read_text().split()


def at_once(act, many):
    """Call `act` from many threads at once; return what it returned or raised."""
    barrier, found = threading.Barrier(many), []

    def one():
        barrier.wait()
        try:
            found.append(act())
        except Exception as exc:  # noqa: BLE001 - told by whoever looks at it
            found.append(exc)

    threads = [threading.Thread(target=one) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_one_key_is_made_by_many_who_come_first(settings, store):
    sealed = at_once(lambda: Blocks(store, settings, {}).seal("hunter2"), 8)
    assert [Blocks(store, settings, {}).unseal(one) for one in sealed] == ["hunter2"] * 8
    assert len(keys(settings)) == 1


def test_a_block_that_is_being_saved_does_not_lose_its_key(settings, store):
    encrypted, rotating = threading.Event(), threading.Event()

    class Slow:
        """The store, which takes its time between encryption and the transaction."""

        @contextmanager
        def write(self):
            encrypted.set()
            rotating.wait(5)
            with store.write() as tx:
                yield tx

    blocks = Blocks(store, settings, {})
    blocks.save(Document("secret", "one", {"value": "1"}))
    saving = threading.Thread(
        target=Blocks(Slow(), settings, {}).save, args=(Document("secret", "two", {"value": "2"}),)
    )
    saving.start()
    encrypted.wait(5)
    rotation = threading.Thread(target=blocks.rotate_key)
    rotation.start()
    rotation.join(0.3)
    rotating.set()
    saving.join()
    rotation.join()
    assert [blocks.load("secret", name).data for name in ("one", "two")] == [{"value": "1"}, {"value": "2"}]
    assert len(keys(settings)) == 1


def test_of_many_rotations_at_once_none_forgets_anothers_key(settings, store):
    blocks = Blocks(store, settings, {})
    blocks.save(Document("secret", "mine", {"value": "hunter2"}))
    assert at_once(lambda: Blocks(store, settings, {}).rotate_key(), 4) == [1] * 4
    assert blocks.load("secret", "mine").data == {"value": "hunter2"}
    assert len(keys(settings)) == 1


def test_a_block_is_read_though_its_key_is_rotated_at_that_moment(settings, store):
    class Interrupted(Blocks):
        """Blocks whose key is rotated after they were read, and before they are opened."""

        def _opened(self, row, cipher=None):
            if row.id not in seen:
                seen.append(row.id)
                Blocks(store, settings, {}).rotate_key()
            return super()._opened(row, cipher)

    seen: list[str] = []
    Blocks(store, settings, {}).save(Document("secret", "mine", {"value": "hunter2"}))
    assert Interrupted(store, settings, {}).load("secret", "mine").data == {"value": "hunter2"}


def test_a_job_with_secrets_that_waits_to_be_launched_can_be_opened_after_a_rotation(settings, store):
    blocks = Blocks(store, settings, {})
    blocks.save(Document("secret", "mine", {"value": "1"}))
    with store.write() as tx:
        pool = pools.create(tx, name="p", type="process", plugin="process", plugin_version="1")
        run = runs.submit(tx, pool=pool, flow_name="etl")
        sealed = f'{{"sealed":"{blocks.seal("hunter2")}"}}'
        tx.execute(
            "UPDATE flow_runs SET state = 'pending', worker_id = 'w', lease_expires_at = :at, request = :request",
            {"at": tx.now() + 60, "request": sealed},
        )
    blocks.rotate_key()
    assert blocks.unseal(sealed.split('"')[3]) == "hunter2"
    with store.write() as tx:
        assert leases.sealed_requests(tx) == 1
        tx.execute("UPDATE flow_runs SET handle = 'job' WHERE id = :id", {"id": run.id})
    blocks.rotate_key()
    assert len(keys(settings)) == 1
    with store.read() as tx:
        assert len(rows.list_all(tx)) == 1
