"""Looking at a pool without changing it: drift, the module written out, the graph of its resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.errors import NotReady, UsageError
from poolform.core.pools import credentials
from poolform.core.pools.planning import in_workspace, require_account, require_state
from poolform.core.pools.proposal import Sentence, plan_sentences
from poolform.core.pools.records import module_of
from poolform.core.pools.workspaces import temporary_workspace
from poolform.core.terraform import hcl
from poolform.core.terraform.engine import Terraform
from poolform.core.terraform.locate import locate
from poolform.core.terraform.providers import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poolform.core.pools.contract import Finding
    from poolform.core.pools.planning import Context
    from poolform.core.store.pools import WorkPool
    from poolform.core.terraform.render import Module

_README = """# {name}

A Terraform root module, written by Poolform from the pool type `{slug}`, revision {revision}. It works without
Poolform:

    terraform init
    terraform plan
    terraform apply

The values are in `terraform.tfvars.json`; `variables.tf` says what each of them means. {state}
"""


@dataclass(frozen=True)
class Drift:
    """What is not as it was applied: what putting it right would do, and whether the credential still works."""

    sentences: tuple[Sentence, ...]
    credential: Finding | None

    @property
    def is_clean(self) -> bool:
        """Whether everything is as it was applied."""
        return not self.sentences and (self.credential is None or self.credential.verdict != "missing")


def drift(context: Context, pool: WorkPool) -> Drift:
    """Compare a pool with its module as last applied; works with the plugin gone.

    Raises NotReady for a pool that was never provisioned, TerraformError, WrongEngine, PreflightFailed.
    """
    registered = context.plugins.pool_types.get(pool.type)
    if pool.state == "not-provisioned":
        raise NotReady(
            f"The pool {pool.name} is not provisioned, so nothing can have drifted.",
            hint=f"Provision it: poolform work-pool provision-infra {pool.name}",
        )
    pool_type = registered.pool_type if registered else None
    module = module_of(context.store, pool)
    sentences: tuple[Sentence, ...] = ()
    require_account(context, pool, registered)
    if module is not None and module.addresses:
        binary = locate(context.settings)
        require_state(context, pool, binary)
        with temporary_workspace(context.settings, pool.id) as workspace:
            terraform = in_workspace(context, pool, binary, module, workspace)
            context.progress.on_step("Comparing")
            sentences = plan_sentences(terraform.plan(), pool_type.nouns if pool_type else {})
    return Drift(sentences, credentials.check(registered, pool, context.blocks))


def write_out(module: Module, folder: Path, *, slug: str, revision: int, name: str, backend: Backend | None) -> None:
    """Write a module into a folder of the user's, with its values and a README.

    With `backend`, its settings without secrets go in too. Raises UsageError for a folder that is not empty, or that
    cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder.", hint="Name one that is empty or does not exist yet.")
    files = dict(module.files)
    state = "State is local: `terraform.tfstate` in this folder."
    if backend is not None and not backend.is_local:
        settings = hcl.attributes({key: hcl.quote(value) for key, value in backend.settings.items()}, " " * 4)
        block = f"  backend {hcl.quote(backend.kind)} {{\n{settings}  }}\n"
        files["backend.tf"] = f"terraform {{\n{block}}}\n"
        state = f"State is in the {backend.kind} backend of `backend.tf`; its secrets come from the environment."
    files["README.md"] = _README.format(name=name, slug=slug, revision=revision, state=state)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"The module cannot be written to {folder}: {exc.strerror}.") from exc


Edge = tuple[str, str]
"""Two addresses: of a resource, and of one that it needs."""


def graph(context: Context, pool_id: str, module: Module) -> tuple[tuple[str, ...], tuple[Edge, ...]]:
    """Return the addresses of the module's resources, and what depends on what."""
    binary = locate(context.settings)
    with temporary_workspace(context.settings, pool_id) as workspace:
        workspace.write(module.files)
        terraform = Terraform(context.setup(binary, Backend()), workspace, module)
        terraform.prepare()
        return terraform.graph()


def mermaid(nodes: tuple[str, ...], edges: tuple[Edge, ...]) -> str:
    """Return a flowchart in Mermaid's language; an arrow points from what is needed to what needs it."""
    ids: Mapping[str, str] = {address: f"n{number}" for number, address in enumerate(nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[address]}["{address}"]' for address in nodes]
    lines += [f"  {ids[needed]} --> {ids[user]}" for user, needed in edges]
    return "\n".join(lines)
