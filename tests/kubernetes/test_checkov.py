"""checkov finds nothing in the module without a written reason next to it; see tests/ecs/test_checkov.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from poolform.core.terraform.render import render
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.variables import KubernetesVariables

CHECKOV = shutil.which(os.environ.get("CHECKOV", "checkov"))
WHOLE = {"context": "lab", "quota": {"pods": "9"}, "max_limits": {"cpu": "1"}, "image_pull_secrets": ["registry"]}


@pytest.mark.slow
@pytest.mark.checkov
@pytest.mark.skipif(CHECKOV is None, reason="checkov is not on PATH")
@pytest.mark.parametrize("variables", [WHOLE, {"namespace": "shared"}], ids=["whole", "existing"])
def test_every_finding_has_a_reason_next_to_it(tmp_path, variables):
    module = render(Kubernetes(), KubernetesVariables(**variables), pool_name="lab", pool_id="a1b2c3d4")
    for name, text in module.files.items():
        (tmp_path / name).write_text(text)
    command = (CHECKOV, "-d", str(tmp_path), "--framework", "terraform", "--skip-download", "--output", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 1
    assert [f"{c['check_id']} {c['resource']}: {c['check_name']}" for c in found["results"]["failed_checks"]] == []
    for skipped in found["results"]["skipped_checks"]:
        assert len(skipped["check_result"]["suppress_comment"]) > 30, skipped["check_id"]
