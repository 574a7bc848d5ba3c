"""Opening, waiting, waking, and every way in which a database can be in the way."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest

from poolform.core.errors import StoreError
from poolform.core.settings import Settings
from poolform.core.store import pools
from poolform.core.store.database import open_store
from poolform.core.store.postgresql import place_of, translate


def create_pool(store, name):
    with store.write() as tx:
        return pools.create(tx, name=name, type="process", plugin="poolform", plugin_version="0.1")


def names(store):
    with store.read() as tx:
        return [pool.name for pool in pools.list_all(tx)]


CUT_ALL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)

# -- transactions ------------------------------------------------------------------------------------------------------


def test_what_raises_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        pools.create(tx, name="lab", type="process", plugin="poolform", plugin_version="0.1")
        raise ZeroDivisionError
    assert names(store) == []


def test_a_failed_statement_leaves_nothing(store):
    with pytest.raises(StoreError, match="refused"), store.write() as tx:
        pools.create(tx, name="lab", type="process", plugin="poolform", plugin_version="0.1")
        tx.execute("SELECT nonsense")
    create_pool(store, "again")
    assert names(store) == ["again"]


def test_a_read_changes_nothing_and_sees_one_moment(store):
    with store.read() as tx:
        assert pools.list_all(tx) == []
        elsewhere = threading.Thread(target=create_pool, args=(store, "lab"))
        elsewhere.start()
        elsewhere.join()
        assert pools.list_all(tx) == []
    assert names(store) == ["lab"]


def test_a_transaction_inside_another_is_a_mistake_that_is_named(store):
    with store.write(), pytest.raises(RuntimeError, match="open already"), store.read():
        pass
    assert names(store) == []


def test_a_forked_process_gets_its_own_connection(store):
    create_pool(store, "parent")
    child = os.fork()
    if child == 0:
        try:
            create_pool(store, "child")
        except BaseException:  # noqa: BLE001 - a child that fails must not go on as pytest
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert names(store) == ["child", "parent"]


def test_the_clock_is_in_seconds_since_the_epoch(store):
    with store.read() as tx:
        assert abs(tx.now() - time.time()) < 5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a = :a AND b = :b_2", "a = %(a)s AND b = %(b_2)s"),
        ("a LIKE '%:x' AND b % 2 = :b", "a LIKE '%%:x' AND b %% 2 = %(b)s"),
        ("now()::float8 + :a::int", "now()::float8 + %(a)s::int"),
        ("'it''s :a' || :a", "'it''s :a' || %(a)s"),
    ],
)
def test_placeholders_become_psycopgs(ours, theirs):
    assert translate(ours) == theirs


# -- waiting for one's turn --------------------------------------------------------------------------------------------

CROWD = """
import sys, time
from poolform.core.store.database import open_store
from poolform.core.store import pools
url, me, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
worst = 0.0
for n in range(rounds):
    started = time.monotonic()
    with open_store(url) as store, store.write() as tx:
        pools.create(tx, name=f"{me}-{n}", type="process", plugin="poolform", plugin_version="0.1")
    worst = max(worst, time.monotonic() - started)
