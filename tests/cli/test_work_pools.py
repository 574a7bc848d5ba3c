"""The verbs of `poolform work-pool` that change a record or look at it, and touch no infrastructure."""

from __future__ import annotations

import json

import pytest

from poolform.core.settings import Settings
from poolform.core.store import history, pools
from poolform.core.store.database import open_store

CREATE = ("work-pool", "create", "p", "--type", "process")


@pytest.fixture
def pool(poolform):
    assert poolform(*CREATE, "--concurrency-limit", "3", "--paused").code == 0


def shown(poolform, name="p"):
    return poolform("work-pool", "inspect", name, "-o", "json").json


@pytest.mark.slow
@pytest.mark.usefixtures("pool")
def test_a_pool_is_renamed_limited_and_paused(poolform):
    assert (shown(poolform)["concurrency_limit"], shown(poolform)["paused"]) == (3, True)
    assert poolform("work-pool", "resume", "p").code == 0
    assert poolform("work-pool", "update", "p", "--name", "q", "--concurrency-limit", "5").code == 0
    assert (shown(poolform, "q")["concurrency_limit"], shown(poolform, "q")["paused"]) == (5, False)
    assert poolform("work-pool", "inspect", "p").code == 2
    assert poolform("work-pool", "set-concurrency-limit", "q", "0").code == 0
    assert shown(poolform, "q")["concurrency_limit"] == 0
    assert poolform("work-pool", "clear-concurrency-limit", "q").code == 0
    assert shown(poolform, "q")["concurrency_limit"] is None
    assert poolform(*CREATE).code == 0
    for wrong, said in (
        (("--name", "p"), "A work pool named p exists already."),
        (("--name", "Bad Name"), "'Bad Name' cannot be the name of a work pool."),
        ((), "Nothing to update was given."),
    ):
        refused = poolform("work-pool", "update", "q", *wrong)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert len(poolform("work-pool", "ls").out.splitlines()) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("pool")
def test_a_platform_team_narrows_the_job_template(poolform, tmp_path):
    printed = poolform("work-pool", "get-default-base-job-template", "--type", "process").json
    file = tmp_path / "template.json"
    assert poolform("work-pool", "get-default-base-job-template", "-t", "process", "--file", file).code == 0
    assert json.loads(file.read_text()) == printed == shown(poolform)["base_job_template"]
    del printed["variables"]["properties"]["command"]
    del printed["job_configuration"]["command"]
    printed["variables"]["properties"]["working_dir"]["default"] = "/srv"
    file.write_text(json.dumps(printed))
    assert poolform("work-pool", "update", "p", "--base-job-template", file).code == 0
    text = poolform("work-pool", "inspect", "p").out
    assert ["working_dir", '"/srv"'] in [line.split()[:2] for line in text.splitlines()]
    assert "command " not in text
    (tmp_path / "flows.py").write_text("def f():\n    pass\n")
    refused = poolform("deploy", "flows.py:f", "--name", "x", "--pool", "p", "-jv", "command=rm")
    assert (refused.code, "command: there is no such job variable." in refused.err) == (2, True)
    for text, said in (
        ("", "template.json is not JSON: "),
        ("[]", "it is [], not an object with job_configuration and variables."),
        ('{"variables": {}}', "job_configuration: it is required and an object."),
        (
            '{"job_configuration": {"x": "{{ y }}"}, "variables": {}}',
            "uses the variable y, which variables does not have",
        ),
    ):
        file.write_text(text)
        refused = poolform("work-pool", "update", "p", "--base-job-template", file)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert shown(poolform)["base_job_template"] == printed


@pytest.mark.slow
@pytest.mark.usefixtures("pool")
def test_what_cannot_be_written_is_said(poolform, tmp_path):
    (tmp_path / "taken").touch()
    for command in (
        ("render", "p", "--out", "/dev/null/module"),
        ("render", "p", "--out", "taken"),
        ("get-default-base-job-template", "--type", "process", "--file", "/dev/null/template.json"),
    ):
        refused = poolform("work-pool", *command)
        assert (refused.code, command[-1] in refused.err, "fault" in refused.err) == (2, True, False), refused.err


@pytest.mark.slow
@pytest.mark.usefixtures("pool")
def test_types_describe_themselves_with_what_this_machine_offers(poolform, home):
    rows = {row["type"]: row["title"] for row in poolform("work-pool", "types", "-o", "json").json}
    assert rows["process"] == "Process"
    described = poolform("work-pool", "types", "process")
    assert f'folder    "{home}/jobs" (found here)' in described.out
    assert "properties" in poolform("work-pool", "types", "process", "-o", "json").json["variables"]
    unknown = poolform("work-pool", "types", "proces")
    assert (unknown.code, "Did you mean process?" in unknown.err) == (2, True)
    assert poolform("work-pool", "preview", "p").err == "No run of p is due within 1 h; look further with --hours.\n"
    assert poolform("work-pool", "history", "p").err == "Nothing was done to it yet.\n"
    assert poolform("work-pool", "history", "p", "-o", "json").json == []


def test_history_keeps_its_table_where_every_resource_had_an_error_of_its_own(poolform):
    poolform("work-pool", "create", "p", "--type", "modal:push")
    with open_store(Settings.from_environment()) as store, store.write() as tx:
        pool = pools.get(tx, "p")
        errors = {
            "provision-infra": "2 errors\n  lab_a.x: no.\n  lab_b.y: no.",
            "upgrade": "no. " * 60,
            "deprovision": "no.",
        }
        for action, error in errors.items():
            history.add(tx, pool_id=pool.id, pool_name="p", who="ada", action=action, outcome="failed", error=error)
    lines = poolform("work-pool", "history", "p").out.splitlines()
    assert len(lines) == 4, "a line each, below the names of the columns"
    told = {line.split()[3]: line for line in lines[1:]}
    assert "2 errors (-o json has all of it)" in told["provision-infra"]
    assert told["upgrade"].endswith("no. … (-o json has all of it)")
    assert told["deprovision"].endswith(" no.")
    assert {row["error"] for row in poolform("work-pool", "history", "p", "-o", "json").json} == set(errors.values())


def test_making_a_pool_tells_programs_what_it_became(poolform):
    create = ("work-pool", "create", "--type", "process", "-o", "json")
    made = poolform(*create, "p").json
    assert (made["name"], made["state"]) == ("p", "not-provisioned")
    ready = poolform(*create, "q", "--provision-infra", "--yes").json
    assert (ready["state"], ready["connection"]["settings"]["folder"]) == (
        "ready",
        f"{ready['variables']['folder']}/{ready['id']}",
    )
    assert poolform("work-pool", "inspect", "q", "-o", "json").json == ready
    assert poolform("work-pool", "upgrade", "q", "-o", "json", "--yes").json == ready
