"""The pool types `cloud-run:push` and `cloud-run`: what they are made of, and how their keys come and go."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from poolform.core.pools.contract import Connection, PoolType, Provider
from poolform.provisioners.cloud_run import access, cleanup, discovery, identity, keys, orphans, registry, session
from poolform.provisioners.cloud_run.job_variables import JOB_CONFIGURATION, CloudRunJobVariables
from poolform.provisioners.cloud_run.launcher import CloudRunLauncher
from poolform.provisioners.cloud_run.nouns import NOUNS
from poolform.provisioners.cloud_run.permissions import KEYS, needed
from poolform.provisioners.cloud_run.variables import CloudRunOutputs, CloudRunVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential, Finding, Identity, Orphan
    from poolform.core.runs.docker import RegistryLogin
    from poolform.core.runs.launchers import Json, Launcher


class CloudRunPush(PoolType):
    """Cloud Run jobs that get all they need in their environment, so that nothing has to listen."""

    slug = "cloud-run:push"
    title = "Google Cloud Run, push"
    description = "Cloud Run jobs launched from anywhere; they need no route back."
    variables = CloudRunVariables
    outputs = CloudRunOutputs
    job_variables = CloudRunJobVariables
    job_configuration = JOB_CONFIGURATION
    providers: ClassVar[Mapping[str, Provider]] = {"google": Provider("hashicorp/google", "~> 8.7")}
    extra = "poolform[gcp]"
    templates = files("poolform.templates") / "cloud_run"
    nouns = NOUNS
    # Rights that were just granted: two minutes as a rule, seven and more at times.
    # https://cloud.google.com/iam/docs/access-change-propagation
    patience = timedelta(minutes=7)

    def discover(self) -> Mapping[str, Json]:
        """Return the project and the region that Google's own tools would use."""
        return discovery.discover()

    def suggestions(self, variable: str) -> Sequence[str]:
        """Return the projects that the caller may see."""
        return identity.projects() if variable == "project" else ()

    def identity(self, variables: CloudRunVariables) -> Identity:
        """Return who the environment's Google credentials belong to; the project is the account."""
        return identity.identify(variables.project, variables.region)

    def preflight(self, variables: CloudRunVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Ask Resource Manager about each permission that these resource types and the launcher's key need."""
        wants_key = self.wants_key(variables)
        permissions = {*needed(resources), *(KEYS if wants_key else ())}
        return identity.check(variables.project, permissions, wants_key=wants_key)

    def connect(self, variables: CloudRunVariables, outputs: CloudRunOutputs) -> Connection:
        """Say where and as whom jobs run, and where their images go."""
        pool_id = outputs.prefix.rsplit("-", 1)[-1]
        defaults: dict[str, Json] = {
            "service_account_name": outputs.runtime_email,
            "vpc_connector_name": outputs.vpc_connector,
            "vpc_egress": variables.vpc_egress,
        }
        if variables.subnet is not None:
            defaults |= {"network": variables.network, "subnetwork": variables.subnet}
        return Connection(
            settings={
                "project": variables.project,
                "region": variables.region,
                "credentials": variables.credentials,
                "labels": {**variables.labels, "poolform-pool-id": pool_id},
                **outputs.model_dump(),
            },
            job_defaults=defaults,
            image_namespace=outputs.repository_url,
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> Launcher:
        """Return a launcher that acts as the pool's launcher identity."""
        return CloudRunLauncher(session.Google.of_launcher(connection.settings, credential), connection.settings)

    def wants_key(self, variables: CloudRunVariables) -> bool:
        """Say whether the pool is to have a key."""
        return variables.credentials == "key"

    def issued(self, variables: CloudRunVariables, connection: Connection) -> Sequence[str]:
        """Return the ids of the keys of the launcher's account."""
        return keys.issued(connection)

    def mint(self, variables: CloudRunVariables, connection: Connection) -> Credential:
        """Make a key of the launcher's account."""
        return keys.mint(connection)

    def revoke(self, variables: CloudRunVariables, connection: Connection, key_id: str) -> None:
        """Delete a key of the launcher's account."""
        keys.revoke(connection, key_id)

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Ask, as the launcher, what it may do."""
        return access.authenticate(connection, credential)

    def image_reference(self, connection: Connection, name: str, tag: str) -> str:
        """Return an image's name in the pool's repository."""
        return registry.reference(connection, name, tag)

    def registry_login(self, connection: Connection) -> RegistryLogin:
        """Return a login for the pool's repository."""
        return registry.login(connection)

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop and delete the pool's jobs, and their secrets."""
        cleanup.disconnect(connection, credential)

    def orphans(self, variables: CloudRunVariables, pool_id: str, known: Sequence[str]) -> Iterable[Orphan]:
        """Find what an interrupted apply made and the state missed."""
        return [orphan for orphan in orphans.find(variables, pool_id) if orphan.address not in known]


class CloudRun(CloudRunPush):
    """The same infrastructure, for people who keep a worker near it."""

    slug = "cloud-run"
    title = "Google Cloud Run"
    description = "Cloud Run jobs launched by a worker that runs near the pool."
