"""The pool type `kubernetes`: what it is made of, who may make it, and as whom jobs are launched."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from poolform.core.pools.contract import Connection, Finding, PoolType, Provider
from poolform.provisioners.kubernetes import cleanup, identity, kubeconfig, orphans
from poolform.provisioners.kubernetes.job_variables import JOB_CONFIGURATION, KubernetesJobVariables
from poolform.provisioners.kubernetes.launcher import KubernetesLauncher
from poolform.provisioners.kubernetes.permissions import IMPERSONATE, LAUNCHER, needed
from poolform.provisioners.kubernetes.session import ApiError, Cluster, Unreachable
from poolform.provisioners.kubernetes.variables import KubernetesOutputs, KubernetesVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential, Identity, Orphan
    from poolform.core.runs.launchers import Json, Launcher

# In the order in which a plan tells it.
NOUNS: Mapping[str, str] = {
    "kubernetes_namespace_v1": "a namespace {metadata[0][name]}",
    "kubernetes_service_account_v1.jobs": "a service account {metadata[0][name]}, which running flows are",
    "kubernetes_service_account_v1.launcher": "a service account {metadata[0][name]}, which launches jobs",
    "kubernetes_role_v1": "a role {metadata[0][name]}: launching jobs in this namespace, and nothing else",
    "kubernetes_role_binding_v1": "a binding of the role {metadata[0][name]} to the launcher",
    "kubernetes_network_policy_v1": "a network policy {metadata[0][name]}: nothing can connect to a job",
    "kubernetes_resource_quota_v1": "a quota {metadata[0][name]} for all jobs together",
    "kubernetes_limit_range_v1": "what one job may use, and what it gets where it does not say",
}


class Kubernetes(PoolType):
    """Jobs in a namespace of a cluster, which get all they need in their environment, so that nothing has to listen."""

    slug = "kubernetes"
    title = "Kubernetes"
    description = "Jobs in a namespace of a cluster, launched from anywhere; they need no route back."
    variables = KubernetesVariables
    outputs = KubernetesOutputs
    job_variables = KubernetesJobVariables
    job_configuration = JOB_CONFIGURATION
    providers: ClassVar[Mapping[str, Provider]] = {"kubernetes": Provider("hashicorp/kubernetes", "~> 3.4")}
    extra = "poolform[kubernetes]"
    templates = files("poolform.templates") / "kubernetes"
    nouns = NOUNS

    def discover(self) -> Mapping[str, Json]:
        """Return the kubeconfig that kubectl would use, and its current context."""
        where = kubeconfig.offered()
        context = kubeconfig.current(kubeconfig.paths(where))
        return {"kubeconfig": where, "context": context} if context else {}

    def identity(self, variables: KubernetesVariables) -> Identity:
        """Return who the context is to the cluster."""
        return identity.identify(variables)

    def preflight(self, variables: KubernetesVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Ask the cluster about each permission that these resource types and launching need."""
        permissions = set(needed(resources))
        permissions.update(IMPERSONATE if variables.credentials == "impersonate" else LAUNCHER)
        return identity.check(variables, permissions)

    def connect(self, variables: KubernetesVariables, outputs: KubernetesOutputs) -> Connection:
        """Say where and as whom jobs run."""
        return Connection(
            settings={
                "kubeconfig": variables.kubeconfig,
                "context": variables.context,
                "credentials": variables.credentials,
                "labels": variables.labels,
                "pool_id": outputs.prefix.rsplit("-", 1)[-1],
                **outputs.model_dump(),
            },
            job_defaults={"namespace": outputs.namespace, "service_account_name": outputs.service_account},
            image_namespace=variables.registry,
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> Launcher:
        """Return a launcher that acts as the pool's launcher identity."""
        return KubernetesLauncher(Cluster.of_launcher(connection.settings), connection.settings)

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Ask the cluster, as the launcher, whether it may launch; and list its jobs once."""
        settings = connection.settings
        subject = f"service account {settings['launcher']}, impersonated by the context {settings['context']}"
        if settings["credentials"] == "ambient":
            subject = f"context {settings['context']}" if settings["context"] else "this pod's service account"
        cluster = Cluster.of_launcher(settings)
        try:
            cluster.get(f"/apis/batch/v1/namespaces/{settings['namespace']}/jobs", limit="1")
            create = next(permission for permission in LAUNCHER if str(permission) == "create jobs.batch")
            answer = identity.may(cluster, settings["namespace"], create)
        except ApiError as exc:
            return Finding(subject, "missing" if exc.is_final else "unknown", str(exc))
        except Unreachable as exc:
            return Finding(subject, "unknown", str(exc))
        finally:
            cluster.close()
        return Finding(subject, answer.verdict, answer.message and f"{answer.subject}: {answer.message}", answer.hint)

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop the pool's jobs, and delete them and their secrets."""
        cleanup.disconnect(connection)

    def orphans(self, variables: KubernetesVariables, pool_id: str, known: Sequence[str]) -> Iterable[Orphan]:
        """Find what an interrupted apply made and the state missed."""
        return [orphan for orphan in orphans.find(variables, pool_id) if orphan.address not in known]
