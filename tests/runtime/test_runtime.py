"""What a job does, as its platform sees it: a process with an environment, an output and an exit code.

Everything is run twice: as the installed runtime, and as the bootstrap in a Python without Poolform.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from poolform.core.runs.bootstrap import bootstrap_command
from poolform.runtime import exit_codes

if TYPE_CHECKING:
    from pathlib import Path

INSTALLED = (sys.executable, "-m", "poolform.runtime")
BOOTSTRAP = (sys.executable, "-S", *bootstrap_command()[1:])  # -S: no site-packages, so neither Poolform nor pydantic


class Runner:
    """Runs flows of one file as jobs."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command = command
        self.folder = folder

    def write(self, code: str, name: str = "work.py") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        return path

    def start(self, entrypoint: str = "work.py:run", *, env: dict[str, str] | None = None, **options):
        settings = {"POOLFORM_ENTRYPOINT": entrypoint, "POOLFORM_FLOW_NAME": "trial", "POOLFORM_ATTEMPT": "2"}
        options = {"cwd": self.folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        return subprocess.Popen(self.command, env={**os.environ, **settings, **(env or {})}, **options)

    def __call__(self, entrypoint: str = "work.py:run", *, parameters=None, timeout=None, **options) -> Outcome:
        env = dict(options.pop("env", {}))
        if parameters is not None:
            env["POOLFORM_PARAMETERS"] = parameters if isinstance(parameters, str) else json.dumps(parameters)
        if timeout is not None:
            env["POOLFORM_TIMEOUT_SECONDS"] = str(timeout)
        with self.start(entrypoint, env=env, **options) as process:
            try:
                output = process.communicate(timeout=30)[0]
            finally:
                process.kill()
        return Outcome(process.returncode, output or b"")


class Outcome:
    """A job's exit code and output; the runtime's own lines taken apart."""

    def __init__(self, code: int, raw: bytes) -> None:
        self.code = code
        self.raw = raw
        self.text = raw.decode("utf-8", "replace")
        self.events = [json.loads(line[10:]) for line in self.text.splitlines() if line.startswith("poolform: {")]
        self.printed = [line for line in self.text.splitlines() if not line.startswith("poolform: {")]

    @property
    def reason(self) -> str:
        return self.events[-1].get("reason", "")


@pytest.fixture(params=[INSTALLED, BOOTSTRAP], ids=["installed", "bootstrap"])
def job(request, tmp_path: Path) -> Runner:
    return Runner(request.param, tmp_path)


@pytest.fixture
def installed(tmp_path: Path) -> Runner:
    return Runner(INSTALLED, tmp_path)


def test_a_flow_completes_between_a_start_line_and_an_outcome_line(job):
    job.write("def run(): print('hello')")
    outcome = job()
    assert outcome.raw.decode() == (
        'poolform: {"event":"started","flow":"trial","attempt":2}\nhello\npoolform: {"event":"completed"}\n'
    )
    assert outcome.code == exit_codes.COMPLETED


CALLABLES = {
    "coroutine": "async def run(): print('ran')",
    "generator": "def run():\n    print('ran')\n    yield 1",
    "async_generator": "async def run():\n    print('ran')\n    yield 1",
    "flow": "from poolform import flow\n@flow\ndef run(): print('ran')",
    "flow_with_options": "from poolform import flow\n@flow(name='x', retries=2)\nasync def run(): print('ran')",
    "method": "class A:\n    def go(self): print('ran')\nrun = A().go",
    "object": "class A:\n    def __call__(self): print('ran')\nrun = A()",
    "object_with_async_call": "class A:\n    async def __call__(self): print('ran')\nrun = A()",
    "partial": "import functools\nrun = functools.partial(print, 'ran')",
    "class": "class run:\n    def __init__(self): print('ran')",
    "lambda": "run = lambda: print('ran')",
    "flow_calling_a_flow": (
        "from poolform import flow\n@flow\ndef inner(): print('ran')\n@flow(log_prints=True)\ndef run(): inner()"
    ),
    "flow_method": "from poolform import flow\nclass A:\n    @flow\n    def go(self): print('ran')\nrun = A().go",
}


@pytest.mark.parametrize("code", CALLABLES.values(), ids=CALLABLES)
def test_any_callable_is_a_flow(job, code):
    job.write(code)
    outcome = job()
    assert (outcome.code, outcome.printed) == (0, ["ran"])


def test_an_entrypoint_may_be_a_module_or_reach_into_an_object(job):
    job.write("", "pack/__init__.py")
    job.write("class Steps:\n    @staticmethod\n    def first(): print('ran')", "pack/steps.py")
    assert job("pack.steps:Steps.first").printed == ["ran"]


def test_the_entrypoints_folder_is_searched_first_then_the_source(job):
    job.write("NAME = 'beside'", "flows/near.py")
    job.write("NAME = 'root'", "shared.py")
    job.write("import near, shared\ndef run(): print(near.NAME, shared.NAME)", "flows/deep.py")
    assert job("flows/deep.py:run").printed == ["beside root"]


def test_the_working_directory_is_the_source_or_the_one_asked_for(job, tmp_path):
    job.write("import os\ndef run(): print(os.getcwd())", "code/work.py")
    source = {"POOLFORM_SOURCE": json.dumps({"type": "local", "path": str(tmp_path / "code")})}
    assert job(env=source).printed == [str(tmp_path / "code")]
    assert job(env={**source, "POOLFORM_WORKING_DIR": "/"}).printed == ["/"]
    assert job("code/work.py:run").printed == [str(tmp_path)]
    outcome = job(env={**source, "POOLFORM_WORKING_DIR": "/nowhere"})
    assert (outcome.code, outcome.reason) == (70, "cannot work in the folder /nowhere: No such file or directory.")


@pytest.mark.parametrize(
    ("entrypoint", "code", "reason"),
    [
        ("wrok.py:run", 70, "wrok.py is not in {folder}. Did you mean work.py?"),
        ("flows/nigthly.py:run", 70, "flows/nigthly.py is not in {folder}. Did you mean flows/nightly.py?"),
        ("wrok:run", 70, "there is no module 'wrok' in {folder} or among the installed packages."),
        ("work.deep:run", 70, "there is no module 'work.deep' in {folder} or among the installed packages."),
        ("work.py:runn", 71, "work.py has no 'runn'. Did you mean run?"),
        ("work.py:xyz", 71, "work.py has no 'xyz'. There are: other, run."),
        ("work.py:number", 71, "'number' in work.py is not callable: its type is int."),
        ("work.py", 71, "the entrypoint 'work.py' is neither FILE.py:FUNCTION nor MODULE:FUNCTION."),
        ("", 71, "the entrypoint '' is neither FILE.py:FUNCTION nor MODULE:FUNCTION."),
    ],
)
def test_code_that_is_not_there_is_named_with_what_is_near(job, tmp_path, entrypoint, code, reason):
    job.write("def run(): pass\ndef other(): pass\nnumber = 1")
    job.write("def run(): pass", "flows/nightly.py")
    outcome = job(entrypoint)
    assert (outcome.code, outcome.reason) == (code, reason.format(folder=tmp_path))


def test_a_source_that_is_gone_or_unknown_says_so(job):
    gone = job(env={"POOLFORM_SOURCE": '{"type": "local", "path": "/nowhere/to/be"}'})
    assert (gone.code, gone.reason) == (70, "cannot work in the folder /nowhere/to/be: No such file or directory.")
    strange = job(env={"POOLFORM_SOURCE": '{"type": "floppy"}'})
    assert (strange.code, strange.reason) == (70, "this runtime cannot fetch code of type 'floppy'.")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("def run(:", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_cannot_be_imported_shows_its_own_traceback_only(job, code, reason):
    job.write(code)
    outcome = job()
    assert outcome.code == exit_codes.ENTRYPOINT_INVALID
    assert outcome.reason.startswith(f"importing the code failed: {reason}")
    assert "work.py" in outcome.text
    assert not re.search(r"importlib|poolform/runtime|<string>", outcome.text)


def test_a_failure_shows_a_traceback_that_begins_with_the_flow(job):
    job.write("def run():\n    raise ValueError('boom\\n  and   more')\n")
    outcome = job()
    assert outcome.code == exit_codes.FAILED
    assert outcome.events[-1] == {"event": "failed", "reason": "ValueError: boom and more"}
    assert outcome.printed[:2] == [
        "Traceback (most recent call last):",
        f'  File "{job.folder}/work.py", line 2, in run',
    ]
    assert outcome.printed[-2:] == ["ValueError: boom", "  and   more"]


def test_a_coroutines_traceback_begins_with_the_flow_too(job):
    job.write("async def run():\n    raise ValueError('boom')\n")
    assert job().printed[1] == f'  File "{job.folder}/work.py", line 2, in run'


def test_a_reason_is_bounded_and_survives_a_broken_str(job):
    job.write("def run(): raise ValueError('x' * 100_000)")
    assert len(job().reason) == 500
    job.write("class Odd(Exception):\n    def __str__(self): raise KeyError\ndef run(): raise Odd")
    assert (job().code, job().reason) == (1, "Odd")


@pytest.mark.parametrize(
    ("statement", "code", "event"),
    [
        ("sys.exit()", 0, {"event": "completed"}),
        ("sys.exit(0)", 0, {"event": "completed"}),
        ("sys.exit(70)", 1, {"event": "failed", "reason": "SystemExit: 70"}),
        ("sys.exit('no good')", 1, {"event": "failed", "reason": "SystemExit: no good"}),
        ("raise KeyboardInterrupt", 74, {"event": "cancelled", "reason": "cancelled"}),
        ("raise BaseException('base')", 1, {"event": "failed", "reason": "BaseException: base"}),
    ],
)
def test_how_a_flow_leaves_decides_the_outcome(job, statement, code, event):
    job.write(f"import sys\ndef run(): {statement}")
    outcome = job()
    assert (outcome.code, outcome.events[-1]) == (code, event)


def test_os_exit_leaves_no_outcome(job):
    job.write("import os\ndef run(): os._exit(9)")
    outcome = job()
    assert (outcome.code, [event["event"] for event in outcome.events]) == (9, ["started"])


PARAMETERS = "def run(city: str, limit: int = 3, /, *, colour: str = 'red'): print(city, limit, colour)"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "the parameters do not fit: city is missing."),
        (
            {"city": "Bern", "color": "x"},
            "the parameters do not fit: there is no parameter 'color'. Did you mean colour?",
        ),
        ("[1]", "the parameters are not a JSON object but '[1]'."),
        ("{", "the parameters are not JSON: "),
    ],
)
def test_parameters_that_do_not_fit_are_named(job, parameters, reason):
    job.write(PARAMETERS)
    outcome = job(parameters=parameters)
    assert outcome.code == exit_codes.PARAMETERS_INVALID
    assert outcome.reason.startswith(reason)


