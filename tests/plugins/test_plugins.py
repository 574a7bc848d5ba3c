"""A plugin that is wrong is named in a clear error, and the rest works."""

from __future__ import annotations

import sys
import types

import pytest
from pydantic import SecretStr

from poolform.core.errors import NotFound, PluginError
from poolform.core.plugins import Plugin, Plugins, hookimpl, load_plugins
from poolform.core.pools.contract import CONTRACT, Outputs, PoolType, Provider, Variables
from poolform.core.settings import Settings


class Good(PoolType):
    slug = "good"
    title = "Good"

    def launcher(self, connection, credential):
        return None


def plugin(*pool_types, **hooks):
    module = types.ModuleType("a_plugin")
    module.poolform_pool_types = hookimpl(lambda: list(pool_types))
    for name, function in hooks.items():
        setattr(module, name, hookimpl(function))
    return module


def loaded(*modules):
    plugins = Plugins()
    plugins.register(plugin(Good), Plugin("first", "poolform-first", "1.0"))
    for number, module in enumerate(modules):
        plugins.register(module, Plugin(f"other{number}", "poolform-other", "2.0"))
    return plugins


def variant(**attributes):
    return type("Odd", (Good,), {"slug": "odd", **attributes})


def variables(annotation, name="field"):
    return type("V", (Variables,), {"__annotations__": {name: annotation}})


@pytest.mark.parametrize(
    ("pool_type", "said"),
    [
        (variant(slug="Bad Slug"), "its slug is 'Bad Slug'"),
        (variant(title=None), "it has no title"),
        (variant(contract=CONTRACT + 1), f"it is written for contract {CONTRACT + 1}"),
        (variant(revision=0), "its revision is 0"),
        (type("Odd", (PoolType,), {"slug": "odd", "title": "Odd"}), "it does not say launcher"),
        (variant(variables=dict), "its variables is <class 'dict'>, which is not a subclass of Variables"),
        (variant(outputs=Variables), "which is not a subclass of Outputs"),
        (variant(providers={"x": "acme/x"}), "the provider x is 'acme/x', which is not a Provider"),
        (variant(providers={"x": Provider("acme/x", "1")}), "it has providers but no templates"),
        (variant(variables=variables(str, "count")), "the variable count has a name that is reserved"),
        (variant(variables=variables(str, "pool_id")), "the variable pool_id has a name that is reserved"),
        (variant(variables=variables(SecretStr)), "the variable field is a secret"),
        (variant(variables=variables(int | str)), "its variables cannot become Terraform's"),
        (Outputs, "is not a subclass of PoolType"),
    ],
)
def test_a_pool_type_that_breaks_the_contract_is_named_and_left_out(pool_type, said):
    plugins = loaded(plugin(pool_type))
    (problem,) = plugins.problems
    assert problem.message.startswith("plugin other0 (poolform-other 2.0): the pool type ")
    assert "breaks the contract" in problem.message
    assert said in problem.message
    assert set(plugins.pool_types) == {"good"}


def test_a_misspelt_hook_names_the_nearest():
    plugins = loaded(plugin(poolform_review_plam=lambda pool, plan: []))
    (problem,) = plugins.problems
    assert problem.message == "plugin other0 (poolform-other 2.0): there is no hook poolform_review_plam."
    assert "poolform_review_plan" in problem.hint


def test_a_hook_with_a_wrong_argument_is_named():
    plugins = loaded(plugin(poolform_review_plan=lambda pool, plam: []))
    (problem,) = plugins.problems
    assert "other0" in problem.message
    assert "plam" in problem.message


def test_a_taken_slug_stays_with_the_first():
    plugins = loaded(plugin(type("Twin", (Good,), {"title": "Twin"})))
    (problem,) = plugins.problems
    assert "the pool type good is already brought by first (poolform-first 1.0)" in problem.message
    assert plugins.pool_type("good").pool_type.title == "Good"


def test_a_taken_plugin_name_is_named():
    plugins = loaded()
    plugins.register(plugin(variant()), Plugin("first", "imposter", "9"))
    assert "its name is taken by first (poolform-first 1.0)" in plugins.problems[0].message
    assert set(plugins.pool_types) == {"good"}


@pytest.mark.parametrize(
    ("hook", "said"),
    [(lambda: 1 / 0, "ZeroDivisionError: division by zero"), (lambda: 7, "returned 7, which is not a list")],
)
def test_a_plugin_that_fails_when_asked_for_pool_types_is_named(hook, said):
    module = types.ModuleType("broken")
    module.poolform_pool_types = hookimpl(hook)
    plugins = loaded(module)
    assert said in plugins.problems[0].message
    assert set(plugins.pool_types) == {"good"}


def test_an_unknown_pool_type_names_the_nearest_and_what_is_broken():
    plugins = loaded(plugin(variant(slug="X")))
    with pytest.raises(NotFound, match=r"There is no pool type 'goood'\. plugin other0") as caught:
        plugins.pool_type("goood")
    assert caught.value.exit_code == 2
    assert caught.value.hint == "Did you mean good?"


def test_calls_name_the_plugin_that_failed():
    plugins = loaded(plugin(poolform_review_plan=lambda pool, plan: [pool]), plugin(poolform_review_plan=lambda: 1 / 0))
    calls = plugins.call("poolform_review_plan", pool="p", plan=None)
    assert next(calls)[1] == ["p"]
    with pytest.raises(PluginError, match=r"plugin other1 \(poolform-other 2\.0\): poolform_review_plan failed: Zero"):
        next(calls)


def test_those_that_only_hear_all_hear_it():
    heard = []

    def fails(pool):
        raise RuntimeError("no")

    def hears(pool):
        heard.append(pool)

    plugins = loaded(plugin(poolform_after_apply=fails), plugin(poolform_after_apply=hears))
    (problem,) = plugins.tell("poolform_after_apply", pool="p")
    assert "other0" in problem.message
    assert heard == ["p"]


def test_calls_can_be_traced():
    lines = []
    plugins = Plugins(lines.append)
    plugins.register(plugin(Good), Plugin("first", "poolform-first", "1.0"))
    assert any("poolform_pool_types" in line for line in lines)


def test_built_in_pool_types_come_in_by_entry_point():
    plugins = load_plugins(Settings.from_environment({}))
    assert plugins.problems == ()
    assert plugins.pool_type("process").plugin.distribution == "poolform"


def test_plugins_can_be_named_by_module_and_narrowed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lab_in_a_module", plugin(variant()))
    plugins = load_plugins(Settings.from_environment({"POOLFORM_PLUGINS": "lab_in_a_module"}))
    assert "odd" in plugins.pool_types
    assert "process" in plugins.pool_types


def test_a_plugin_that_cannot_be_imported_is_reported_and_skipped():
    plugins = load_plugins(Settings.from_environment({"POOLFORM_PLUGINS": "no_such_module"}))
    (problem,) = plugins.problems
    assert problem.message == (
        "plugin no_such_module: it cannot be imported: ModuleNotFoundError: No module named 'no_such_module'."
    )
    assert "process" in plugins.pool_types
