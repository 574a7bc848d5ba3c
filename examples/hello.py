"""A first flow. Deploy it to a pool on this machine and run it:

poolform work-pool create here --type process --provision-infra --yes
poolform deploy examples/hello.py:hello --name first --pool here
poolform deployment run hello/first --param name=world --watch
"""

import platform
from datetime import UTC, datetime

from poolform import flow


@flow(retries=1, timeout_seconds=60)
def hello(name: str = "world", times: int = 3) -> str:
    """Greet somebody, and say where that happens.

    Args:
        name: Who is greeted.
        times: How often.
    """
    for number in range(1, times + 1):
        print(f"{number}. Hello, {name}!")
    print(f"From Python {platform.python_version()} on {platform.node()}, at {datetime.now(UTC):%H:%M:%S} UTC.")
    return name


if __name__ == "__main__":
    hello()
