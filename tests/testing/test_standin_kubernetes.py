"""What the stand-in of hashicorp/kubernetes refuses, fills in and replaces, as the real one does."""

from __future__ import annotations

import pytest

from poolform.testing.schemas import load
from poolform.testing.standin import Cloud
from poolform.testing.standin.behaviours.kubernetes import BEHAVIOUR
from poolform.testing.standin.cloud import Refused
from poolform.testing.standin.provider import Provider


def test_every_attribute_that_the_behaviour_names_is_in_the_schema():
    assert Provider(load("kubernetes"), Cloud()).behaviour.resources.keys() >= BEHAVIOUR.resources.keys()


@pytest.mark.parametrize(
    ("type_", "config", "said"),
    [
        ("kubernetes_namespace_v1", {"metadata": [{"name": "Upper"}]}, "RFC 1123 label"),
        ("kubernetes_namespace_v1", {"metadata": [{"name": "a.b"}]}, "RFC 1123 label"),
        ("kubernetes_service_account_v1", {"metadata": [{"name": "under_score"}]}, "RFC 1123 subdomain"),
        ("kubernetes_role_v1", {"metadata": [{"name": "a/b"}]}, "may not contain"),
        ("kubernetes_role_v1", {"metadata": [{"name": "A:b", "labels": {"team": "a b"}}]}, "takes for no label"),
        ("kubernetes_role_v1", {"metadata": [{"name": "A:b", "labels": {"-": "a"}}]}, "takes for no label"),
        (
            "kubernetes_resource_quota_v1",
            {"metadata": [{"name": "q"}], "spec": [{"hard": {"pods": "x"}}]},
            "no quantity",
        ),
    ],
)
def test_what_the_api_takes_for_no_name_label_or_quantity_is_refused(type_, config, said):
    with pytest.raises(Refused, match=said):
        BEHAVIOUR.resources[type_].validate(config)


@pytest.mark.parametrize(
    ("type_", "config"),
    [
        ("kubernetes_service_account_v1", {"metadata": [{"name": "a.b-c", "labels": {"acme.test/team": ""}}]}),
        ("kubernetes_role_v1", {"metadata": [{"name": "system:Reader"}]}),
        ("kubernetes_resource_quota_v1", {"metadata": [{"name": "q"}], "spec": [{"hard": {"requests.cpu": "1.5"}}]}),
    ],
)
def test_what_the_api_takes_is_taken(type_, config):
    BEHAVIOUR.resources[type_].validate(config)
