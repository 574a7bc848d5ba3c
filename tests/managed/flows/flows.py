# ruff: noqa: T201 - printing is what a flow does, and its package is only there
"""What the tests run; each run brings this file along."""

import time

from poolform import flow


@flow
def greet(name: str = "world") -> None:
    import acorn

    print(f"hello {name}, with acorn {acorn.VERSION}")


@flow
def fails() -> None:
    raise ValueError("the data is not there")


@flow
def sleeps() -> None:
    print("asleep", flush=True)
    time.sleep(600)