print(worst)
"""


def test_a_crowd_of_writers_never_hears_that_the_database_is_locked(store_url):
    """Each opens and closes the database for every write, which is when SQLite locks all of it for a moment."""
    open_store(store_url).close()
    crowd = [
        subprocess.Popen([sys.executable, "-c", CROWD, store_url, str(n), "15"], stdout=subprocess.PIPE, text=True)
        for n in range(12)
    ]
    worst = [float(process.communicate(timeout=120)[0]) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 12
    with open_store(store_url) as store:
        assert len(names(store)) == 12 * 15
    assert max(worst) < 10


def test_a_database_held_for_ever_is_a_sentence_that_says_what_to_do(tmp_path):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    open_store(url).close()
    holder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store = open_store(url, patience=0.3)
    with pytest.raises(StoreError, match=r"held by another process for 0.3 s") as caught:
        create_pool(store, "lab")
    assert "fuser" in caught.value.hint
    assert names(store) == []  # reading goes on
    holder.execute("COMMIT")
    holder.close()
    create_pool(store, "lab")
    store.close()


def test_a_postgresql_row_held_for_ever_is_a_sentence(postgresql_url):
    store = open_store(postgresql_url, patience=0.3)
    pool = create_pool(store, "lab")
    holder = open_store(postgresql_url)
    with holder.write() as tx:
        tx.execute("SELECT 1 FROM work_pools FOR UPDATE")
        with pytest.raises(StoreError, match="kept a row locked") as caught, store.write() as mine:
            pools.update(mine, pool.id, paused=True)
    assert "pg_stat_activity" in caught.value.hint
    holder.close()
    store.close()


# -- what is in the way ------------------------------------------------------------------------------------------------


def test_a_new_file_is_private(tmp_path):
    old = os.umask(0)
    try:
        with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
            create_pool(store, "lab")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("store.db*")}
    finally:
        os.umask(old)
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_the_default_is_a_file_in_a_private_home(home):
    open_store(Settings.from_environment()).close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "poolform.db").exists()


def test_every_folder_of_home_is_private_whichever_is_made_first(tmp_path):
    old = os.umask(0)
    try:
        made = Settings.from_environment({"POOLFORM_HOME": str(tmp_path / "home")}).folder("terraform", "data")
    finally:
        os.umask(old)
    folders = (made, made.parent, made.parent.parent)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without a name")
def test_who_has_no_home_is_told_to_name_one():
    code = """
import os
from poolform.core.settings import Settings
os.environ.pop("HOME", None), os.environ.pop("POOLFORM_HOME", None), os.setuid(54_321)
try: Settings.from_environment()
except Exception as e: print(e.hint)
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said == "Set POOLFORM_HOME to a folder that you may write to.\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/x", "starts with mysql, which is neither"),
        ("nonsense", "neither SQLite nor PostgreSQL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////nowhere/at/all.db", "its folder does not exist"),
        ("sqlite:////", "cannot be opened for writing"),
    ],
)
def test_a_wrong_url_is_a_sentence(url, said):
    with pytest.raises(StoreError, match=said) as caught:
        open_store(url)
    assert caught.value.hint


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "store.db").write_text("dear diary\n" * 100)
    with pytest.raises(StoreError, match="is not a SQLite database") as caught:
        open_store(f"sqlite:///{tmp_path / 'store.db'}")
    assert "Move it away" in caught.value.hint
    assert (tmp_path / "store.db").read_text().startswith("dear diary")


def test_a_full_disk(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        with store.read() as tx:
            tx.execute("PRAGMA max_page_count = 1")  # SQLite's own way to be full; it rounds up to what there is
        with pytest.raises(StoreError, match="is full; nothing was changed"), store.write() as tx:
            pool = pools.create(tx, name="lab", type="process", plugin="poolform", plugin_version="0.1")
            pools.save_module(tx, pool.id, {"main.tf": "x" * 100_000}, lock_file=None, digest="")
        assert names(store) == []


def test_a_read_only_home(tmp_path):
    """Run as somebody without rights, where the tests run as root, who may write everything."""
    folder = tmp_path / "home"
    folder.mkdir()
    url = f"sqlite:///{folder / 'poolform.db'}"
    code = (
        "import sys; from poolform.core.store.database import open_store\n"
        "try: open_store(sys.argv[1])\nexcept Exception as e: print(type(e).__name__, e, e.hint)"
    )
    as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    for path in (tmp_path, *(parent for parent in tmp_path.parents if parent.name.startswith(("pytest-", "popen-")))):
        path.chmod(path.stat().st_mode | 0o055)
    folder.chmod(0o555)
    empty = subprocess.run(
        (*as_user, sys.executable, "-c", code, url), capture_output=True, text=True, cwd="/", check=False
    )
    assert "cannot be opened for writing: Permission denied" in empty.stdout, empty
    assert "POOLFORM_HOME" in empty.stdout
    folder.chmod(0o755)
    open_store(url).close()
    (folder / "poolform.db").chmod(0o666)
    folder.chmod(0o555)
    existing = subprocess.run(
        (*as_user, sys.executable, "-c", code, url), capture_output=True, text=True, cwd="/", check=False
    )
    folder.chmod(0o755)
    assert "StoreError" in existing.stdout, existing
    assert "SQLite needs to write the file and its folder" in existing.stdout


def test_postgresql_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match=r"PostgreSQL at 127.0.0.1:1/lab cannot be reached") as caught:
        open_store("postgresql://ana:geheim@127.0.0.1:1/lab")
    assert "geheim" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:geh#eim@host/lab",
        "postgresql://ana:geh/eim@host/lab",
        "postgresql://ana:geh@eim@host/lab",
        "postgresql://ana:geh eim@host/lab",
        "postgresql://ana:geh%eim@host/lab",
        "postgresql://ana:geheim@[host/lab",
        "postgresql://ana:geheim@host:99999/lab",
        "postgresql:/ana:geheim@host/lab",
    ],
)
def test_a_postgresql_url_that_makes_no_sense_is_refused_and_not_repeated(url):
    with pytest.raises(StoreError) as caught:
        open_store(url, patience=0.1)
    assert not re.search("geh|eim", f"{caught.value} {caught.value.hint}")


