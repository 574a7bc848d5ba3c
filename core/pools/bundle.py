"""A plan in a file: reviewed in one place, applied in another, or refused.

A bundle is a gzipped tar with the pool's record, the module, the dependency lock file and Terraform's own plan file.
It holds values in clear, as Terraform's plan files do, so it is written for its owner only (0600).
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotReady, PoolformError, StalePlan, UsageError
from poolform.core.pools import credentials
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
    from poolform.core.terraform.locate import Binary

_FORMAT = 1
_META = "poolform.json"


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
    members = _members(path)
    meta = json.loads(members[_META])
    planned = WorkPool(**meta["pool"])
    if planned.id != pool.id:
        raise UsageError(f"{path} holds a plan for the pool {planned.name}, not for this {pool.name}.")
    if pool.updated_at != meta["recorded_at"]:
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
    if meta["engine"] is not None:
        binary = _same_engine(context, path, *meta["engine"])
        require_state(context, pool, binary)
    require_account(context, planned, registered)
    variables = stored_variables(registered, planned)
    module = Module.from_files(meta["files"])
    with temporary_workspace(context.settings, pool.id) as workspace:
        if LOCK_FILE in members:
            workspace.put(LOCK_FILE, members[LOCK_FILE].decode())
        plan = NOTHING
        if binary is not None and PLAN_FILE in members:
            terraform = in_workspace(context, planned, binary, module, workspace)
            workspace.plan_file.write_bytes(members[PLAN_FILE])
            workspace.plan_file.chmod(0o600)
            plan = terraform.show()
        if plan.digest != meta["digest"] and not (plan.is_empty and not meta["digest"]):
            raise UsageError(f"{path} was altered: its plan is not the one that was written.", hint="Make a new plan.")
        yield Proposal(
            purpose=meta["purpose"],
            pool=replace(planned, updated_at=pool.updated_at),
            recorded_at=pool.updated_at,
            module=module,
            workspace=workspace,
            plan=plan,
            binary=binary,
            registered=registered,
            variables=variables,
            identity=Identity(**meta["identity"]) if meta["identity"] else None,
            reviews=review(context, pool, plan),
            credential=credentials.to_come(context, planned, registered, variables),
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


def _members(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            found: dict[str, Any] = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
            members = {name: file.read() for name, file in found.items()}
    except FileNotFoundError:
        raise UsageError(f"There is no plan file {path}.") from None
    except (OSError, tarfile.TarError, EOFError) as exc:
        raise UsageError(f"{path} is not a plan of Poolform's: {exc}.") from exc
    if _META not in members or json.loads(members[_META]).get("format") != _FORMAT:
        raise UsageError(f"{path} is not a plan of this Poolform's.", hint="Make a new plan.")
    return members
