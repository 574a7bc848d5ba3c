"""Somebody with a kubeconfig, Terraform with the stand-in provider, and flows in an image that the node knows."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import people

from poolform.testing.schemas import load
from poolform.testing.standin import Attached, Cloud

FLOWS = Path(__file__).parent / "flows"
IMAGE = "lab/flows:1"


class Person(people.Person):
    """Works in one cluster; their kubeconfig lies outside of what is searched for secrets."""

    @classmethod
    @contextmanager
    def in_(cls, cluster, tmp_path_factory, name, user=None):
        """Yield somebody, and what Terraform's provider makes for them."""
        kubeconfig = cluster.kubeconfig(tmp_path_factory.mktemp("kube") / "config", user)
        cloud = Cloud()
        provider = Attached(load("kubernetes"), cloud)
        me = cls.at(
            tmp_path_factory.mktemp(name),
            FLOWS,
            KUBECONFIG=str(kubeconfig),
            TF_REATTACH_PROVIDERS=json.dumps(provider.reattach()),
        )
        with cluster.made.attached(cloud):
            yield me, cloud
        provider.close()
