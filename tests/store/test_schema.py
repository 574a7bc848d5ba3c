"""One schema, said four times (tables, scripts, migrations, HEAD), held together here."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poolform.core.errors import StoreError
from poolform.core.store import migrations, schema, tables
from poolform.core.store.database import open_store
from poolform.core.store.postgresql import PostgresqlStore
from poolform.core.store.sqlite import SqliteStore


def bare(url):
    """A store on the database as it is, without bringing it up to date."""
    return (
        SqliteStore(Path(url.removeprefix("sqlite:///")), 5)
        if "sqlite" in url
        else PostgresqlStore(url, "the database", 5)
    )


def differences(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with migrations.engine(store).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": store.dialect == "sqlite"})
        return compare_metadata(context, tables.metadata)


def test_head_and_history_are_alembics():
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrations.configuration(None))
    assert scripts.get_current_head() == schema.HEAD
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == schema.REVISIONS


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_scripts_are_what_the_tables_say(dialect):
    written = Path(tables.__file__).with_name(f"{dialect}.sql").read_text()
    assert written == tables.script(dialect), (
        "run: python -c 'from poolform.core.store import tables; tables.write_scripts()'"
    )


def test_a_new_database_has_the_tables(store):
    assert differences(store) == []


def test_a_migrated_database_has_the_tables(store_url):
    store = bare(store_url)
    migrations.upgrade(store, lock=1)
    assert differences(store) == []
    with store.read() as tx:
        assert tx.execute("SELECT version_num FROM alembic_version")[0]["version_num"] == schema.HEAD
    store.close()


def test_new_and_migrated_sqlite_are_equal(tmp_path):
    """compare_metadata does not see check constraints and conditions of indexes; SQLite's own text does."""

    def shape(path):
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            shapes = {
                name: sorted(re.sub(r"\s|\((?=TRUE|FALSE)|(?<=TRUE|ALSE)\)", "", sql).removesuffix(")").split(","))
                for name, sql in rows
                if name != "alembic_version"
            }
        connection.close()
        return shapes

    open_store(f"sqlite:///{tmp_path / 'new.db'}").close()
    store = SqliteStore(tmp_path / "migrated.db", 5)
    migrations.upgrade(store, lock=1)
    assert shape(tmp_path / "new.db") == shape(tmp_path / "migrated.db")


def test_a_database_is_migrated_once_by_whoever_comes_first(store_url):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_schema import bare, migrations;"
        "migrations.upgrade(bare(sys.argv[1]), lock=1)"
    )
    here = str(Path(__file__).parent)
    running = [
        subprocess.Popen([sys.executable, "-c", code, store_url, here], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in running] == [("", 0)] * 2
    open_store(store_url).close()


def test_a_migration_that_fails_is_a_sentence_and_changes_nothing(store_url):
    store = bare(store_url)
    with store.write() as tx:
        tx.execute("CREATE TABLE workers (id TEXT)")  # in the way of the first migration
    with pytest.raises(StoreError, match=r"could not be brought up to date: .*workers.* already exists"):
        migrations.upgrade(store, lock=1)
    with store.write() as tx:
        tx.execute("DROP TABLE workers")
    migrations.upgrade(store, lock=1)
    assert differences(store) == []
    store.close()


def test_a_newer_database_is_refused(store_url):
    with open_store(store_url) as store, store.write() as tx:
        tx.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer Poolform \(schema 9999") as caught:
        open_store(store_url)
    assert "pip install --upgrade" in caught.value.hint


def test_a_new_sqlite_database_is_made_quickly_and_without_sqlalchemy(tmp_path):
    code = (
        "import sys, time; t = time.perf_counter(); from poolform.core.store.database import open_store;"
        f"open_store('sqlite:///{tmp_path}/new.db').close(); took = time.perf_counter() - t;"
        "heavy = {'sqlalchemy', 'alembic', 'pydantic', 'psycopg'} & set(sys.modules); print(took, heavy)"
    )
    took, heavy = subprocess.check_output([sys.executable, "-c", code], text=True).split(maxsplit=1)
    assert heavy.strip() == "set()"
    assert float(took) < 0.4


def test_many_processes_may_create_one_database(store_url):
    code = "import sys; from poolform.core.store.database import open_store; open_store(sys.argv[1]).close()"
    running = [
        subprocess.Popen([sys.executable, "-c", code, store_url], stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in running] == [("", 0)] * 6


def test_opening_a_current_database_is_cheap(tmp_path):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    open_store(url).close()
    started = time.perf_counter()
    open_store(url).close()
    assert time.perf_counter() - started < 0.05
