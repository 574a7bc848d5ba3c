"""What a project file would change, and changing it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from poolform.core.errors import InvalidValues, NotFound, PoolformError, UsageError
from poolform.core.pools import records, variables
from poolform.core.runs import code, deployments, jobs, project
from poolform.core.runs.deployments import Plan
from poolform.core.runs.differences import Change, of_deployment, of_pool, of_queues
from poolform.core.store import deployments as stored
from poolform.core.store import pools, queues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.plugins import Plugins
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.project import Entry, Pool, Project
    from poolform.core.runs.supply import Suppliers
    from poolform.core.store.database import Store, Transaction
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool


@dataclass(frozen=True)
class PoolChange:
    """A pool as it shall be. `provision` says whether its infrastructure may need work, which its own plan tells."""

    wanted: WorkPool
    change: Change | None
    provision: bool
    queues: Sequence[project.Queue] = ()


@dataclass(frozen=True)
class Difference:
    """All that applying a project would do, and what it would leave alone though it is no longer in the file."""

    pools: Sequence[PoolChange] = ()
    plans: Sequence[tuple[WorkPool, Plan]] = ()
    changes: Sequence[Change] = ()
    pruned: Sequence[Deployment] = ()
    left: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to do."""
        return not self.changes


@dataclass
class Reader:
    """Compares a project file with what is there."""

    project: Project
    store: Store[Any]
    plugins: Plugins
    suppliers: Suppliers
    _pools: dict[str, WorkPool] = field(default_factory=dict)

    def difference(self, *, only: Sequence[int] | None = None, prune: bool = False) -> Difference:
        """Return what applying would do: all of it, or only the deployments at these places, which must have pools.

        Raises what is wrong with the file's values, with their line: NotFound, UsageError, InvalidValues.
        """
        pool_changes = [] if only is not None else [self._pool(*item) for item in enumerate(self.project.pools)]
        self._pools = {change.wanted.name: change.wanted for change in pool_changes}
        indexes = range(len(self.project.deployments)) if only is None else only
        plans = [self._deployment(index, self.project.deployments[index]) for index in indexes]
        found = [change.change for change in pool_changes if change.change]
        with self.store.read() as tx:
            found += [change for pool, plan in plans if (change := of_deployment(tx, pool, plan))]
            orphans = self._orphans(tx, plans) if only is None else []
        found += [Change("destroy", "deployment", one.full_name) for one in orphans if prune]
        left = [] if prune else [one.full_name for one in orphans]
        return Difference(pool_changes, plans, found, orphans if prune else (), left)

    def _pool(self, index: int, entry: Pool) -> PoolChange:
        at = self.project.at("work_pools", index)
        with _placed(at, entry.name):
            records.check_name(entry.name)
            with self.store.read() as tx:
                known = pools.find(tx, entry.name)
                has = queues.list_all(tx, known.id) if known else []
            registered = self.plugins.pool_type(entry.type)
            if known is not None and known.type != entry.type:
                raise UsageError(f"The work pool {entry.name} is of the type {known.type}, which cannot be changed.")
            template = self._template(entry)
            model = self._variables(index, entry, known)
            if known is None:
                backend = _backend(entry)
                made = records.new_record(
                    entry.name,
                    registered,
                    model,
                    backend=backend,
                    template=template,
                    concurrency_limit=entry.concurrency_limit,
                    paused=entry.paused,
                )
                change = Change("create", "work pool", entry.name, (entry.type,))
                return PoolChange(made, change, provision=True, queues=entry.work_queues)
            if template and known.connection is not None:
                template = jobs.with_defaults(template, known.connection.get("job_defaults") or {})
        wanted = replace(
            known,
            variables=model.model_dump(mode="json"),
            concurrency_limit=entry.concurrency_limit,
            paused=entry.paused,
            base_job_template=template or known.base_job_template,
        )
        details = [*of_pool(known, wanted), *of_queues(has, entry.work_queues)]
        provision = wanted.variables != known.variables or known.state != "ready"
        if known.state != "ready":
            details.append(f"{known.state} → ready")
        updated = Change("update", "work pool", entry.name, details) if details else None
        return PoolChange(wanted, updated, provision, entry.work_queues)

    def _template(self, entry: Pool) -> dict[str, Json] | None:
        if entry.base_job_template is None:
            return None
        return jobs.load_template(self.project.file.parent / entry.base_job_template)

    def _variables(self, index: int, entry: Pool, known: WorkPool | None) -> Any:
        registered = self.plugins.pool_type(entry.type)
        pool_type = registered.pool_type
        layers: list[dict[str, variables.Given]] = []
        if known is not None:  # what is not in the file stays, such as what the environment once said
            layers.append({key: variables.Given(value, "stored") for key, value in known.variables.items()})
        layers.append(
            {
                key: variables.Given(value, self.project.at("work_pools", index, "variables", key))
                for key, value in entry.variables.items()
            }
        )
        with registered.acting("discover"):
            given = variables.gather(pool_type, *layers)
        return variables.validate(pool_type, given)

    def _deployment(self, index: int, entry: Entry) -> tuple[WorkPool, Plan]:
        place = ("deployments", index)
        with _placed(self.project.at(*place, "work_pool"), entry.name):
            pool = self._pools.get(entry.work_pool.name) or self._known(entry.work_pool.name)
        with _placed(self.project.at(*place, "entrypoint"), entry.name):
            found = self._code(pool, entry)
        limit = entry.concurrency_limit
        plan = Plan(
            name=entry.name,
            flow=found.flow,
            entrypoint=found.entrypoint,
            source=found.source,
            queue=entry.work_pool.work_queue_name or queues.DEFAULT,
            parameters=entry.parameters,
            job_variables=entry.work_pool.job_variables,
            options={"validate_parameters": False} if entry.enforce_parameter_schema is False else {},
            tags=entry.tags,
            version=entry.version,
            description=entry.description,
            concurrency_limit=limit.limit if limit else None,
            collision="cancel-new" if limit and limit.collision_strategy == "CANCEL_NEW" else "enqueue",
            paused=entry.paused,
            schedules=entry.schedules,
            project=self.project.name,
        )
        with _placed(self.project.at(*place), entry.name):
            deployments.check(pool, plan)
            self._check_queue(pool, plan)
        return pool, plan

    def _known(self, name: str) -> WorkPool:
        with self.store.read() as tx:
            try:
                return pools.get(tx, name)
            except NotFound as exc:
                written = any(entry.name == name for entry in self.project.pools)
                hint = (
                    "Make what is written under work_pools first: poolform apply"
                    if written
                    else ("Write it under work_pools, and apply; or create it first.")
                )
                raise NotFound(exc.message, hint=hint) from exc

    def _check_queue(self, pool: WorkPool, plan: Plan) -> None:
        mine = next((one for one in self.project.pools if one.name == pool.name), None)
        if plan.queue == queues.DEFAULT or (mine and plan.queue in {queue.name for queue in mine.work_queues}):
            return
        with self.store.read() as tx:
            queues.get(tx, pool.id, plan.queue)

    def _code(self, pool: WorkPool, entry: Entry) -> code.Code:
        repository, folder = project.pulled(entry.pull if entry.pull is not None else self.project.pull)
        source = entry.source or repository
        image = entry.work_pool.job_variables.get("image")
        here = self.project.file.absolute().parent
        if source is None:
            if folder is not None and folder.is_absolute() and image and code.runs_images(pool):
                found = code.find(pool, entry.entrypoint, "image", self.suppliers, folder=here, image=image)
                return replace(found, source={"type": "local", "path": str(folder)})  # a folder of the image
            folder = here / folder if folder is not None and (here / folder).is_dir() else here
            return code.find(pool, entry.entrypoint, None, self.suppliers, folder=folder, image=image)
        return code.find(
            pool,
            entry.entrypoint,
            source.url,
            self.suppliers,
            folder=here,
            image=image,
            custom=tuple(self.plugins.sources),
            branch=source.branch,
            commit=source.commit,
            submodules=source.submodules,
            credentials=source.credentials,
        )

    def _orphans(self, tx: Transaction, plans: Sequence[tuple[WorkPool, Plan]]) -> list[Deployment]:
        """Return the deployments that were applied from this project and are not in it any more."""
        wanted = {f"{plan.flow.flow_name}/{plan.name}" for _, plan in plans}
        return [one for one in stored.list_all(tx) if one.project == self.project.name and one.full_name not in wanted]


