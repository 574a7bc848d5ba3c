"""Fetch code from a git repository: with git, else as the archive that the big hosts offer.

Only jobs that need this import it. A token never comes near a command line, a file or a message: git asks a credential
helper for it, which reads it from git's own environment, and only for the repository's host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$POOLFORM_GIT_USER" "$POOLFORM_GIT_TOKEN"; }; f'
)
OPTIONS = (
    *("-c", "credential.helper="),  # nobody's keychain: a job has none, and it would keep the token
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"),
)
NOT_INHERITED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE")
DENIED = ("could not read username", "authentication failed", "error: 401", "error: 403", "permission denied")
ABSENT = ("not found", "does not exist", "not appear to be a git repo", "not a git repo")
NO_REF = ("find remote ref", "not our ref", "unadvertised object", "path argument", "not a tree", "invalid reference")


class Missing(LookupError):
    """A branch, tag or commit is not there."""


def fetch(source: dict[str, Any], secret: dict[str, str], folder: str, pauses: Sequence[float] = (1, 4)) -> str:
    """Check the source's repository out below `folder`, an empty one, and return the folder that has its files.

    When nobody answers, it tries again after `pauses` (seconds). `secret` holds `username` and `password`, or nothing.
    Raises LookupError with a sentence.
    """
    url = source["url"]
    way = clone if shutil.which("git") else download
    for pause in (*pauses, None):
        try:
            return way(source, secret, folder)
        except OSError as error:
            if pause is None:
                raise LookupError(f"{url} cannot be read: {error}") from None
            time.sleep(pause)
    raise AssertionError


def clone(source: dict[str, Any], secret: dict[str, str], folder: str) -> str:
    """Fetch one commit, without history where the server can; raise OSError when trying again may help."""
    url, commit, branch = source["url"], source.get("commit"), source.get("branch")
    environ = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environ.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="")
    environ.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    options = list(OPTIONS)
    if secret:
        environ.update(POOLFORM_GIT_USER=secret["username"], POOLFORM_GIT_TOKEN=secret["password"])
        host = re.match(r"\w+://[^/]+", url)
        options += ["-c", f"credential.{host.group() if host else url}.helper={HELPER}"]

    def git(*arguments: str) -> None:
        ended = subprocess.run(
            ("git", *options, *arguments),  # noqa: S607  # the PATH's, which may be anywhere
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if ended.returncode:
            raise explained(source, secret, ended.stdout.decode("utf-8", "replace"))

    git("init", "--quiet", "--template=")
    git("config", "remote.origin.url", url)
    if source.get("directories"):
        git("sparse-checkout", "set", *source["directories"])
    every = ("--tags", "+refs/heads/*:refs/remotes/origin/*")
    wanted: list[tuple[str, ...]] = [("--depth=1", "HEAD")]
    if commit:  # a server may refuse to hand out a commit by its name, and knows nothing of abbreviated ones
        wanted = [("--depth=1", commit), every] if len(commit) == 40 else [every]
    elif branch:
        wanted = [("--depth=1", "refs/heads/" + branch), ("--depth=1", "refs/tags/" + branch)]
    for refs in wanted:
        try:
            git("fetch", "--quiet", "--no-recurse-submodules", "origin", *refs)
            break
        except Missing:
            if refs is wanted[-1]:
                raise
    git("checkout", "--quiet", "--detach", commit or "FETCH_HEAD")
    if source.get("submodules"):
        git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    return folder


def explained(source: dict[str, Any], secret: dict[str, str], said: str) -> Exception:
    """Return what git's words mean: LookupError where no second try mends it, else OSError."""
    url, text = source["url"], said.lower()
    if any(word in text for word in NO_REF):
        what = f"commit {source['commit']}" if source.get("commit") else f"branch or tag {source.get('branch')!r}"
        return Missing(f"{url} has no {what}.")
    if any(word in text for word in DENIED):
        return LookupError(refused(url, secret))
    if any(word in text for word in ABSENT):
        return LookupError(f"there is no git repository {url}" + (", or the token may not see it." if secret else "."))
    lines = [line for line in said.splitlines() if line.strip()] or ["git failed and did not say why"]
    last = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1]).split(": ", 1)[-1]
    for value in secret.values():
        last = last.replace(value, "***")
    return OSError(last.rstrip(".") + ".")


def refused(url: str, secret: dict[str, str]) -> str:
    """Return the sentence for a repository that wants to know who asks."""
    if secret:
        return f"{url} refused the token that it was given."
    return f"{url} is private, or not there: it asks who wants it, and the deployment has no credentials for it."


def download(source: dict[str, Any], secret: dict[str, str], folder: str) -> str:
    """Unpack the host's archive of a commit; raise OSError when trying again may help."""
    import base64
    import tarfile
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url, archive = source["url"], source.get("archive")
    if not archive:
        raise LookupError(f"the code is in {url}, and there is no git here to fetch it with: install git in the image.")
    if source.get("submodules") or source.get("directories"):
        raise LookupError(f"there is no git here, and without it {url} cannot be had with submodules or in part.")
    request = Request(archive, headers={"User-Agent": "poolform"})  # noqa: S310  # core made it, with https
    if secret:
        bearer = "Bearer " + secret["password"]
        basic = "Basic " + base64.b64encode(f"{secret['username']}:{secret['password']}".encode()).decode()
        # Not to where the host may redirect us: that place has its own key in its address.
        request.add_unredirected_header("Authorization", bearer if source.get("bearer") else basic)
    try:
        with urlopen(request, timeout=60) as answer, tarfile.open(fileobj=answer, mode="r|gz") as packed:  # noqa: S310
            options: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packed.extractall(folder, **options)  # noqa: S202  # it is code that is about to be run
    except HTTPError as error:
        if error.code in (401, 403):
            raise LookupError(refused(url, secret)) from None
        if error.code == 404:
            what = source.get("commit") or source.get("branch")
            raise LookupError(f"there is no {url}" + (f", or no {what!r} in it." if what else ".")) from None
        raise
    except tarfile.TarError as error:
        raise OSError(f"its archive is damaged: {error}.") from None
    return os.path.join(folder, os.listdir(folder)[0])  # archives have one folder, called after repository and commit
