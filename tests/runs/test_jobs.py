"""Base job templates: Prefect's placeholders, everybody's overrides, and the job that comes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from poolform.core.errors import InvalidValues, NotFound, UsageError
from poolform.core.pools.contract import JobVariables, PoolType
from poolform.core.runs import jobs
from poolform.core.runs.launchers import Job
from poolform.core.store.deployments import Deployment
from poolform.core.store.pools import WorkPool
from poolform.core.store.runs import FlowRun

PREFECTS = sorted((Path(__file__).parent / "base_job_templates").glob("*.json"))


class LabJobVariables(JobVariables):
    image: str = Field(description="Image to run.")
    cpu: int = Field(256, ge=128)
    memory: int | None = Field(None, ge=64)
    sizes: list[int] = Field(default_factory=list)


class Lab(PoolType):
    slug = "lab"
    title = "Lab"
    job_variables = LabJobVariables

    def launcher(self, connection, credential):
        raise NotImplementedError


LAB = jobs.with_defaults(jobs.base_job_template(Lab()), {"image": "busybox"})


def template(configuration: Any, **properties: Any) -> dict[str, Any]:
    return {"job_configuration": configuration, "variables": {"type": "object", "properties": properties}}


def record(kind, **values):
    fields = dict.fromkeys(kind.__dataclass_fields__)
    return kind(**{**fields, **values})


def pool(base: dict[str, Any] = LAB) -> WorkPool:
    return record(WorkPool, id="a1b2c3d4", name="here", base_job_template=base)


def deployment(**values) -> Deployment:
    defaults = {"flow_name": "etl", "name": "nightly", "entrypoint": "f.py:etl", "parameters": {}, "job_variables": {}}
    return record(Deployment, **{**defaults, "source": {}, **values})


def run(**values) -> FlowRun:
    defaults = {"id": "77ab", "name": "swift-otter", "flow_name": "etl", "attempt": 2, "parameters": {}}
    return record(FlowRun, **{**defaults, "job_variables": {}, **values})


# -- templates


def test_a_pool_types_template_has_one_key_a_job_variable():
    assert LAB["job_configuration"] == {
        name: f"{{{{ {name} }}}}" for name in ("name", "command", "env", "labels", "image", "cpu", "memory", "sizes")
    }
    assert LAB["variables"]["properties"]["cpu"] == {"default": 256, "minimum": 128, "type": "integer"}
    jobs.check_template(LAB)


def test_defaults_of_the_connection_fill_variables_and_satisfy_required_ones():
    plain = jobs.base_job_template(Lab)
    assert plain["variables"]["required"] == ["image"]
    filled = jobs.with_defaults(plain, {"image": "repo/app", "taken_out_by_the_platform_team": 1})
    assert "required" not in filled["variables"]
    assert filled["variables"]["properties"]["image"] == {
        "default": "repo/app",
        "description": "Image to run.",
        "type": "string",
    }
    assert set(filled["variables"]["properties"]) == set(plain["variables"]["properties"])


@pytest.mark.parametrize("path", PREFECTS, ids=lambda path: path.stem)
def test_prefects_templates_load_and_resolve(path):
    loaded = jobs.load_template(path)
    required = dict.fromkeys(loaded["variables"].get("required", ()), "x")
    configuration = jobs.resolve(loaded, required, {"env": {"A": "1"}, "name": "trial"})
    assert configuration["name"] == "trial"
    assert configuration["env"] == {"A": "1"}
    assert "{{" not in json.dumps(configuration)


def test_prefects_nested_template_keeps_types_and_drops_what_is_not_set():
    loaded = jobs.load_template(next(path for path in PREFECTS if path.stem == "ecs"))
    configuration = jobs.resolve(loaded, {"image": "busybox", "cpu": 512})
    assert configuration["task_definition"]["cpu"] == 512
    assert configuration["task_definition"]["containerDefinitions"] == [{"image": "busybox"}]
    assert "memory" not in configuration["task_definition"]


@pytest.mark.parametrize(
    ("configuration", "values", "expected"),
    [
        ({"a": "{{ x }}"}, {"x": 3}, {"a": 3}),
        ({"a": "{{x}}"}, {"x": [1]}, {"a": [1]}),
        ({"a": "n-{{ x }}-{{ y }}"}, {"x": 3, "y": "b"}, {"a": "n-3-b"}),
        ({"a": "n-{{ x }}"}, {}, {"a": "n-"}),
        ({"a": "{{ x }}{{ y }}"}, {"x": 1, "y": 2}, {"a": "12"}),
        ({"a": "{{ x }}", "b": 1}, {}, {"b": 1}),
        ({"a": "{{ x }}"}, {"x": None}, {"a": None}),
        ({"a": {"b": ["{{ x }}", "{{ y }}", "c"]}}, {"y": "d"}, {"a": {"b": ["d", "c"]}}),
        ({"a": "{{ x.inner }}"}, {"x": {"inner": True}}, {"a": True}),
        ({"a": "{{ x.other }}"}, {"x": {"inner": True}}, {}),
        ({"a": "{{ x }}"}, {"x": "{{ y }}", "y": "not again"}, {"a": "{{ y }}"}),
        ({"a": None, "b": 1.5, "c": False}, {}, {"a": None, "b": 1.5, "c": False}),
    ],
)
def test_placeholders_mean_what_they_mean_in_prefect(configuration, values, expected):
    assert jobs.resolve(template(configuration, x={}, y={}), values) == expected


def test_a_variable_that_nobody_has_set_keeps_its_own_key_at_the_top():
    """As Prefect's workers see it: what their configuration has no value for is None."""
    base = template({"x": "{{ x }}", "y": "{{y}}", "z": {"x": "{{ x }}"}, "xy": "{{ x }}"}, x={"default": None}, y={})
    assert jobs.resolve(base) == {"x": None, "y": None, "z": {}}
    assert jobs.resolve(base, {"x": 1}) == {"x": 1, "y": None, "z": {"x": 1}, "xy": 1}


