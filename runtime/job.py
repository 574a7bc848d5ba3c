"""One job, from its environment to its exit code."""

from __future__ import annotations

import _thread
import atexit
import faulthandler
import json
import os
import signal
import sys
import time
from importlib import import_module

from poolform.runtime.arguments import bind
from poolform.runtime.entrypoint import load
from poolform.runtime.exit_codes import CANCELLED, CODE_NOT_FOUND, COMPLETED, ENTRYPOINT_INVALID, FAILED, TIMED_OUT
from poolform.runtime.log import Log, one_line
from poolform.runtime.refusal import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GRACE_SECONDS = 5
"""How long a flow that has timed out may clean up, where POOLFORM_GRACE_SECONDS says nothing else."""
EVENTS = {COMPLETED: "completed", TIMED_OUT: "timed_out", CANCELLED: "cancelled"}
"""What an outcome is called; everything else is `failed`."""
NOT_THE_FLOWS = ("poolform", "importlib", "asyncio")
"""Packages whose frames lead to the flow in every traceback, and tell nobody anything."""


def main() -> None:
    """Run the job that the environment describes and exit with its code."""
    job = Job(dict(os.environ))
    try:
        job.run()
    except KeyboardInterrupt:  # it came between two of our own steps
        job.settle(CANCELLED, "cancelled")
    sys.exit(job.code)


class Job:
    """One job: how it is stopped, and what came of it.

    Timeouts and cancellation take one way, that of Ctrl-C: KeyboardInterrupt in the main thread, which asyncio,
    subprocess and everybody's `finally` understand. After a timeout, a thread ends the process if the flow won't.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.log = Log()
        self.code = COMPLETED
        self.reason = ""
        self.stopped: tuple[int, str] | None = None  # what for; it wins over whatever the flow makes of it
        self.interrupted = False
        self.reported = False
        self.pid = os.getpid()
        self.thread = _thread.get_ident()

    def run(self) -> None:
        """Run the flow and settle the outcome, which is printed when Python exits, after all that the flow left."""
        flow = self.env.get("POOLFORM_FLOW_NAME") or self.env.get("POOLFORM_ENTRYPOINT", "")
        self.log.event("started", flow=flow, attempt=int(self.env.get("POOLFORM_ATTEMPT") or 1))
        atexit.register(self.report)  # before the flow's own, so after them; threads have ended by then, too
        signal.signal(signal.SIGTERM, self.terminated)
        timeout = self.env.get("POOLFORM_TIMEOUT_SECONDS")
        if timeout:
            seconds, grace = float(timeout), float(self.env.get("POOLFORM_GRACE_SECONDS") or GRACE_SECONDS)
            _thread.start_new_thread(self.watch, (seconds, grace))
            if sys.stderr:  # C code that never lets go of the interpreter keeps every thread from running, but this one
                faulthandler.dump_traceback_later(seconds + 2 * grace, exit=True)
        try:
            target = self.prepare()
            args, kwargs = bind(target, self.env.get("POOLFORM_PARAMETERS") or "{}")
            finish(target(*args, **kwargs))
            self.settle(COMPLETED)
        except Refusal as refusal:
            self.settle(refusal.code, str(refusal))
        except SystemExit as error:
            self.exited(error.code)
        except KeyboardInterrupt:
            self.settle(CANCELLED, "cancelled")
        except BaseException as error:  # noqa: BLE001  # whatever a flow raises is its failure
            self.show(error)
            self.settle(FAILED, describe(error))

    def prepare(self) -> Any:
        """Go to the code and import it."""
        source = json.loads(self.env.get("POOLFORM_SOURCE") or "{}")
        folder = os.path.abspath(source.get("path") or "")
        if source.get("type", "local") != "local":
            folder = fetched(source, self.env.get("POOLFORM_SCRATCH"))
        try:
            os.chdir(self.env.get("POOLFORM_WORKING_DIR") or folder)
        except OSError as error:
            raise Refusal(CODE_NOT_FOUND, f"cannot work in the folder {error.filename}: {error.strerror}.") from None
        try:
            return load(self.env.get("POOLFORM_ENTRYPOINT", ""), folder)
        except KeyboardInterrupt:
            raise
        except Refusal as error:  # a folder that was made for this job says nothing to a person; where it is from does
            raise Refusal(error.code, str(error).replace(folder, source.get("url") or folder)) from None
        except BaseException as error:  # noqa: BLE001  # importing runs their code
            self.show(error)
            raise Refusal(ENTRYPOINT_INVALID, "importing the code failed: " + describe(error)) from None

    def settle(self, code: int, reason: str = "") -> None:
        """Note the outcome: what we were told to stop for, else this."""
        self.code, self.reason = self.stopped or (code, reason)

    def exited(self, status: Any) -> None:
        """Settle what sys.exit means: nothing or 0 is success; a text is printed, as Python does."""
        if not status:
            self.settle(COMPLETED)
            return
        if not isinstance(status, int):
            self.log.fresh_line()
            print(status, file=sys.stderr)  # noqa: T201
        self.settle(FAILED, f"SystemExit: {status}")

    def show(self, error: BaseException) -> None:
        """Print a traceback that begins with the flow's own code."""
        trace = error.__traceback__
        while trace and trace.tb_frame.f_globals.get("__name__", "").split(".")[0] in NOT_THE_FLOWS:
            trace = trace.tb_next
        self.log.fresh_line()
        sys.__excepthook__(type(error), error.with_traceback(trace), trace)

    def report(self) -> None:
        """Print the outcome, as the last line, once. A forked child has none to report."""
        if os.getpid() != self.pid or self.reported:
            return
        self.reported = True
        exiting = self.code
        self.settle(self.code, self.reason)
        self.log.fresh_line()
        reason = {"reason": one_line(self.reason)} if self.reason else {}
        self.log.event(EVENTS.get(self.code, "failed"), **reason)
        if self.code != exiting:  # stopped while threads were waited for: Python has its exit code already
            os._exit(self.code)

    def terminated(self, number: int, frame: object) -> None:
        """Stop the flow on SIGTERM, the first time; a child that the flow forked just dies, as it would elsewhere."""
        if os.getpid() != self.pid:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.interrupted:
            self.interrupted = True
            self.stopped = self.stopped or (CANCELLED, "cancelled")
            raise KeyboardInterrupt

    def watch(self, seconds: float, grace: float) -> None:
        """Stop the flow after `seconds`; end the process `grace` seconds later, whatever the flow does."""
        time.sleep(seconds)
        self.stopped = self.stopped or (TIMED_OUT, f"timed out after {seconds:g} s")
        signal.pthread_kill(self.thread, signal.SIGTERM)
        time.sleep(grace)
        self.report()
        os._exit(self.code)


