"""What happens on a terminal: questions and every answer to them, progress, Ctrl-C, colours."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect
import pytest

# Python 3.12 warns of every fork with threads around, and pytest-xdist has one.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

POOLFORM = str(Path(sys.executable).with_name("poolform"))
CREATE = ("work-pool", "create", "p", "--type", "process", "--provision-infra")
SLOW = ("work-pool", "create", "p", "--type", "slow")
QUESTION = "Proceed with provisioning? [y/N]: "
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(pexpect.spawn):
    """A command line on a terminal of its own."""

    def __init__(self, command, args, folder, **env):
        super().__init__(
            command,
            [str(arg) for arg in args],
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", **env},
            encoding="utf-8",
            dimensions=(50, 160),
            timeout=60,
        )
        self.delaybeforesend = None

    def says(self, text):
        """Wait for it, and return everything that came before it."""
        self.expect_exact(text)
        return self.before

    def ends(self):
        """Wait for the end; return the exit code and what was said since the last time."""
        self.expect(pexpect.EOF)
        self.close()
        return self.exitstatus, plain(self.before)


def plain(text):
    """Return what is left to read on the terminal: no colours, no cursor movements, nothing that was overwritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A function that starts the command line on a terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("POOLFORM_PLUGINS", "slow_pools")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    started = []

    def start(*args, command=POOLFORM, **env):
        started.append(Terminal(command, args, tmp_path, **env))
        return started[-1]

    yield start
    for one in started:
        one.close(force=True)


def nothing_is_left(poolform, home):
    """Say whether there is no pool, and nothing that making one would leave."""
    left = [path for folder in ("pools", "tmp") for path in (home / folder).glob("*") if path.is_dir()]
    return not left and poolform("work-pool", "ls", "-o", "json").json == []


# -- the question ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_yes_applies_and_shows_how_it_goes(terminal, poolform, home):
    person = terminal(*CREATE)
    plan = plain(person.says(QUESTION))
    assert "To provision the work pool p (process), Poolform will:" in plan
    assert f"+ Create a process pool that keeps its jobs in {home}/jobs/" in plan
    assert "1 to create." in plan
    person.sendline("y")
    code, said = person.ends()
    assert code == 0
    done = said.replace("\n", "")  # where the line is full, the terminal goes on in the next one
    assert re.search(r"✓ Create a process pool that keeps its jobs in .*/jobs/\w+ \(0 s\)", done)
    spun = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", person.before)
    assert re.search(r"\S Applying {9,}\d:\d\d:\d\d", spun), "a long description keeps the others on the line"
    assert said.endswith("Infrastructure successfully provisioned: the work pool p is ready.\n")
    again = terminal("work-pool", "provision-infra", "p")
    assert again.ends() == (0, "Nothing to change: the infrastructure of p is as planned.\n")
    down = terminal("work-pool", "deprovision", "p")
    assert "- Destroy the process pool" in plain(down.says("Destroy the infrastructure of p? [y/N]: "))
    down.sendline("yes")
    code, said = down.ends()
    assert (code, "✓ Destroy the process pool that" in said) == (0, True)
    assert poolform("work-pool", "ls", "-o", "json").json[0]["state"] == "not-provisioned"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("n\n", 3, "Declined: nothing was changed.\n"),
        ("\n", 3, "Declined: nothing was changed.\n"),
        ("\x04", 3, "Declined: nothing was changed.\n"),
        ("\x03", 130, "Interrupted: nothing was changed.\n"),
    ],
    ids=["no", "empty", "ctrl-d", "ctrl-c"],
)
def test_anything_but_yes_leaves_nothing(terminal, poolform, home, answer, code, said):
    person = terminal(*CREATE)
    person.says(QUESTION)
    person.send(answer)
    ended, words = person.ends()
    assert (ended, words.endswith(f"\n{said}")) == (code, True), words
    assert "Error" not in words
    assert nothing_is_left(poolform, home)


def test_an_answer_that_is_none_is_asked_again(terminal, poolform, home):
    person = terminal(*CREATE)
    person.says(QUESTION)
    person.sendline("perhaps")
    person.says(QUESTION)
    person.sendline("n")
    assert person.ends()[0] == 3
    assert nothing_is_left(poolform, home)


def test_what_exists_is_asked_about_too(terminal, poolform):
    assert poolform("work-pool", "create", "p", "--type", "process").code == 0
    person = terminal("work-pool", "delete", "p")
    person.says("Delete the work pool p? [y/N]: ")
    person.sendline("n")
    assert person.ends()[0] == 3
    person = terminal("work-pool", "delete", "p")
    person.says("Delete the work pool p? [y/N]: ")
    person.sendline("y")
    assert person.ends()[0] == 0
    assert poolform("work-pool", "ls", "-o", "json").json == []


