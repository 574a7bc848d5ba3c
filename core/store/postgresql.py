"""The store on PostgreSQL, for teams: many machines, one database. Driver: psycopg 3, imported only here."""

from __future__ import annotations

import re
import select
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from poolform.core.clock import clock
from poolform.core.errors import StoreError
from poolform.core.store.database import Store, Wake, unstorable
from poolform.core.store.schema import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psycopg import Connection, Cursor, Error

    from poolform.core.store.database import Dialect, Row

T = TypeVar("T")

CHANNEL = "poolform"
_CLOCK_LIFE = 60.0  # seconds after which the server is asked for its time again
_CONNECT_TIMEOUT = 10  # seconds
_TOO_LARGE = "22003"  # numeric_value_out_of_range


class PostgresqlStore(Store["PostgresqlSession"]):
    """See the module."""

    dialect = "postgresql"

    def __init__(self, url: str, name: str, patience: float) -> None:
        super().__init__(name, patience)
        self.url = url

    def wake(self) -> Wake:
        """Return a waiter that listens for NOTIFY."""
        return _PostgresqlWake(self.url, self.name)

    def _connect(self) -> PostgresqlSession:
        return PostgresqlSession(self.url, self.name, self.patience)


class PostgresqlSession:
    """One connection to the server, and its transaction. Reconnects between transactions when the server went away."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: str, name: str, patience: float) -> None:
        self.url, self.name, self.patience = url, name, patience
        self._connection = self._connect()
        self._changed = False
        self._clock: tuple[float, float] | None = None  # the server's time, and on `clock`, when it was asked

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Sequence[Row]:
        """Run one statement and return its rows."""

        def act() -> Sequence[Row]:
            cursor = self._connection.execute(translate(sql), values or {})
            rows: list[dict[str, Any]] = cursor.fetchall() if cursor.description else []
            self._changed = self._changed or _changes(cursor)
            return rows  # type: ignore[return-value]  # a dict is a Row but for the type of keys()

        return self._telling(act)

    def change(self, sql: str, values: Mapping[str, Any] | None = None, /) -> int:
        """Run one statement and return how many rows it touched."""

        def act() -> int:
            cursor = self._connection.execute(translate(sql), values or {})
            self._changed = self._changed or _changes(cursor)
            return cursor.rowcount

        return self._telling(act)

    def execute_many(self, sql: str, values: Sequence[Mapping[str, Any]], /) -> None:
        """Run one statement once for each mapping, in one batch."""

        def act() -> None:
            with self._connection.cursor() as cursor:
                cursor.executemany(translate(sql), values)
            self._changed = self._changed or bool(values)

        self._telling(act)

    def now(self) -> float:
        """Return the server's time, so that machines with different clocks agree about leases.

        Asked once a minute and carried on by this machine's clock in between, also while it sleeps.
        """
        if self._clock is None or clock() - self._clock[1] > _CLOCK_LIFE:
            before = clock()
            row = self.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")[0]
            self._clock = (row["now"], (before + clock()) / 2)
        return self._clock[0] + clock() - self._clock[1]

    def begin(self, *, write: bool) -> None:
        """Open a transaction; READ COMMITTED where it writes, one consistent moment where it reads."""
        self._changed = False
        sql = "BEGIN" if write else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        if not self._connection.closed:
            try:
                self.execute(sql)
            except StoreError:
                if not self._connection.closed:
                    raise
            else:
                return
        self._connection = self._connect()  # the server was restarted, or an idle connection was cut
        self._clock = None
        self.execute(sql)

    def commit(self, *, notify: bool) -> None:
        """Keep what was done, and tell the waiters if it was anything."""
        if notify and self._changed:
            self.execute(f"NOTIFY {CHANNEL}")
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was done, if anything is open."""
        from psycopg import Error
        from psycopg.pq import TransactionStatus

        if not self._connection.closed and self._connection.info.transaction_status != TransactionStatus.IDLE:
            try:
                self._connection.execute("ROLLBACK")
            except Error:
                self._connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _connect(self) -> Connection[dict[str, Any]]:
        connection = connect(self.url, self.name)
        connection.execute(f"SET lock_timeout = {round(self.patience * 1000)}")
        return connection

    def _telling(self, act: Callable[[], T]) -> T:
        from psycopg import Error

        try:
            return act()
        except (UnicodeError, OverflowError) as exc:
            raise unstorable(exc) from None
        except Error as exc:
            if exc.sqlstate == _TOO_LARGE:
                raise unstorable(OverflowError()) from None
            raise explain(exc, self.name) from exc


