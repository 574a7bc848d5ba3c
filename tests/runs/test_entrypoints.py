"""What `poolform deploy FILE.py:FLOW` finds out of the code, and says of code that cannot be deployed."""

from __future__ import annotations

import textwrap

import pytest

from poolform import flow
from poolform.core.errors import UsageError
from poolform.core.runs import entrypoints
from poolform.core.runs.entrypoints import Place


@pytest.fixture
def write(tmp_path):
    def write(code: str, name: str = "work.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code))
        return tmp_path

    return write


def test_a_flow_is_described_from_its_code(write):
    folder = write('''
        """A module with imports beside it, output, threads and an exit handler."""
        import atexit, sys, threading, time
        from near import LIMIT
        from poolform import flow
        print("noise"); print("noise", file=sys.stderr)
        atexit.register(time.sleep, 60)
        threading.Thread(target=time.sleep, args=(60,)).start()

        @flow(name="ETL", retries=2, retry_delay_seconds=1.5, timeout_seconds=30)
        async def etl(city: str, limit: int = LIMIT):
            """Load a city.

            Args:
                city: Its name.
            """
    ''')
    write("LIMIT = 7", "near.py")
    found = entrypoints.read(Place("work.py:etl", folder))
    assert found.flow_name == "ETL"
    assert found.description == "Load a city."
    assert found.parameter_schema == {
        "additionalProperties": False,
        "properties": {
            "city": {"description": "Its name.", "type": "string"},
            "limit": {"default": 7, "type": "integer"},
        },
        "required": ["city"],
        "type": "object",
    }
    assert found.options == {
        "retries": 2,
        "retry_delay_seconds": 1.5,
        "timeout_seconds": 30,
        "log_prints": True,
        "validate_parameters": True,
    }


def test_any_callable_can_be_deployed_and_so_can_what_looks_like_prefects_flows(write):
    folder = write("""
        class Flow:
            name, retries, retry_delay_seconds, timeout_seconds = "from-prefect", 3, [1, 2], None
            log_prints, description = True, "Theirs."
            def __init__(self, fn): self.fn = self.__wrapped__ = fn
            def __call__(self, *args): return self.fn(*args)
        theirs = Flow(lambda n: n)
        def plain_function(n: int = 1): "Ours."
    """)
    theirs = entrypoints.read(Place("work.py:theirs", folder))
    assert (theirs.flow_name, theirs.description) == ("from-prefect", "Theirs.")
    assert theirs.options == {}, "theirs are retried inside the job"
    plain = entrypoints.read(Place("work:plain_function", folder))
    assert (plain.flow_name, plain.description, plain.options) == ("plain-function", "Ours.", {})


def test_describing_needs_no_other_process_where_the_flow_is_at_hand():
    @flow(timeout_seconds=5)
    def here(n: int):
        pass

    found = entrypoints.describe(here)
    assert (found.flow_name, found.options["timeout_seconds"]) == ("here", 5)


@pytest.mark.parametrize(
    ("entrypoint", "message", "hint"),
    [
        ("wrok.py:run", "wrok.py is not in {folder}.", "Did you mean work.py or broken.py?"),
        ("work.py:rnu", "work.py has no 'rnu'.", "Did you mean run?"),
        ("work.py:number", "'number' in work.py is not callable: its type is int.", None),
        ("wrok:run", "There is no module 'wrok' in {folder} or among the installed packages.", None),
        ("broken.py:run", "Importing broken.py:run failed: ZeroDivisionError: division by zero.", "broken.py line 2"),
        ("syntax.py:run", "Importing syntax.py:run failed: SyntaxError: ", "syntax.py line 1"),
        (
            "absent.py:run",
            "Importing absent.py:run failed: ModuleNotFoundError: No module named 'nope'.",
            "absent.py line 1",
        ),
        (
            "deep/inside.py:run",
            "Importing deep/inside.py:run failed: ImportError: ",
            "as a module of its package: deep.inside:run",
        ),
        ("exits.py:run", "Importing exits.py:run failed: SystemExit: 3.", "exits.py line 1"),
        ("dies.py:run", "Importing dies.py:run ended Python with signal 11.", "last words"),
        ("leaves.py:run", "Importing leaves.py:run ended Python with code 4.", None),
    ],
)
def test_code_that_cannot_be_deployed_is_said_in_a_sentence(write, entrypoint, message, hint):
    write("number = 1\ndef run(): pass")
    write("def helper():\n    return 1 / 0\nhelper()", "broken.py")
    write("def run(:", "syntax.py")
    write("import nope", "absent.py")
    write("from .b import run", "deep/inside.py")
    write("raise SystemExit(3)", "exits.py")
    write("import os; print('last words', flush=True); os.kill(os.getpid(), 11)", "dies.py")
    folder = write("import os; os._exit(4)", "leaves.py")
    with pytest.raises(UsageError) as caught:
        entrypoints.read(Place(entrypoint, folder))
    assert caught.value.message.startswith(message.format(folder=folder))
    assert (caught.value.hint or "").endswith(hint or "")


def test_the_code_sees_none_of_our_secrets(write, monkeypatch):
    monkeypatch.setenv("POOLFORM_SECRET_KEYS", "k")
    folder = write("import os\nassert 'POOLFORM_SECRET_KEYS' not in os.environ\ndef run(): pass")
    assert entrypoints.read(Place("work.py:run", folder)).flow_name == "run"


def test_places_are_relative_to_the_folder_or_have_their_own(tmp_path):
    folder = tmp_path / "project"
    assert entrypoints.locate("flows/a.py:run", folder) == Place("flows/a.py:run", folder)
    assert entrypoints.locate(str(folder / "flows/a.py:run"), folder) == Place("flows/a.py:run", folder)
    assert entrypoints.locate("../other/a.py:run", folder) == Place("a.py:run", tmp_path / "other")
    assert entrypoints.locate("pack.module:run", folder) == Place("pack.module:run", folder)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("flow.py", "Write it as flow.py:FUNCTION."), ("flow", "Write it as FILE.py:FUNCTION or package.module:FUNCTION."),
     ("flow.py:", "Write it as FILE.py:FUNCTION or package.module:FUNCTION."), (":run", "Write it as FILE.py:")],
)  # fmt: skip
def test_a_place_without_a_function_is_refused(tmp_path, text, hint):
    with pytest.raises(UsageError, match="does not say which function is the flow") as caught:
        entrypoints.locate(text, tmp_path)
    assert caught.value.hint.startswith(hint)
