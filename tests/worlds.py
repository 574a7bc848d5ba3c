"""A pool with deployments in it, whoever works there, and calls that are cut off: what every pool type's crashes share.

The flows are `greet`, which says "hello world", and `sleeps`, which is cancelled.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.faults import Fault
from people import kill_tree

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from people import Person

WAYS = {
    "killed before": "call",
    "killed after": "call-after",
    "connection lost before": "drop",
    "connection lost after": "drop-after",
}
KILLED, LOST = list(WAYS)[:2], list(WAYS)[2:]
ENDS = {"greet": "completed", "sleeps": "cancelled"}
ENDED = ("completed", "failed", "crashed", "cancelled")
WENT_ON = "went on, nothing left"


@dataclass
class World:
    """A provisioned pool p of a stand-in `cloud`, and somebody who has deployments in it."""

    cloud: Any
    me: Person
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)

    def strike(self, action: str, way: str, process: subprocess.Popen[str] | None = None, skip: int = 0) -> Fault:
        """Cut off the next call like this. Who is killed: the process that is given, else the worker of the day."""
        hook = (lambda _: kill_tree((process or self.workers[-1]).pid)) if way in KILLED else None
        return self.cloud.faults.add(Fault(action, WAYS[way], hook=hook, skip=skip))

    def work(self) -> None:
        """Have a worker, whose runs another may take over soon after it has died."""
        self.workers.append(self.me.start("worker", "start", "--pool", "p", "--lease", "2"))

    def rest(self) -> None:
        """Send the worker home."""
        worker = self.workers[-1]
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def run(self, run_id: str) -> dict[str, Any]:
        """How a run is."""
        return self.me.json("flow-run", "inspect", run_id)

    def wait(self, happened: Callable[[], Any], seconds: float = 90) -> Any:
        """Wait for it, and start another worker when the last has died, as whatever looks after workers would."""
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, "it did not happen"
            if self.workers[-1].poll() is not None:
                self.workers[-1].communicate()
                self.work()
            time.sleep(0.2)
        return found

    def start(self, flow: str) -> str:
        """Run a flow, with a worker; return the run's id, of `sleeps` once it runs."""
        self.me("deployment", "run", f"{flow}/n")
        run_id = str(self.me.last_run()["id"])
        self.work()
        if flow == "sleeps":
            self.wait(lambda: self.run(run_id)["state"] == "running")
        return run_id

    def finish(self, flow: str, faults: Mapping[str, Fault], *, cleared: Callable[[], bool] = lambda: True) -> str:
        """Run a flow to its end in spite of these faults, wait until all is cleared away, and return the run's id."""
        run_id = self.start(flow)
        if flow == "sleeps":
            self.me("flow-run", "cancel", run_id)
        found = self.wait(lambda: (run := self.run(run_id))["state"] in ENDED and run)
        self.wait(cleared)
        self.rest()
        assert [step for step, fault in faults.items() if fault.hits != 1] == [], "not cut off there"
        assert found["state"] == ENDS[flow], found
        if flow == "greet":
            assert self.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
        return run_id

    def busy(self) -> None:
        """Have the pool up, and a job running in it that no worker looks after."""
        if self.me.json("work-pool", "inspect", "p")["state"] != "ready":
            self.me("work-pool", "provision-infra", "p", "--yes")
        self.start("sleeps")
        self.workers[-1].kill()
        self.workers[-1].communicate()

    def deprovision(self, turn: Mapping[str, str], actions: Mapping[str, str]) -> None:
        """Deprovision, again and again, cut off at each step in its way."""
        for step, way in turn.items():
            process = self.me.start("work-pool", "deprovision", "p", "--yes")
            fault = self.strike(actions[step], way, process)
            said = process.communicate(timeout=120)
            self.cloud.faults.clear()
            assert fault.hits == 1, f"it was not cut off at {step}: {said}"
            if way in KILLED:
                assert process.returncode == -signal.SIGKILL
            assert process.returncode != 0, said

    def deprovision_in_spite(self, actions: Mapping[str, str]) -> None:
        """Deprovision once, with the connection lost at every step, in each way."""
        faults = {
            (step, way): self.strike(action, way, skip=order)
            for step, action in actions.items()
            for order, way in enumerate(LOST)
        }
        self.me("work-pool", "deprovision", "p", "--yes")
        self.cloud.faults.clear()
        assert {cell: fault.hits for cell, fault in faults.items()} == dict.fromkeys(faults, 1)
        self.seen |= dict.fromkeys(faults, WENT_ON)
