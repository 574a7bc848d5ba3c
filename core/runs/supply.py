"""How a job comes by its code: what it is given to fetch it, and fetching the same here, before anything is deployed.

Git and buckets are fetched by the job itself (`poolform.runtime.fetch_*`), and at deployment by the very same code:
what could be fetched here can be fetched there, by whoever has the same credentials and network. Credentials travel as
the job's secret.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from poolform.core.errors import NotFound, PluginError, UsageError
from poolform.core.pools.catalogue import reason
from poolform.core.runs.bootstrap import FETCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.blocks import Blocks
    from poolform.core.plugins import Plugins
    from poolform.core.runs.launchers import Job, Json

SECRET = "POOLFORM_SOURCE_SECRET"  # noqa: S105 - the name of it
_AS_IT_IS = ("", "local")
"""Types of sources that no job fetches: the code is in the image, or in a folder of the machine."""


@dataclass(frozen=True)
class Supply:
    """What a job is given to come by its code: a source of a type that the runtime knows, and a secret."""

    source: Mapping[str, Json]
    secret: Mapping[str, Json] = field(default_factory=dict, repr=False)

    @property
    def type(self) -> str:
        """Return the type of the source; "" where the code is in the image."""
        return str(self.source.get("type", ""))

    def given_to(self, job: Job) -> Job:
        """Return the job with this supply."""
        if self.type in _AS_IT_IS:
            return job
        text = json.dumps(self.source, ensure_ascii=False, separators=(",", ":"))
        secrets = {**job.secrets, SECRET: json.dumps(self.secret)} if self.secret else job.secrets
        return replace(job, env={**job.env, "POOLFORM_SOURCE": text}, secrets=secrets)


class Suppliers:
    """Makes supplies out of stored sources, with plugins' ways to name code and the blocks that hold credentials."""

    def __init__(self, plugins: Plugins, blocks: Blocks) -> None:
        self._plugins, self._blocks = plugins, blocks

    def supply(self, source: Mapping[str, Json]) -> Supply:
        """Return what a job needs to fetch the code of `source`.

        Raises NotFound for a block that is gone and for a type that nobody knows, PluginError where a plugin's source
        becomes none of ours.
        """
        kind = source.get("type", "")
        if kind not in (*_AS_IT_IS, *FETCHED):
            source = self._translated(kind, source)
        plain = {name: value for name, value in source.items() if name != "credentials"}
        return Supply({**plain, **archive_of(plain)}, self._secret(source))

    @contextmanager
    def fetched(self, source: Mapping[str, Json]) -> Iterator[Path]:
        """Yield a folder with the source's code, for as long as this lasts. Raises UsageError when it cannot be had."""
        supply = self.supply(source)
        if supply.type in _AS_IT_IS:
            yield Path(str(supply.source.get("path") or "."))
            return
        way = import_module(f"poolform.runtime.fetch_{supply.type}")
        at_once = ((),) if supply.type == "git" else ()  # somebody waits for the answer: no second tries
        with tempfile.TemporaryDirectory(prefix="poolform-code-") as folder:
            try:
                yield Path(way.fetch(dict(supply.source), dict(supply.secret), folder, *at_once))
            except LookupError as exc:
                raise _not_had(exc, supply) from None

    def _translated(self, kind: str, source: Mapping[str, Json]) -> Mapping[str, Json]:
        known = self._plugins.sources
        if kind not in known:
            names = ", ".join(sorted({"local", *FETCHED, *known}))
            raise NotFound(f"Nobody here knows how to fetch code of the type {kind!r}; there are {names}.")
        plugin, way = known[kind]
        try:
            made = way(source)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            raise PluginError(plugin.label, f"the source type {kind} failed: {reason(exc)}.") from exc
        if not isinstance(made, dict) or made.get("type", "") not in (*_AS_IT_IS, *FETCHED):
            raise PluginError(plugin.label, f"the source type {kind} made {made!r}, which no job can fetch.")
        return made

    def _secret(self, source: Mapping[str, Json]) -> dict[str, Any]:
        name = source.get("credentials")
        if not name:
            return {}
        from poolform.core.runs.credentials import for_git, for_storage

        document = self._blocks.load(*str(name).split("/", 1))
        return for_git(document, source["url"]) if source["type"] == "git" else for_storage(document)


def archive_of(source: Mapping[str, Json]) -> dict[str, Json]:
    """Return where the host of a repository offers a commit as an archive, for images without git; {} for others.

    https://docs.github.com/en/rest/repos/contents#download-a-repository-archive-tar,
    https://docs.gitlab.com/ee/api/repositories.html#get-file-archive; Bitbucket's is what its page links to.
    """
    if source.get("type") != "git":
        return {}
    parts = urlsplit(source["url"])
    repository = parts.path.strip("/").removesuffix(".git")
    ref = quote(source.get("commit") or source.get("branch") or "", safe="/")
    if parts.scheme != "https":
        return {}
    if parts.netloc == "github.com":
        return {"archive": f"https://api.github.com/repos/{repository}/tarball/{ref}".rstrip("/"), "bearer": True}
    if parts.netloc == "gitlab.com":
        project = quote(repository, safe="")
        url = f"https://gitlab.com/api/v4/projects/{project}/repository/archive.tar.gz"
        return {"archive": f"{url}?sha={quote(ref, safe='')}" if ref else url, "bearer": True}
    if parts.netloc == "bitbucket.org":
        return {"archive": f"https://bitbucket.org/{repository}/get/{ref or 'HEAD'}.tar.gz"}
    return {}


def _not_had(exc: LookupError, supply: Supply) -> UsageError:
    sentence = str(exc)
    hint = None
    if " is private, or not there" in sentence:
        hint = (
            "Keep a token in a block, poolform block create git-credentials/NAME, and name it: --credentials NAME, or "
            'GitRepository(url, credentials="NAME").'
        )
    elif "refused the token" in sentence:
        hint = (
            "It may have expired, or not be for this repository. Replace it: poolform block create git-credentials/NAME"
        )
    elif supply.type == "fsspec" and "install" in sentence:
        sentence = sentence.replace("the image", "this environment")
    return UsageError(sentence[:1].upper() + sentence[1:] if sentence.startswith("th") else sentence, hint=hint)