def test_parameters_of_every_kind_arrive(job):
    job.write(PARAMETERS)
    assert job(parameters={"city": "Zürich 🏔 \ud800", "colour": "blå"}).printed == ["Zürich 🏔 \\ud800 3 blå"]
    job.write("def run(**anything): print(anything)")
    assert job(parameters={"a": 1, "b": None}).printed == ["{'a': 1, 'b': None}"]
    job.write("class A:\n    def __call__(self, n: 'int'): print(n)\nrun = A()")
    assert job(parameters={"n": 4}).printed == ["4"]
    assert job(parameters={}).reason == "the parameters do not fit: n is missing."


TYPED = """
    from __future__ import annotations
    from dataclasses import dataclass
    from datetime import datetime, timedelta
    from enum import Enum
    from pathlib import Path
    from typing import Any, Optional
    from poolform import flow
    from pydantic import BaseModel

    class Model(BaseModel):
        size: int

    @dataclass
    class Point:
        x: int

    class Colour(Enum):
        RED = "red"

    class Opaque:
        pass

    @flow
    def run(at: datetime, path: Path, colour: Colour, models: list[Model], point: Optional[Point], span: timedelta,
            pair: tuple[int, str], plain: dict[str, Any], opaque: Opaque, default: Path = "as it is"):
        print(repr((at.year, path.name, colour, models, point, span.total_seconds(), pair, plain, opaque, default)))

    @flow(validate_parameters=False)
    def raw(at: datetime): print(repr(at))
"""


