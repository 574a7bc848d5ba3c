"""The tables. Imported only to migrate, and by the tests; queries are SQL text in the noun modules.

Times are seconds since the epoch (UTC), JSON is text, ids are text, so that SQLite and PostgreSQL hold the same values.
Past runs outlive their pool and deployment: `flow_runs` has no foreign key to either.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    make_url,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from poolform.core.store.schema import HEAD

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _maybe(name: str) -> Column[str]:
    return Column(name, Text)


def _json(name: str, default: str = "{}") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _maybe_time(name: str) -> Column[float]:
    return Column(name, Double)


def _flag(name: str, *, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("TRUE" if default else "FALSE"))


def _number(name: str, default: int) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text(str(default)))


def _one_of(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", name=column)


def _belongs(column: str, to: str, *, primary_key: bool = False) -> Column[str]:
    return Column(column, Text, ForeignKey(to, ondelete="CASCADE"), nullable=False, primary_key=primary_key)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


work_pools = Table(
    "work_pools",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("type"),
    _text("plugin"),
    _text("plugin_version"),
    _number("contract", 1),
    _number("revision", 1),
    Column("state", Text, nullable=False, server_default="not-provisioned"),
    _maybe("error"),
    _flag("paused"),
    Column("concurrency_limit", Integer),
    _json("variables"),
    _json("base_job_template"),
    _maybe("connection"),
    _maybe("identity"),
    _maybe("backend"),
    _maybe("engine_product"),
    _maybe("engine_version"),
    _maybe("credential_block"),
    _maybe("image_namespace"),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("name"),
    _one_of("state", "not-provisioned", "provisioning", "ready", "deprovisioning"),
)

pool_modules = Table(
    "pool_modules",
    metadata,
    _belongs("pool_id", "work_pools.id", primary_key=True),
    _json("files"),
    _maybe("lock_file"),
    _text("digest"),
    _time("applied_at"),
)

pool_history = Table(
    "pool_history",
    metadata,
    Column("id", Text, primary_key=True),
    _text("pool_id"),
    _text("pool_name"),
    _time("at"),
    _text("who"),
    _text("action"),
    _text("outcome"),
    _json("summary"),
    _maybe("plan_digest"),
    _maybe("error"),
    Index(None, "pool_name", "at"),
)

blocks = Table(
    "blocks",
    metadata,
    Column("id", Text, primary_key=True),
    _text("type"),
    _text("name"),
    _text("data"),
    _maybe("key_id"),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("type", "name"),
)

work_queues = Table(
    "work_queues",
    metadata,
    Column("id", Text, primary_key=True),
    _belongs("pool_id", "work_pools.id"),
    _text("name"),
    _number("priority", 1),
    Column("concurrency_limit", Integer),
    _flag("paused"),
    UniqueConstraint("pool_id", "name"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    _text("flow_name"),
    _text("name"),
    _belongs("pool_id", "work_pools.id"),
    _belongs("queue_id", "work_queues.id"),
    _text("entrypoint"),
    _json("source"),
    _json("parameters"),
    _json("parameter_schema"),
    _json("job_variables"),
    _json("options"),
    _json("tags", "[]"),
    _maybe("version"),
    _maybe("description"),
    _flag("paused"),
    Column("concurrency_limit", Integer),
    Column("collision", Text, nullable=False, server_default="enqueue"),
    _time("created_at"),
    _time("updated_at"),
    _maybe("project"),
    UniqueConstraint("flow_name", "name"),
    Index(None, "pool_id"),
    Index(None, "queue_id"),
    _one_of("collision", "enqueue", "cancel-new"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    _belongs("deployment_id", "deployments.id"),
    _text("kind"),
    _text("expression"),
    _text("timezone"),
    _maybe_time("anchor"),
    _flag("active", default=True),
    _json("parameters"),
    _maybe_time("next_at"),
    _maybe("slug"),
    Index(None, "deployment_id"),
    Index("ix_schedules_due", "next_at", **_where("active")),
)

flow_runs = Table(
    "flow_runs",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _maybe("deployment_id"),
    _text("flow_name"),
    _text("pool_id"),
    _text("queue_id"),
    Column("state", Text, nullable=False, server_default="scheduled"),
    _maybe("reason"),
    _number("attempt", 1),
    _json("parameters"),
    _json("job_variables"),
    _json("tags", "[]"),
    _time("scheduled_at"),
    _time("created_at"),
    _maybe_time("claimed_at"),
    _maybe_time("submitted_at"),
    _maybe_time("started_at"),
    _maybe_time("ended_at"),
    _maybe("worker_id"),
    _maybe_time("lease_expires_at"),
    _maybe("handle"),
    _maybe("request"),
    _flag("cancel_requested"),
    Column("exit_code", Integer),
    _maybe("log_cursor"),
    _flag("logs_done"),
    _flag("removed"),
    Column("timeout_seconds", Double),
    _number("retries", 0),
    Column("retry_delay_seconds", Double, nullable=False, server_default=text("0")),
    _maybe("idempotency_key"),
    UniqueConstraint("deployment_id", "idempotency_key"),
    # What is due, and what is held, stays small however many runs are past: these two are partial.
    Index("ix_flow_runs_due", "queue_id", "scheduled_at", **_where("state = 'scheduled'")),
    Index("ix_flow_runs_held", "pool_id", "lease_expires_at", **_where("worker_id IS NOT NULL")),
    Index(None, "created_at"),
    Index(None, "state", "created_at"),
    Index(None, "pool_id", "created_at"),
    Index(None, "deployment_id", "created_at"),
    _one_of("state", "scheduled", "pending", "submitted", "running", "completed", "failed", "crashed", "cancelled"),
)

flow_run_states = Table(
    "flow_run_states",
    metadata,
    _belongs("run_id", "flow_runs.id"),
    Column("seq", Integer, nullable=False),
    _text("state"),
    _time("at"),
    _maybe("reason"),
    PrimaryKeyConstraint("run_id", "seq"),
)

logs = Table(
    "logs",
    metadata,
    _belongs("run_id", "flow_runs.id"),
    Column("attempt", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    _time("at"),
    _text("line"),
    PrimaryKeyConstraint("run_id", "attempt", "seq"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _maybe("pool_id"),
    _text("host"),
    Column("pid", Integer, nullable=False),
    _time("started_at"),
    _time("heartbeat_at"),
    _time("expires_at"),
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("plugin", Text, primary_key=True),
    _maybe("owner"),
    _maybe_time("until"),
    _time("seen_at"),
)

news = Table(
    "news",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("plugin"),  # no foreign key: who stops to listen must not make somebody's change of a run fail
    _belongs("run_id", "flow_runs.id"),
    Column("attempt", Integer, nullable=False),
    _text("state"),
    _maybe("reason"),
    _time("at"),
    Index(None, "plugin", "id"),
    Index(None, "run_id"),
)


def script(dialect: str) -> str:
    """Return the SQL that makes a new database at HEAD; kept beside this file, so that making one needs no SQLAlchemy.

    `python -c "from poolform.core.store import tables; tables.write_scripts()"` writes both.
    """
    spoken = make_url("sqlite://" if dialect == "sqlite" else "postgresql+psycopg://").get_dialect()()
    made: list[ExecutableDDLElement] = []
    for table in metadata.sorted_tables:
        made += [CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))]
    statements = [str(element.compile(dialect=spoken)) for element in made]
    statements += [
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)",
        f"INSERT INTO alembic_version (version_num) VALUES ('{HEAD}')",  # noqa: S608 - a constant of ours
    ]
    return "".join(f"{_tidy(statement)};\n" for statement in statements)


def write_scripts() -> None:
    """Write `sqlite.sql` and `postgresql.sql` beside this file, after a change of the tables."""
    from pathlib import Path

    for dialect in ("sqlite", "postgresql"):
        Path(__file__).with_name(f"{dialect}.sql").write_text(script(dialect), encoding="utf-8")


def _tidy(statement: str) -> str:
    return "\n".join(line.replace("\t", "  ").rstrip() for line in statement.strip().splitlines())
