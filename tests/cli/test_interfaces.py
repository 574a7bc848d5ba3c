"""What a platform team's base job template allows, from both sides: it narrows, fixes, removes and bounds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

FLOW = """
import os
from poolform import flow

@flow
def show():
    print(os.environ["TIER"], os.environ["SIZE"])

if __name__ == "__main__":
    show.deploy("scripted", "here", job_variables={"size": 64})
"""


@pytest.fixture
def cli(poolform, tmp_path):
    """The command line, with a pool whose template a platform team has changed."""
    (tmp_path / "flows.py").write_text(FLOW)
    assert poolform("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes").code == 0
    template = poolform("work-pool", "get-default-base-job-template", "--type", "process").json
    variables, configuration = template["variables"]["properties"], template["job_configuration"]
    del variables["command"], configuration["command"]  # removed
    del variables["stream_output"]
    configuration["stream_output"] = True  # fixed
    variables["tier"] = {"type": "string", "enum": ["dev", "prod"], "default": "dev"}  # narrowed
    variables["size"] = {"type": "integer", "minimum": 1, "maximum": 32, "default": 4}  # bounded
    variables["labels"]["maxProperties"] = 1
    del variables["env"]
    configuration["env"] = {"TIER": "{{ tier }}", "SIZE": "{{ size }}"}
    file = tmp_path / "template.json"
    file.write_text(json.dumps(template))
    assert poolform("work-pool", "update", "here", "--base-job-template", file).code == 0
    return poolform


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "said"), [
    ("command=sleep 1", "command: there is no such job variable."),
    ("env.A=1", "env.A: there is no such job variable."),
    ("stream_output=false", "stream_output: there is no such job variable."),
    ("tier=staging", 'tier: "staging" is not "dev" or "prod".'),
    ("size=33", "size: 33 is greater than the maximum of 32."),
    ("size=big", 'size: "big" is not an integer.'),
    ('labels={"a": "1", "b": "2"}', "labels: "),
])  # fmt: skip
def test_what_may_not_be_set_is_refused_by_name_at_deployment_and_at_run(cli, variable, said):
    deploy = ("deploy", "flows.py:show", "--name", "x", "--pool", "here")
    done = cli(*deploy, "--job-variable", variable)
    assert (done.code, said in done.err) == (2, True), done.err
    assert cli("deployment", "ls", "-o", "json").json == []
    assert cli(*deploy).code == 0
    ran = cli("deployment", "run", "show/x", "--job-variable", variable)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert cli("flow-run", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_what_may_be_set_reaches_the_job(cli):
    done = cli("deploy", "flows.py:show", "--name", "x", "--pool", "here", "--job-variable", "tier=prod")
    assert done.code == 0, done.err
    ran = cli("deployment", "run", "show/x", "--watch", "--job-variable", "size=8")
    assert (ran.code, ran.out) == (0, "prod 8\n"), ran.err


@pytest.mark.slow
def test_scripts_and_project_files_are_held_to_it_too(cli, tmp_path):
    done = subprocess.run(
        [sys.executable, "flows.py"], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "size: 64 is greater than the maximum of 32." in done.stderr
    (tmp_path / "poolform.yaml").write_text(
        "deployments:\n- name: x\n  entrypoint: flows.py:show\n"
        "  work_pool: {name: here, job_variables: {tier: staging}}\n"
    )
    applied = cli("apply", "--yes")
    assert applied.code == 2
    assert "poolform.yaml line 2 (x): The job variables do not fit the work pool:" in applied.err
    assert 'tier: "staging" is not "dev" or "prod".' in applied.err
    assert cli("deployment", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_what_was_deployed_before_is_held_to_it_when_it_is_run(cli, tmp_path):
    deployed = cli("deploy", "flows.py:show", "--name", "x", "--pool", "here", "--job-variable", "size=16")
    assert deployed.code == 0, deployed.err
    template = json.loads((tmp_path / "template.json").read_text())
    template["variables"]["properties"]["size"]["maximum"] = 8
    (tmp_path / "narrower.json").write_text(json.dumps(template))
    assert cli("work-pool", "update", "here", "--base-job-template", tmp_path / "narrower.json").code == 0
    ran = cli("deployment", "run", "show/x")
    assert (ran.code, "size: 16 is greater than the maximum of 8." in ran.err) == (2, True), ran.err
    assert cli("deployment", "run", "show/x", "--job-variable", "size=8").code == 0


def test_a_template_that_makes_no_sense_is_refused(cli, tmp_path):
    (tmp_path / "wrong.json").write_text('{"job_configuration": {"a": "{{ b }}"}, "variables": {"properties": {}}}')
    done = cli("work-pool", "update", "here", "--base-job-template", tmp_path / "wrong.json")
    assert (done.code, "uses the variable b, which variables does not have" in done.err) == (2, True), done.err
