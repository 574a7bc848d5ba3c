"""A plugin that is wrong is named in a clear error, and the rest works."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
from pydantic import SecretStr

from poolform.core.errors import NotFound, PluginError
from poolform.core.plugins import Plugins, hookimpl, load_plugins
from poolform.core.pools.catalogue import Plugin
from poolform.core.pools.contract import CONTRACT, Block, Outputs, PoolType, Provider, Secret, Variables
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
    assert problem.message == (
        "plugin other0 (poolform-other 2.0): its poolform_review_plan asks for plam, which that hook does not give."
    )
    assert problem.hint == "It gives pool, plan."


def test_an_argument_of_a_hook_that_gives_none_is_named():
    (problem,) = loaded(plugin(poolform_block_types=lambda pools: [])).problems
    assert "its poolform_block_types asks for pools, which that hook does not give" in problem.message
    assert problem.hint == "It gives none."


def test_a_taken_slug_stays_with_the_first():
    plugins = loaded(plugin(type("Twin", (Good,), {"title": "Twin"})))
    (problem,) = plugins.problems
    assert "the pool type good is already brought by first (poolform-first 1.0)" in problem.message
    assert plugins.pool_type("good").pool_type.title == "Good"


def naming(**offers):
    """A plugin that says where its pool types are."""
    module = types.ModuleType("a_plugin")
    module.poolform_pool_types = hookimpl(lambda: offers)
    return module


@pytest.fixture
def module(monkeypatch):
    """A module that is imported only when somebody asks for what is in it."""
    holder = types.ModuleType("late_pool_types")
    holder.Odd, holder.Wrong = variant(), variant(title=None)
    monkeypatch.setitem(sys.modules, "late_pool_types", holder)
    return "late_pool_types"


def test_a_pool_type_that_is_only_named_is_imported_when_it_is_needed(module):
    plugins = loaded(naming(odd=f"{module}:Odd", absent="no_such_module_at_all:Odd"))
    assert set(plugins.pool_types) == {"good", "odd", "absent"}
    assert plugins.problems == ()
    assert plugins.pool_type("odd").pool_type.slug == "odd"
    assert plugins.pool_types.plugin_of("odd").name == "other0"
    with pytest.raises(NotFound, match="the pool type absent cannot be imported: ModuleNotFoundError"):
        plugins.pool_type("absent")
    assert [r.pool_type.slug for r in plugins.pool_types.values()] == ["good", "odd"]


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ({"odd": "late_pool_types:Wrong"}, "the pool type odd breaks the contract: it has no title"),
        ({"even": "late_pool_types:Odd"}, "the pool type that it offers as even says it is odd"),
        ({"odd": "late_pool_types:Missing"}, "the pool type odd cannot be imported: AttributeError"),
        ({"good": "late_pool_types:Odd"}, "the pool type good is already brought by first (poolform-first 1.0)"),
    ],
)
def test_what_is_wrong_with_a_named_pool_type_is_said_when_it_is_needed(module, offers, said):
    plugins = loaded(naming(**offers))
    (problem,) = plugins.all_problems()
    assert said in problem.message
    assert [r.plugin.name for r in plugins.pool_types.values()] == ["first"]


def test_a_taken_plugin_name_is_named():
    plugins = loaded()
    plugins.register(plugin(variant()), Plugin("first", "imposter", "9"))
    assert "its name is taken by first (poolform-first 1.0)" in plugins.problems[0].message
    assert set(plugins.pool_types) == {"good"}


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: sys.exit(3), "poolform_pool_types failed: SystemExit: 3."),
        (lambda: 7, "returned 7, which is not a list"),
        (lambda: "good", "returned 'good', which is not a list"),
        (lambda: None, "returned None, which is not a list"),
    ],
)
def test_a_plugin_that_fails_when_asked_for_pool_types_is_named(hook, said):
    module = types.ModuleType("broken")
    module.poolform_pool_types = hookimpl(hook)
    plugins = loaded(module)
    (problem,) = plugins.problems
    assert said in problem.message
    assert set(plugins.pool_types) == {"good"}


@pytest.mark.parametrize("hook", ["poolform_block_types", "poolform_sources"])
def test_a_forgotten_return_is_said_when_what_it_brings_is_needed(hook):
    plugins = loaded(plugin(**{hook: lambda: None}))
    (problem,) = plugins.all_problems()
    assert f"{hook} returned None, which is not a" in problem.message
    assert problem.hint == "Does it end without a `return`?"


def test_what_is_no_block_type_is_named_and_left_out():
    plugins = loaded(plugin(poolform_block_types=lambda: [Good, Secret]))
    (problem,) = plugins.all_problems()
    assert "which is not a Block with a block_type" in problem.message
    assert plugins.block_types["secret"] is Secret


def test_a_block_type_that_is_taken_is_named_and_left_out():
    class Mine(Block):
        block_type = "secret"

    plugins = loaded(plugin(poolform_block_types=lambda: [Mine, Secret]))
    (problem,) = plugins.all_problems()
    assert "the block type secret is already brought by Poolform itself; this one is left out." in problem.message
    assert plugins.block_types["secret"] is Secret


def test_a_class_that_cannot_be_looked_at_or_made_is_left_out():
    def fails(self):
        sys.exit("no bench")

    plugins = loaded(plugin(variant(providers=7), variant(slug="even", __init__=fails)))
    odd, even = plugins.problems
    assert "the pool type odd cannot be made: AttributeError" in odd.message
    assert "the pool type even cannot be made: SystemExit: no bench" in even.message
    assert set(plugins.pool_types) == {"good"}


def test_a_pool_type_that_was_left_out_is_not_taken_for_a_misspelt_one():
    plugins = loaded(plugin(variant(slug="goods", title=None)))
    with pytest.raises(NotFound, match=r"There is no pool type 'goods'\. plugin other0 .*: it has no title") as caught:
        plugins.pool_type("goods")
    assert caught.value.hint is None


def test_an_unknown_pool_type_names_the_nearest_and_what_is_broken():
    plugins = loaded(plugin(poolform_nonsense=lambda: None))
    with pytest.raises(NotFound, match=r"There is no pool type 'goood'\. plugin other0") as caught:
        plugins.pool_type("goood")
    assert caught.value.exit_code == 2
    assert caught.value.hint == "Did you mean good?"
    with pytest.raises(NotFound, match=r"There is no pool type 'wood'\. plugin other0") as caught:
        plugins.pool_type("wood")
    assert caught.value.hint == "Known: good."


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


def test_no_clouds_models_are_built_before_they_are_needed():
    code = (
        "import sys; from poolform.core.plugins import load_plugins; from poolform.core.settings import Settings\n"
        "plugins = load_plugins(Settings.from_environment()); slugs = set(plugins.pool_types)\n"
        "print(len(slugs), [name for name in sys.modules if name.startswith('poolform.provisioners.') and "
        "name.count('.') > 2])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    count, _, imported = said.partition(" ")
    assert int(count) >= 3
    assert imported.strip() == "[]"


def test_plugins_can_be_named_by_module_and_narrowed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lab_in_a_module", plugin(variant()))
    plugins = load_plugins(Settings.from_environment({"POOLFORM_PLUGINS": "lab_in_a_module"}))
    assert "odd" in plugins.pool_types
    assert "process" in plugins.pool_types


def test_a_plugin_that_exits_when_it_is_imported_takes_nobody_along(tmp_path, monkeypatch):
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = load_plugins(Settings.from_environment({"POOLFORM_PLUGINS": "leaving"}))
    assert [problem.message for problem in plugins.problems] == [
        "plugin leaving: it cannot be imported: SystemExit: 3."
    ]
    assert "process" in plugins.pool_types


def test_a_plugin_that_cannot_be_imported_is_reported_and_skipped():
    plugins = load_plugins(Settings.from_environment({"POOLFORM_PLUGINS": "no_such_module"}))
    (problem,) = plugins.problems
    assert problem.message == (
        "plugin no_such_module: POOLFORM_PLUGINS names it, and neither an installed plugin nor a module is called so."
    )
    assert problem.hint.startswith("Install it, or correct the name.")
    assert "process" in plugins.pool_types
