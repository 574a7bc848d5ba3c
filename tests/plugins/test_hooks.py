"""Every hook: called when its documentation says, by a real plugin from examples/, over the command line."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
import os
import random
import re
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from poolform.core.errors import InvalidValues, NotFound
from poolform.core.plugins import Hooks
from poolform.core.pools.catalogue import Plugin, Registered
from poolform.core.pools.records import new_record
from poolform.core.terraform.plan import NOTHING, read_plan
from poolform.provisioners.process import Process, ProcessVariables

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "plugins"
PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
HOOKS = [name for name in vars(Hooks) if name.startswith("poolform_")]

# A hook whose example is a whole package: tests/plugins/test_scaffold.py.
IN_THE_SCAFFOLD = {"poolform_pool_types"}


@pytest.fixture
def run(poolform, monkeypatch):
    """Run the command line with some of the examples and with pool types that need no cloud."""
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLES}:{ROOT / 'tests' / 'cli'}")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])

    def run(plugins, *args, **env):
        return poolform(*args, POOLFORM_PLUGINS=plugins, **env)

    return run


# -- guards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_with_its_exact_signature(hook):
    section = re.search(rf"^## {hook}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/reference/hooks.md has no section `## {hook}`"
    signature = inspect.signature(getattr(Hooks, hook))
    signature = signature.replace(parameters=[p for name, p in signature.parameters.items() if name != "self"])
    text = str(signature).replace("'", "")
    assert section[1].startswith(f"\n```python\ndef {hook}{text}\n```\n"), f"the page should say: def {hook}{text}"


@pytest.mark.parametrize("hook", sorted(set(HOOKS) - IN_THE_SCAFFOLD))
def test_a_hook_has_an_example_and_a_test(hook):
    users = [path.name for path in EXAMPLES.glob("*.py") if f"@hookimpl\ndef {hook}(" in path.read_text()]
    assert users, f"no plugin in examples/plugins uses {hook}"
    listed = (EXAMPLES / "README.md").read_text()
    for user in users:
        assert re.search(rf"\[{user}\].*`{hook}`", listed), f"examples/plugins/README.md does not say so of {user}"
    source = Path(__file__).read_text().partition("# -- called --")[2]
    assert any(user.removesuffix(".py") in source for user in users), f"no test here runs {users}"


def test_what_the_page_quotes_is_in_the_examples():
    examples = "\n".join(path.read_text() for path in EXAMPLES.glob("*.py"))
    quoted = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if not block.startswith("def ")]
    assert quoted
    for block in quoted:
        if "pause the pool" not in block:  # this one is for the page alone, and runs below
            for line in filter(None, block.splitlines()):
                assert line in examples


# -- called --------------------------------------------------------------------------------------------------------


def pool(**changes):
    about = Registered(Process(), Plugin("process", "poolform", "1"))
    record = new_record("p", about, ProcessVariables(folder="/x"))
    return type(record)(**{**{name: getattr(record, name) for name in record.__dataclass_fields__}, **changes})


def plan(*resources, kept=0):
    """Return a plan as Terraform would write it, of (address, action, after)."""
    changes = [
        {
            "address": address,
            "type": address.partition(".")[0],
            "name": address.partition(".")[2],
            "change": {"actions": [action], "before": None, "after": after, "after_unknown": {"id": True}},
        }
        for address, action, after in (*resources, *((f"terraform_data.k{n}", "no-op", {}) for n in range(kept)))
    ]
    return read_plan({"format_version": "1.2", "resource_changes": changes})


def reviews(name, monkeypatch, of_plan, of_pool=None, **environ):
    """Return what one of the examples says of a plan: severity, message and address."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, str(value))
    found = __import__(name).poolform_review_plan(of_pool or pool(), of_plan)
    return [(review.severity, review.message, review.address) for review in found]