def test_annotated_parameters_become_what_they_are_annotated_with(installed):
    installed.write(TYPED)
    parameters = {"at": "2026-02-03T04:05:06Z", "path": "/a/b", "colour": "red", "models": [{"size": "1"}], "opaque": 1}
    parameters |= {"point": {"x": 5}, "span": "PT1M", "pair": [1, "a"], "plain": {"k": 1}}
    outcome = installed(parameters=parameters)
    assert outcome.printed == [
        "(2026, 'b', <Colour.RED: 'red'>, [Model(size=1)], Point(x=5), 60.0, (1, 'a'), {'k': 1}, 1, 'as it is')"
    ]
    outcome = installed(parameters={**parameters, "models": [{"size": "many"}], "colour": "pink"})
    assert outcome.code == exit_codes.PARAMETERS_INVALID
    assert "models.0.size: Input should be a valid integer" in outcome.reason
    assert "colour: Input should be 'red'" in outcome.reason
    assert installed("work.py:raw", parameters={"at": "soon"}).printed == ["'soon'"]


def test_without_pydantic_annotated_parameters_stay_json(tmp_path):
    job = Runner(BOOTSTRAP, tmp_path)
    job.write("import pathlib\ndef run(path: pathlib.Path): print(repr(path))")
    assert job(parameters={"path": "/a"}).printed == ["'/a'"]


