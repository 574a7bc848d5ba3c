"""A worker whose plugin kills it by SIGKILL in the middle of hearing that a run is submitted: `deaf.py URL FOLDER`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch.announcing import Announcer, Ringing
from poolform.core.dispatch.tasks import Listener
from poolform.core.dispatch.worker import Worker
from poolform.core.plugins import Plugin, Plugins, hookimpl
from poolform.core.store.database import open_store


class Dying:
    def __init__(self, folder):
        self.heard = Path(folder) / "heard"

    @hookimpl
    def poolform_run_changed(self, run):
        with self.heard.open("a") as file:
            print(run.state, file=file)
        if run.state == "submitted":
            os.kill(os.getpid(), signal.SIGKILL)


def main(url, folder):
    plugins = Plugins()
    plugins.register(Dying(folder), Plugin("hearer", "hearer", "1"))
    platform, store = Notifying(Path(folder) / "jobs"), open_store(url)
    announcer = Announcer(store, plugins, Listener())
    Worker(
        store,
        lambda pool: platform,
        build_job,
        lease=1.0,
        companions=[announcer],
        listener=Ringing(announcer, Listener()),
    ).run()


main(*sys.argv[1:])
