"""checkov finds nothing in the module without a written reason next to it.

checkov pins old versions of boto3 and others, so it is not installed with the rest: put it on PATH with
`pipx install checkov` or `uv tool install checkov`; CHECKOV may name it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from poolform.core.terraform.render import render
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.variables import EcsVariables

CHECKOV = shutil.which(os.environ.get("CHECKOV", "checkov"))
VPC = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"]}


@pytest.mark.slow
@pytest.mark.checkov
@pytest.mark.skipif(CHECKOV is None, reason="checkov is not on PATH")
@pytest.mark.parametrize(
    "variables",
    [{}, {"subnets": "private", "encryption": "kms", "credentials": "key"}, {**VPC, "credentials": "ambient"}],
    ids=["default", "private", "existing"],
)
def test_every_finding_has_a_reason_next_to_it(tmp_path, variables):
    module = render(EcsPush(), EcsVariables(region="eu-west-1", **variables), pool_name="lab", pool_id="a1b2c3d4")
    for name, text in module.files.items():
        (tmp_path / name).write_text(text)
    command = (CHECKOV, "-d", str(tmp_path), "--framework", "terraform", "--skip-download", "--output", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 10
    assert [f"{c['check_id']} {c['resource']}: {c['check_name']}" for c in found["results"]["failed_checks"]] == []
    for skipped in found["results"]["skipped_checks"]:
        assert len(skipped["check_result"]["suppress_comment"]) > 30, skipped["check_id"]


def test_no_reason_is_left_for_what_is_gone():
    """A skip in a module must be for a resource that is in it: checkov itself says nothing of others."""
    module = render(EcsPush(), EcsVariables(region="eu-west-1"), pool_name="lab", pool_id="a1b2c3d4")
    for name, text in module.files.items():
        for line in text.splitlines():
            if "checkov:skip" in line:
                assert re.fullmatch(r"  # checkov:skip=CKV2?_AWS_\d+: .{30,}", line), (name, line)
