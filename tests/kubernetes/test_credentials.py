"""Who may: contexts, the caller's identity, the permissions that preflight asks about, and acting as the launcher."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from clouds.faults import Fault
from clouds.kubernetes import ApiError
from clouds.kubernetes.server import serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection
from poolform.provisioners.kubernetes.permissions import BY_TYPE, HANDING_ON, IMPERSONATE, LAUNCHER, needed, rules
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.session import ApiError as ApiErrorOfOurs
from poolform.provisioners.kubernetes.session import Cluster
from poolform.provisioners.kubernetes.variables import KubernetesVariables

TYPES = sorted(BY_TYPE)
EVERYTHING = {*needed(TYPES), *LAUNCHER, *IMPERSONATE}
UID = "5eed0000-0000-4000-8000-0000c1057e50"


@pytest.fixture
def caller(cluster, tmp_path):
    """Become somebody with these permissions: variables of theirs."""
    made = []

    def make(permissions=(), *, namespace=None, **variables):
        made.append(cluster.user(f"somebody-{len(made)}", *rules(permissions), namespace=namespace))
        path = cluster.kubeconfig(tmp_path / f"kubeconfig-{len(made)}", made[-1])
        return KubernetesVariables(kubeconfig=str(path), context="lab", **variables)

    yield make
    cluster.faults.clear()
    for user in made:
        cluster.people.forget(user)


def verdicts(findings):
    return {finding.subject: finding.verdict for finding in findings}


# Contexts


def test_the_current_context_is_offered(cluster, tmp_path, monkeypatch):
    path = cluster.kubeconfig(tmp_path / "kubeconfig")
    other = tmp_path / "other"
    other.write_text(json.dumps({"current-context": "second", "contexts": [{"name": "second"}]}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert Kubernetes().discover() == {"kubeconfig": str(path), "context": "lab"}
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{other}:{path}")
    assert Kubernetes().discover()["context"] == "second"
    for text in ("[not yaml", "just text", ""):
        path.write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(path))
        assert Kubernetes().discover() == {}


def test_a_context_that_is_not_there_is_answered_with_those_that_are(caller):
    variables = caller().model_copy(update={"context": "lap"})
    with pytest.raises(PoolformError, match="has no context called lap; it has: lab, nowhere") as failed:
        Kubernetes().identity(variables)
    assert "--set context=NAME" in failed.value.hint


def test_several_kubeconfigs_are_one(caller, tmp_path):
    variables = caller()
    other = tmp_path / "other"
    other.write_text(json.dumps({"contexts": [{"name": "second", "context": {"cluster": "c", "user": "u"}}]}))
    both = variables.model_copy(update={"kubeconfig": f"{other}:{variables.kubeconfig}"})
    assert Kubernetes().identity(both).account is None


def test_elsewhere_the_context_is_taken_from_where_kubectl_looks(caller, monkeypatch, tmp_path):
    """Whoever provisioned had the file at another place than the worker has it."""
    variables = caller()
    monkeypatch.setenv("KUBECONFIG", variables.kubeconfig)
    moved = variables.model_copy(update={"kubeconfig": str(tmp_path / "not-here")})
    assert Kubernetes().identity(moved).principal.startswith("somebody-0 at http://127.0.0.1:")


def test_without_a_kubeconfig_it_is_said_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(PoolformError, match="no kubeconfig at /nowhere, and the pool needs its context lab"):
        Kubernetes().identity(KubernetesVariables(kubeconfig="/nowhere", context="lab"))
    missing = "no kubeconfig at /nowhere, and Poolform does not run in a Kubernetes cluster"
    with pytest.raises(PoolformError, match=missing) as failed:
        Kubernetes().identity(KubernetesVariables(kubeconfig="/nowhere"))
    assert "--set kubeconfig=PATH --set context=NAME" in failed.value.hint


def test_without_a_context_those_of_the_kubeconfig_are_offered(monkeypatch, cluster, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(PoolformError, match="No context is named") as failed:
        Kubernetes().identity(KubernetesVariables(kubeconfig=str(cluster.kubeconfig(tmp_path / "kubeconfig"))))
    assert failed.value.hint.endswith("--set context=NAME (lab, nowhere)")


def test_credential_plugins_of_the_kubeconfig_are_asked(caller, cluster, tmp_path):
    """As `aws eks get-token` is."""
    variables = caller()
    token = json.loads((tmp_path / "kubeconfig-1").read_text())["users"][0]["user"]["token"]
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "interactiveMode": "Never",
        "args": ["-c", f"print({json.dumps(answer)!r})"],
    }  # fmt: skip
    document = json.loads((tmp_path / "kubeconfig-1").read_text())
    document["users"][0]["user"] = {"exec": plugin}
    (tmp_path / "kubeconfig-1").write_text(json.dumps(document))
    assert Kubernetes().identity(variables).principal == f"somebody-0 at {cluster.url}"


@pytest.fixture
def in_a_pod(cluster, monkeypatch, tmp_path):
    """This process runs in the cluster, as a service account: its address, and what a kubelet mounts."""
    import kubernetes.config.incluster_config as mounted

    certificate, token = certified(tmp_path), tmp_path / "token"
    user = cluster.user("system:serviceaccount:tools:worker", *rules(LAUNCHER))
    token.write_text(user.token)
    with serving(cluster.api, certificate) as url:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", url.rsplit(":", 1)[1])
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
        monkeypatch.setattr(mounted, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(mounted, "SERVICE_CERT_FILENAME", str(certificate))
        yield url
    cluster.people.forget(user)


def certified(folder):
    """A self-signed certificate for 127.0.0.1, with its key."""
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return folder / "server.pem"


def test_in_a_pod_the_pods_service_account_is_used(pool, in_a_pod):
    """Where no context is named; and where that of the pool is on another machine."""
    here = KubernetesVariables(kubeconfig="/nowhere")
    assert Kubernetes().identity(here).principal == f"system:serviceaccount:tools:worker at {in_a_pod}"
    for settings in ({"context": None}, {"context": "lab"}):
        ambient = {**pool.settings, "kubeconfig": "/nowhere", "credentials": "ambient", **settings}
        assert Kubernetes().authenticate(Connection(ambient), None).verdict == "allowed"


def test_without_the_client_it_is_said_how_to_get_it(caller, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(PoolformError, match="need the kubernetes client") as failed:
        Kubernetes().identity(caller())
    assert failed.value.hint == "Install it: pip install 'poolform[kubernetes]'"


# Identity


def test_identity_names_user_server_and_cluster(caller, cluster):
    variables = caller([permission for permission in needed(["kubernetes_namespace_v1"]) if permission.verb == "get"])
    found = Kubernetes().identity(variables)
    assert found.principal == f"somebody-0 at {cluster.url}"
    assert (found.account, found.region) == (UID, None)


def test_who_may_not_read_the_clusters_uid_goes_without(caller):
    assert Kubernetes().identity(caller()).account is None


def test_a_cluster_too_old_to_tell_who_asks_is_fine(caller, cluster):
    cluster.faults.add(Fault("create selfsubjectreviews", "error", error=ApiError(404, "NotFound", "no such resource")))
    assert Kubernetes().identity(caller()).principal == f"somebody at {cluster.url}"


def test_a_token_that_the_cluster_does_not_take_is_said_to_be(caller, cluster, tmp_path):
    variables = caller()
    document = json.loads((tmp_path / "kubeconfig-1").read_text())
    document["users"][0]["user"]["token"] = "expired"
    (tmp_path / "kubeconfig-1").write_text(json.dumps(document))
    with pytest.raises(PoolformError, match=r"Asking the cluster who you are failed: Unauthorized \(401") as failed:
        Kubernetes().identity(variables)
    assert "kubectl auth whoami" in failed.value.hint


def test_a_cluster_that_does_not_answer_is_said_not_to(caller):
    with pytest.raises(PoolformError, match="cannot be asked") as failed:
        Kubernetes().identity(caller().model_copy(update={"context": "nowhere"}))
    assert "kubectl version" in failed.value.hint


# Preflight


def test_the_documented_role_is_enough(caller):
    for credentials in ("ambient", "impersonate"):
        variables = caller(EVERYTHING, credentials=credentials)
        found = verdicts(Kubernetes().preflight(variables, TYPES))
        assert set(found.values()) == {"allowed"}
        assert len(found) == len(EVERYTHING) - (credentials == "ambient")


@pytest.mark.parametrize("lacking", sorted(EVERYTHING), ids=str)
def test_each_permission_is_missed_by_name(caller, lacking):
    variables = caller(EVERYTHING - {lacking}, credentials="impersonate")
    missing = [f for f in Kubernetes().preflight(variables, TYPES) if f.verdict == "missing"]
    assert [finding.subject for finding in missing] == [str(lacking)]
    assert missing[0].message == "no role allows it in the cluster"
    assert "Whoever administers the cluster" in missing[0].hint


def test_who_may_hand_on_more_than_they_have_need_not_have_it(caller):
    variables = caller({*needed(TYPES), *HANDING_ON, *IMPERSONATE}, credentials="impersonate")
    assert set(verdicts(Kubernetes().preflight(variables, TYPES)).values()) == {"allowed"}
    variables = caller({*needed(TYPES), *HANDING_ON}, credentials="ambient")
    found = verdicts(Kubernetes().preflight(variables, TYPES))
    assert found["create jobs.batch"] == "missing", "with ambient credentials the caller launches, too"


def test_rights_in_an_existing_namespace_are_enough_there(caller):
    own = [kind for kind in TYPES if kind != "kubernetes_namespace_v1"]
    variables = caller({*needed(own), *LAUNCHER}, namespace="shared")
    there = variables.model_copy(update={"namespace": "shared"})
    assert set(verdicts(Kubernetes().preflight(there, own)).values()) == {"allowed"}
    elsewhere = variables.model_copy(update={"namespace": "other"})
    assert set(verdicts(Kubernetes().preflight(elsewhere, own)).values()) == {"missing"}


def test_preflight_asks_about_exactly_the_modules_types(caller):
    variables = caller(HANDING_ON, credentials="impersonate")
    assert set(verdicts(Kubernetes().preflight(variables, ["kubernetes_role_v1"]))) == {
        "create roles.rbac.authorization.k8s.io", "delete roles.rbac.authorization.k8s.io",
        "get roles.rbac.authorization.k8s.io", "patch roles.rbac.authorization.k8s.io", "impersonate serviceaccounts",
    }  # fmt: skip


def test_what_cannot_be_checked_is_unknown_not_missing(caller, cluster):
    variables = caller(EVERYTHING)
    broken = ApiError(403, "Forbidden", "selfsubjectaccessreviews is forbidden")
    cluster.faults.add(Fault("create selfsubjectaccessreviews", "error", error=broken, times=None))
    found = list(Kubernetes().preflight(variables, ["kubernetes_namespace_v1"]))
    assert {finding.verdict for finding in found} == {"unknown"}
    assert "could not be checked: selfsubjectaccessreviews is forbidden" in found[0].message


# The launcher


def test_acting_as_the_launcher_takes_the_right_to_and_gives_its_rights_alone(pool, caller, cluster):
    allowed = caller(IMPERSONATE).kubeconfig
    mine = Connection({**pool.settings, "kubeconfig": allowed})
    assert Kubernetes().authenticate(mine, None).verdict == "allowed"
    launcher = Cluster.of_launcher(mine.settings)
    launcher.get(f"/apis/batch/v1/namespaces/{pool.settings['namespace']}/jobs")
    for path in ("/api/v1/namespaces", f"/api/v1/namespaces/{pool.settings['namespace']}/secrets"):
        with pytest.raises(ApiErrorOfOurs, match="is forbidden: User"):
            launcher.get(path)
    stranger = Connection({**pool.settings, "kubeconfig": caller(LAUNCHER).kubeconfig})
    refused = Kubernetes().authenticate(stranger, None)
    assert refused.verdict == "missing"
    assert 'cannot impersonate resource "serviceaccounts"' in refused.message


def test_a_launcher_that_lost_its_role_is_noticed(pool, cluster):
    cluster.people.denied.add(("create", "batch", "jobs"))
    try:
        found = Kubernetes().authenticate(pool, None)
    finally:
        cluster.people.denied.clear()
    assert (found.verdict, found.message) == (
        "missing", f"create jobs.batch: no role allows it in the namespace {pool.settings['namespace']}",
    )  # fmt: skip


def test_ambient_credentials_are_the_contexts_own(pool, caller):
    settings = {**pool.settings, "credentials": "ambient"}
    mine = Connection({**settings, "kubeconfig": caller(LAUNCHER).kubeconfig})
    found = Kubernetes().authenticate(mine, None)
    assert (found.subject, found.verdict) == ("context lab", "allowed")
    stranger = Connection({**settings, "kubeconfig": caller().kubeconfig})
    assert Kubernetes().authenticate(stranger, None).verdict == "missing"


@pytest.mark.parametrize("error", [ApiError(503, "ServiceUnavailable", "try later"), None], ids=["busy", "hung up"])
def test_trouble_on_the_way_is_no_verdict(pool, cluster, error):
    cluster.faults.add(Fault("list jobs", "error" if error else "drop", error=error))
    assert Kubernetes().authenticate(pool, None).verdict == "unknown"


def test_clearing_up_touches_nothing_of_others_in_the_namespace(pool, cluster):
    own = {"poolform-pool-id": pool.settings["pool_id"]}
    namespace = pool.settings["namespace"]
    for name, labels in (("ours", own), ("theirs", {"poolform-pool-id": "ef56ab78"}), ("nobodys", {})):
        cluster.objects.add("secrets", namespace, {"metadata": {"name": name, "labels": labels}, "data": {}})
    Kubernetes().disconnect(pool, None)
    Kubernetes().disconnect(pool, None)  # twice is fine
    assert cluster.inventory() == [f"secrets/{namespace}/nobodys", f"secrets/{namespace}/theirs"]
    for name in ("nobodys", "theirs"):
        cluster.objects.drop("secrets", namespace, name)


def test_clearing_up_is_done_by_the_caller_where_the_launcher_cannot(pool, caller, cluster):
    mine = Connection({**pool.settings, "kubeconfig": caller(LAUNCHER).kubeconfig})
    Kubernetes().disconnect(mine, None)
    with pytest.raises(PoolformError, match="Clearing away what jobs left failed"):
        Kubernetes().disconnect(Connection({**pool.settings, "kubeconfig": caller().kubeconfig}), None)
