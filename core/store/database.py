"""The door to the database: one `Store`, its transactions, and how to wait for somebody else's change.

A store may be used from many threads: each thread gets a connection of its own on first use, and a process that was
forked opens new ones. A thread has at most one transaction open at a time; inside it, queries are SQL text with
`:name` placeholders, and a row is read by column name.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from poolform.core.errors import StoreError, UsageError
from poolform.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

Dialect = Literal["sqlite", "postgresql"]

PATIENCE = 30.0
"""Seconds that a transaction waits for its turn before a person hears of it."""


class Row(Protocol):
    """One row of an answer; read it by column name, or spread it with `**`."""

    def __getitem__(self, column: str, /) -> Any:
        """Return the value of a column."""

    def keys(self) -> Sequence[str]:
        """Return the names of the columns."""


class Transaction(Protocol):
    """An open transaction: what is done through it happens as a whole, or not at all."""

    dialect: Dialect

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Sequence[Row]:
        """Run one statement and return its rows (none for one that returns none). Raises StoreError."""

    def change(self, sql: str, values: Mapping[str, Any] | None = None, /) -> int:
        """Run one statement and return how many rows it touched. Raises StoreError."""

    def execute_many(self, sql: str, values: Sequence[Mapping[str, Any]], /) -> None:
        """Run one statement once for each mapping. Raises StoreError."""

    def now(self) -> float:
        """Return the store's time, in seconds since the epoch: one clock for all who share the database."""


class Wake(ABC):
    """Waits for changes of the store by anybody, this process's other connections included.

    May report a change that is none for the waiter, never misses one for longer than `wait` lasts.
    """

    @abstractmethod
    def wait(self, timeout: float, also: Sequence[int] = ()) -> bool:
        """Wait until the store changed, a file descriptor in `also` is readable, or `timeout` seconds passed.

        Returns whether the store changed, or may have.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection behind it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session(Transaction, Protocol):
    """One thread's connection, which is also its transaction while one is open."""

    def begin(self, *, write: bool) -> None:
        """Open a transaction, waiting for the turn where it writes."""

    def commit(self, *, notify: bool) -> None:
        """Keep what was done, and tell waiters if `notify`."""

    def rollback(self) -> None:
        """Undo what was done; never raises."""

    def close(self) -> None:
        """Let go of the connection."""


def unstorable(error: UnicodeError | OverflowError) -> UsageError:
    """Return what is wrong with a value that neither database can hold. It is not repeated: it may be a secret."""
    if isinstance(error, OverflowError):
        return UsageError("A number that was given is too large to be stored.", hint="Give one below 2,147,483,648.")
    return UsageError(
        "A text that was given is not UTF-8, so it cannot be stored.",
        hint="Check it for odd characters, and which encoding your terminal has: `locale`.",
    )


S = TypeVar("S", bound=Session)


class Store(ABC, Generic[S]):
    """A database of pools, deployments and runs, shared by all who open it."""

    dialect: ClassVar[Dialect]

    def __init__(self, name: str, patience: float) -> None:
        self.name = name
        """What the store is called in messages; never holds a password."""
        self.patience = patience
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[S] = []
        self._pid = os.getpid()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one consistent moment and changes nothing."""
        session = self._begin(write=False)
        try:
            yield session
        finally:
            session.rollback()
            self._mine.busy = False

    @contextmanager
    def write(self, *, notify: bool = True) -> Iterator[Transaction]:
        """Open a transaction that may change things; kept when the block ends, undone when it raises.

        `notify=False` is for changes that nobody waits for, such as a heartbeat.
        """
        session = self._begin(write=True)
        try:
            yield session
            session.commit(notify=notify)
        except BaseException:
            session.rollback()
            raise
        finally:
            self._mine.busy = False

    def now(self) -> float:
        """Return the store's time, in seconds since the epoch: one clock for all who share the database."""
        return self._session().now()

    @abstractmethod
    def wake(self) -> Wake:
        """Return a new waiter for changes; close it after use. It belongs to one thread."""

    @abstractmethod
    def _connect(self) -> S:
        """Open one more connection. Raises StoreError."""

    def leave(self) -> None:
        """Close the calling thread's connection; for threads that end before the store is closed."""
        session: S | None = getattr(self._mine, "session", None)
        if session is not None and self._pid == os.getpid():
            with self._lock:
                if session in self._sessions:
                    self._sessions.remove(session)
            del self._mine.session
            session.close()

    def close(self) -> None:
        """Close every thread's connection; the store can be used again and will reconnect."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
            self._mine = threading.local()
        for session in sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, *, write: bool) -> S:
        session = self._session()
        if self._mine.busy:
            raise RuntimeError("this thread has a transaction open already")
        session.begin(write=write)
        self._mine.busy = True
        return session

    def _session(self) -> S:
        if self._pid != os.getpid():
            # A connection must not cross a fork. The parent's are dropped unclosed: closing would speak for the parent.
            self._pid, self._lock, self._mine, self._sessions = os.getpid(), threading.Lock(), threading.local(), []
        session: S | None = getattr(self._mine, "session", None)
        if session is None:
            session = self._connect()
            self._mine.session, self._mine.busy = session, False
            with self._lock:
                self._sessions.append(session)
        return session


def open_store(where: Settings | str, *, patience: float = PATIENCE) -> Store[Any]:
    """Open the database, creating it or bringing it up to date first where that is needed.

    `where` is the settings or a URL: `sqlite:///PATH` or `postgresql://…`. Cheap when the database is current: no
    SQLAlchemy is imported. Raises StoreError in words where it cannot be opened.
    """
    if isinstance(where, Settings):
        url = where.database_url
        if url == f"sqlite:///{where.home / 'poolform.db'}":
            where.folder()
    else:
        url = where
    scheme, colon, _ = url.partition("://")
    if scheme == "sqlite" and colon:
        from poolform.core.store.sqlite import open_sqlite

        return open_sqlite(url, patience)
    if scheme in ("postgresql", "postgres") and colon:
        from poolform.core.store.postgresql import open_postgresql

        return open_postgresql(url, patience)
    raise StoreError(
        # Without a scheme, all of it may be anything, a password too.
        f"The database URL {f'starts with {scheme}, which ' if colon else ''}is neither SQLite nor PostgreSQL.",
        hint="POOLFORM_DATABASE_URL is sqlite:///PATH or postgresql://USER@HOST/NAME.",
    )
