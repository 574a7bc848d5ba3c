"""`poolform doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, folded, say, show, show_json, styled, terminal_width
from poolform.core.errors import PoolformError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer(add_completion=False)

_HEAD = 18  # columns before a check's message


@app.command()
def doctor(ctx: typer.Context, output: Output = Format.text) -> None:
    """Check Terraform, credentials, database, plugins and permissions. Exit code 1 when something does not work."""
    session = Session.of(ctx)
    checks = {
        "home": lambda: _home(session),
        "terraform": lambda: _terraform(session),
        "database": lambda: _database(session),
        "plugins": lambda: _plugins(session),
        "credentials": lambda: _credentials(session),
        "work pools": lambda: _pools(session),
    }
    results: list[tuple[str, bool, str, str | None]] = []
    for name, check in checks.items():
        failed = {text: other for other, ok, text, _ in results if not ok}
        for result in _checked(name, check):
            same = failed.get(result[2])  # such as a database that cannot be reached, which much needs
            results.append(
                (name, False, f"Not tried, because of what is said of the {same}.", None) if same else result
            )
    if output is Format.json:
        show_json([{"check": name, "ok": ok, "message": text, "hint": hint} for name, ok, text, hint in results])
    else:
        for name, ok, text, hint in results:
            mark = styled("ok  ", "green") if ok else styled("FAIL", "red")
            _show(f"{mark} {name:<12} ", text)
            if hint and not ok:
                _show("", hint)
    if not all(ok for _, ok, _, _ in results):
        raise typer.Exit(1)
    if output is Format.text:
        say("Everything works.", "green")


def _show(head: str, text: str) -> None:
    """Show a text after its head, folded on a terminal, below where the first line begins."""
    width = terminal_width()
    first, *rest = folded(text, max(width - _HEAD, 12)) if width else [text]
    show(f"{head or ' ' * _HEAD}{first}")
    for line in rest:
        show(f"{'':<{_HEAD}}{line}")


def _checked(
    name: str, check: Callable[[], Iterator[tuple[bool, str, str | None]]]
) -> list[tuple[str, bool, str, str | None]]:
    found: list[tuple[str, bool, str, str | None]] = []
    try:
        found.extend((name, *result) for result in check())
    except PoolformError as exc:
        found.append((name, False, exc.message, exc.hint))
    return found


def _home(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    home = session.settings.folder()
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        yield False, f"{home} can be read by others (mode {mode:04o}).", f"Make it private: chmod 700 {home}"
    elif not os.access(home, os.W_OK):
        yield False, f"{home} cannot be written.", "Set POOLFORM_HOME to a folder that you may write to."
    else:
        yield True, f"{home}, private", None


def _terraform(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    from poolform.core.terraform.locate import locate

    binary = locate(session.settings)
    yield True, f"{binary.title} ({binary.program[-1]})", None
    named = os.environ.get("TF_CLI_CONFIG_FILE")
    if named and not os.path.exists(named):  # noqa: PTH110 - the user's own text, as it is
        hint = "Correct it, or unset it."
        yield False, f"TF_CLI_CONFIG_FILE is {named}, which does not exist.", hint


def _database(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    from poolform.core.store import pools

    with session.store.read() as tx:
        count = len(pools.list_all(tx))
    yield True, f"{session.store.name}, {counted(count, 'work pool')}", None


def _plugins(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    problems = session.loaded.all_problems()
    slugs = ", ".join(sorted(session.loaded.pool_types))
    yield True, f"{len(session.loaded.plugins)} loaded; pool types: {slugs}", None
    for problem in problems:
        yield False, problem.message, problem.hint


def _credentials(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    """Try whether the blocks can be read."""
    from poolform.core.store import blocks

    with session.store.read() as tx:
        rows = blocks.list_all(tx)
    for row in rows:
        session.blocks.load(row.type, row.name)
    yield True, f"{counted(len(rows), 'block')}, all readable", None


def _pools(session: Session) -> Iterator[tuple[bool, str, str | None]]:
    """Try of every pool what its launcher needs: a login, a folder, an engine."""
    from poolform.core.pools import credentials
    from poolform.core.store import pools

    with session.store.read() as tx:
        every = pools.list_all(tx)
    for pool in every:
        registered = session.loaded.pool_types.get(pool.type)
        finding = credentials.check(registered, pool, session.blocks)
        if finding is not None:
            ok = finding.verdict != "missing"
            yield ok, f"{pool.name}: {finding.message or 'usable'}", finding.hint
