# ruff: noqa: T201 - printing is what a flow does
"""What the tests run in containers; each run brings this file along."""

import os
import time
from pathlib import Path

from poolform import flow


def mark() -> None:
    """Leave a mark of each start where the tests can see it."""
    marks = Path("/marks")
    if marks.is_dir():
        with (marks / os.environ["POOLFORM_RUN_ID"]).open("a") as file:
            file.write(".")


@flow
def greet(name: str = "world") -> None:
    mark()
    print(f"hello {name}")


@flow
def fails() -> None:
    raise ValueError("the data is not there")


@flow
def sleeps() -> None:
    mark()
    print("asleep", flush=True)
    time.sleep(600)


@flow
def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


@flow
def sees() -> None:
    print(sorted(name for name in os.environ if name.startswith(("POOLFORM_HOME", "POOLFORM_SECRET", "TF_"))))
