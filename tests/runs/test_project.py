"""Project files: what they change, what they leave alone, and what is said of each mistake, with its line."""

from __future__ import annotations

import shutil
import textwrap

import pytest

from poolform.core.errors import PoolformError
from poolform.core.runs import project

FLOWS = """
from poolform import flow

@flow
def etl(day: int, full: bool = False):
    print("day", day, full)

@flow
def report():
    print("report")
"""

PROJECT = """
name: data
work_pools:
  - name: here
    type: process
    concurrency_limit: 5
    work_queues:
      - name: fast
        priority: 1
deployments:
  - name: nightly
    entrypoint: flows.py:etl
    parameters: {day: 1}
    tags: [a, b]
    version: 1.0
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
    schedules:
      - cron: 0 1 * * *
        timezone: Europe/Berlin
        slug: night
      - interval: 3600
        anchor_date: 2026-01-01T00:10:00
        active: false
    work_pool:
      name: here
      work_queue_name: fast
      job_variables: {env: {TOKEN: "{{ $PROJECT_TOKEN }}"}}
  - name: weekly
    entrypoint: flows.py:report
    work_pool: here
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_TOKEN", "s3cret")
    (tmp_path / "flows.py").write_text(FLOWS)

    def write(text, name="poolform.yaml"):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text))
        return file

    return write


needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")


@pytest.mark.slow
@needs_terraform
def test_applying_shows_asks_and_makes_all_of_it(write, poolform, store_url, monkeypatch):
    monkeypatch.setenv("POOLFORM_DATABASE_URL", store_url)
    write(PROJECT)
    planned = poolform("apply", "--plan")
    assert planned.code == 4
    assert "+ work pool here" in planned.err
    declined = poolform("apply")
    assert (declined.code, poolform("work-pool", "ls", "-o", "json").json) == (3, [])
    done = poolform("apply", "--yes")
    assert done.code == 0, done.err
    found = poolform("deployment", "inspect", "etl/nightly", "-o", "json").json
    assert (found["queue"], found["version"], found["tags"], found["collision"]) == (
        "fast",
        "1.0",
        ["a", "b"],
        "cancel-new",
    )
    assert found["job_variables"] == {"env": {"TOKEN": "s3cret"}}
    schedules = poolform("deployment", "schedule", "ls", "etl/nightly", "-o", "json").json
    assert {(s["name"], s["expression"], s["state"]) for s in schedules} == {
        ("night", "0 1 * * *", "active"),
        (None, "3600", "paused"),
    }
    assert poolform("work-pool", "ls", "-o", "json").json[0]["concurrency_limit"] == 5
    ran = poolform("deployment", "run", "etl/nightly", "--watch")
    assert (ran.code, ran.out) == (0, "day 1 False\n"), ran.err
    again = poolform("apply")
    assert again.code == 0, again.err
    assert "Nothing to change" in again.err
    assert poolform("apply", "--plan").code == 0


@pytest.mark.slow
@needs_terraform
def test_only_what_differs_is_shown_and_nothing_is_deleted_unasked(write, poolform):
    write(PROJECT)
    assert poolform("apply", "--yes").code == 0
    assert poolform("deployment", "schedule", "pause", "etl/nightly", "night").code == 0
    assert poolform("deploy", "flows.py:report", "--name", "mine", "--pool", "here").code == 0
    changed = PROJECT.partition("  - name: weekly")[0].replace("{day: 1}", "{day: 2}").replace("0 1 *", "0 2 *")
    write(changed.replace("TOKEN:", "SECRET:").replace("concurrency_limit: 5", "concurrency_limit: 6"))
    shown = poolform("apply", "--plan", "-o", "json")
    assert shown.code == 4
    assert shown.json == [
        {"action": "update", "type": "work pool", "name": "here", "details": ["concurrency_limit: 5 → 6"]},
        {
            "action": "update",
            "type": "deployment",
            "name": "etl/nightly",
            "details": ["parameters.day: 1 → 2", "job_variables.env", "schedule night"],
        },
    ]
    assert "s3cret" not in shown.out + shown.err
    done = poolform("apply", "--yes")
    assert "report/weekly is not in the file any more; --prune would delete it" in done.err
    (night,) = [
        s for s in poolform("deployment", "schedule", "ls", "etl/nightly", "-o", "json").json if s["name"] == "night"
    ]
    assert (night["expression"], night["state"]) == ("0 2 * * *", "paused")  # paused by hand, so it stays
    pruned = poolform("apply", "--prune", "--yes")
    assert "- deployment report/weekly" in pruned.err
    assert {d["name"] for d in poolform("deployment", "ls", "-o", "json").json} == {"etl/nightly", "report/mine"}


@pytest.mark.slow
@needs_terraform
def test_deploying_from_the_file_takes_all_or_some_and_needs_the_pool(write, poolform):
    write(PROJECT)
    missing = poolform("deploy", "--all")
    assert missing.code == 2
    assert "poolform.yaml line 24 (nightly): There is no work pool named here." in missing.err
    assert poolform("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes").code == 0
    queue = poolform("deploy", "--all")
    assert "no work queue named fast" in queue.err
    assert poolform("work-queue", "create", "fast", "--pool", "here").code == 0
    which = poolform("deploy")
    assert (which.code, "It has nightly, weekly." in which.err) == (2, True), which.err
    assert poolform("deploy", "--name", "report/weekly").code == 0
    assert [d["name"] for d in poolform("deployment", "ls", "-o", "json").json] == ["report/weekly"]
    wrong = poolform("deploy", "--name", "nihgtly")
    assert (wrong.code, "Did you mean nightly?" in wrong.err) == (2, True)
    assert poolform("deploy", "--all").code == 0
    assert len(poolform("deployment", "ls", "-o", "json").json) == 2
    assert poolform("deploy", "--all", "--param", "day=1").code == 2


@pytest.mark.slow
@needs_terraform
def test_a_prefect_yaml_is_taken_as_it_is(write, poolform, tmp_path):
    assert poolform("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes").code == 0
    write(
        f"""
        name: theirs
        prefect-version: 3.8.8
        build: null
        push: null
        pull:
        - prefect.deployments.steps.set_working_directory:
            directory: {tmp_path}
        definitions:
          pools:
            work_pool: &pool
              name: here
              work_queue_name: null
              job_variables: {{}}
        deployments:
        - name: first
          version: null
          tags: []
          description: null
          schedule:
            cron: 0 1 * * *
            timezone: America/New_York
            active: true
            day_or: true
          flow_name: null
          entrypoint: flows.py:etl
          parameters: {{day: 7}}
          enforce_parameter_schema: true
          triggers: []
          work_pool: *pool
        - name: null
          entrypoint: null
          schedule: {{}}
          work_pool: {{name: null}}
        """,
        "prefect.yaml",
    )
    done = poolform("deploy", "--all")
    assert done.code == 0, done.err
    ran = poolform("deployment", "run", "etl/first", "--watch")
    assert (ran.code, ran.out) == (0, "day 7 False\n"), ran.err
    assert poolform("deployment", "schedule", "ls", "etl/first", "-o", "json").json[0]["timezone"] == "America/New_York"
    assert poolform("apply", "--plan").code == 0


def test_init_says_where_it_cannot_write(poolform, tmp_path):
    (tmp_path / "poolform.yaml").symlink_to(tmp_path / "nowhere" / "at-all")
    refused = poolform("init")
    said = "Error: poolform.yaml cannot be written here: No such file or directory.\nGo to a folder"
    assert (refused.code, refused.err.startswith(said)) == (1, True), refused.err


@pytest.mark.slow
@needs_terraform
def test_init_writes_a_file_that_applies(write, poolform, tmp_path):
    done = poolform("init", "--pool", "mine")
    assert done.code == 0, done.err
    assert poolform("init").code == 2
    read = project.read(tmp_path / "poolform.yaml")
    assert [entry.entrypoint for entry in read.deployments] == ["flows.py:etl", "flows.py:report"]
    assert poolform("apply", "--yes").code == 0
    assert {d["name"] for d in poolform("deployment", "ls", "-o", "json").json} == {"etl/default", "report/default"}


def test_a_pool_that_is_written_but_not_made_is_made_by_apply(write, poolform):
    write(HERE + ENTRY)
    done = poolform("deploy", "--name", "a")
    assert (done.code, "Make what is written under work_pools first: poolform apply" in done.err) == (2, True), done.err


HERE = "work_pools:\n- {name: here, type: process}\n"
ENTRY = """\
deployments:
- name: a
  entrypoint: flows.py:etl
  work_pool: here
