"""@flow, and the lazy public API that it comes from."""

from __future__ import annotations

import inspect
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import poolform
from poolform import Flow, flow


@flow
def load_data(city: str, limit: int = 3) -> str:
    """Load a city's data."""
    return f"{city} {limit}"


def test_a_flow_is_its_function_with_a_name():
    assert load_data("Bern", limit=1) == "Bern 1"
    assert load_data.name == "load-data"
    assert load_data.__name__ == "load_data"
    assert load_data.__doc__ == "Load a city's data."
    assert inspect.signature(load_data) == inspect.signature(load_data.__wrapped__)
    assert repr(load_data).startswith("<flow load-data: ")


def test_options_have_names_and_defaults():
    @flow(name="ETL nightly", retries=2, retry_delay_seconds=1.5, timeout_seconds=60, description="Moves rows.")
    def etl():
        pass

    assert isinstance(etl, Flow)
    assert (etl.name, etl.retries, etl.retry_delay_seconds, etl.timeout_seconds) == ("ETL nightly", 2, 1.5, 60)
    assert (load_data.retries, load_data.timeout_seconds, load_data.validate_parameters) == (0, None, True)


def test_a_method_can_be_a_flow():
    class Report:
        @flow
        def build(self, n: int) -> int:
            return n + 1

    assert Report().build(1) == 2
    assert Report.build.name == "build"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "'a/b' cannot name a flow"),
        ({"name": ""}, "'' cannot name a flow"),
        ({"name": "a\nb"}, "cannot name a flow"),
        ({"retries": -1}, "flow f: retries and retry_delay_seconds cannot be negative"),
        ({"timeout_seconds": 0}, "flow f: timeout_seconds must be more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused_where_they_are_written(options, message):
    with pytest.raises(ValueError, match=message):

        @flow(**options)
        def f():
            pass


def test_an_option_without_its_name_is_explained():
    with pytest.raises(TypeError, match="options need their names"):
        flow("etl")


def test_every_public_name_is_there_and_the_version_is_the_distributions():
    for name in poolform.__all__:
        assert getattr(poolform, name) is not None, name
    assert set(poolform.__all__) == set(dir(poolform))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        poolform.nonsense  # noqa: B018


def test_type_checkers_see_the_names_that_exist():
    """What `__all__` promises is what the TYPE_CHECKING block imports."""
    source = Path(poolform.__file__).read_text(encoding="utf-8")
    checked = source.partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    for name in poolform.__all__:
        assert name in checked, name


@pytest.mark.slow
def test_a_flow_keeps_its_signature_for_type_checkers(tmp_path):
    (tmp_path / "use.py").write_text(
        "from poolform import flow\n"
        "@flow(retries=1)\n"
        "def double(n: int) -> float: return 2.0 * n\n"
        "reveal_type(double(2))\n"
        "double('x')\n"
    )
    root = Path(poolform.__file__).parent
    (tmp_path / "poolform").symlink_to(root)
    environ = {**os.environ, "MYPYPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-incremental", "use.py"]
    output = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "float"' in output
    assert 'incompatible type "str"; expected "int"' in output


def test_importing_flow_costs_a_job_less_than_3_ms():
    code = "import time; t = time.perf_counter(); from poolform import flow; print(time.perf_counter() - t)"
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    times = [
        float(
            subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
        )
        for _ in range(7)
    ]
    assert statistics.median(times[1:]) < 0.003


def test_importing_poolform_costs_nothing_worth_measuring():
    code = "import sys, poolform; print([name for name in sys.modules if name.startswith('poolform')])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['poolform']"
