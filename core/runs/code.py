"""From what a person says of a flow's code to the flow, described, and the source that its jobs will use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.core.errors import UsageError
from poolform.core.runs import entrypoints, inline, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.entrypoints import Description, Place
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.sources import Source
    from poolform.core.runs.supply import Suppliers
    from poolform.core.store.pools import WorkPool

IN_IMAGE: Mapping[str, Json] = {}
"""The source of code that is in the image, in its working directory."""


@dataclass(frozen=True)
class Code:
    """A flow as its code describes it, where it is in its source, and that source as it is stored."""

    flow: Description
    entrypoint: str
    source: Mapping[str, Json]


def fetched(source: Source, entrypoint: str, suppliers: Suppliers) -> Code:
    """Fetch a source here, as its jobs will, and read the flow. Raises UsageError where either cannot be had."""
    stored = source.to_json()
    where = str(stored.get("url") or stored.get("path"))
    with suppliers.fetched(stored) as folder:
        place = entrypoints.Place(entrypoint, folder)
        if not entrypoint.rpartition(":")[0]:
            place = entrypoints.locate(entrypoint, folder)  # says how an entrypoint is written
        try:
            flow = entrypoints.read(place)
        except UsageError as exc:  # the folder is gone by the time that anybody could look into it
            hint = exc.hint and exc.hint.replace(f"{folder}/", "").replace(str(folder), where)
            raise UsageError(exc.message.replace(str(folder), where), hint=hint) from exc
    return Code(flow, entrypoint, stored)


def source_for(
    pool: WorkPool, place: Place, flow: Description, *, way: str | None = None, image: str | None = None
) -> Mapping[str, Json]:
    """Return how the pool's jobs come by a flow that is at `place` on this machine.

    `way` is "image" (its working directory has the code), "inline" (each run brings it along), "local" (jobs find this
    folder) or None, what fits: the folder for jobs on this machine, the image where the deployment names one, else
    along with each run. Raises UsageError, also where the pool's jobs have no way to this machine's folder.
    """
    in_images = runs_images(pool)
    if way is None:
        way = "local" if not in_images else "image" if image or not flow.files else "inline"
    if way == "local" and in_images:
        raise UsageError(
            f"Jobs of the work pool {pool.name} run in images, and see no folder of this machine.",
            hint="Send small code along (--source inline), build an image (--image NAME:TAG) or use a repository.",
        )
    if way == "inline":
        return inline.pack(place.folder, flow.files)
    return IN_IMAGE if way == "image" else sources.LocalStorage(place.folder).to_json()


def find(
    pool: WorkPool,
    entrypoint: str,
    source: str | Path | Source | None,
    suppliers: Suppliers,
    *,
    folder: Path | None = None,
    image: str | None = None,
    custom: tuple[str, ...] = (),
    upload_to: str | None = None,
    **options: str | bool | None,
) -> Code:
    """Return the code that a person means: in `folder` (else the current one), or wherever `source` says.

    `source` is "image", "inline", a folder, a URL or a Source; `options` are those of `sources.of`. `upload_to` is the
    URL of a bucket that a folder's code is put into, with `credentials`, for jobs. Raises UsageError, PoolformError.
    """
    here = folder or Path.cwd()
    given = {name: value for name, value in options.items() if value}
    if upload_to is not None:
        return _uploaded(entrypoint, here, source, upload_to, suppliers, given)
    if source in (None, "image", "inline"):
        if given:
            raise UsageError(
                f"{', '.join(sorted(given))}: that goes with a repository, and no source is given.",
                hint="Name it: --source URL.",
            )
        return _local(pool, entrypoint, here, source and str(source), image)
    assert source is not None
    meant = sources.of(source, custom=custom, **given)  # type: ignore[arg-type] # find's own signature says which
    if isinstance(meant, sources.LocalStorage):
        return _local(pool, entrypoint, folder_of(meant, here), "local", image)
    return fetched(meant, entrypoint, suppliers)


def folder_of(source: sources.LocalStorage, here: Path) -> Path:
    """Return the folder of a local source, seen from `here`. Raises UsageError where there is none."""
    path = here / Path(source.path).expanduser()
    if not path.is_dir():
        raise UsageError(f"The source {source.path} is not a folder on this machine.")
    return path


def runs_images(pool: WorkPool) -> bool:
    """Say whether the pool's jobs run in images, and so know nothing of this machine's folders."""
    return "image" in pool.base_job_template["variables"].get("properties", {})


def _local(pool: WorkPool, entrypoint: str, folder: Path, way: str | None, image: str | None) -> Code:
    place = entrypoints.locate(entrypoint, folder)
    flow = entrypoints.read(place)
    return Code(flow, place.entrypoint, source_for(pool, place, flow, way=way, image=image))


def _uploaded(
    entrypoint: str,
    here: Path,
    source: str | Path | Source | None,
    url: str,
    suppliers: Suppliers,
    options: Mapping[str, Any],
) -> Code:
    """Read a flow from a folder, then put the folder into a bucket."""
    from poolform.core.runs.upload import upload

    credentials = options.get("credentials")
    meant = sources.LocalStorage(here) if source is None else sources.of(source)
    if not isinstance(meant, sources.LocalStorage) or set(options) - {"credentials"}:
        raise UsageError("Only a folder of this machine is uploaded.", hint="Leave out --upload, or the source.")
    place = entrypoints.locate(entrypoint, folder_of(meant, here))
    flow = entrypoints.read(place)
    stored = upload(place.folder, url, suppliers, credentials=credentials).to_json()
    return Code(flow, place.entrypoint, stored)
