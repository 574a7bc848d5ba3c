"""The command line's entry: `poolform NOUN VERB`. Nouns load when they are asked for, plugins when they must."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from poolform.cli.plain_help import in_plain_text
from poolform.cli.session import Session
from poolform.cli.view import say, show
from poolform.core.errors import Declined, Interrupted, PoolformError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each in a module of its own that has a Typer called `app`.
_NOUNS: Mapping[str, str] = {
    "quickstart": "poolform.cli.quickstart",
    "work-pool": "poolform.cli.work_pool",
    "init": "poolform.cli.init",
    "apply": "poolform.cli.apply",
    "deploy": "poolform.cli.deploy",
    "deployment": "poolform.cli.deployment",
    "flow-run": "poolform.cli.flow_run",
    "work-queue": "poolform.cli.work_queue",
    "worker": "poolform.cli.worker",
    "block": "poolform.cli.block",
    "plugin": "poolform.cli.plugin",
    "doctor": "poolform.cli.doctor",
    "version": "poolform.cli.version",
}
_SIGPIPE = 128 + 13
"""What a shell says of a program whose reader went away, which is no failure of the program's own."""
_MACHINES_FAULT = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.EACCES,
}


class Root(TyperGroup):
    """The top-level group: loads a noun when it is used, and turns expected errors into sentences."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return our nouns in the order people meet them, then those of plugins."""
        return [*_NOUNS, *sorted(set(self._from_plugins(ctx)) - set(_NOUNS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a noun's command; a name that is not ours may be a plugin's."""
        module = _NOUNS.get(cmd_name)
        if module is None:
            return self._from_plugins(ctx).get(cmd_name)
        command = typer.main.get_command(import_module(module).app)
        command.name = cmd_name
        return in_plain_text(command)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that was asked for; of one that is not there, name the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except typer.Exit:
            raise
        except Exception as exc:
            if args and hasattr(exc, "message") and "Did you mean" not in exc.message:
                exc.message = f"{exc.message} {nearest(args[0], self.list_commands(ctx))}"
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an expected error becomes its sentence, its hint and its exit code."""
        try:
            return super().invoke(ctx)
        except PoolformError as exc:
            if ctx.params.get("debug"):
                raise
            _say(exc.message, exc.hint, error=not isinstance(exc, Declined | Interrupted))
            raise typer.Exit(exc.exit_code) from exc
        except KeyboardInterrupt as exc:
            _say("Interrupted.", None, error=False)
            raise typer.Exit(130) from exc
        except BrokenPipeError as exc:  # whoever reads has enough, such as `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more when it ends
            raise typer.Exit(_SIGPIPE) from exc
        except (typer.Exit, typer.Abort):
            raise
        except Exception as exc:
            if ctx.params.get("debug") or type(exc).__module__.startswith(("typer", "click")):
                raise
            if isinstance(exc, OSError) and exc.errno in _MACHINES_FAULT:
                where = f" ({exc.filename})" if exc.filename else ""
                _say(f"This machine is in the way: {exc.strerror}{where}.", "Put that right, then run this again.")
            else:
                _say(
                    f"Poolform has a fault: {type(exc).__name__}: {exc}",
                    "Run it again with `poolform --debug …` and report what it prints.",
                )
            raise typer.Exit(1) from exc

    def _from_plugins(self, ctx: Any) -> Mapping[str, Any]:
        """Return the commands that plugins bring; a plugin that fails at it is reported and left out."""
        session = Session.of(ctx)
        extra = typer.Typer()
        for problem in (*session.loaded.problems, *session.loaded.tell("poolform_commands", app=extra)):
            _say(problem.message, problem.hint)
        if not (extra.registered_commands or extra.registered_groups):
            return {}
        extra.callback()(lambda: None)  # one command alone would otherwise not be a group
        commands: Mapping[str, Any] = typer.main.get_group(extra).commands
        return commands


def _say(message: str, hint: str | None, *, error: bool = True) -> None:
    """Say how it ended; what a person wanted, a no or an interrupt, is no error."""
    say(f"Error: {message}" if error else message)
    if hint:
        say(hint)


def _version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it
    if asked:
        from importlib.metadata import version

        show(f"poolform {version('poolform')}")
        raise typer.Exit


app = typer.Typer(
    cls=Root,
    help="Infrastructure for Python flows: provisioned with Terraform, planned in plain words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    ctx: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Load built-in pool types only.")] = False,
) -> None:
    """Set what holds for every command."""
    ctx.obj = Session(debug=debug, no_plugins=no_plugins)


def main() -> None:
    """Run the command line; the process's exit code is design.md's."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What it cannot show is escaped, as on stderr. In the C locale it is not "strict", and fails all the same.
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="poolform")


if __name__ == "__main__":
    main()
