"""Where a deployment's code is, as people name it.

A source is stored as JSON that holds no secret: credentials are named, as the block that keeps them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, unquote, urlsplit

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//).+")
_SECRET = re.compile(r"(^|_)(key|secret|token|password|passphrase|credential|connection_string)s?$", re.IGNORECASE)
"""Names of options that hold secrets, in fsspec's file systems: account_key, client_secret, sas_token, …"""
_GIT = ("https", "http", "ssh", "git", "file")


class Source:
    """Where code is. Equal sources are stored alike, and no source holds a secret."""

    type: ClassVar[str]

    def to_json(self) -> dict[str, Json]:
        """Return what is stored with the deployment."""
        raise NotImplementedError


@dataclass(frozen=True)
class GitRepository(Source):
    """A git repository: its default branch, or a branch or tag, or one commit.

    `credentials` is the name of a block, `git-credentials/NAME` or just NAME. A branch is looked up anew for every run,
    a commit stays. `directories` are the only ones that are checked out, besides the files at the top.
    """

    url: str
    credentials: str | None = None
    branch: str | None = None
    commit_sha: str | None = None
    include_submodules: bool = False
    directories: Sequence[str] = ()

    type: ClassVar[str] = "git"

    def __post_init__(self) -> None:
        """Refuse what could not be fetched, or not without giving a secret away. Raises UsageError."""
        _check_git_url(self.url, with_credentials=bool(self.credentials))
        if self.branch and self.commit_sha:
            raise UsageError(f"{self.url}: give a branch or a commit, not both.", hint="A commit is on its branch.")
        if self.commit_sha and not re.fullmatch(r"[0-9a-fA-F]{7,64}", self.commit_sha):
            raise UsageError(f"{self.commit_sha!r} is not a commit.", hint="A commit is 7 to 40 hexadecimal digits.")
        if self.branch and (self.branch.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.", self.branch)):
            raise UsageError(f"{self.branch!r} cannot be a branch or tag.")
        _check_credentials(self.credentials)

    def to_json(self) -> dict[str, Json]:
        """Return what is stored with the deployment."""
        return _without_blanks(
            type=self.type,
            url=self.url,
            branch=self.branch,
            commit=self.commit_sha,
            submodules=self.include_submodules,
            directories=list(self.directories),
            credentials=_block(self.credentials, "git-credentials"),
        )


@dataclass(frozen=True)
class RemoteStorage(Source):
    """A folder, an archive (.tar.gz, .zip) or a file in a bucket, or wherever else fsspec reaches.

    `credentials` is the name of a block, `storage-credentials/NAME` or just NAME; without, the job's own identity must
    be allowed to read. `options` are the file system's, such as `endpoint_url`; never secrets.
    """

    url: str
    credentials: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)

    type: ClassVar[str] = "fsspec"

    def __post_init__(self) -> None:
        """Refuse what cannot be a place, or gives a secret away. Raises UsageError."""
        parts = _split(self.url)
        if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
            raise UsageError(f"{self.url!r} names no bucket.", hint="Write it as s3://BUCKET/FOLDER, gs://… or az://…")
        _check_no_password(self.url)
        secret = sorted(name for name in self.options if _SECRET.search(name))
        if secret:
            raise UsageError(
                f"The options of {self.url} hold a secret: {', '.join(secret)}.",
                hint="Keep it in a block: poolform block create storage-credentials/NAME, then credentials=NAME.",
            )
        _check_credentials(self.credentials)

    def to_json(self) -> dict[str, Json]:
        """Return what is stored with the deployment."""
        credentials = _block(self.credentials, "storage-credentials")
        return _without_blanks(type=self.type, url=self.url, options=dict(self.options), credentials=credentials)


@dataclass(frozen=True)
class LocalStorage(Source):
    """A folder of this machine; only for pools whose jobs run on it."""

    path: str | Path

    type: ClassVar[str] = "local"

    def to_json(self) -> dict[str, Json]:
        """Return what is stored with the deployment."""
        return {"type": self.type, "path": str(Path(self.path).expanduser().absolute())}


