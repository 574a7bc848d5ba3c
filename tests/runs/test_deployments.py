"""Deployments: checked against flow and pool, stored once, run with what they leave open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolform.core.errors import InvalidValues, NotFound, NotReady, UsageError
from poolform.core.runs import deployments
from poolform.core.runs.deployments import Plan
from poolform.core.runs.entrypoints import describe
from poolform.core.runs.jobs import base_job_template
from poolform.core.store import pools, queues
from poolform.provisioners.process import Process


def etl(city: str, limit: int = 3):
    """Load a city."""


PLAN = Plan("nightly", describe(etl), "f.py:etl", {"type": "local", "path": "/code"}, parameters={"city": "Bern"})


@pytest.fixture
def pool(store):
    with store.write() as tx:
        return pools.create(
            tx,
            name="here",
            type="process",
            plugin="process",
            plugin_version="0",
            state="ready",
            base_job_template=base_job_template(Process),
        )


def deploy(store, pool, plan):
    deployments.check(pool, plan)
    with store.write() as tx:
        return deployments.save(tx, pool, plan)


def test_deploying_twice_is_as_good_as_once(store, pool):
    first = deploy(store, pool, replace(PLAN, tags=("b", "a", "b"), options={"retries": 2}))
    second = deploy(store, pool, replace(PLAN, tags=("a", "b"), options={"retries": 2}))
    assert second == replace(first, updated_at=second.updated_at)
    assert first.full_name == "etl/nightly"
    assert (first.tags, first.description, first.queue) == (["a", "b"], "Load a city.", "default")
    assert first.options == {"retries": 2}


def test_a_paused_deployment_stays_paused_unless_told_otherwise(store, pool):
    deploy(store, pool, replace(PLAN, paused=True))
    assert deploy(store, pool, PLAN).paused
    assert not deploy(store, pool, replace(PLAN, paused=False)).paused


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "a/b"}, UsageError, "'a/b' cannot be the name of a deployment"),
        ({"name": ""}, UsageError, "'' cannot be the name of a deployment"),
        ({"parameters": {"citi": "x"}}, InvalidValues, "citi: there is no such parameter. Did you mean city?"),
        ({"parameters": {"limit": "x"}}, InvalidValues, 'limit: "x" is not an integer'),
        ({"job_variables": {"working_dirr": "/"}}, InvalidValues, "working_dirr: there is no such job variable"),
        ({"options": {"retries": -1}}, InvalidValues, "retries: -1 is less than 0"),
        ({"options": {"retries": 10**30}}, InvalidValues, "is not at most 1,000,000"),
        ({"options": {"retry_delay_seconds": float("nan")}}, InvalidValues, "nan is not at most"),
        ({"options": {"timeout_seconds": float("inf")}}, InvalidValues, "timeout_seconds: inf is not at most"),
        ({"options": {"timeout_seconds": 0}}, InvalidValues, "timeout_seconds: 0 is not more than 0"),
    ],
)
def test_what_could_not_run_is_not_deployed(store, pool, changes, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        deployments.check(pool, replace(PLAN, **changes))


def test_an_unknown_queue_is_named_with_what_is_near(store, pool):
    with store.write() as tx:
        queues.create(tx, pool.id, "urgent")
    with pytest.raises(NotFound, match="no work queue named urgnet") as caught:
        deploy(store, pool, replace(PLAN, queue="urgnet"))
    assert caught.value.hint == "Did you mean urgent? Or make it: poolform work-queue create urgnet --pool here"


def test_a_deployment_may_leave_parameters_to_its_runs(store, pool):
    deployed = deploy(store, pool, replace(PLAN, parameters={}))
    with pytest.raises(InvalidValues, match="city: it is required and missing"):
        deployments.check_run(pool, deployed, parameters={}, job_variables={})
    deployments.check_run(pool, deployed, parameters={"city": "Bern"}, job_variables={})


def test_a_run_takes_over_what_its_deployment_asks_for(store, pool):
    deployed = deploy(store, pool, replace(PLAN, tags=("a",), options={"retries": 2, "timeout_seconds": 5}))
    with store.write() as tx:
        run = deployments.submit(tx, pool, deployed, parameters={"limit": 1}, tags=("b",), name="mine")
    assert (run.name, run.tags, run.retries, run.timeout_seconds) == ("mine", ["a", "b"], 2, 5)
    assert (run.parameters, run.state, run.deployment) == (
        {"city": "Bern", "limit": 1}, "scheduled", "etl/nightly",
    )  # fmt: skip


def test_a_flow_that_does_not_want_its_parameters_checked_gets_what_it_is_given(store, pool):
    deployed = deploy(store, pool, replace(PLAN, options={"validate_parameters": False}, parameters={"limit": "x"}))
    deployments.check_run(pool, deployed, parameters={}, job_variables={})


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"state": "not-provisioned"}, "here is not provisioned, so nothing can run", "work-pool provision-infra here"),
        ({"paused": True}, "here is paused, so nothing would run", "work-pool resume here"),
    ],
)
def test_nothing_runs_in_a_pool_that_is_not_ready(store, pool, changes, message, hint):
    deployed = deploy(store, pool, PLAN)
    with pytest.raises(NotReady, match=message) as caught:
        deployments.check_run(replace(pool, **changes), deployed, parameters={}, job_variables={})
    assert hint in caught.value.hint