def test_postgresql_may_have_several_hosts():
    assert place_of("postgresql://ana:geheim@one:5433,two:5434/lab?target_session_attrs=any") == "one:5433,two:5434/lab"
    assert place_of("postgresql://one,two/lab") == "one,two/lab"
    assert place_of("postgresql://[::1]:5432/lab") == "[::1]:5432/lab"
    assert place_of("postgresql:///lab") == "the local socket/lab"


def test_postgresql_without_its_driver(tmp_path):
    code = (
        "import sys; sys.modules['psycopg'] = None; from poolform.core.store.database import open_store\n"
        "try: open_store('postgresql://localhost/x')\nexcept Exception as e: print(type(e).__name__, e, e.hint)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said == (
        "StoreError PostgreSQL needs its driver, which is not installed. pip install 'poolform[postgresql]'\n"
    )


def test_postgresql_that_cut_the_connection_is_reached_again(postgresql_url):
    with open_store(postgresql_url) as store, open_store(postgresql_url) as other:
        create_pool(store, "lab")
        with other.write() as tx:
            tx.execute(CUT_ALL_OTHERS)
        assert names(store) == ["lab"]


# -- waking ------------------------------------------------------------------------------------------------------------


def test_a_waiter_wakes_soon_after_somebody_elses_change(store, store_url):
    with open_store(store_url) as other, store.wake() as wake:
        assert wake.wait(0.05) is False
        took = []
        for n in range(5):
            changed = []

            def change(n=n, changed=changed):
                time.sleep(0.05)
                create_pool(other, f"lab-{n}")
                changed.append(time.monotonic())

            thread = threading.Thread(target=change)
            thread.start()
            assert wake.wait(5) is True
            woke = time.monotonic()
            thread.join()
            took.append(woke - changed[0])
        assert sorted(took)[2] < 0.03
        assert wake.wait(0.05) is False


def test_a_waiter_wakes_for_a_descriptor_and_for_this_processs_changes(store):
    reader, writer = os.pipe()
    with store.wake() as wake:
        os.write(writer, b"!")
        started = time.monotonic()
        assert wake.wait(5, also=[reader]) is False
        assert time.monotonic() - started < 0.5
        create_pool(store, "lab")
        assert wake.wait(5) is True
    os.close(reader)
    os.close(writer)


def test_waiting_costs_next_to_nothing(store):
    with store.wake() as wake:
        started = time.thread_time()
        wake.wait(1.0)
        assert time.thread_time() - started < 0.02


def test_a_waiter_survives_the_loss_of_its_connection(postgresql_url):
    with open_store(postgresql_url) as store, store.wake() as wake:
        with store.write() as tx:
            tx.execute(CUT_ALL_OTHERS)
        assert wake.wait(2) is True
        assert wake.wait(0.01) is True  # listens again, and a change may have been missed
        while wake.wait(0.01):
            pass
        create_pool(store, "lab")
        assert wake.wait(2) is True