"""


@pytest.mark.parametrize(("text", "said"), [
    ("deployments: [", "poolform.yaml line 1: "),
    ("- a", "line 1: a project file is a mapping"),
    ("deployment: []", "line 1: deployment: there is no such key. Did you mean deployments?"),
    (ENTRY + "  colour: red\n", "line 5: deployments.colour: there is no such key."),
    (ENTRY + "  shedules: []\n", "Did you mean schedules?"),
    (ENTRY + "  name: b\n", "line 5: name: it is there twice."),
    (ENTRY + ENTRY.partition("\n")[2], "line 5: a is there twice."),
    ("deployments:\n- name: a\n  work_pool: here\n", "line 2: deployments.entrypoint: it is required and missing."),
    (ENTRY + "  schedules:\n  - cron: 0 25 * * *\n", "line 5: deployments.schedules: the cron schedule"),
    (ENTRY + "  schedule: {cron: '@daily', zone: UTC}\n", "line 5: deployments.schedules: a schedule with cron has no"),
    (ENTRY + "  triggers:\n  - type: event\n", "line 5: deployments.triggers: it has no meaning here; take it out."),
    (ENTRY + "  description: '{{ prefect.variables.x }}'\n", "line 5: {{ prefect.variables.x }} is not supported"),
    (ENTRY + "  description: '{{ $NO_SUCH_NAME }}'\n", "line 5: the environment has no NO_SUCH_NAME."),
    ("build:\n- prefect_docker.build_docker_image: {}\n" + ENTRY,
     ("line 2: the build step prefect_docker.build_docker_image, for every deployment, is not run here: take it out, "
     "build and push with `poolform deploy FILE.py:FLOW --name NAME --pool POOL --image REGISTRY/NAME:TAG`")),
    (ENTRY + "  build:\n  - a.build_docker_image: {id: b, image_name: me/x, tag: 1}\n  description: '{{ b.image }}'\n",
     ("line 6: the build step a.build_docker_image, for the deployment a, is not run here: take it out, build and push "
     "with `poolform deploy flows.py:etl --name a --pool here --image me/x:1` or DockerImage in deploy(), and name the "
     "image here: work_pool.job_variables.image: me/x:1.\n  line 7: {{ b.image }} comes of a step that is not run: "
     "write it out.")),
    (ENTRY + "  push:\n  - prefect_docker.deployments.steps.push_docker_image: {image_name: '{{ b.image_name }}'}\n",
     "for the deployment a, is not run here: take it out; whatever builds an image with Poolform pushes it too."),
    (ENTRY + "  push: {prefect_aws.deployments.steps.push_to_s3: {bucket: b}}\n",
     ("line 5: the push step prefect_aws.deployments.steps.push_to_s3, for the deployment a, is not run here: take it "
     "out, put the code there with `poolform deploy flows.py:etl --name a --pool here --upload URL`, and say here")),
    (ENTRY + "  build: [prefect.deployments.steps.run_shell_script: {script: make}]\n",
     "run_shell_script, for the deployment a, is not run here: take it out, and run what it does before `poolform app"),
    ("pull:\n- prefect_aws.deployments.steps.pull_from_s3: {bucket: b}\n" + ENTRY,
     "git_clone and set_working_directory are; write source: URL in its place, such as s3://BUCKET/FOLDER."),
    ("pull:\n- my.own.step: {}\n" + ENTRY, "line 1: pull: the step 'my.own.step' is not supported"),
    (ENTRY + "  pull:\n  - prefect.deployments.steps.git_clone: {repository: https://x/y, access_token: t}\n",
     "line 5: deployments.pull: git_clone with access_token is not supported"),
    (ENTRY + "  pull: 5\n", "line 5: deployments.pull: 5 is no list of steps."),
    (ENTRY + "  pull: [prefect.deployments.steps.git_clone: {}]\n", "line 5: deployments.pull: git_clone without rep"),
    (ENTRY + "  pull: [prefect.deployments.steps.git_clone: x]\n", "takes keys and values, not 'x'"),
    (ENTRY + "  schedules: 5\n", "line 5: deployments.schedules: 5 is no list of schedules."),
    (ENTRY + "  schedules: [{cron: '@daily', timezone: 5}]\n", "line 5: deployments.schedules: a time zone is a name"),
    ("deployments: &a [*a]\n", "nested too deeply, or refers to itself"),
    ("? [a]\n: 1\n", "line 1: found unhashable key"),
    ("name: 2026-13-45\n", "poolform.yaml: month must be in 1..12"),
    (ENTRY.replace("- ", "- {name: null}\n- ") + "  colour: red\n", "line 6: deployments.colour"),
    (ENTRY + "  concurrency_limit: {limit: 1, collision_strategy: WAIT}\n", "line 5: deployments.concurrency_limit"),
    ("work_pools:\n- name: a\n  type: process\n  cpu: 5\n", "line 4: work_pools.cpu: there is no such key."),
])  # fmt: skip
def test_each_mistake_is_named_with_its_line(write, text, said):
    with pytest.raises(PoolformError) as caught:
        project.read(write(text))
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [
    ("work_pools:\n- name: a\n  type: process\n  variables: {foldr: /x}\n", "foldr (poolform.yaml line 4): there"),
    ("work_pools:\n- name: a\n  type: procces\n", "poolform.yaml line 2 (a): "),
    ("work_pools:\n- name: A!\n  type: process\n", "line 2 (A!): 'A!' cannot be the name of a work pool"),
    (HERE + ENTRY + "  parameters: {dya: 1}\n", "line 4 (a): The parameters do not"),
    (HERE + ENTRY.replace("etl", "elt"), "line 5 (a): flows.py has no 'elt'"),
    (HERE + ENTRY.replace(": here", ": {name: here, job_variables: {cpu: 1}}"),
     "cpu: there is no such job variable"),
    (ENTRY, "line 4 (a): There is no work pool named here."),
])  # fmt: skip
def test_what_does_not_fit_is_named_with_its_line_and_nothing_is_changed(write, poolform, text, said):
    write(text)
    done = poolform("apply", "--yes")
    assert done.code == 2, done.err
    assert said in done.err
    assert poolform("work-pool", "ls", "-o", "json").json == []


def test_without_a_file_the_way_to_one_is_named(poolform):
    for command in (["apply"], ["deploy", "--all"]):
        done = poolform(*command)
        assert done.code == 2
        assert "poolform init" in done.err