def save(store: Store[Any], difference: Difference) -> list[Deployment]:
    """Store pools' settings and deployments, and delete what is pruned, all or nothing; return the deployments.

    The pools must be there. Raises NotFound for what was deleted meanwhile.
    """
    with store.write() as tx:
        for change in difference.pools:
            _save_pool(tx, change)
        saved = [deployments.save(tx, pools.get(tx, pool.name), plan) for pool, plan in difference.plans]
        for one in difference.pruned:
            stored.delete(tx, one.id)
    return saved


def _save_pool(tx: Transaction, change: PoolChange) -> None:
    pool, wanted = pools.get(tx, change.wanted.name), change.wanted
    pools.update(tx, pool.id, concurrency_limit=wanted.concurrency_limit, paused=wanted.paused)
    if not change.provision:
        pools.update(tx, pool.id, base_job_template=wanted.base_job_template)
    for queue in change.queues:
        known = queues.find(tx, pool.id, queue.name) or queues.create(tx, pool.id, queue.name)
        values = {"priority": queue.priority, "concurrency_limit": queue.concurrency_limit, "paused": queue.paused}
        queues.update(tx, known.id, **values)


class _placed:  # noqa: N801 - reads as what it does: with _placed(...)
    """Put the line before what goes wrong inside."""

    def __init__(self, at: str, name: str) -> None:
        self._at, self._name = at, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidValues):
            first, _, _ = error.message.partition("\n")
            raise InvalidValues(f"{self._at} ({self._name}): {first}", error.problems, hint=error.hint) from error
        if isinstance(error, PoolformError):
            raise type(error)(f"{self._at} ({self._name}): {error.message}", hint=error.hint) from error


def _backend(entry: Pool) -> Any:
    from poolform.core.terraform.providers import Backend

    return Backend(entry.backend, entry.backend_config)
