"""Terraform, driven over a workspace. Nothing outside this package knows how.

There is no way to apply without a saved plan: `plan` saves one, `apply` applies that file. Output is read as `-json`
lines, HashiCorp's "Machine-Readable UI"; the human output is not a stable interface.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from poolform.core.errors import Interrupted, NothingToImport, TerraformError
from poolform.core.terraform import process
from poolform.core.terraform.diagnostics import Diagnostic, NeedsInit, error_from
from poolform.core.terraform.plan import NOTHING, read_plan
from poolform.core.terraform.providers import Backend, DataFolder
from poolform.core.terraform.render import imports
from poolform.core.terraform.workspace import IMPORTS_FILE, PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from poolform.core.pools.contract import Orphan
    from poolform.core.runs.launchers import Json
    from poolform.core.settings import Settings
    from poolform.core.terraform.locate import Binary
    from poolform.core.terraform.plan import Plan
    from poolform.core.terraform.render import Module
    from poolform.core.terraform.workspace import Workspace

Phase = Literal["start", "progress", "complete", "errored"]
_TAIL = 12
_LOCK_TIMEOUT = "5s"
_PHASES: Mapping[str, Phase] = {
    "apply_start": "start",
    "apply_progress": "progress",
    "apply_complete": "complete",
    "apply_errored": "errored",
}


@dataclass(frozen=True)
class ResourceEvent:
    """Something happened to one resource during an apply; `elapsed` in seconds since it began."""

    phase: Phase
    address: str
    type: str
    action: str
    elapsed: float = 0.0


class Listener(Protocol):
    """Hears what Terraform is doing, as it does it."""

    def on_resource(self, event: ResourceEvent) -> None:
        """Hear that a resource is being worked on, or done."""

    def on_notice(self, text: str) -> None:
        """Hear a line meant for people: a warning was given, an interrupt is waited for."""


@dataclass
class _Heard:
    """What one command said."""

    verb: str
    listener: Listener
    diagnostics: list[Diagnostic] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    outputs: dict[str, Json] | None = None
    changes: bool | None = None
    """Whether a plan does anything; None until it has said so."""

    def line(self, text: str) -> None:
        event = _event(text)
        if event is None:
            self.plain.append(text)
            return
        kind = event.get("type")
        if kind == "diagnostic":
            diagnostic = Diagnostic.from_event(event)
            self.diagnostics.append(diagnostic)
            if diagnostic.severity == "warning":
                self.listener.on_notice(f"Warning: {diagnostic.sentence()}.")
        elif isinstance(kind, str) and kind in _PHASES:
            hook = event["hook"]
            resource = hook["resource"]
            elapsed = float(hook.get("elapsed_seconds", 0))
            self.listener.on_resource(
                ResourceEvent(_PHASES[kind], resource["addr"], resource["resource_type"], hook["action"], elapsed)
            )
        elif kind == "outputs" and self.verb == "apply":
            self.outputs = {name: output.get("value") for name, output in event["outputs"].items()}
        elif kind == "outputs":
            self.changes = bool(self.changes) or any(out.get("action") != "noop" for out in event["outputs"].values())
        elif kind == "planned_change":
            self.changes = bool(self.changes) or event["change"]["action"] != "noop"
        elif kind == "change_summary":
            counts = [count for count in event["changes"].values() if isinstance(count, int)]
            self.changes = bool(self.changes) or any(counts)


@dataclass(frozen=True)
class Setup:
    """With what Terraform is driven: which one, from which environment, where state is kept, and who listens.

    `inherit` are file descriptors that each command keeps open while it runs, such as a lock's.
    """

    binary: Binary
    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    listener: Listener
    backend: Backend = field(default_factory=Backend)
    inherit: tuple[int, ...] = ()


class Terraform:
    """Terraform over one workspace that holds one module.

    Every method raises TerraformError made of Terraform's own diagnostics, or Interrupted once a command that was
    interrupted has ended by itself.
    """

    def __init__(self, setup: Setup, workspace: Workspace, module: Module) -> None:
        self._setup = setup
        self._workspace = workspace
        self._data = DataFolder(setup.settings, setup.binary, module.providers, setup.backend, workspace)

    def prepare(self, *, seed: str | None = None) -> None:
        """Make the workspace ready to plan: providers installed, backend chosen. Does nothing where that still holds.

        `seed` is the text of a dependency lock file to start from.
        """
        self._data.make_ready(self._init, seed=seed)

    def plan(self, *, destroy: bool = False, adopt: Sequence[Orphan] = ()) -> Plan:
        """Plan, save the plan in the workspace, and return it as read back.

        What is there of `adopt` enters the plan as an import; a cloud's lists show for a while what was deleted.
        """
        while adopt:
            self._workspace.put(IMPORTS_FILE, imports(adopt))
            try:
                return self._plan_and_show(destroy=destroy)
            except NothingToImport as exc:
                remaining = [orphan for orphan in adopt if orphan.address not in exc.addresses]
                if len(remaining) == len(adopt):
                    raise
                adopt = remaining
        self._workspace.drop_imports()
        return self._plan_and_show(destroy=destroy)

    def _plan_and_show(self, *, destroy: bool) -> Plan:
        try:
            heard = self._plan(destroy=destroy)
        except NeedsInit:
            # Somebody cleared a cache, or edited the lock file: put it right once, then mean it.
            self._data.make_ready(self._init, again=True)
            heard = self._plan(destroy=destroy)
        # Reading a plan back starts every provider once more, for the sake of its schema: not for nothing.
        return NOTHING if heard.changes is False else self._read_back()

    def show(self) -> Plan:
        """Read back the saved plan."""
        return read_plan(_document(self._run("show", PLAN_FILE, json=True)))

    def _read_back(self) -> Plan:
        """Read back the plan that was saved a moment ago, by providers whose checksums that has just verified."""
        folder = self._data.verified_folder()
        if folder is None:
            return self.show()
        try:
            heard = self._run("show", f"../{PLAN_FILE}", json=True, folder=folder)
        except TerraformError:
            return self.show()  # it wanted more of the module than its plan, as OpenTofu does for an encrypted one
        return read_plan(_document(heard))

    def apply(self) -> Mapping[str, Json]:
        """Apply the saved plan and nothing else; return the outputs.

        Raises StalePlan when the state moved on. However it ends, Terraform has saved its state and let go of its lock.
        """
        heard = self._run("apply", PLAN_FILE, input="false", json=True, lock_timeout=_LOCK_TIMEOUT)
        return self.outputs() if heard.outputs is None else heard.outputs

    def outputs(self) -> Mapping[str, Json]:
        """Return the outputs in the state."""
        document = _document(self._run("output", json=True))
        return {name: output["value"] for name, output in document.items()}

    def resources(self) -> tuple[str, ...]:
        """Return the addresses of all managed resources in the state, sorted."""
        state = _document(self._run("show", json=True)).get("values") or {}
        return tuple(sorted(_addresses(state.get("root_module", {}))))

    def graph(self) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """Return the addresses of the module's resources, and pairs of one and another that it needs."""
        text = "\n".join(self._run("graph").plain)
        edges = re.findall(r'^\s*"([^"]+)" -> "([^"]+)";', text, re.MULTILINE)
        nodes = re.findall(r'^\s*"([^"]+)" \[', text, re.MULTILINE)
        return tuple(sorted(set(nodes))), tuple(sorted(set(edges)))

    def validate(self) -> tuple[str, ...]:
        """Return what `terraform validate` and `terraform fmt -check` find, a sentence each."""
        document = _document(self._run("validate", json=True, must_succeed=False))
        found = [Diagnostic.from_event({"diagnostic": item}).sentence() for item in document.get("diagnostics", ())]
        unformatted = [name for name in self._run("fmt", check=True, must_succeed=False).plain if name]
        return (*found, *(f"{name} is not laid out as `terraform fmt` would" for name in unformatted))

    def _init(self) -> None:
        backend = self._setup.backend
        settings = dict(backend.settings) or None
        self._run("init", input="false", json=True, reconfigure=not backend.is_local, backend_config=settings)

    def _plan(self, *, destroy: bool) -> _Heard:
        return self._run("plan", input="false", json=True, destroy=destroy, lock_timeout=_LOCK_TIMEOUT, out=PLAN_FILE)

    def _run(
        self, verb: str, *args: str, must_succeed: bool = True, folder: Path | None = None, **flags: object
    ) -> _Heard:
        setup = self._setup
        heard = _Heard(verb, setup.listener)
        command = process.Command(
            process.arguments(setup.binary.program, verb, *args, **flags),
            folder or self._workspace.path,
            self._data.environment(setup.environ),
            setup.inherit,
        )
        ended = process.run(command, heard.line, partial(self._interrupted, verb))
        if ended.interrupted:
            raise Interrupted(f"Interrupted during terraform {verb}, which has stopped in good order.")
        if ended.code != 0 and must_succeed:
            raise self._error(heard)
        return heard

    def _error(self, heard: _Heard) -> TerraformError:
        error = error_from(heard.verb, heard.diagnostics, heard.plain[-_TAIL:])
        placed = any(said.address or said.where for said in heard.diagnostics if said.severity == "error")
        if error.hint is None and not placed:
            error.hint = self._setup.backend.hint  # what is about no resource and no line is about the state
        return error

    def _interrupted(self, verb: str, times: int) -> None:
        if verb != "apply":
            said = ("Interrupted: waiting for Terraform to stop.", "Still waiting for Terraform to stop.")
        else:
            said = (
                "Interrupted: waiting for Terraform to stop and save its state.",
                "Still waiting: killing Terraform now would lose what it has just made.",
            )
        self._setup.listener.on_notice(said[0] if times == 1 else said[1])


def _event(text: str) -> dict[str, Json] | None:
    """Return a line's JSON object if it is one of the machine-readable UI, None for anything else."""
    if not text.startswith('{"@'):
        return None
    try:
        event: dict[str, Json] = json.loads(text)
    except ValueError:
        return None
    return event


def _document(heard: _Heard) -> dict[str, Json]:
    """Return the JSON document that a command printed, past any warning that stands before it."""
    text = "\n".join(heard.plain)
    start = 0 if text.startswith("{") else text.find("\n{") + 1
    try:
        document: dict[str, Json] = json.JSONDecoder().raw_decode(text, start)[0]
    except ValueError as exc:
        raise TerraformError(f"terraform {heard.verb} printed no JSON: {text[:200]!r}.") from exc
    return document


def _addresses(module: Mapping[str, Json]) -> Iterator[str]:
    for resource in module.get("resources", ()):
        if resource["mode"] == "managed":
            yield resource["address"]
    children: Sequence[Mapping[str, Json]] = module.get("child_modules", ())
    for child in children:
        yield from _addresses(child)
