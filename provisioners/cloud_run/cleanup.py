"""What launchers leave in the project, cleared away before the pool is destroyed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from poolform.provisioners.cloud_run import definition, secrets, session
from poolform.provisioners.cloud_run.launcher import remove_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.pools.contract import Connection, Credential
    from poolform.core.runs.launchers import Json
    from poolform.provisioners.cloud_run.session import Google

_PATIENCE = 90.0  # seconds; a container has ten to stop
_COMPLETED = (1, 2, 5)  # succeeded, failed, cancelled: google.cloud.run_v2's ExecutionReference.CompletionStatus


def disconnect(connection: Connection, credential: Credential | None) -> None:
    """Stop and delete every job of the pool, and its secrets. Twice is fine.

    Done as the launcher, which may do exactly this; as the caller where the launcher can't get in any more.
    """
    settings = connection.settings
    with session.sentences("Clearing away what jobs left"):
        google = _working(settings, credential)
        _delete_jobs(google, settings)
        prefix = f"{settings['prefix']}-"
        secrets.drop(google, settings["project"], secrets.named(google, settings["project"], prefix))
        google.close()


def _working(settings: Mapping[str, Json], credential: Credential | None) -> Google:
    from google.api_core.exceptions import Forbidden, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    from poolform.core.errors import PoolformError

    try:
        google = session.Google.of_launcher(settings, credential)
        _jobs(google, settings)
    except (PoolformError, GoogleAuthError, Forbidden, Unauthorized):
        return session.Google()
    return google


def _jobs(google: Google, settings: Mapping[str, Json]) -> list[Any]:
    parent = f"projects/{settings['project']}/locations/{settings['region']}"
    found = google.run("Jobs").list_jobs(
        request={"parent": parent, "page_size": 500}, timeout=30.0, retry=session.again()
    )
    start = f"{parent}/jobs/{settings['prefix']}-"
    return [job for job in found if job.name.startswith(start) and not job.delete_time]


def _delete_jobs(google: Google, settings: Mapping[str, Json]) -> None:
    from google.api_core.exceptions import BadRequest, Conflict, NotFound

    deadline = time.monotonic() + _PATIENCE
    while jobs := _jobs(google, settings):
        for job in jobs:
            execution = job.latest_created_execution
            over = not execution.name or int(execution.completion_status) in _COMPLETED
            try:
                if over:
                    remove_job(google, settings["project"], job.name, retry=session.again())
                else:
                    google.run("Executions").cancel_execution(
                        name=definition.execution_name(job.name), timeout=30.0, retry=session.again()
                    )
            except (BadRequest, Conflict, NotFound):
                pass  # it is on its way, or just over: the next look says
        if time.monotonic() > deadline:
            return  # the accounts and roles go; what is left is told apart by its labels
        time.sleep(0.5)
