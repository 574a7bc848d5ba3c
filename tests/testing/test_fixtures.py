"""The fixtures as a plugin author meets them: in a suite of their own, outside of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from poolform.core.settings import Settings


def test_a_throwaway_home_is_empty_and_private(throwaway_home):
    assert Settings.from_environment().home == throwaway_home
    assert list(throwaway_home.iterdir()) == []
    assert throwaway_home.stat().st_mode & 0o077 == 0


SUITE = '''
import json, os, subprocess
import pytest
from poolform.testing.standin import Computed, Required, schema

LAB = schema("acme/lab", resources={"lab_cluster": {"name": Required("string"), "id": Computed("string")}})
MODULE = """
terraform {
  required_providers { lab = { source = "acme/lab" } }
}
resource "lab_cluster" "this" { name = "one" }
"""

def test_no_account_is_found(throwaway_home):
    left = [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "ARM_", "TF_"))]
    assert sorted(left) == [
        "AWS_CONFIG_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE", "TF_CLI_CONFIG_FILE"
    ]
    assert not os.path.exists(os.environ["AWS_CONFIG_FILE"])

@pytest.mark.parametrize("installed", [False, True])
def test_terraform_meets_the_stand_in(standin, tmp_path, installed):
    cloud = standin(LAB, installed=installed)
    (tmp_path / "main.tf").write_text(MODULE)
    for verb in (["init"], ["apply", "-auto-approve"]):
        subprocess.run(["terraform", *verb], cwd=tmp_path, check=True)
    assert cloud.only("lab_cluster")["name"] == "one"
    cloud.put("lab_cluster", cloud.only("lab_cluster")["id"], {"name": "two"})
    said = subprocess.run(["terraform", "plan", "-no-color"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert '"two" -> "one"' in said.stdout

def test_nothing_is_left_of_it():
    assert "TF_REATTACH_PROVIDERS" not in os.environ
'''


def test_a_stranger_s_suite_loads_them_by_one_line(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["poolform.testing.fixtures"]\n')
    (tmp_path / "test_lab.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "AKIA", "GOOGLE_CLOUD_PROJECT": "mine", "TF_VAR_name": "two"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout


def test_the_kit_comes_only_when_it_is_asked_for():
    """Importing poolform.testing, as reference tools do, needs none of the extra `testing`."""
    code = "import sys, poolform.testing; print(sorted({'grpc', 'hypothesis', 'msgpack', 'pytest'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert said.stdout == "[]\n"
