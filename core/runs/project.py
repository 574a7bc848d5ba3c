"""Project files: work pools and deployments, as a team writes them down. `poolform.yaml`, or a `prefect.yaml` as it is.

Each thing that is wrong is named with its line. What is in a prefect.yaml and has no meaning here (steps that build or
push, triggers) is named too: left out in silence, it would be missed in production.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from poolform.core.errors import InvalidValues, NotFound, PoolformError, UsageError, nearest
from poolform.core.runs import schedules, steps
from poolform.core.runs.positions import filled_in, line_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Json
    from poolform.core.runs.positions import Lines, Where
    from poolform.core.runs.schedules import Schedule

NAMES = ("poolform.yaml", "poolform.yml", "prefect.yaml")
"""Where a project file is looked for, the first that is there."""

_OWN_DIRECTORY = "prefect.deployments.steps.set_working_directory"
_CLONE = "prefect.deployments.steps.git_clone"
_FORBID = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)

_Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""YAML reads `version: 1.0` as a number."""
_Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value or ())]
_Values = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]


def _nothing(value: Any) -> None:
    if value:
        raise ValueError("it has no meaning here; take it out")


_Nothing = Annotated[None, BeforeValidator(_nothing)]
"""A key of prefect.yaml that may be there as long as it says nothing."""


class Queue(BaseModel):
    """A work queue of a pool."""

    model_config = _FORBID
    name: str
    priority: int = Field(1, ge=1)
    concurrency_limit: int | None = Field(None, ge=0)
    paused: bool = False


class Pool(BaseModel):
    """A work pool. `base_job_template` is a file beside the project's."""

    model_config = _FORBID
    name: str
    type: str
    variables: _Values = Field(default_factory=dict)
    base_job_template: str | None = None
    concurrency_limit: int | None = Field(None, ge=0)
    paused: bool = False
    work_queues: tuple[Queue, ...] = ()
    backend: str = "local"
    backend_config: dict[str, _Text] = Field(default_factory=dict)


class PoolOf(BaseModel):
    """The pool of a deployment."""

    model_config = _FORBID
    name: str
    work_queue_name: str | None = None
    job_variables: _Values = Field(default_factory=dict)


class Limit(BaseModel):
    """How many runs of a deployment there are at a time, and what becomes of one more."""

    model_config = _FORBID
    limit: int = Field(ge=0)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] | None = None


class Code(BaseModel):
    """Where code is, if not here: a repository, a bucket, a folder; `image` or `inline`."""

    model_config = _FORBID
    url: str
    branch: str | None = None
    commit: _Text | None = None
    submodules: bool = False
    credentials: str | None = None


class Entry(BaseModel):
    """A deployment."""

    model_config = _FORBID
    name: _Text
    entrypoint: str
    work_pool: Annotated[PoolOf, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]
    description: str | None = None
    version: _Text | None = None
    tags: _Words = ()
    parameters: _Values = Field(default_factory=dict)
    schedules: tuple[Any, ...] = ()
    paused: bool | None = None
    concurrency_limit: Annotated[
        Limit | None, BeforeValidator(lambda value: {"limit": value} if isinstance(value, int) else value)
    ] = None
    enforce_parameter_schema: bool | None = None
    source: Annotated[Code | None, BeforeValidator(lambda v: {"url": v} if isinstance(v, str) else v)] = None
    pull: Any = None
    triggers: _Nothing = None
    sla: _Nothing = None
    flow_name: str | None = None
    version_type: str | None = None

    @field_validator("schedules", mode="before")
    @classmethod
    def _read(cls, given: Any) -> tuple[Schedule, ...]:
        if not isinstance(given, list | tuple | None):
            raise ValueError(f"{given!r} is no list of schedules")  # noqa: TRY004 - for pydantic
        return tuple(read for one in given or () if (read := _schedule(one)) is not None)

    @field_validator("pull")
    @classmethod
    def _understood(cls, given: Any) -> Any:
        pulled(given)
        return given


