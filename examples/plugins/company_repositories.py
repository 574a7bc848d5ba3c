"""Lets people name the company's repositories shortly: `--source ours://team/flows`, or `ours://team/flows@v2`.

OUR_GIT is where they are: "https://git.example.com". The token is kept in the block git-credentials/ours, where there
has to be one.
"""

import os

from poolform import hookimpl


@hookimpl
def poolform_sources():
    return {"ours": repository}


def repository(source):
    """Return what jobs can fetch. Asked for every job: a repository that has moved is found at its new place."""
    path, _, ref = source["url"].removeprefix("ours://").partition("@")
    host = os.environ["OUR_GIT"].rstrip("/")
    found = {"type": "git", "url": f"{host}/{path}.git"}
    if ref:
        found["branch"] = ref
    if host.startswith("https://"):
        found["credentials"] = "git-credentials/ours"
    return found
