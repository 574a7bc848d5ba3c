"""A cloud's library that is missing is named, with what to install: by whatever first needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What each pool type imports only where a pool of it is dealt with, the extra, and variables to deal with one.
NEEDS = {
    "ecs:push": ("boto3 botocore", "aws", {"region": "eu-west-1"}),
    "cloud-run:push": ("google", "gcp", {"project": "a-project", "region": "europe-west1"}),
    "azure-container-instance:push": ("azure", "azure", {"subscription": "00000000-0000-0000-0000-000000000001"}),
    "kubernetes": ("kubernetes", "kubernetes", {}),
    "docker": ("docker", "docker", {}),
    "modal:push": ("modal", "modal", {}),
}
ASK = """
import json, sys
hidden, slug, given = json.loads(sys.argv[1])
for name in hidden.split():
    sys.modules[name] = None
from poolform.core.errors import PoolformError
from poolform.core.plugins import load_plugins
from poolform.core.settings import Settings
registered = load_plugins(Settings.from_environment()).pool_type(slug)
pool_type = registered.pool_type
try:
    with registered.acting("identity"):
        variables = pool_type.variables.model_construct(**{**pool_type.discover(), **given})
        pool_type.identity(variables)
        list(pool_type.preflight(variables, []))
except PoolformError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint]))
"""


@pytest.mark.parametrize("slug", NEEDS)
def test_a_missing_library_is_named_with_what_to_install(slug, tmp_path):
    hidden, extra, given = NEEDS[slug]
    kubeconfig = tmp_path / "kubeconfig"
    cluster, user = {"server": "https://127.0.0.1:1"}, {"token": "t"}
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "lab",
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
                "clusters": [{"name": "lab", "cluster": cluster}],
                "users": [{"name": "lab", "user": user}],
            }
        )
    )
    environment = {"KUBECONFIG": str(kubeconfig), "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([hidden, slug, given])],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kind, message, hint = json.loads(done.stdout)
    assert kind == "PoolformError", message
    assert "not installed" in message
    assert f"pip install 'poolform[{extra}]'" in hint