def test_env_and_labels_are_merged_and_everything_else_replaced():
    base = jobs.with_defaults(LAB, {"env": {"A": "pool", "B": "pool"}, "sizes": [1]})
    configuration = jobs.resolve(
        base,
        {"env": {"B": "deployment", "C": "deployment"}, "labels": {"team": "data"}, "sizes": [2]},
        {"env": {"C": None}, "labels": {"run": "1"}, "sizes": [3]},
    )
    assert configuration["env"] == {"A": "pool", "B": "deployment", "C": None}
    assert configuration["labels"] == {"team": "data", "run": "1"}
    assert configuration["sizes"] == [3]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"cpu": "many"}, 'cpu: "many" is not an integer.'),
        ({"cpu": 1}, "cpu: 1 is less than the minimum of 128."),
        ({"memory": 1}, "memory: 1 is less than the minimum of 64."),
        ({"memory": "1g"}, 'memory: "1g" is not an integer or null.'),
        ({"cqu": 512}, "cqu: there is no such job variable. Did you mean cpu?"),
        ({"sizes": [1, "b"]}, 'sizes.1: "b" is not an integer.'),
        ({"env": {"TOKEN": 7}}, "env.TOKEN: its value is not a string or null."),
        ({"image": None}, "image: null is not a string."),
    ],
)
def test_values_that_do_not_fit_are_named(values, problem):
    with pytest.raises(InvalidValues) as caught:
        jobs.resolve(LAB, values)
    assert caught.value.problems == (problem,)
    with pytest.raises(InvalidValues):
        jobs.check_job_variables(pool(), values)


def test_a_required_variable_may_come_later_but_must_come():
    plain = jobs.base_job_template(Lab)
    jobs.check_job_variables(pool(plain), {"cpu": 512})
    with pytest.raises(InvalidValues, match="image: it is required and missing"):
        jobs.resolve(plain, {"cpu": 512})
    with pytest.raises(InvalidValues, match="image: it is required and missing"):
        jobs.resolve(plain)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ([], "it is [], not an object with job_configuration and variables."),
        ({"variables": {}}, "job_configuration: it is required and an object."),
        ({**LAB, "extra": 1}, "extra: a template has job_configuration and variables only."),
        (
            template({"a": {"b": ["{{ imgae }}"]}}, image={"type": "string"}),
            "job_configuration.a.b.0: uses the variable imgae, which variables does not have. Did you mean image?",
        ),
        (
            template({"a": "{{ prefect.blocks.x }}"}, image={}),
            "job_configuration.a: uses the variable prefect.blocks.x, which variables does not have. Known: image.",
        ),
        (
            template({"a": "{{ $HOME }}"}, image={}),
            "job_configuration.a: {{ $HOME }} is not the name of a variable; other placeholders are not supported.",
        ),
        (template({}, image={"type": "strin"}), "variables is not a JSON Schema: properties.image.type: "),
        (
            template({}, cpu={"type": "integer", "default": "a"}),
            'variables.properties: default of cpu: "a" is not an integer.',
        ),
    ],
)
def test_a_template_that_could_not_be_filled_in_is_refused_at_once(broken, problem):
    with pytest.raises(InvalidValues) as caught:
        jobs.check_template(broken)
    assert caught.value.problems[0].startswith(problem)


