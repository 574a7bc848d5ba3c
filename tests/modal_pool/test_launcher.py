"""What the Modal launcher asks, refuses and says; with the SDK and a stand-in of Modal's service where it must ask."""

from __future__ import annotations

import time

import pytest
from clouds.modal import TOKEN

from poolform.core.runs.launchers import Job, LaunchRefused, Unavailable
from poolform.provisioners.modal import sandbox
from poolform.provisioners.modal.launcher import ModalLauncher
from poolform.provisioners.modal.tokens import Token

IMAGE = "python:3.12-slim"


def job(code="pass", *, key=None, env=(), secrets=(), labels=(), **configuration):
    key = key or f"{time.time_ns()}.1"
    command = ("python", "-c", code)
    return Job(key, "trial", command, {"image": IMAGE, **configuration}, dict(env), dict(secrets), dict(labels))


def test_settings_become_the_sdk_s_words():
    asked = job(cpu=0.5, memory=512, timeout=60, region="eu", cloud="aws", workdir="/app", labels={"team": "data"})
    options = sandbox.options(asked, "ab12cd34")
    assert {name: options[name] for name in ("cpu", "memory", "timeout", "region", "cloud", "workdir")} == {
        "cpu": 0.5, "memory": 512, "timeout": 60, "region": "eu", "cloud": "aws", "workdir": "/app",
    }  # fmt: skip
    assert options["tags"] == {"poolform-key": asked.key, "poolform-pool-id": "ab12cd34", "team": "data"}
    assert options["name"] == asked.key


def test_what_nobody_set_is_not_said_except_the_time_limit():
    """Modal's own is five minutes, which would end most flows."""
    options = sandbox.options(job(), "ab12cd34")
    assert options["timeout"] == 3600
    assert not {"cpu", "memory", "region", "cloud", "workdir"} & options.keys()


def test_a_key_that_is_no_name_has_a_digest():
    assert sandbox.name_of("a" * 63) == "a" * 63
    assert len(sandbox.name_of("a" * 64)) == 60
    assert sandbox.name_of("a/b") != sandbox.name_of("a.b")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"env": {"A-B": "c"}}, "cannot name an environment variable"), ({"env": {"A": "x" * 70_000}}, "at most 65,536")],
)
def test_what_modal_cannot_be_given_is_refused(wrong, said):
    with pytest.raises(LaunchRefused, match=said):
        sandbox.options(job(**wrong), "p")


def test_modal_s_own_exit_codes_are_said_in_words():
    assert "time limit" in sandbox.reason(124)
    assert sandbox.reason(137) == "Modal terminated it"
    assert sandbox.reason(1) is sandbox.reason(0) is None


@pytest.fixture
def launcher(modal_service):
    launcher = ModalLauncher(lambda: Token(*TOKEN), "poolform-launcher", None, settle=0.2)
    yield launcher
    launcher.close()


def test_a_token_that_modal_does_not_take_is_said(modal_service):
    launcher = ModalLauncher(lambda: Token("ak-wrong", "as-hush"), "poolform-launcher", None)
    with pytest.raises(Unavailable, match="Token ID or secret is not valid") as told:
        launcher.find("nobody.1")
    assert "as-hush" not in str(told.value)
    launcher.close()


def test_an_image_that_cannot_be_built_is_refused(launcher):
    with pytest.raises(LaunchRefused, match="manifest unknown"):
        launcher.launch(job(image="no-such-image:1"))


def test_removing_forgets_and_leaves_what_only_modal_can_delete(launcher, modal_service):
    handle = launcher.launch(job("import time; time.sleep(60)"))
    launcher.remove(handle)
    assert launcher.poll([handle]) == {}
    assert modal_service.boxes[handle].result is not None, "one that still ran is terminated"


def test_secrets_travel_apart_from_the_command(launcher, modal_service):
    handle = launcher.launch(job(secrets={"TOKEN": "hush-4711"}))
    definition = modal_service.boxes[handle].request.definition
    assert "hush-4711" not in str(definition)
    assert "hush-4711" in str(modal_service.boxes[handle].request.secret_sources)


def test_taking_a_pool_apart_ends_its_sandboxes_and_its_app(modal_service):
    launcher = ModalLauncher(lambda: Token(*TOKEN), "poolform-apart", None)
    handles = [launcher.launch(job("import time; time.sleep(60)")) for _ in range(3)]
    other = ModalLauncher(lambda: Token(*TOKEN), "poolform-other", None)
    kept = other.launch(job("import time; time.sleep(60)"))
    launcher.remove_all()
    assert all(modal_service.boxes[handle].result is not None for handle in handles)
    assert modal_service.boxes[kept].result is None
    assert modal_service.apps["poolform-apart"] in modal_service.stopped
    other.remove_all()
    launcher.close()
    other.close()
