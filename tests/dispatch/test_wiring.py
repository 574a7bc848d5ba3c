"""Launchers that plugins make wrongly: the plugin, the class and what to do are in the error."""

from __future__ import annotations

import types

import pytest
from dispatch_stand_in import Platform

from poolform.core.blocks import Blocks
from poolform.core.dispatch.wiring import Wiring
from poolform.core.errors import PluginError
from poolform.core.plugins import Plugins, hookimpl
from poolform.core.pools.catalogue import Plugin
from poolform.core.pools.contract import PoolType
from poolform.core.runs.launchers import Launcher
from poolform.core.settings import Settings

LABEL = "plugin lab (poolform-lab 1.0): "


class Half(Launcher):
    """Lacks most."""

    def launch(self, job):
        return job.key

    def find(self, key):
        return key

    def poll(self, handles):
        return {}


class Almost(Half):
    """Lacks one."""

    def logs(self, handle, cursor):
        raise AssertionError

    def remove(self, handle):
        raise AssertionError


def exiting():
    raise SystemExit(4)


def made(store, tmp_path, make):
    """Return what `make` makes as the launcher of a ready pool of a plugin's type."""

    class Lab(PoolType):
        slug = "lab:push"
        title = "Lab"

        def launcher(self, connection, credential):
            return make()

    module = types.ModuleType("lab")
    module.poolform_pool_types = hookimpl(lambda: [Lab])
    plugins = Plugins()
    plugins.register(module, Plugin("lab", "poolform-lab", "1.0"))
    settings = Settings.from_environment({"POOLFORM_HOME": str(tmp_path)})
    pool = types.SimpleNamespace(
        id="1", name="p", type="lab:push", plugin="lab", plugin_version="1.0", state="ready", revision=1,
        connection={"settings": {}}, credential_block=None, variables={},
    )  # fmt: skip
    return Wiring(plugins, Blocks(store, settings, {})).launcher(pool)


@pytest.mark.parametrize(
    ("cls", "lacks", "them"), [(Half, "cancel, logs and remove", "them"), (Almost, "cancel", "it")]
)
def test_an_unfinished_launcher_class_is_named_with_what_it_lacks(store, tmp_path, cls, lacks, them):
    with pytest.raises(PluginError) as caught:
        made(store, tmp_path, cls)
    name = f"{cls.__module__}.{cls.__qualname__}"
    assert caught.value.message == f"{LABEL}{name}, the launcher of the pool type lab:push, does not have {lacks}."
    assert caught.value.hint == (
        f"Write {them}, as poolform.Launcher promises; `poolform plugin check lab` tries what is there."
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (exiting, "launcher of the pool type lab:push failed: SystemExit: 4."),
        (Platform, "launcher of the pool type lab:push failed: TypeError: Platform.__init__() missing"),
        (lambda: None, "launcher of the pool type lab:push returned None, which is not a Launcher."),
    ],
)
def test_a_launcher_that_cannot_be_made_is_its_plugins_fault(store, tmp_path, make, said):
    with pytest.raises(PluginError) as caught:
        made(store, tmp_path, make)
    assert caught.value.message.startswith(f"{LABEL}{said}")
