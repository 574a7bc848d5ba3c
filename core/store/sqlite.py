"""The store on SQLite: one file, in WAL mode, shared by the processes of one machine.

Nobody ever meets "database is locked": who finds the file busy comes back every few milliseconds until its turn. The
pauses are random and do not grow, unlike those of SQLite's own busy handler, so that the longest waiter is not the
least likely to get in. `synchronous = NORMAL`: a killed process loses nothing; a power cut may undo the last moments,
never corrupt, and a launch repeated after it meets the same idempotency key.
"""

from __future__ import annotations

import os
import random
import select
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from poolform.core.errors import StoreError
from poolform.core.store.database import Store, Wake, unstorable
from poolform.core.store.schema import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from poolform.core.store.database import Dialect, Row

T = TypeVar("T")

_PAUSE = (0.0005, 0.004)  # seconds; an attempt costs about 10 µs
_GLANCE = 0.015  # seconds between two looks at data_version; a look costs about 10 µs


class SqliteStore(Store["SqliteSession"]):
    """See the module."""

    dialect = "sqlite"

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__(str(path), patience)
        self.path = path

    def wake(self) -> Wake:
        """Return a waiter that watches `PRAGMA data_version`."""
        return _SqliteWake(self._connect())

    def _connect(self) -> SqliteSession:
        return SqliteSession(self.path, self.patience)


class SqliteSession:
    """One connection to the file, and its transaction."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, patience: float) -> None:
        self.path, self.patience = path, patience
        try:
            # check_same_thread: only Store.close() ever touches a session from another thread.
            self._connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as exc:
            raise explain(exc, path) from exc
        self._connection.row_factory = sqlite3.Row
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "temp_store = MEMORY"):
                self.execute(f"PRAGMA {pragma}")
        except StoreError:
            self._connection.close()
            raise

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Sequence[Row]:
        """Run one statement and return its rows."""
        return self._patiently(lambda: self._connection.execute(sql, values or {}).fetchall())

    def change(self, sql: str, values: Mapping[str, Any] | None = None, /) -> int:
        """Run one statement and return how many rows it touched."""
        return self._patiently(lambda: self._connection.execute(sql, values or {}).rowcount)

    def execute_many(self, sql: str, values: Sequence[Mapping[str, Any]], /) -> None:
        """Run one statement once for each mapping."""
        self._patiently(lambda: self._connection.executemany(sql, values))

    def now(self) -> float:
        """Return the machine's time: a SQLite file is shared by one machine only."""
        return time.time()

    def begin(self, *, write: bool) -> None:
        """Open a transaction; one that writes takes the write lock now, so that it can never fail half-way for it."""
        self.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self, *, notify: bool) -> None:
        """Keep what was done; data_version tells the waiters."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was done, if anything is open."""
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._connection.close()  # an unfinished transaction must not leak into the next one

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _patiently(self, act: Callable[[], T]) -> T:
        """Do one statement, coming back while the file is busy. Busy means that nothing was done, so again is safe."""
        deadline: float | None = None
        while True:
            try:
                return act()
            except (UnicodeError, OverflowError) as exc:
                raise unstorable(exc) from None
            except sqlite3.Error as exc:
                if not _busy(exc):
                    raise explain(exc, self.path) from exc
                if deadline is None:
                    deadline = time.monotonic() + self.patience
                elif time.monotonic() > deadline:
                    raise StoreError(
                        f"The database {self.path} was held by another process for {self.patience:g} s.",
                        hint="A tool with an open write transaction (a database browser, a backup, sqlite3) may hold "
                        f"it: `fuser {self.path}` or `lsof {self.path}` names the process. Close it and try again.",
                    ) from exc
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - jitter, not a secret


class _SqliteWake(Wake):
    """Looks at `PRAGMA data_version`, which moves with every commit of any other connection to the file."""

    def __init__(self, session: SqliteSession) -> None:
        self._session = session
        self._seen = self._version()

    def wait(self, timeout: float, also: Sequence[int] = ()) -> bool:
        """Wait for a change, looking every few milliseconds."""
        deadline = time.monotonic() + timeout
        waiter = select.poll()
        for descriptor in also:
            waiter.register(descriptor, select.POLLIN)
        while True:
            version = self._version()
            if version != self._seen:
                self._seen = version
                return True
            left = deadline - time.monotonic()
            if left <= 0 or waiter.poll(1000 * min(left, _GLANCE)):
                return False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _version(self) -> int:
        return int(self._session.execute("PRAGMA data_version")[0]["data_version"])


def open_sqlite(url: str, patience: float) -> SqliteStore:
    """Open `sqlite:///PATH`; a new file is readable by its owner only. Raises StoreError."""
    text = url.removeprefix("sqlite:///")
    if text == url or text in ("", ":memory:"):
        raise StoreError(
            f"The database URL {url} names no file.", hint="Write sqlite:///PATH, for example sqlite:////srv/pool.db."
        )
    path = Path(text).absolute()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError as exc:
        raise StoreError(
            f"The database {path} cannot be created: its folder does not exist.", hint=f"mkdir -p {path.parent}"
        ) from exc
    except OSError as exc:
        raise StoreError(
            f"The database {path} cannot be opened for writing: {exc.strerror or exc}.",
            hint="Give yourself the right to write it, or set POOLFORM_HOME or POOLFORM_DATABASE_URL to another place.",
        ) from exc
    store = SqliteStore(path, patience)
    try:
        bring_up_to_date(store)
    except BaseException:
        store.close()
        raise
    return store


def _busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Return SQLite's error as a sentence with the next step."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(
            f"The file {path} is not a SQLite database.",
            hint="Move it away, or set POOLFORM_DATABASE_URL to the right file.",
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreError(
            f"The database {path} is damaged: {error}.",
            hint=f"Restore a backup, or save what can be read: sqlite3 {path} .recover | sqlite3 NEW.db",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"The disk that holds the database {path} is full; nothing was changed.",
            hint="Free some space and try again.",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"The database {path} cannot be written: {error}.",
            hint=f"SQLite needs to write the file and its folder {path.parent} (for the -wal and -shm files).",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"The database {path} could not be read or written: {error}.",
            hint="The disk may be full or failing, or the file on a network share, which SQLite cannot use safely.",
        )
    return StoreError(f"The database {path} refused: {error}.")