def test_the_bootstraps_poolform_has_only_flow(tmp_path):
    job = Runner(BOOTSTRAP, tmp_path)
    job.write("from poolform import PoolType")
    assert job().reason == (
        "importing the code failed: ImportError: this image has no Poolform, only poolform.flow: "
        "install poolform in it to use poolform.PoolType"
    )


OUTPUTS = {
    "partial_line": ("print('half', end='')", b"half\n"),
    "binary": (r"sys.stdout.buffer.write(b'\xff\x00\xfe'); sys.stdout.flush()", b"\xff\x00\xfe\n"),
    "partial_error_line": ("sys.stderr.write('half')", b"half\n"),
    "whole_line": ("print('whole')", b"whole\n"),
    "unicode": ("print('héé 🏔 \\udcff')", "héé 🏔 \\udcff\n".encode()),
    "megabyte": ("print('x' * 1_000_000)", b"x" * 1_000_000 + b"\n"),
    "nothing": ("pass", b""),
    "closed": ("print('last'); sys.stdout.close(); sys.stderr.close()", b"last\n"),
}


@pytest.mark.parametrize(("statement", "printed"), OUTPUTS.values(), ids=OUTPUTS)
def test_our_lines_stay_whole_whatever_the_flow_prints(job, statement, printed):
    job.write(f"import sys\ndef run(): {statement}")
    outcome = job(env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert outcome.code == 0
    started, _, rest = outcome.raw.partition(b"\n")
    assert json.loads(started[10:])["event"] == "started"
    assert rest == printed + b'poolform: {"event":"completed"}\n'


def test_in_a_file_the_line_is_whole_even_after_a_subprocess(job, tmp_path):
    job.write("import os\ndef run(): os.system('printf half')")
    with (tmp_path / "log").open("a+b") as log:  # as the process pool opens it
        assert job(stdout=log, stderr=log).code == 0
    assert (tmp_path / "log").read_bytes().endswith(b'half\npoolform: {"event":"completed"}\n')


def test_output_streams_line_by_line(job):
    job.write("import time\ndef run():\n    print('now')\n    time.sleep(20)")
    with job.start() as process:
        started = time.monotonic()
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.kill()
    assert lines[1] == b"now\n"
    assert time.monotonic() - started < 10


def test_an_output_that_nobody_reads_does_not_change_the_outcome(job):
    job.write("def run(): pass")
    process = job.start()
    process.stdout.close()
    assert process.wait(20) == 0
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', *job.command],
        cwd=job.folder,
        env={**os.environ, "POOLFORM_ENTRYPOINT": "work.py:run"},
        check=False,
    )
    assert closed.returncode == 0


