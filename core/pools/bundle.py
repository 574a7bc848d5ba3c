"""A plan in a file: reviewed in one place, applied in another, or refused.

A bundle is a gzipped tar with the pool's record, the module, the dependency lock file and Terraform's own plan file.
It holds values in clear, as Terraform's plan files do, so it is written for its owner only (0600).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotReady, PoolformError, StalePlan, UsageError
from poolform.core.pools import credentials, moving
from poolform.core.pools.catalogue import reason
from poolform.core.pools.contract import Identity
from poolform.core.pools.planning import in_workspace, require_account, require_state, review
from poolform.core.pools.proposal import Proposal
from poolform.core.pools.records import type_of
from poolform.core.pools.revisions import stored_variables
from poolform.core.pools.workspaces import temporary_workspace
from poolform.core.store.pools import WorkPool
from poolform.core.terraform.locate import locate
from poolform.core.terraform.plan import NOTHING
from poolform.core.terraform.render import Module
from poolform.core.terraform.workspace import LOCK_FILE, PLAN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolform.core.pools.planning import Context
    from poolform.core.pools.proposal import Purpose
    from poolform.core.terraform.locate import Binary

_FORMAT = 1
_META = "poolform.json"


@dataclass(frozen=True)
class _Bundle:
    """What is in a file: see `Proposal`, which is made of it."""

    purpose: Purpose
    pool: WorkPool
    recorded_at: float | None
    engine: tuple[str, str] | None
    identity: Identity | None
    digest: str
    module: Module
    plan_file: bytes | None
    lock_file: str | None


def write_bundle(path: Path, proposal: Proposal) -> None:
    """Write a proposal to a file. Raises PoolformError when that cannot be done."""
    meta = {
        "format": _FORMAT,
        "purpose": proposal.purpose,
        "pool": asdict(proposal.pool),
        "recorded_at": proposal.recorded_at,
        "engine": [proposal.binary.product, proposal.binary.version] if proposal.binary else None,
        "identity": asdict(proposal.identity) if proposal.identity else None,
        "digest": proposal.plan.digest,
        "files": dict(proposal.module.files),
    }
    members = {_META: json.dumps(meta).encode()}
    for name in (PLAN_FILE, LOCK_FILE):
        source = proposal.workspace.path / name
        if source.exists():
            members[name] = source.read_bytes()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)  # it may have been there, for everybody to read
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o600
                archive.addfile(info, io.BytesIO(data))
    except OSError as exc:
        raise PoolformError(f"The plan cannot be written to {path}: {exc.strerror}.") from exc


@contextmanager
def read_bundle(context: Context, path: Path, pool: WorkPool) -> Iterator[Proposal]:
    """Yield the proposal in a file, ready to be carried out.

    Raises UsageError for a file that is no plan of this pool, StalePlan when the pool was changed after it was made,
    WrongEngine and NotReady as planning does.
    """
    bundle = _read(path)
    planned = bundle.pool
    if planned.id != pool.id:
        raise UsageError(f"{path} holds a plan for the pool {planned.name}, not for this {pool.name}.")
    if pool.updated_at != bundle.recorded_at:
        raise StalePlan(
            f"The plan in {path} is stale: the pool {pool.name} was changed after it was made.",
            hint=f"Make a new one: poolform work-pool plan {pool.name} --out {path}",
        )
    registered = type_of(context.plugins, pool)
    if registered.plugin.version != planned.plugin_version:
        raise NotReady(
            f"The plan in {path} was made with {planned.plugin} {planned.plugin_version}, and here is "
            f"{registered.plugin.label}.",
            hint="Make a new plan.",
        )
    binary = None
    if bundle.engine is not None:
        binary = _same_engine(context, path, *bundle.engine)
        require_state(context, pool, binary)
    require_account(context, planned, registered)
    variables = stored_variables(registered, planned)
    with temporary_workspace(context.settings, pool.id) as workspace:
        if bundle.lock_file is not None:
            workspace.put(LOCK_FILE, bundle.lock_file)
        plan = NOTHING
        if binary is not None and bundle.plan_file is not None:
            terraform = in_workspace(context, planned, binary, bundle.module, workspace)
            workspace.plan_file.write_bytes(bundle.plan_file)
            workspace.plan_file.chmod(0o600)
            plan = terraform.show()
        if plan.digest != bundle.digest and not (plan.is_empty and not bundle.digest):
            raise UsageError(f"{path} was altered: its plan is not the one that was written.", hint="Make a new plan.")
        yield Proposal(
            purpose=bundle.purpose,
            pool=replace(planned, updated_at=pool.updated_at),
            recorded_at=pool.updated_at,
            module=bundle.module,
            workspace=workspace,
            plan=plan,
            binary=binary,
            registered=registered,
            variables=variables,
            identity=bundle.identity,
            reviews=review(context, pool, plan),
            credential=credentials.to_come(context, planned, registered, variables),
            effects=moving.to_leave(context, pool, registered, variables),
            nouns=registered.pool_type.nouns,
        )


def _same_engine(context: Context, path: Path, product: str, version: str) -> Binary:
    binary = locate(context.settings)
    if (binary.product, binary.version) != (product, version):
        raise NotReady(
            f"The plan in {path} was made with {product} {version}, and here is {binary.title}.",
            hint="Terraform applies only plans of its own version: make a new plan.",
        )
    return binary


def _read(path: Path) -> _Bundle:
    """Return what a file holds. Raises UsageError for what is no bundle, or a damaged one."""
    try:
        archive = gzip.decompress(path.read_bytes())  # whole, so that its checksum is compared
        members = _members(archive)
        meta = json.loads(members[_META])
    except FileNotFoundError:
        raise UsageError(f"There is no plan file {path}.") from None
    except (OSError, zlib.error, tarfile.TarError, EOFError, KeyError, ValueError) as exc:
        raise UsageError(f"{path} is not a plan of Poolform's, or damaged: {reason(exc)}.") from exc
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise UsageError(f"{path} is not a plan of this Poolform's.", hint="Make a new plan.")
    try:
        return _Bundle(
            purpose={"provision": "provision", "upgrade": "upgrade"}[meta["purpose"]],  # type: ignore[arg-type]
            pool=WorkPool(**meta["pool"]),
            recorded_at=meta["recorded_at"],
            engine=(str(meta["engine"][0]), str(meta["engine"][1])) if meta["engine"] else None,
            identity=Identity(**meta["identity"]) if meta["identity"] else None,
            digest=meta["digest"],
            module=Module.from_files({_plain(name): text for name, text in dict(meta["files"]).items()}),
            plan_file=members.get(PLAN_FILE),
            lock_file=members[LOCK_FILE].decode() if LOCK_FILE in members else None,
        )
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise UsageError(f"{path} was altered: {reason(exc)}.", hint="Make a new plan.") from exc


def _plain(name: str) -> str:
    """Return the name of a file, which leads nowhere else. Raises ValueError."""
    if PurePosixPath(name).name != name:
        raise ValueError(f"{name!r} is not a file's name")
    return name


def _members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        found: dict[str, Any] = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in found.items()}
