"""One cluster for all tests of Kubernetes pools, and Terraform's stand-in provider beside it."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from clouds.kubernetes import running

from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.variables import KubernetesOutputs, KubernetesVariables
from poolform.testing.fixtures import standin, throwaway_home
from poolform.testing.pool_types.trial import Trial
from poolform.testing.schemas import load
from poolform.testing.standin import Attached, Cloud

__all__ = ["standin", "throwaway_home"]  # imported: `pytest_plugins` may stand only in a top-level conftest

FOREIGN = ("KUBE", "TF_", "POOLFORM_")


@pytest.fixture(scope="session")
def cluster():
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def pool(cluster, tmp_path_factory):
    """One applied pool for all tests that only use it: its connection. Jobs are launched as its own launcher."""
    root = tmp_path_factory.mktemp("pool")
    variables = KubernetesVariables(
        kubeconfig=str(cluster.kubeconfig(root / "kubeconfig")), context="lab", credentials="impersonate"
    )
    cloud = Cloud()
    server = Attached(load("kubernetes"), cloud)

    @contextmanager
    def its_terraform():
        """Only while it works: other tests of this process have providers of their own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TF_REATTACH_PROVIDERS", json.dumps(server.reattach()))
            patch.setenv("POOLFORM_HOME", str(root / "home"))
            yield

    with cluster.made.attached(cloud):
        with its_terraform():
            trial = Trial.start(Kubernetes(), variables, root / "module")
            outputs = KubernetesOutputs(**trial.provision())
        yield Kubernetes().connect(variables, outputs)
        with its_terraform():
            trial.destroy()
    server.close()
