"""The pool type contract: what a plugin writes to teach Poolform a new kind of work pool.

A pool type describes; it never runs Terraform, never writes a file, never asks a person anything. Core renders its
module, plans, shows, confirms and applies; then asks the pool type to turn outputs into a connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from poolform.core.runs.launchers import Json, Launcher

CONTRACT = 1
"""The version of this contract. A pool type states the one that it was written for."""


class Variables(BaseModel):
    """The typed inputs of a pool type's Terraform module; each field becomes a Terraform variable.

    Unknown keys are mistakes, not extras. Never secrets: whatever Terraform is given may end in its state.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Outputs(BaseModel):
    """What the module's outputs.tf gives back; the two must name the same outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobVariables(BaseModel):
    """The typed settings of one job; these four every pool type has. Names as in Prefect's base job templates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, description="Name given to the job; the flow run's name where it is not set.")
    command: str | None = Field(
        None, description="Command the job runs; in most cases this should be left to Poolform."
    )
    env: dict[str, str | None] = Field(default_factory=dict, description="Environment variables of the job.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels put on the job where it can bear them.")


@dataclass(frozen=True)
class Provider:
    """A Terraform provider that the module needs: its source address and a version constraint."""

    source: str
    version: str


@dataclass(frozen=True)
class Identity:
    """Who the caller is to the cloud. Stored with the pool; another account is refused later. None: no such thing."""

    principal: str
    account: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class Finding:
    """One answer of a check: something allowed, missing (stops), or unknown (warns).

    `hint` says who can grant it, or what to do. `is_permission` is false for what nobody grants, such as a folder that
    cannot be written to.
    """

    subject: str
    verdict: Literal["allowed", "missing", "unknown"]
    message: str = ""
    hint: str | None = None
    is_permission: bool = True


@dataclass(frozen=True)
class Review:
    """What a plugin has to say of a plan; an error stops the apply, a warning is shown with the plan.

    `plugin` is filled in by whoever asked.
    """

    severity: Literal["error", "warning"]
    message: str
    address: str | None = None
    plugin: str = ""

    @property
    def sentence(self) -> str:
        """The message, of what it is and whose."""
        return f"{f'{self.address}: ' if self.address else ''}{self.message} ({self.plugin})"


@dataclass(frozen=True)
class Connection:
    """What applying a pool yields: all that a job needs to run there. Plain JSON, stored with the pool.

    `job_defaults` overrides the defaults of job variables. `image_namespace` is where images of this pool are pushed.
    """

    settings: Mapping[str, Json] = field(default_factory=dict)
    job_defaults: Mapping[str, Json] = field(default_factory=dict)
    image_namespace: str | None = None


class Block(BaseModel):
    """A kind of block: a named, typed, encrypted document. Fields that are SecretStr are shown only on request."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    block_type: ClassVar[str]
    title: ClassVar[str] = ""

    @classmethod
    def load(cls, name: str) -> Self:
        """Return the stored block of this type and name, from the database and with the keys of this environment.

        Raises NotFound, SecretsUnreadable, InvalidValues for one that was stored when the type had other fields.
        """
        from poolform.core.blocks import load_as

        return load_as(cls, name)


class Secret(Block):
    """Any one secret, such as a token."""

    block_type: ClassVar[str] = "secret"
    title: ClassVar[str] = "Secret"
    value: SecretStr


@dataclass(frozen=True)
class Credential:
    """A secret document that a pool's launcher authenticates with; kept as an encrypted block.

    `block_type` names the kind; `key_id` is the public name of the key, by which it can be revoked; None where the
    document holds no key of our making.
    """

    block_type: str
    data: Mapping[str, str] = field(repr=False)
    key_id: str | None = None


@dataclass(frozen=True)
class Orphan:
    """An object in the cloud that bears a pool's id but is not in its state: where it belongs, how to import it."""

    address: str
    import_id: str