@dataclass(frozen=True)
class Custom(Source):
    """A place that a plugin knows, by a URL with its scheme; see the hook `poolform_sources`."""

    type: str  # type: ignore[misc] # of each one, for once
    url: str

    def to_json(self) -> dict[str, Json]:
        """Return what is stored with the deployment."""
        return {"type": self.type, "url": self.url}


def of(
    where: str | Path | Source,
    *,
    branch: str | None = None,
    commit: str | None = None,
    submodules: bool = False,
    credentials: str | None = None,
    custom: Sequence[str] = (),
) -> Source:
    """Return the source that a person means by a URL or a path; `custom` are the schemes that plugins know.

    `git+` before a URL says that there is a repository, as pip has it
    (https://pip.pypa.io/en/stable/topics/vcs-support/): a `file:` URL does not tell one from a folder.

    Raises UsageError for what names nothing, and for options that do not go with it.
    """
    if isinstance(where, Source):
        return where
    text = str(where)
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme.startswith("git+") and scheme not in custom:
        return GitRepository(text.removeprefix("git+"), credentials, branch, commit, submodules)
    is_git = bool(_SCP.fullmatch(text)) or scheme in ("https", "http", "ssh", "git") or text.endswith(".git")
    if scheme in custom:
        found: Source = Custom(scheme, text)
    elif is_git and (scheme or not Path(text).exists() or text.endswith(".git")):
        url = text if scheme or _SCP.fullmatch(text) else Path(text).absolute().as_uri()
        return GitRepository(url, credentials, branch, commit, submodules)
    elif scheme:
        found = RemoteStorage(text, credentials)
        credentials = None
    else:
        found = LocalStorage(text)
    given = {"a branch": branch, "a commit": commit, "submodules": submodules, "credentials": credentials}
    for what, value in given.items():
        if value:
            means = "mean" if what.endswith("s") else "means"
            repository = _repository_in(text)
            taken = f"{text} is {'taken as a folder' if repository else 'no git repository'}"
            hint = f"For the git repository in it, write it as git+{repository}" if repository else None
            raise UsageError(f"{taken}, so {what} {means} nothing there.", hint=hint)
    return found


def _repository_in(text: str) -> str | None:
    """Return the `file:` URL of a folder of this machine that is a git repository, else None."""
    parts = urlsplit(text)
    folder = Path(unquote(parts.path) if parts.scheme == "file" else text)
    is_one = (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())
    return folder.absolute().as_uri() if is_one else None


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its host begins with a bracket, and is no IPv6 address
        raise UsageError(f"{url.partition('://')[0]}://…: that is not a URL: its host makes no sense.") from None


def _check_git_url(url: str, *, with_credentials: bool) -> None:
    parts = _split(url)
    if not _SCP.fullmatch(url):
        if parts.scheme not in _GIT or not parts.path.strip("/"):
            raise UsageError(
                f"{url!r} is not the URL of a git repository.",
                hint="Write it as https://HOST/OWNER/REPOSITORY or git@HOST:OWNER/REPOSITORY.git; one on this machine "
                "as file:///FOLDER.",
            )
        _check_no_password(url)
    if with_credentials and parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError(
            f"{url}: a token can only go over https, where nobody else reads it.",
            hint="Use the repository's https:// URL.",
        )


def _check_no_password(url: str) -> None:
    parts = _split(url)
    if parts.password is not None or (parts.scheme.startswith("http") and parts.username):
        shown = url.replace(parts.netloc.rpartition("@")[0] + "@", "")
        raise UsageError(
            f"The URL of {shown} has a token or password in it, which would be stored and shown.",
            hint="Keep it in a block: poolform block create git-credentials/NAME, and name that as the credentials.",
        )


def _check_credentials(name: Any) -> None:
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"([\w.-]+/)?[\w. -]+", name)):
        raise UsageError(  # never what was given: it may be the secret itself
            "Credentials of a source are the name of a block, not what it holds.",
            hint="Make one: poolform block create git-credentials/NAME, then credentials=NAME.",
        )


def _block(name: str | None, default_type: str) -> str | None:
    return name if name is None or "/" in name else f"{default_type}/{name}"


def _without_blanks(**values: Json) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value}