def create(run, plugins, *more, **env):
    args = ("work-pool", "create", "p", "--type", "lab:push", "--set", "region=us-1", "--provision-infra", "--yes")
    return run(f"wrong,{plugins}", *args, *more, **env)


@pytest.mark.slow
def test_a_review_stops_a_plan_before_anything_is_changed(run):
    result = create(run, "allowed_regions", POOL_REGIONS="eu-*,us-east-1")
    assert result.code == 1
    assert result.err.endswith(
        "Error: The plan for p was stopped by review:\n"
        "  us-1 is not one of the allowed regions (eu-*, us-east-1) (allowed_regions)\n"
        "Change the variables, or take it up with whoever maintains the plugin; nothing was changed.\n"
    )
    assert run("wrong", "work-pool", "ls", "-o", "json").json == []
    assert create(run, "allowed_regions", POOL_REGIONS="eu-*,us-*").code == 0


def test_all_reviews_are_heard_before_a_plan_is_stopped(run):
    result = create(run, "allowed_regions,bounded_plan", POOL_REGIONS="eu-*", POOL_MOST_RESOURCES="0")
    assert "us-1 is not one of the allowed regions (eu-*) (allowed_regions)\n" in result.err
    assert "the pool would have 1 resources, and 0 are the most that are allowed (bounded_plan)\n" in result.err