class Document(BaseModel):
    """A whole file."""

    model_config = _FORBID
    name: _Text | None = None
    prefect_version: Any = Field(None, alias="prefect-version")
    work_pools: tuple[Pool, ...] = ()
    deployments: tuple[Entry, ...] = ()
    pull: Any = None
    definitions: Any = None

    @field_validator("work_pools", "deployments", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        return () if given is None else given

    @field_validator("pull")
    @classmethod
    def _understood(cls, given: Any) -> Any:
        pulled(given)
        return given


@dataclass(frozen=True)
class Project:
    """A project file that has been read. `name` owns its deployments: only these are ever pruned."""

    file: Path
    name: str
    pools: Sequence[Pool]
    deployments: Sequence[Entry]
    pull: Json
    lines: Mapping[Where, int]

    def chosen(self, names: Sequence[str]) -> list[int]:
        """Return where the deployments of these names (NAME, or FLOW/NAME) are. Raises NotFound."""
        known = [entry.name for entry in self.deployments]
        found = []
        for name in names:
            matching = [index for index, one in enumerate(known) if one in (name, name.partition("/")[2])]
            if not matching:
                raise NotFound(f"{self.file.name} has no deployment {name}.", hint=nearest(name, known))
            found += matching
        return sorted(set(found))

    def at(self, *path: str | int) -> str:
        """Return `FILE line N` for a path in the document, or for what it is in."""
        return f"{self.file.name} line {line_of(self.lines, path)}"


def find(folder: Path) -> Path:
    """Return the project file of a folder. Raises NotFound."""
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    raise NotFound(f"There is no project file in {folder}.", hint="Write one: poolform init, or name it: --file FILE")


def read(file: Path) -> Project:
    """Read a project file. Raises UsageError where it is no YAML, InvalidValues naming each mistake and its line."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"The project file {file} cannot be read: {reason}.") from exc
    data, lines, found = parse(file, text)
    data, unrun, ids = steps.taken_out(data, lines)
    found += unrun
    is_wellformed = len(found) == len(unrun)
    data = filled_in(data, lines, found, steps=ids)
    document = None
    if is_wellformed:
        data, lines = _tidied(data, lines)
        try:
            document = Document.model_validate(data)
        except ValidationError as exc:
            told = {line for line, _ in found}  # what a template would have become is not known, and so not wrong
            found += [problem for error in exc.errors() if (problem := _problem(error, lines))[0] not in told]
    if document is not None:
        found += _twice(document, lines)
    if found or document is None:
        raise InvalidValues(f"{file.name} cannot be used:", [text for _, text in sorted(found)])
    name = document.name or file.absolute().parent.name
    return Project(file, name, document.work_pools, document.deployments, document.pull, lines)


def pulled(steps: Any) -> tuple[Code | None, Path | None]:
    """Return what Prefect's pull steps amount to: a repository, or a folder, or neither. Raises ValueError."""
    repository: Code | None = None
    folder: Path | None = None
    steps = [steps] if isinstance(steps, dict) else steps or ()
    if not isinstance(steps, list | tuple):
        raise ValueError(f"{steps!r} is no list of steps")  # noqa: TRY004 - for pydantic
    for step in steps:
        (name, given), *more = step.items() if isinstance(step, dict) and step else (("", None),)
        given = given or {}
        if not isinstance(given, dict):
            raise ValueError(f"the step {name} takes keys and values, not {given!r}")  # noqa: TRY004
        if name == _CLONE and not more:
            known = {"repository", "branch", "commit_sha", "include_submodules", "credentials", "id", "requires"}
            if unknown := sorted(set(given) - known):
                raise ValueError(f"git_clone with {unknown[0]} is not supported; credentials is the name of a block")
            if not given.get("repository"):
                raise ValueError("git_clone without repository")
            repository = Code(
                url=given["repository"],
                branch=given.get("branch"),
                commit=given.get("commit_sha"),
                submodules=given.get("include_submodules", False),
                credentials=given.get("credentials"),
            )
        elif name == _OWN_DIRECTORY and not more:
            folder = Path(str(given.get("directory") or "."))
        else:
            instead = "; write source: URL in its place, such as s3://BUCKET/FOLDER" if ".pull_from_" in name else ""
            raise ValueError(
                f"the step {name or step!r} is not supported; git_clone and set_working_directory are{instead}"
            )
    return repository, folder


def _schedule(given: Any) -> Schedule | None:
    """Return a schedule from its keys; None for one that says nothing. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError(f"{given!r} is no schedule: write cron, interval or rrule")  # noqa: TRY004 - for pydantic
    inner = given.get("schedule")
    keys = {**(inner if isinstance(inner, dict) else {}), **given}
    keys = {key: value for key, value in keys.items() if value is not None and key not in ("schedule", "id")}
    if not keys:
        return None
    try:
        return schedules.read(keys)
    except PoolformError as exc:
        raise ValueError(f"{exc.message}{f' {exc.hint}' if exc.hint else ''}") from None


def _tidied(data: Any, lines: Lines) -> tuple[Any, Lines]:
    """Return a document, and its lines, in which a deployment's `schedule` (Prefect's older way) is among `schedules`.

    A deployment that says nothing, as in the file that `prefect init` writes, is left out.
    """
    if not isinstance(data.get("deployments"), list):
        return data, lines
    entries: list[Any] = []
    moved = {where: line for where, line in lines.items() if where[:1] != ("deployments",) or len(where) == 1}
    for index, entry in enumerate(data["deployments"]):
        tidied = entry
        if isinstance(entry, dict):
            if (entry.get("name"), entry.get("entrypoint")) == (None, None):
                continue
            if "schedule" in entry:
                tidied = {key: value for key, value in entry.items() if key != "schedule"}
                among = entry.get("schedules") or []
                tidied["schedules"] = [*among, entry["schedule"] or {}] if isinstance(among, list) else among
        for where, line in lines.items():
            if where[:2] == ("deployments", index):
                moved[("deployments", len(entries), *where[2:])] = line
                if where[2:] == ("schedule",):
                    moved.setdefault(("deployments", len(entries), "schedules"), line)
        entries.append(tidied)
    return {**data, "deployments": entries}, moved


def _twice(document: Document, lines: Lines) -> Iterator[tuple[int, str]]:
    named: tuple[tuple[str, list[tuple[str, ...]]], ...] = (
        ("work_pools", [(pool.name,) for pool in document.work_pools]),
        ("deployments", [(entry.entrypoint, entry.name) for entry in document.deployments]),
    )
    for part, names in named:
        for index, name in enumerate(names):
            if name in names[:index]:
                line = line_of(lines, (part, index))
                yield line, f"line {line}: {name[-1]} is there twice."


def _problem(error: Any, lines: Lines) -> tuple[int, str]:
    path: Where = tuple(error["loc"])
    line = line_of(lines, path)
    name = ".".join(str(part) for part in path if isinstance(part, str))
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    if error["type"] == "extra_forbidden":
        model = {0: Document, 2: Entry if path[0] == "deployments" else Pool}.get(len(path) - 1)
        known = [field.alias or key for key, field in model.model_fields.items()] if model else []
        message = f"there is no such key. {nearest(str(path[-1]), known)}" if known else "there is no such key"
    elif error["type"] == "missing":
        message = "it is required and missing"
    return line, f"line {line}: {name}: {message}".rstrip(".") + ("" if message.endswith("?") else ".")
