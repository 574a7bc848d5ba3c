"""The generated parts of docs/pool-types/kubernetes.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them."""

from __future__ import annotations

import pytest
import yaml
from generated import Page, fields, table

from poolform.provisioners.kubernetes.job_variables import KubernetesJobVariables
from poolform.provisioners.kubernetes.permissions import BY_TYPE, IMPERSONATE, LAUNCHER, LISTING, rules
from poolform.provisioners.kubernetes.variables import KubernetesVariables

PAGE = Page("pool-types/kubernetes.md")
MODELS = [("variables", KubernetesVariables), ("job variables", KubernetesJobVariables)]


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))


def test_every_permission_is_on_the_page():
    rows = [("for", "needs")]
    rows += [(f"`{kind}`", listed(permissions)) for kind, permissions in sorted(BY_TYPE.items())]
    rows += [("the launcher, and whoever makes its role", listed(LAUNCHER))]
    rows += [("`credentials=impersonate`", listed(IMPERSONATE)), ("finding leftovers", listed(LISTING))]
    PAGE.compare("permissions", table(*rows))


def listed(permissions):
    return ", ".join(f"`{permission}`" for permission in permissions)


def test_the_role_is_on_the_page():
    everything = {*(permission for kind in BY_TYPE.values() for permission in kind), *LAUNCHER, *IMPERSONATE, *LISTING}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "poolform"},
        "rules": rules(everything),
    }  # fmt: skip
    text = yaml.safe_dump(role, sort_keys=False, default_flow_style=None, width=110)
    PAGE.compare("role", f"```yaml\n{text}```\n")