# -- what is missing is asked for ------------------------------------------------------------------------------------


def test_missing_variables_are_asked_for(terminal, poolform):
    person = terminal("work-pool", "create", "p")
    assert "slow" in person.says("): ")
    person.sendline("slow")
    person.says("region (Where the pool runs): ")
    person.sendline("")  # is no region
    person.says("region (Where the pool runs): ")
    person.sendline("eu ${path.cwd}")
    assert person.ends()[0] == 0
    assert poolform("work-pool", "inspect", "p", "-o", "json").json["variables"]["region"] == "eu ${path.cwd}"


@pytest.mark.parametrize(("key", "code", "said"), [("\x03", 130, "Interrupted"), ("\x04", 3, "Declined")])
def test_leaving_at_a_variable_changes_nothing(terminal, poolform, home, key, code, said):
    person = terminal(*SLOW)
    person.says("region (Where the pool runs): ")
    person.send(key)
    # Python's input() sleeps over a signal that comes just before it waits, which a busy machine makes likelier.
    if person.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=20) == 1:
        person.send(key)
        person.expect(pexpect.EOF)
    words = plain(person.before)
    person.close()
    ended = person.exitstatus
    assert (ended, words.endswith(f"\n{said}: nothing was changed.\n")) == (code, True), words
    assert nothing_is_left(poolform, home)


def test_secrets_are_asked_for_unseen(terminal, poolform):
    person = terminal("block", "create", "aws-credentials/mine")
    for field, value in (
        ("aws_access_key_id: ", "AKIA1"),
        ("aws_secret_access_key: ", "hunter2"),
        ("aws_session_token (optional): ", ""),
        ("region_name (optional): ", ""),
    ):
        person.says(field)
        person.sendline(value)
    code, said = person.ends()
    assert (code, "hunter2" in said, "Saved the block aws-credentials/mine." in said) == (0, False, True)
    shown = poolform("block", "inspect", "aws-credentials/mine", "--reveal", "-o", "json").json["data"]
    assert (shown["aws_secret_access_key"], shown.get("aws_session_token")) == ("hunter2", None)


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ctrl_c_while_applying_waits_and_says_what_it_left(terminal, poolform, home):
    person = terminal(*SLOW, "--set", "region=eu", "--set", "seconds=30", "--provision-infra", "--yes")
    person.says("✓")
    person.says("Create a terraform_data (terraform_data.slow)")
    person.sendintr()
    person.says("Interrupted: waiting for Terraform to stop and save its state.")
    code, said = person.ends()
    assert code == 130
    assert said.endswith(
        "Interrupted: the pool p is partly provisioned.\nNothing is lost. Go on: poolform work-pool provision-infra p, "
        "or undo it: poolform work-pool deprovision p\n"
    )
    assert poolform("work-pool", "ls", "-o", "json").json[0]["state"] == "provisioning"
    # At once, although the provisioner's `sleep` is still there, with all descriptors that it has inherited.
    person = terminal("work-pool", "provision-infra", "p", "--set", "seconds=0")
    plan = plain(person.says(QUESTION))
    assert "terraform_data.first" not in plan, "it is there already"
    assert "terraform_data.last" in plan
    person.sendline("y")
    assert person.ends()[0] == 0
    assert poolform("work-pool", "ls", "-o", "json").json[0]["state"] == "ready"
    assert poolform("work-pool", "drift", "p").code == 0
    assert [row["outcome"] for row in poolform("work-pool", "history", "p", "-o", "json").json] == ["done", "failed"]
    shown = terminal("work-pool", "history", "p", COLUMNS="80").read()
    assert "  provision-infra was interrupted.\r\n" in shown
    assert max(map(len, plain(shown).splitlines())) <= 80, shown


@pytest.mark.slow
def test_ctrl_c_while_watching_leaves_the_run_going(terminal, poolform, tmp_path):
    (tmp_path / "flows.py").write_text(
        "import time\n\ndef f():\n    print('at work')\n    time.sleep(2)\n    print('done')\n"
    )
    assert poolform(*CREATE, "--yes").code == 0
    assert poolform("deploy", "flows.py:f", "--name", "t", "--pool", "p").code == 0
    person = terminal("deployment", "run", "f/t", "--watch")
    person.says("at work")
    person.sendintr()  # which reaches everybody in the terminal's foreground; the job is not
    code, said = person.ends()
    (run,) = poolform("flow-run", "ls", "-o", "json").json
    assert code == 130
    assert f"Interrupted: the run {run['name']} goes on; nothing is lost.\n" in said
    assert f"Watch it: poolform flow-run watch {run['id'][:12]}" in said
    watching = terminal("flow-run", "watch", run["id"])
    watching.says("running")
    watching.sendintr()
    assert watching.ends()[0] == 130
    worker = terminal("worker", "start")
    worker.says("completed")
    worker.sendintr()
    assert worker.ends()[0] == 0
    assert poolform("flow-run", "logs", run["id"]).out == "at work\ndone\n"