class PoolType(ABC):
    """A kind of work pool. Subclass it, fill in the class attributes, and return it from `poolform_pool_types`.

    `slug`, `title` and `launcher` are required; everything else has a default. A `slug` is what `--type` takes:
    lower-case words of letters and digits joined by dashes, such as `my-lab`, and maybe a colon and one more word.
    `:push` there says that jobs need no worker near them: whoever reaches the platform launches them. It is for people;
    Poolform does nothing else with such a pool type.

    `templates` is a folder with `main.tf.j2` and `outputs.tf.j2` (any other `*.tf.j2` too), or None for a pool without
    resources, whose `outputs` must then be fillable from nothing. `nouns` gives each resource type a phrase for plans,
    such as "cluster {name}", whose placeholders are attributes of the resource; `TYPE.NAME` gives one resource of the
    module a phrase of its own. A phrase may begin with its own verb: activate, activate-for-good (for what a destroy
    only lets go of), attach, grant. Plans are told in the order of `nouns`. Of `providers`, by their names in the
    module, a pool requires those that its rendered module uses.
    `extra` is what to install where a library is missing that it imports inside its functions: `poolform-lab[cloud]`.
    `job_configuration` is a nested template whose strings may hold `{{ variable }}`; None is one key a job variable.
    What nobody has set is left out of it, except at the top under the variable's own name: there it is None.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str] = ""
    contract: ClassVar[int] = CONTRACT
    revision: ClassVar[int] = 1
    variables: ClassVar[type[Variables]] = Variables
    outputs: ClassVar[type[Outputs]] = Outputs
    job_variables: ClassVar[type[JobVariables]] = JobVariables
    job_configuration: ClassVar[Mapping[str, Json] | None] = None
    providers: ClassVar[Mapping[str, Provider]] = {}
    templates: ClassVar[Traversable | None] = None
    nouns: ClassVar[Mapping[str, str]] = {}
    extra: ClassVar[str | None] = None
    patience: ClassVar[timedelta] = timedelta(minutes=1)
    """How long the platform may take to accept a credential, or a right, that was just made."""

    def discover(self) -> Mapping[str, Json]:
        """Return defaults of variables found in the environment (the active project, region). Cheap; never fails."""
        return {}

    def identity(self, variables: Any) -> Identity | None:
        """Return who the caller is, asking the cloud; None where pools of this type know no accounts."""
        return None

    def preflight(self, variables: Any, resources: Sequence[str]) -> Iterable[Finding]:
        """Check that the caller may manage these resource types, those of the rendered module."""
        return ()

    def connect(self, variables: Any, outputs: Any) -> Connection:
        """Turn what Terraform gave back into a connection. Pure: no calls, equal inputs give equal connections."""
        return Connection()

    @abstractmethod
    def launcher(self, connection: Connection, credential: Credential | None) -> Launcher:
        """Return a launcher for a pool with this connection. Cheap; reaches for the platform only when used."""


@runtime_checkable
class MintsCredentials(Protocol):
    """A pool type that can make keys for its own launcher identity. Called under the pool's lock, after apply."""

    def wants_key(self, variables: Any) -> bool:
        """Say whether these variables ask for a minted key."""

    def issued(self, variables: Any, connection: Connection) -> Sequence[str]:
        """Return the ids of all keys that the launcher identity has now."""

    def mint(self, variables: Any, connection: Connection) -> Credential:
        """Make one key and return it; the only time that it can be read."""

    def revoke(self, variables: Any, connection: Connection, key_id: str) -> None:
        """Delete one key. Gone is fine."""


@runtime_checkable
class ChecksCredentials(Protocol):
    """A pool type that can try whether a pool's credential still works, for `connect` and for `drift`."""

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Use the credential once and say whether the platform took it."""


@runtime_checkable
class Suggests(Protocol):
    """A pool type that can list values to choose a required variable from, when nobody gave one."""

    def suggestions(self, variable: str) -> Sequence[str]:
        """Return values of `variable` that would do here, asking the cloud. Never fails: empty where it can't tell."""


@runtime_checkable
class Disconnects(Protocol):
    """A pool type whose launchers register things outside Terraform, to be cleared before destroy."""

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop jobs and remove what launchers registered. Twice is fine."""


@runtime_checkable
class Moves(Disconnects, Protocol):
    """A pool type whose variables say where jobs keep what they have, so that a pool can come to be elsewhere.

    It does so only while no run is in progress; `disconnect` is called with the connection to the old place, after the
    apply.
    """

    def leaves(self, connection: Connection, variables: Any) -> str | None:
        """Say what is removed where a pool is connected now, if these variables have it elsewhere: "Remove the …"."""


@runtime_checkable
class Migrates(Protocol):
    """A pool type whose variables changed shape between revisions."""

    def migrate(self, revision: int, variables: dict[str, Json]) -> dict[str, Json]:
        """Return stored variables of an older `revision` in today's shape."""


@runtime_checkable
class FindsOrphans(Protocol):
    """A pool type that can find objects which an interrupted apply made and the state missed."""

    def orphans(self, variables: Any, pool_id: str, known: Sequence[str]) -> Iterable[Orphan]:
        """Return objects that bear exactly `pool_id` and whose address is not in `known`."""
