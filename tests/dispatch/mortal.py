"""A worker process for tests to kill, or that kills itself: `mortal.py URL FOLDER [METHOD WHEN]`.

With METHOD (launch, poll, logs, remove, cancel; or build, for the making of the job) the process dies by SIGKILL
`before` or `after` the platform did that, the first time that a process with this FOLDER gets there.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch.worker import Worker
from poolform.core.store.database import open_store


def die_once(folder):
    try:
        (Path(folder) / "died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(act, folder, when):
    def acting(*arguments):
        if when == "before":
            die_once(folder)
        result = act(*arguments)
        # The wrapper says that it started only after a moment; dying in that moment is `when == "at once"`.
        if when == "after":
            die_once(folder)
        return result

    return acting


def main(url, folder, method=None, when=None):
    platform = Notifying(Path(folder) / "jobs")
    build = build_job
    if method == "build":
        build = mortal(build_job, folder, when)
    elif method:
        setattr(platform, method, mortal(getattr(platform, method), folder, when))
    worker = Worker(open_store(url), lambda pool: platform, build, lease=1.0)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


main(*sys.argv[1:])