def fetched(source: dict[str, Any], scratch: str | None) -> str:
    """Return a new folder with the code, which goes when Python exits. Raises Refusal when the code cannot be had."""
    import shutil
    import tempfile

    secret = json.loads(os.environ.pop("POOLFORM_SOURCE_SECRET", "{}"))  # the flow and its children need none of it
    try:
        way = import_module("poolform.runtime.fetch_" + source["type"])
    except ImportError:
        raise Refusal(CODE_NOT_FOUND, f"this runtime cannot fetch code of type {source['type']!r}.") from None
    folder = tempfile.mkdtemp("", "poolform-code-", scratch)
    atexit.register(shutil.rmtree, folder, True)
    try:
        return str(way.fetch(source, secret, folder))
    except LookupError as error:
        raise Refusal(CODE_NOT_FOUND, str(error)) from None


def finish(result: Any) -> None:
    """Run what calling the flow returned to its end: a coroutine, a generator; anything else is there already."""
    if hasattr(result, "__await__") or hasattr(result, "ag_frame"):
        import asyncio

        async def wait() -> None:
            if hasattr(result, "__await__"):
                await result
            else:
                async for _ in result:
                    pass

        asyncio.run(wait())
    elif hasattr(result, "gi_frame"):
        for _ in result:
            pass


def describe(error: BaseException) -> str:
    """Return `ValueError: boom`."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # their __str__
        text = ""
    return type(error).__name__ + (": " + text if text else "")