def test_a_review_that_fails_stops_the_plan_and_is_named(run):
    result = create(run, "bounded_plan", POOL_MOST_RESOURCES="many")
    assert result.code == 1
    assert "plugin bounded_plan: poolform_review_plan failed: ValueError: invalid literal for int()" in result.err
    assert run("wrong", "work-pool", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_a_destroy_is_reviewed_and_the_examples_let_it_go(run):
    assert create(run, "allowed_regions,bounded_plan,no_public_ingress").code == 0
    plugins = "wrong,allowed_regions,bounded_plan,no_public_ingress"
    args = ("work-pool", "deprovision", "p", "--yes")
    assert run(plugins, *args, POOL_REGIONS="eu-*", POOL_MOST_RESOURCES="0").code == 0


def test_allowed_regions_looks_at_every_resource(monkeypatch):
    of_plan = plan(
        ("aws_ecs_cluster.a", "create", {"region": "us-east-1"}),
        ("google_cloud_run_v2_job.b", "create", {"location": "EU-west1"}),
        ("google_compute_network.c", "create", {"location": None}),
        ("azurerm_container_group.d", "update", {"location": "westus"}),
        ("aws_ecs_cluster.e", "delete", {"region": "us-east-1"}),
    )
    found = reviews("allowed_regions", monkeypatch, of_plan, POOL_REGIONS="eu-*, us-*")
    assert found == [
        ("error", "westus is not one of the allowed regions (eu-*, us-*)", "azurerm_container_group.d"),
    ]
    assert reviews("allowed_regions", monkeypatch, NOTHING, pool(variables={"region": "mars"})) == []


@pytest.mark.parametrize(
    ("type_", "after", "is_open"),
    [
        ("aws_security_group", {"ingress": [{"cidr_blocks": ["0.0.0.0/0"]}]}, True),
        ("aws_security_group", {"ingress": [{"cidr_blocks": [], "ipv6_cidr_blocks": ["::/0"]}]}, True),
        ("aws_security_group", {"ingress": None, "egress": [{"cidr_blocks": ["0.0.0.0/0"]}]}, False),
        ("aws_vpc_security_group_ingress_rule", {"cidr_ipv4": "0.0.0.0/0"}, True),
        ("aws_vpc_security_group_ingress_rule", {"cidr_ipv4": "10.0.0.0/8"}, False),
        ("aws_vpc_security_group_egress_rule", {"cidr_ipv4": "0.0.0.0/0"}, False),
        ("aws_security_group_rule", {"type": "ingress", "ipv6_cidr_blocks": ["::/0"]}, True),
        ("aws_security_group_rule", {"type": "egress", "cidr_blocks": ["0.0.0.0/0"]}, False),
        ("google_compute_firewall", {"allow": [{}], "source_ranges": ["0.0.0.0/0"]}, True),
        ("google_compute_firewall", {"allow": [{}], "source_ranges": None}, True),
        ("google_compute_firewall", {"allow": [{}], "source_tags": ["web"]}, False),
        ("google_compute_firewall", {"allow": [], "deny": [{}]}, False),
        ("google_compute_firewall", {"allow": [{}], "direction": "EGRESS"}, False),
        (
            "azurerm_network_security_rule",
            {"direction": "Inbound", "access": "Allow", "source_address_prefix": "*"},
            True,
        ),
        (
            "azurerm_network_security_rule",
            {"direction": "Inbound", "access": "Deny", "source_address_prefix": "*"},
            False,
        ),
    ],
)
def test_no_public_ingress(monkeypatch, type_, after, is_open):
    found = reviews("no_public_ingress", monkeypatch, plan((f"{type_}.x", "create", after)))
    assert found == [("error", "it would let the whole internet in", f"{type_}.x")] * is_open
    assert reviews("no_public_ingress", monkeypatch, plan((f"{type_}.x", "delete", after))) == []


@pytest.mark.parametrize(
    ("actions", "kept", "stops"),
    [(["create"] * 3, 0, False), (["create"] * 3, 1, True), (["update"] * 4, 0, False), (["delete"] * 9, 0, False)],
)
def test_bounded_plan(monkeypatch, actions, kept, stops):
    of_plan = plan(*((f"lab_x.x{n}", action, {}) for n, action in enumerate(actions)), kept=kept)
    assert bool(reviews("bounded_plan", monkeypatch, of_plan, POOL_MOST_RESOURCES=3)) == stops


# As checkov 3.3.30 prints it, most keys left out.
CHECKOV = {
    "check_type": "terraform_plan",
    "results": {
        "failed_checks": [
            {
                "check_id": "CKV_AWS_24",
                "check_name": "Ensure no security groups allow ingress from 0.0.0.0:0 to port 22",
                "resource": "aws_security_group.s[0]",
                "severity": None,
            },
            {
                "check_id": "CKV_AWS_23",
                "check_name": "Ensure every security group and rule has a description",
                "resource": "aws_security_group.s[0]",
                "severity": None,
            },
        ]
    },
    "summary": {"passed": 7, "failed": 2, "checkov_version": "3.3.30"},
}


@pytest.fixture
def checkov(tmp_path):
    """A program that plays back what checkov said once, and keeps what it was asked."""

    def answering(code, out, err=""):
        program = tmp_path / "checkov"
        program.write_text(
            f"#!/bin/sh\ncp plan.json {tmp_path}/asked.json\nls -ld . > {tmp_path}/mode\necho $* > {tmp_path}/args\n"
            f"cat <<'END'\n{out}\nEND\necho '{err}' >&2\nexit {code}\n"
        )
        program.chmod(0o755)
        return program

    return answering


def test_checkov_findings_are_shown_and_some_stop_the_plan(monkeypatch, tmp_path, checkov):
    program = checkov(1, json.dumps(CHECKOV))
    after = {"name": "s", "password": "hush"}
    document = plan(("aws_security_group.s[0]", "create", after), ("aws_s3_bucket.gone", "delete", None))
    (change, gone) = document.changes
    secret = type(change)(**{**vars(change), "sensitive": frozenset({"password"})})
    of_plan = type(document)(**{**vars(document), "changes": (secret, gone)})
    found = reviews("checkov_findings", monkeypatch, of_plan, CHECKOV=program, CHECKOV_STOP_ON="CKV_GCP_*,CKV_AWS_24")
    text = "Ensure no security groups allow ingress from 0.0.0.0:0 to port 22 (CKV_AWS_24)"
    assert found[0] == ("error", text, "aws_security_group.s[0]")
    assert [severity for severity, _, _ in found] == ["error", "warning"]
    asked = json.loads((tmp_path / "asked.json").read_text())
    (resource,) = asked["planned_values"]["root_module"]["resources"]
    assert (resource["address"], resource["values"]) == ("aws_security_group.s[0]", {"name": "s"})
    assert "--framework terraform_plan --output json" in (tmp_path / "args").read_text()
    assert (tmp_path / "mode").read_text().startswith("drwx------")


def test_checkov_findings_asks_nothing_about_a_destroy(monkeypatch, tmp_path):
    nowhere = tmp_path / "no-checkov"
    assert reviews("checkov_findings", monkeypatch, plan(("x_y.z", "delete", None)), CHECKOV=nowhere) == []


@pytest.mark.slow
def test_checkov_that_fails_stops_the_plan(run, checkov):
    result = create(run, "checkov_findings", CHECKOV=checkov(2, "", "no such framework"))
    assert result.code == 1
    assert "poolform_review_plan failed: RuntimeError: checkov exited 2: no such framework." in result.err
    assert run("wrong", "work-pool", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_applies_and_destroys_are_heard_of_and_a_command_reads_the_register(run, tmp_path):
    register = tmp_path / "pools.jsonl"
    env = {"POOL_REGISTER": register}
    assert create(run, "pool_register", **env).code == 0
    assert run("wrong,pool_register", "work-pool", "deprovision", "p", "--yes", **env).code == 0
    entries = [json.loads(line) for line in register.read_text().splitlines()]
    assert [(e["event"], e["pool"], e["type"], e["plugin"]) for e in entries] == [
        ("provisioned", "p", "lab:push", "wrong "),
        ("destroyed", "p", "lab:push", "wrong "),
    ]
    shown = run("pool_register", "register", **env)
    assert (shown.code, shown.err) == (0, "")
    assert re.search(r"^\S+  provisioned  p \(lab:push, wrong \)$", shown.out, re.MULTILINE)
    assert "register" in run("pool_register", "--help").out
    assert run("pool_register", "regster").code == 2


def test_hearing_that_fails_is_a_warning(run, tmp_path):
    result = create(run, "pool_register", POOL_REGISTER=tmp_path)  # a folder: no line can be added
    assert result.code == 0
    assert "Warning: plugin pool_register: poolform_after_apply failed: IsADirectoryError" in result.err
    assert "the work pool p is ready" in result.err


class Receiver(HTTPServer):
    """A server on loopback that keeps what is posted to it."""

    def __init__(self):
        self.received = []
        self.refuses = 0.0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                refused = random.random() < self.refuses
                if not refused:
                    self.received.append((handler.path, dict(handler.headers), body))
                handler.send_response(503 if refused else 204)
                handler.end_headers()

            def log_message(self, *args):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


FLOW = """
from poolform import flow

@flow
def f(): print("ran")
"""


@pytest.fixture
def deployed(run, tmp_path):
    (tmp_path / "f.py").write_text(FLOW)
    made = run("run_webhook", "work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
    assert made.code == 0, made.err
    assert run("run_webhook", "deploy", "f.py:f", "-n", "x", "-p", "here").code == 0


@pytest.mark.slow
def test_a_run_s_changes_are_posted_to_a_webhook_kept_in_a_block(run, deployed, receiver):
    url = f"http://127.0.0.1:{receiver.server_port}/hush-4711"
    block = run(
        "run_webhook", "block", "create", "webhook/runs", "--file", "-", stdin=json.dumps({"url": url, "key": "k"})
    )
    assert block.code == 0, block.err
    result = run("run_webhook", "deployment", "run", "f/x", "--watch")
    assert result.code == 0, result.err
    news = [json.loads(body) for _, _, body in receiver.received]
    states = [item["state"] for item in news]
    # Heard from when a worker with the plugin is there, which here is after it was submitted.
    assert [state for state in states if state != "running"] == ["pending", "submitted", "completed"]
    assert {(item["deployment"], item["pool"], item["attempt"]) for item in news} == {("f/x", "here", 1)}
    for path, headers, body in receiver.received:
        signature = hmac.new(b"k", body, hashlib.sha256).hexdigest()
        assert (path, headers["X-Hub-Signature-256"]) == ("/hush-4711", f"sha256={signature}")
    assert "hush-4711" not in result.out + result.err


def webhook(run, url):
    secret = json.dumps({"url": url})
    assert run("run_webhook", "block", "create", "webhook/runs", "--file", "-", stdin=secret).code == 0


@pytest.mark.slow
def test_a_webhook_that_nobody_answers_harms_no_run_and_hears_later(run, deployed, receiver):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    webhook(run, f"http://127.0.0.1:{port}/hush-4711")
    result = run("run_webhook", "deployment", "run", "f/x", "--watch")
    assert result.code == 0, result.err
    assert "NotDelivered: the webhook cannot be reached: ConnectionRefusedError. That " in result.err
    assert "is pending was not heard; it is told again later." in result.err
    assert "hush-4711" not in result.out + result.err
    assert run("run_webhook", "block", "delete", "webhook/runs", "--yes").code == 0
    webhook(run, f"http://127.0.0.1:{receiver.server_port}/hush-4711")
    assert run("run_webhook", "deployment", "run", "f/x", "--watch").code == 0
    told = {}
    for _, _, body in receiver.received:
        item = json.loads(body)
        told.setdefault(item["id"], []).append(item["state"])
    first, second = told.values()
    assert [state for state in first if state != "running"] == ["pending", "submitted", "completed"]
    assert [state for state in second if state != "running"] == ["scheduled", "pending", "submitted", "completed"]


@pytest.mark.slow
def test_a_webhook_s_outage_and_killed_workers_lose_no_change(run, deployed, receiver, tmp_path):
    """Half of the posts are refused, and the worker is killed again and again."""
    webhook(run, f"http://127.0.0.1:{receiver.server_port}/")
    receiver.refuses = 0.5
    command = [sys.executable, "-m", "poolform.cli.app", "worker", "start"]
    env = {**os.environ, "POOLFORM_PLUGINS": "run_webhook", "PYTHONPATH": EXAMPLES}
    worker = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    made = []
    deadline = time.monotonic() + 30
    while not run("run_webhook", "worker", "ls", "-o", "json").json:
        assert time.monotonic() < deadline
    time.sleep(0.5)  # by now it has said that the plugin listens
    for _ in range(4):
        made += [run("run_webhook", "deployment", "run", "f/x").out.strip() for _ in range(2)]
        worker.kill()
        worker.wait()
        worker = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    receiver.refuses = 0.0
    try:
        deadline = time.monotonic() + 90
        while {json.loads(body)["id"] for *_, body in receiver.received if b'"completed"' in body} < set(made):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        worker.terminate()
        worker.wait(30)
    for run_id in made:
        heard = [item["state"] for *_, body in receiver.received if (item := json.loads(body))["id"] == run_id]
        states = [s["state"] for s in run("run_webhook", "flow-run", "inspect", run_id, "-o", "json").json["states"]]
        # Each at least once, and in order: what was told when the worker was killed comes again.
        assert [state for state in dict.fromkeys(heard) if state in states] == list(dict.fromkeys(states))


@pytest.mark.slow
def test_a_run_whose_news_no_plugin_can_take_goes_on(run, deployed):
    result = run("run_webhook", "deployment", "run", "f/x", "--watch")  # there is no block webhook/runs
    assert result.code == 0
    assert "plugin run_webhook: poolform_run_changed failed: NotFound: There is no block webhook/runs" in result.err


def test_a_plugin_s_block_type_is_asked_for_and_read_back(run, monkeypatch):
    listed = run("run_webhook", "block", "types", "-o", "json").json
    assert {"type": "webhook", "title": "Webhook", "fields": ["url", "key"]} in listed
    monkeypatch.syspath_prepend(EXAMPLES)
    webhook = __import__("run_webhook").Webhook
    with pytest.raises(NotFound, match=r"There is no block webhook/runs"):
        webhook.load("runs")
    assert run("run_webhook", "block", "create", "webhook/runs", "--file", "-", stdin='{"url": "https://x"}').code == 0
    loaded = webhook.load("runs")
    assert (type(loaded), loaded.url.get_secret_value(), loaded.key) == (webhook, "https://x", None)
    assert "https://x" not in repr(loaded)

    class Other(webhook):
        channel: str

    with pytest.raises(
        InvalidValues,
        match=r"The block webhook/runs does not fit its type:\n  channel: it is required and was not given\.",
    ) as e:
        Other.load("runs")
    assert "https://x" not in str(e.value)


@pytest.mark.slow
def test_code_is_found_where_a_plugin_says(run, tmp_path):
    (tmp_path / "team" / "flows").mkdir(parents=True)
    (tmp_path / "team" / "flows" / "f.py").write_text(FLOW)
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for command in (("init", "-q", "-b", "v2"), ("add", "."), (*identity, "commit", "-qm", "x")):
        subprocess.run(["git", *command], cwd=tmp_path / "team" / "flows", check=True)
    (tmp_path / "team" / "flows" / ".git").rename(tmp_path / "team" / "flows.git")
    plugins, env = "company_repositories", {"OUR_GIT": f"file://{tmp_path}"}
    made = run(plugins, "work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
    assert made.code == 0, made.err
    deploy = ("deploy", "f.py:f", "-n", "x", "-p", "here", "--source")
    result = run(plugins, *deploy, "ours://team/flows@v2", **env)
    assert result.code == 0, result.err
    assert run(plugins, "deployment", "inspect", "f/x", "-o", "json").json["source"] == {
        "type": "ours",
        "url": "ours://team/flows@v2",
    }
    ran = run(plugins, "deployment", "run", "f/x", "--watch", **env)
    assert (ran.code, ran.out) == (0, "ran\n"), ran.err
    failed = run(plugins, *deploy, "ours://team/flows@v2")  # without OUR_GIT
    assert failed.code == 1
    assert "plugin company_repositories: the source type ours failed: KeyError: 'OUR_GIT'" in failed.err


@pytest.mark.slow
def test_calls_are_traced_on_request(run):
    quiet = create(run, "bounded_plan,pool_register")
    assert "poolform_review_plan" not in quiet.err
    args = ("work-pool", "deprovision", "p", "--yes")
    traced = run("wrong,bounded_plan,pool_register", *args, POOLFORM_TRACE_PLUGINS="1", POOL_REGISTER="/no/such/x").err
    lines = [re.sub(r"in \d+\.\d ms$", "in N ms", line) for line in traced.splitlines() if line.startswith("plugin ")]
    given = "(pool=WorkPool p, plan=Plan 1 to destroy)"
    assert f"plugin bounded_plan: poolform_review_plan{given} returned [], in N ms" in lines
    assert any(
        line.startswith("plugin pool_register: poolform_after_destroy(pool=WorkPool p) failed: FileNotFoundError")
        for line in lines
    )
    assert any(line.startswith("plugin wrong: poolform_pool_types() returned [<class 'wrong.Lab'>") for line in lines)
    assert not [line for line in lines if "wrong: poolform_review_plan" in line], "it has no such hook"


def test_the_review_that_is_only_on_the_page_does_what_it_says():
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "pause the pool" in b)
    code = f"from poolform import Review, hookimpl\n{textwrap.dedent(block)}"
    names = {}
    exec(compile(code, "page", "exec"), names)
    of_plan = plan(("x_y.z", "delete", None))
    assert [review.severity for review in names["poolform_review_plan"](pool(), of_plan)] == ["warning"]
    assert list(names["poolform_review_plan"](pool(paused=True), of_plan)) == []
