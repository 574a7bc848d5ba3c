"""The module: what the pool type contract asks of it, with the real Terraform, and what is particular to it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import strategies as st

from poolform.core.terraform.render import render
from poolform.provisioners.kubernetes.permissions import LAUNCHER, Permission
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.variables import KubernetesVariables
from poolform.testing.pool_types import PoolTypeContract

QUANTITIES = st.dictionaries(st.sampled_from(["cpu", "memory"]), st.sampled_from(["100m", "2", "1.5Gi"]))
EVERYTHING = {
    "context": "lab",
    "credentials": "impersonate",
    "registry": "ghcr.io/acme",
    "image_pull_secrets": ["registry", "mirror"],
    "service_account_annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/flows"},
    "quota": {"requests.cpu": "8", "count/jobs.batch": "50"},
    "default_requests": {"cpu": "250m"},
    "max_limits": {"cpu": "2", "memory": "4Gi"},
    "labels": {"team": "data"},
}


@pytest.mark.slow
class TestKubernetes(PoolTypeContract):
    pool_type = Kubernetes
    examples = (EVERYTHING, {}, {"context": "lab", "namespace": "default", "network": "open"})
    strategies = {
        "quota": st.dictionaries(st.sampled_from(["requests.cpu", "pods"]), st.sampled_from(["1", "20"])),
        "default_requests": QUANTITIES,
        "default_limits": QUANTITIES,
        "max_limits": QUANTITIES,
        "labels": st.dictionaries(st.sampled_from(["team", "acme.test/cost"]), st.sampled_from(["", "data-1"])),
    }

    # Each of them, as people meet it: test_crashes.py.
    @pytest.mark.exhaustive
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_apply_that_fails_anywhere_is_mended_by_the_next(self, cloud, start, when):
        super().test_an_apply_that_fails_anywhere_is_mended_by_the_next(cloud, start, when)


def module(**variables):
    return render(Kubernetes(), KubernetesVariables(**variables), pool_name="lab", pool_id="ab12cd34")


def test_the_role_is_what_launching_takes_and_nothing_else():
    rule = r"api_groups = (\[.*?\])\s+resources\s+= (\[.*?\])\s+verbs\s+= (\[.*?\])"
    granted = [
        Permission(group, resource, verb)
        for groups, resources, verbs in re.findall(rule, module().files["launcher.tf"])
        for group in json.loads(groups)
        for resource in json.loads(resources)
        for verb in json.loads(verbs)
    ]
    assert sorted(granted) == sorted(LAUNCHER)


def test_an_existing_namespace_is_used_and_never_made_or_destroyed():
    assert "kubernetes_namespace_v1" not in module(namespace="shared").resource_types
    assert "kubernetes_namespace_v1" in module().resource_types


def test_the_provider_is_told_where_the_cluster_is_and_no_secret():
    assert re.findall(r"^  (\w+)\s+=", module(context="lab").files["main.tf"].split("locals")[0], re.MULTILINE) == [
        "config_paths", "config_context",
    ]  # fmt: skip
    in_cluster = module().files["main.tf"].split("locals")[0]
    assert "config" not in in_cluster


def test_files_are_named_so_that_terraform_finds_them_from_its_own_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = KubernetesVariables(kubeconfig="one:~/two:/three:")
    assert given.kubeconfig == f"{tmp_path}/one:~/two:/three"
    assert KubernetesVariables(**given.model_dump()) == given


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("1.5Gi", "1536Mi"), ("1024Mi", "1Gi"), ("2000Mi", "2000Mi"), ("0.5Ki", "512"), ("1Ki", "1Ki"), ("0.5", "500m"),
        ("1000m", "1"), ("1500m", "1500m"), ("2", "2"), ("1000", "1k"), ("1500", "1500"), ("12000", "12k"),
        ("1.5G", "1500M"), ("0", "0"), ("0Gi", "0"), ("0.100", "100m"),
    ],
)  # fmt: skip
def test_limits_are_spelt_as_kubernetes_gives_them_back(given, written):
    """Another spelling would be a change in every plan."""
    assert KubernetesVariables(max_limits={"memory": given}).max_limits == {"memory": written}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "shared", "quota": {"pods": "4"}}, "bind everybody in the existing namespace"),
        ({"namespace": "Shared"}, "String should match"),
        ({"namespace": "a" * 64}, "String should match"),
        ({"quota": {"requests.cpu": "lots"}}, "String should match"),
        ({"quota": {"requests cpu": "1"}}, "nothing that a quota counts"),
        ({"max_limits": {"cpu": "0.0001"}}, "finer than a thousandth"),
        ({"max_limits": {"gpus": "1"}}, "cpu, memory, ephemeral-storage can"),
        ({"labels": {"poolform-pool": "x"}}, "reserved"),
        ({"labels": {"team": "data & science"}}, "not a label's value"),
        ({"labels": {"-team": "data"}}, "not a label's key"),
        ({"service_account_annotations": {"a b": "c"}}, "not an annotation's key"),
        ({"registry": "https://ghcr.io"}, "String should match"),
        ({"token": "hush"}, "Extra inputs"),
        ({"context": ""}, "at least 1 character"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        KubernetesVariables(**given)