def test_a_template_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone.json cannot be read: No such file or directory"):
        jobs.load_template(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match=r"bad.json is not JSON: .* line 1 column 2"):
        jobs.load_template(tmp_path / "bad.json")


# -- jobs


def test_a_job_brings_all_that_the_runtime_needs():
    job = jobs.build_job(
        pool(),
        deployment(parameters={"city": "Bern", "n": 1}, source={"type": "local", "path": "/code"}),
        run(parameters={"n": 2}, timeout_seconds=30.0),
        runtime=("python", "-m", "poolform.runtime"),
    )
    assert job.key == "77ab.2"
    assert job.name == "swift-otter"
    assert job.command == ("python", "-m", "poolform.runtime")
    assert job.env == {
        "POOLFORM_RUN_ID": "77ab",
        "POOLFORM_ATTEMPT": "2",
        "POOLFORM_FLOW_NAME": "etl",
        "POOLFORM_ENTRYPOINT": "f.py:etl",
        "POOLFORM_PARAMETERS": '{"city":"Bern","n":2}',
        "POOLFORM_SOURCE": '{"type":"local","path":"/code"}',
        "POOLFORM_TIMEOUT_SECONDS": "30",
    }
    assert job.labels == {
        "poolform-pool": "here",
        "poolform-pool-id": "a1b2c3d4",
        "poolform-deployment": "etl/nightly",
        "poolform-run-id": "77ab",
    }
    unset = dict.fromkeys(("name", "command", "env", "labels", "memory", "sizes"))
    assert job.configuration == {**unset, "image": "busybox", "cpu": 256}


def test_job_variables_set_name_command_env_and_labels():
    job = jobs.build_job(
        pool(),
        deployment(
            job_variables={"command": "sh -c 'echo hi'", "env": {"A": "1", "B": "2"}, "labels": {"team": "data"}}
        ),
        run(job_variables={"env": {"B": None, "POOLFORM_RUN_ID": "forged"}, "name": "mine"}),
        runtime=("python",),
    )
    assert job.name == "mine"
    assert job.command == ("sh", "-c", "echo hi")
    assert job.env["A"] == "1"
    assert "B" not in job.env
    assert job.env["POOLFORM_RUN_ID"] == "77ab"
    assert job.labels["team"] == "data"
    assert job.configuration["env"]["B"] is None


def test_what_a_platform_team_has_fixed_stays_fixed():
    fixed = template({"command": "audit run", "env": {"FIXED": "1"}}, image={"type": "string"})
    job = jobs.build_job(pool(fixed), deployment(), run(), runtime=("python",))
    assert job.command == ("audit", "run")
    assert job.env["FIXED"] == "1"
    with pytest.raises(InvalidValues, match="command: there is no such job variable"):
        jobs.build_job(pool(fixed), deployment(job_variables={"command": "x"}), run(), runtime=("python",))


def test_a_command_with_an_open_quote_is_refused_when_it_is_deployed():
    with pytest.raises(InvalidValues, match=r"command: .* cannot be split into words: no closing quotation"):
        jobs.check_job_variables(pool(), {"command": "sh -c 'echo"})


def test_equal_runs_make_equal_jobs_that_survive_storing():
    first, second = (jobs.build_job(pool(), deployment(), run(), runtime=("python",)) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert Job.from_json(first.to_json()) == first


def test_a_run_whose_deployment_is_gone_says_so():
    with pytest.raises(NotFound, match="The run's deployment was deleted"):
        jobs.build_job(pool(), None, run(), runtime=("python",))
