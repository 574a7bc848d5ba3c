"""What an interrupted apply left is found by the pool's id, and nobody else's things ever are."""

from __future__ import annotations

import pytest

from poolform.provisioners.kubernetes.permissions import LISTING, rules
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.variables import KubernetesVariables
from poolform.testing.pool_types.trial import Trial
from poolform.testing.schemas import load

QUOTA = {"quota": {"pods": "9"}, "max_limits": {"cpu": "1"}}


@pytest.fixture
def pools(standin, cluster, tmp_path):
    """Two pools with equal variables, and Terraform's cloud with what they made."""
    cloud = standin(load("kubernetes"))
    variables = KubernetesVariables(kubeconfig=str(cluster.kubeconfig(tmp_path / "kubeconfig")), context="lab", **QUOTA)
    for pool_id in ("aaaaaaaa", "bbbbbbbb"):
        trial = Trial.start(Kubernetes(), variables, tmp_path / pool_id, pool_id=pool_id)
        trial.provision()
    with cluster.made.attached(cloud):
        yield variables, trial, cloud


def found(variables, pool_id, known=()):
    return {orphan.address: orphan.import_id for orphan in Kubernetes().orphans(variables, pool_id, known)}


def test_everything_of_a_pool_is_found_and_nothing_of_another(pools, cluster, tmp_path):
    variables, trial, cloud = pools
    ids = {address: attributes["id"] for address, _, attributes in trial.state()}
    assert found(variables, "bbbbbbbb") == ids
    assert found(variables, "bbbbbbb") == {}
    assert found(variables, "cccccccc") == {}
    # What the state knows, and what the module has no place for, is left out.
    known = [address for address in ids if "role" not in address]
    assert set(found(variables, "bbbbbbbb", known)) == {address for address in ids if "role" in address}
    plain = KubernetesVariables(kubeconfig=variables.kubeconfig, context="lab", network="open")
    assert not any(
        kind in address for address in found(plain, "bbbbbbbb") for kind in ("quota", "limit_range", "network")
    )
    # Somebody else's thing that bears the label by mistake has another name, and the other way round.
    cloud.put("kubernetes_role_v1", "x", {"metadata": [
        {"name": "theirs", "namespace": "poolform-trial-bbbbbbbb", "labels": {"poolform-pool-id": "bbbbbbbb"}}
    ], "rule": []})  # fmt: skip
    cloud.put("kubernetes_role_v1", "y", {"metadata": [
        {"name": "x-launcher-bbbbbbbb", "namespace": "poolform-trial-bbbbbbbb", "labels": {}}
    ], "rule": []})  # fmt: skip
    assert found(variables, "bbbbbbbb") == ids
    # Who may not list adopts what can be seen; Terraform then says by name what exists already.
    some = [permission for permission in LISTING if permission.resource in ("namespaces", "roles")]
    few = cluster.user("few", *rules(some))
    narrow = variables.model_copy(update={"kubeconfig": str(cluster.kubeconfig(tmp_path / "few", few))})
    assert set(found(narrow, "bbbbbbbb")) == {"kubernetes_namespace_v1.this", "kubernetes_role_v1.launcher"}