# -- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_colours_are_for_terminals_that_want_them(terminal, poolform):
    person = terminal(*CREATE)
    assert COLOUR.search(person.says(QUESTION))
    person.sendline("n")
    person.ends()
    for unwanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        person = terminal(*CREATE, **unwanted)
        assert not COLOUR.search(person.says(QUESTION)), unwanted
        person.sendline("y")
        person.expect(pexpect.EOF)
        assert not COLOUR.search(person.before), unwanted
        assert poolform("work-pool", "deprovision", "p", "--yes").code == 0
        assert poolform("work-pool", "delete", "p", "--yes").code == 0
    piped = poolform(*CREATE, "--yes")
    assert "\x1b" not in piped.out + piped.err
    assert COLOUR.search(terminal("work-pool", "ls").read())
    into_a_pipe = terminal("-c", f"{POOLFORM} work-pool ls | cat", command="/bin/sh")
    assert not COLOUR.search(into_a_pipe.read())


def test_help_fits_its_terminal_and_a_reader_that_has_enough_is_no_error(terminal):
    shown = terminal("work-pool", "--help", COLUMNS="60").read()
    assert max(map(len, plain(shown).splitlines())) <= 60
    piped = terminal("-c", f"{POOLFORM} work-pool render --type process | head -1", command="/bin/bash").read()
    assert "# ---- main.tf" in piped
    assert len(plain(piped).splitlines()) == 1, piped


@pytest.mark.slow
def test_tables_fold_to_a_narrow_terminal_between_words(terminal, poolform):
    assert poolform(*CREATE, "--yes").code == 0
    shown = terminal("-c", f"stty cols 80; {POOLFORM} work-pool inspect p; {POOLFORM} work-pool types; {POOLFORM} "
                     f"work-pool history p; {POOLFORM} doctor; true", command="/bin/sh").read()  # fmt: skip
    lines = plain(shown).splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert "overridden" in shown or "environment" in shown.lower()


def test_rows_that_do_not_fit_side_by_side_are_shown_one_below_another(terminal, poolform):
    for name in ("p", "a-pool-with-quite-a-name"):
        assert poolform("work-pool", "create", name, "--type", "process").code == 0
    narrow = terminal("work-pool", "ls", COLUMNS="48").read()
    assert max(map(len, plain(narrow).splitlines())) <= 48, narrow
    assert [line.split() for line in plain(narrow).splitlines()][-5:-1] == [
        ["NAME", "p"], ["TYPE", "process"], ["STATE", "not-provisioned"], ["LIMIT", "-"],
    ]  # fmt: skip
    assert plain(terminal("work-pool", "ls", COLUMNS="80").read()).splitlines()[0].split() == [
        *("NAME", "TYPE", "STATE", "LIMIT", "ID"),
    ]


def test_what_a_flow_prints_cannot_rule_the_terminal_but_keeps_its_colour(terminal, poolform, tmp_path):
    line = "a\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\x1b[1A\x08b"
    (tmp_path / "flows.py").write_text(f"def f():\n    print({line!r})\n")
    assert poolform(*CREATE, "--yes").code == 0
    assert poolform("deploy", "flows.py:f", "--name", "t", "--pool", "p").code == 0
    run = poolform("deployment", "run", "f/t", "--watch", "-o", "json").json
    assert poolform("flow-run", "logs", run["id"]).out == f"{line}\n", "programs get what was printed"
    assert terminal("flow-run", "logs", run["id"]).read() == "a\x1b[31mred\x1b[0mb\r\n"


@pytest.mark.slow
def test_closed_streams_are_no_fault(terminal, poolform):
    assert poolform(*CREATE, "--yes").code == 0
    for closed, ending in (
        ("work-pool ls >&-", 0),
        ("work-pool ls 2>&-", 0),
        ("work-pool provision-infra p >&- 2>&-", 0),
        ("work-pool deprovision p <&-", 3),
    ):
        code, said = terminal("-c", f"{POOLFORM} {closed}", command="/bin/sh").ends()
        assert (code, "fault" in said) == (ending, False), said
    assert poolform("work-pool", "ls", "-o", "json").json
    quiet = terminal("-c", f"{POOLFORM} work-pool pause p 2>&-", command="/bin/sh").ends()
    assert quiet == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_without_room_is_the_machines_fault(terminal):
    full = terminal("-c", f"{POOLFORM} version > /dev/full", command="/bin/sh")
    code, said = full.ends()
    assert (code, said.splitlines()[0]) == (1, "Error: This machine is in the way: No space left on device.")
