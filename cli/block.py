"""`poolform block`: named, typed, encrypted documents."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import block_names
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, can_ask, fields, iso, say, show_json, table, when
from poolform.core.errors import counted

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(
    help="Blocks: credentials and other secrets, encrypted at rest.", no_args_is_help=True, add_completion=False
)

Block = Annotated[
    str, typer.Argument(metavar="TYPE/NAME", help="The block.", show_default=False, autocompletion=block_names)
]
_HIDDEN = "********"


@app.command("ls")
def ls(ctx: typer.Context, output: Output = Format.text) -> None:
    """List blocks; what they hold is not shown."""
    from poolform.core.store import blocks

    with Session.of(ctx).store.read() as tx:
        found = blocks.list_all(tx)
    if output is Format.json:
        show_json(
            [{"type": b.type, "name": b.name, "key_id": b.key_id, "updated_at": iso(b.updated_at)} for b in found]
        )
        return
    rows = [(b.type, b.name, b.key_id, when(b.updated_at)) for b in found]
    nothing = "There are no blocks yet. Make one: poolform block create TYPE/NAME"
    table(("TYPE", "NAME", "KEY", "UPDATED"), rows, empty=nothing)


@app.command("types")
def types(ctx: typer.Context, output: Output = Format.text) -> None:
    """List the block types that can be made here, with their fields."""
    found = Session.of(ctx).plugins.block_types
    described = [
        {"type": name, "title": model.title, "fields": list(model.model_fields)}
        for name, model in sorted(found.items())
    ]
    if output is Format.json:
        show_json(described)
        return
    rows = [(d["type"], d["title"], ", ".join(d["fields"])) for d in described]
    table(("TYPE", "TITLE", "FIELDS"), rows, empty="There are no block types.")


@app.command("create")
def create(
    ctx: typer.Context,
    block: Block,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="JSON object with its fields; - for standard input.")
    ] = None,
) -> None:
    """Create or replace a block. Its fields come from a file, or are asked for without being shown."""
    from poolform.core.blocks import Document, validated
    from poolform.core.errors import UsageError

    session = Session.of(ctx)
    block_type, name = _split(block)
    types_ = session.plugins.block_types
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
            data: Any = json.loads(text)
        except OSError as exc:
            raise UsageError(f"{file} cannot be read: {exc.strerror}.") from exc
        except ValueError as exc:
            raise UsageError(f"{file} is not JSON: {type(exc).__name__}.") from None
        if not isinstance(data, dict):
            raise UsageError(f"{file} holds no JSON object.")
    elif can_ask() and block_type in types_:
        data = _asked(types_[block_type])
    elif block_type in types_:
        names = ", ".join(f'"{field}": …' for field in types_[block_type].model_fields)
        raise UsageError(
            f"There is no terminal to ask on for what the block {block} holds.",
            hint=f"Give it as JSON, {{{names}}}, in a file or on standard input: "
            f"poolform block create {block} --file -",
        )
    else:
        data = {}
    session.blocks.save(Document(block_type, name, validated(types_, block_type, data)))
    say(f"Saved the block {block_type}/{name}.")


@app.command("inspect")
def inspect(
    ctx: typer.Context,
    block: Block,
    *,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the secrets in clear.")] = False,
    output: Output = Format.text,
) -> None:
    """Show a block; its values only with --reveal."""
    block_type, name = _split(block)
    document = Session.of(ctx).blocks.load(block_type, name)
    data = dict(document.data) if reveal else dict.fromkeys(document.data, _HIDDEN)
    if output is Format.json:
        show_json({"type": block_type, "name": name, "key_id": document.key_id, "data": data})
    else:
        fields({"type": block_type, "name": name, "key": document.key_id, **data})


@app.command("delete")
def delete(
    ctx: typer.Context, block: Block, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a block that no work pool uses."""
    from poolform.cli.proposal import confirm
    from poolform.core.errors import NotFound, NotReady
    from poolform.core.store import blocks, pools

    session = Session.of(ctx)
    block_type, name = _split(block)
    with session.store.read() as tx:
        blocks.get(tx, block_type, name)
        users = [pool.name for pool in pools.list_all(tx) if pool.credential_block == f"{block_type}/{name}"]
    if users:
        raise NotReady(
            f"The block {block} holds the credentials of the work pool {users[0]}.",
            hint=f"It goes with the pool's infrastructure: poolform work-pool deprovision {users[0]}",
        )
    confirm(f"Delete the block {block}?", yes=yes)
    if not session.blocks.delete(block_type, name):
        raise NotFound(f"There is no block {block}.", hint="See poolform block ls.")
    say(f"Deleted the block {block}.")


@app.command("rotate")
def rotate(ctx: typer.Context, block: Block) -> None:
    """Make a new key for the work pool whose credentials a block holds; once it works, revoke the old one."""
    from poolform.core.errors import NotReady
    from poolform.core.pools.credentials import rotate as rotate_credential
    from poolform.core.store import blocks, pools

    session = Session.of(ctx)
    block_type, name = _split(block)
    with session.store.read() as tx:
        blocks.get(tx, block_type, name)
        users = [pool for pool in pools.list_all(tx) if pool.credential_block == f"{block_type}/{name}"]
    if not users:
        raise NotReady(
            f"The block {block} does not hold a key that Poolform made, so it cannot make another one.",
            hint=f"Replace what it holds: poolform block create {block}",
        )
    with session.working() as context:
        pool = rotate_credential(context, users[0])
    say(f"The launcher of the work pool {pool.name} has a new key; the old one is revoked.", "green")


@app.command("rotate-key")
def rotate_key(ctx: typer.Context) -> None:
    """Encrypt every block with a new key and forget the old one; `block rotate` is for the keys of clouds."""
    count = Session.of(ctx).blocks.rotate_key()
    say(f"Encrypted {counted(count, 'block')} with a new key.")


def _asked(model: type[BaseModel]) -> dict[str, str]:
    """Ask for the fields of a block; what is optional may be left out with an empty answer."""
    from poolform.cli.proposal import ask

    answers = {
        name: ask(name if field.is_required() else f"{name} (optional)", hidden=True, optional=not field.is_required())
        for name, field in model.model_fields.items()
    }
    return {name: answer for name, answer in answers.items() if answer}


def _split(block: str) -> tuple[str, str]:
    from poolform.core.errors import UsageError

    block_type, slash, name = block.partition("/")
    if not (slash and block_type and name):
        raise UsageError(f"{block!r} is not of the form TYPE/NAME.", hint="See poolform block ls and block types.")
    return block_type, name