class _PostgresqlWake(Wake):
    """Listens on the channel. While the server cannot be reached, every wait counts as a change."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._connection = self._listen()

    def wait(self, timeout: float, also: Sequence[int] = ()) -> bool:
        """Wait for a notification."""
        from psycopg import Error

        waiter = select.poll()
        for descriptor in also:
            waiter.register(descriptor, select.POLLIN)
        if self._connection.closed:
            waiter.poll(1000 * min(timeout, 1.0))
            with suppress(StoreError):  # whoever asks the store next says so; here it is only a reason to wait longer
                self._connection = self._listen()
            return True
        try:
            if list(self._connection.notifies(timeout=0)):
                return True
            listening = self._connection.fileno()
            waiter.register(listening, select.POLLIN)
            ready = {descriptor for descriptor, _ in waiter.poll(1000 * max(timeout, 0))}
            return bool(list(self._connection.notifies(timeout=0))) or listening in ready
        except Error:
            self._connection.close()
            return True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _listen(self) -> Connection[dict[str, Any]]:
        connection = connect(self._url, self._name)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection


def open_postgresql(url: str, patience: float) -> PostgresqlStore:
    """Open `postgresql://…`. Raises StoreError."""
    store = PostgresqlStore(url, place_of(url), patience)
    try:
        bring_up_to_date(store)
    except BaseException:
        store.close()
        raise
    return store


def place_of(url: str) -> str:
    """Return where a URL points, HOST[:PORT]/NAME, without user and password; several hosts as libpq takes them.

    Raises StoreError without the driver, and for what the driver does not understand. That is never repeated: where a
    password has a character that ends it too early, the rest is taken for a host, a port or a database.
    """
    try:
        from psycopg.conninfo import conninfo_to_dict
        from psycopg.errors import ProgrammingError
    except ImportError as exc:
        raise StoreError(
            "PostgreSQL needs its driver, which is not installed.", hint="pip install 'poolform[postgresql]'"
        ) from exc
    try:
        known = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except ProgrammingError:
        known = {"port": "unknown"}
    hosts, ports = known.get("host", "").split(","), known.get("port", "").split(",")
    odd = "@" in known.get("host", "") + known.get("dbname", "")
    if odd or not all(port.isdecimal() and int(port) < 65_536 for port in ports if port):
        raise StoreError(
            "The database URL is not one that PostgreSQL understands.",
            hint="POOLFORM_DATABASE_URL is postgresql://USER:PASSWORD@HOST:PORT/NAME. Write / as %2F in a password, @ "
            "as %40, # as %23, : as %3A, % as %25, a space as %20.",
        )
    ports = ports * len(hosts) if len(ports) == 1 else ports
    named = (f"[{host}]" if ":" in host else host or "the local socket" for host in hosts)
    places = (f"{host}:{port}" if port else host for host, port in zip(named, ports, strict=False))
    return f"{','.join(places)}/{known.get('dbname', '')}".rstrip("/")


def connect(url: str, name: str) -> Connection[dict[str, Any]]:
    """Open one connection in autocommit mode, so that transactions are ours to begin. Raises StoreError."""
    import psycopg
    from psycopg.rows import dict_row

    try:
        return psycopg.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            application_name="poolform",
            connect_timeout=_CONNECT_TIMEOUT,
        )
    except psycopg.Error as exc:
        raise StoreError(
            f"PostgreSQL at {name} cannot be reached: {_first_line(exc)}",
            hint='Check POOLFORM_DATABASE_URL, and that the server runs and lets you in: psql "$POOLFORM_DATABASE_URL"',
        ) from exc


_PLACEHOLDER = re.compile(r"'(?:[^']|'')*'|::|:([a-z_][a-z0-9_]*)|%")


@lru_cache(maxsize=1024)
def translate(sql: str) -> str:
    """Return `sql` with `:name` written as psycopg's `%(name)s`; quoted text and `::` casts stay as they are."""

    def one(match: re.Match[str]) -> str:
        return f"%({match[1]})s" if match[1] else match[0].replace("%", "%%")

    return _PLACEHOLDER.sub(one, sql)


def explain(error: Error, name: str) -> StoreError:
    """Return PostgreSQL's error as a sentence with the next step."""
    state = error.sqlstate or ""
    if state == "55P03":
        return StoreError(
            f"The database {name} kept a row locked for too long.",
            hint="Another client has an open transaction: SELECT * FROM pg_stat_activity WHERE state LIKE 'idle in%'",
        )
    if state in ("25006", "42501"):
        return StoreError(
            f"The database {name} may not be written: {_first_line(error)}",
            hint="Use a role that owns the tables, on the primary server.",
        )
    if state == "53100":
        return StoreError(f"The disk of the database {name} is full.", hint="Free some space and try again.")
    if not state or state.startswith(("08", "57P")):
        return StoreError(
            f"PostgreSQL at {name} went away: {_first_line(error)}", hint="Try again once the server is back."
        )
    return StoreError(f"The database {name} refused: {_first_line(error)}")


def _changes(cursor: Cursor[Any]) -> bool:
    """Say whether the statement that a cursor ran has changed a row."""
    return cursor.rowcount > 0 and (cursor.statusmessage or "").startswith(("INSERT", "UPDATE", "DELETE"))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