def test_a_forked_child_reports_nothing(job):
    job.write("""
        import os
        def run():
            child = os.fork()
            if child:
                print("child left with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            else:
                return  # through all of the runtime
    """)
    outcome = job()
    assert [event["event"] for event in outcome.events] == ["started", "completed"]
    assert outcome.printed == ["child left with 0"]


def test_a_forked_child_dies_of_sigterm_as_anywhere(job):
    job.write("""
        import multiprocessing, time
        def sleep(): time.sleep(20)
        def run():
            child = multiprocessing.get_context("fork").Process(target=sleep)
            child.start()
            time.sleep(0.2)
            child.terminate()
            child.join()
            print(child.exitcode)
    """)
    assert job().printed == ["-15"]


def test_a_spawned_child_finds_the_flows_module_and_runs_no_second_job(job):
    job.write("""
        import multiprocessing
        def double(n): return 2 * n
        def run():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(double, [1, 2]))
    """)
    outcome = job()
    assert outcome.printed == ["[2, 4]"], outcome.text
    assert len(outcome.events) == 2


def test_threads_and_exit_handlers_come_before_the_outcome(job):
    job.write("""
        import atexit, threading, time
        from concurrent.futures import ThreadPoolExecutor
        def late():
            time.sleep(0.2)
            print("thread")
        def run():
            atexit.register(print, "exit handler")
            threading.Thread(target=late).start()
            ThreadPoolExecutor(1).submit(int)  # its thread idles for ever; Python ends it
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            print("returned")
    """)
    outcome = job()
    assert outcome.printed == ["returned", "thread", "exit handler"]
    assert outcome.text.endswith('{"event":"completed"}\n')


CLEANUPS = {
    "finally": "def run():\n    try: go()\n    finally: print('cleaned')",
    "coroutine": """
async def run():
    import asyncio
    try:
        print('running'); await asyncio.sleep(20)
    finally: print('cleaned')""",
    "blocked_coroutine": "async def run():\n    try: go()\n    finally: print('cleaned')",
    "subprocess": """
import subprocess
def run():
    # Said by the child, and a while after it began: Python forgets a child when it is interrupted while making one.
    try: subprocess.run(['sh', '-c', 'sleep 0.2; echo running; exec sleep 20'])
    finally: print('cleaned')""",
    "swallowing": """
def run():
    try: go()
    except BaseException: print('cleaned')""",
    "asyncio_within": """
import asyncio
async def main():
    try:
        print('running'); await asyncio.sleep(20)
    finally: print('cleaned')
def run(): asyncio.run(main())""",
}


@pytest.mark.parametrize("code", CLEANUPS.values(), ids=CLEANUPS)
def test_sigterm_lets_a_flow_clean_up_then_it_is_cancelled(job, code):
    job.write("import time\ndef go():\n    print('running')\n    time.sleep(20)\n" + code)
    with job.start() as process:
        while process.stdout.readline() != b"running\n":
            pass
        # A signal that comes in the microseconds before a system call begins does not interrupt it: Python looks for
        # signals before and after. Launchers ask again; here, the flow is to be where it waits.
        time.sleep(0.1)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().decode()
    assert process.returncode == exit_codes.CANCELLED, rest
    assert rest == 'cleaned\npoolform: {"event":"cancelled","reason":"cancelled"}\n'
    assert time.monotonic() - started < 5


def test_a_second_sigterm_does_not_cut_the_cleaning_short(job):
    job.write("""
        import time
        def run():
            try:
                print("running")
                time.sleep(20)
            finally:
                print("cleaning")
                time.sleep(0.5)
                print("cleaned")
    """)
    with job.start() as process:
        for line in process.stdout:
            if line in (b"running\n", b"cleaning\n"):
                process.send_signal(signal.SIGTERM)
            last = line if line.startswith(b"cleaned") else b""
            if last:
                break
        rest = process.stdout.read()
    assert process.returncode == exit_codes.CANCELLED, rest


