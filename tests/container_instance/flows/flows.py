# ruff: noqa: T201 - printing is what a flow does
"""What is in the image of the tests."""

import time

from poolform import flow


@flow
def greet(name: str = "world") -> None:
    print(f"hello {name}")


@flow
def fails() -> None:
    raise ValueError("the data is not there")


@flow
def sleeps() -> None:
    print("asleep", flush=True)
    time.sleep(600)


@flow
def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))