def test_sigterm_while_threads_are_waited_for_cancels(job):
    job.write("""
        import threading, time
        def run():
            threading.Thread(target=time.sleep, args=(3,)).start()
            print("running")
    """)
    with job.start() as process:
        while process.stdout.readline() != b"running\n":
            pass
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().decode()
    assert process.returncode == exit_codes.CANCELLED
    assert rest.endswith('{"event":"cancelled","reason":"cancelled"}\n')


@pytest.mark.parametrize("code", CLEANUPS.values(), ids=CLEANUPS)
def test_a_timeout_is_a_cancellation_with_another_name(job, code):
    job.write("import time\ndef go():\n    print('running')\n    time.sleep(20)\n" + code)
    outcome = job(timeout=0.5)
    assert outcome.code == exit_codes.TIMED_OUT
    assert outcome.events[-1] == {"event": "timed_out", "reason": "timed out after 0.5 s"}
    assert outcome.printed == ["running", "cleaned"]


STUBBORN = {
    "swallows_everything": """
        import time
        def run():
            while True:
                try: time.sleep(60)
                except BaseException: pass
    """,
    "blocked_in_c": """
        import ctypes
        def run():
            import os
            read, write = os.pipe()
            while True:  # the C function is called again and again, without Python in between
                ctypes.CDLL(None).sleep(60)
    """,
    "threads_left": """
        import threading, time
        def run(): threading.Thread(target=time.sleep, args=(60,)).start()
    """,
    "import_never_ends": "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
}


@pytest.mark.parametrize("code", STUBBORN.values(), ids=STUBBORN)
def test_a_timeout_ends_whatever_will_not_end(job, code):
    job.write(code)
    started = time.monotonic()
    outcome = job(timeout=0.3, env={"POOLFORM_GRACE_SECONDS": "0.5"})
    assert (outcome.code, outcome.reason) == (exit_codes.TIMED_OUT, "timed out after 0.3 s"), outcome.text
    assert time.monotonic() - started < 10


def test_a_timeout_ends_even_code_that_never_lets_go_of_the_interpreter(installed):
    """Not even the thread that would end it hard can run; faulthandler can, but has only the exit code 1 to give."""
    installed.write("def run(): sum(range(10**15))")
    started = time.monotonic()
    outcome = installed(timeout=0.2, env={"POOLFORM_GRACE_SECONDS": "0.2"})
    assert outcome.code == 1
    assert "Timeout (0:00:00.6" in outcome.text
    assert time.monotonic() - started < 10


def test_files_folders_and_functions_may_have_any_name(job):
    job.write("def läuft(größe): print(größe)", "mein ordner/fluß-1 🏔.py")
    outcome = job("mein ordner/fluß-1 🏔.py:läuft", parameters={"größe": "ü"}, env={"POOLFORM_FLOW_NAME": "flüsse"})
    assert outcome.printed == ["ü"], outcome.text
    assert outcome.events[0]["flow"] == "flüsse"


def test_a_timeout_that_is_not_reached_does_nothing(job):
    job.write("def run(): print('quick')")
    assert job(timeout=30).code == 0


def test_a_flow_file_may_be_called_like_a_module_of_python(job):
    job.write("import json\ndef run(): print(json.dumps('x'))", "calendar.py")
    job.write("def run(): print('mine')", "json.py")
    source = {"POOLFORM_SOURCE": json.dumps({"type": "local", "path": str(job.folder)})}
    assert job("json.py:run", env=source, cwd="/").printed == ["mine"]


def test_a_prefect_like_flow_runs_its_own_engine(job):
    job.write("""
        class PrefectFlow:  # the shape of prefect.Flow: the function under __wrapped__, an engine in __call__
            def __init__(self, fn): self.__wrapped__ = self.fn = fn
            def __call__(self, *args, **kwargs):
                print("engine")
                return self.fn(*args, **kwargs)
        @PrefectFlow
        def run(n: int): print(n)
    """)
    assert job(parameters={"n": 2}).printed == ["engine", "2"]
    assert job(parameters={"m": 2}).code == exit_codes.PARAMETERS_INVALID
