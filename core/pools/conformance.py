"""Whether a class keeps the pool type contract, as far as can be told without running anything."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretBytes, SecretStr

from poolform.core.pools.contract import CONTRACT, JobVariables, Outputs, PoolType, Provider, Variables
from poolform.core.terraform import hcl
from poolform.core.terraform.render import CORE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(:[a-z]+)?")
# Terraform keeps these names of variables for itself.
_RESERVED = {"count", "depends_on", "for_each", "lifecycle", "locals", "providers", "source", "version"}


def contract_problems(cls: Any) -> list[str]:
    """Return what is wrong with a pool type, a phrase each; nothing for one that keeps the contract."""
    if not (inspect.isclass(cls) and issubclass(cls, PoolType)):
        return [f"{cls!r} is not a subclass of PoolType"]
    return list(_problems(cls))


def _problems(cls: type[PoolType]) -> Iterator[str]:
    slug = getattr(cls, "slug", None)
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        yield f"its slug is {slug!r}, which should be lower-case words joined by dashes, such as 'lab' or 'lab:push'"
    if not isinstance(getattr(cls, "title", None), str):
        yield "it has no title"
    if cls.contract != CONTRACT:
        yield f"it is written for contract {cls.contract}, and this Poolform has contract {CONTRACT}"
    if not isinstance(cls.revision, int) or cls.revision < 1:
        yield f"its revision is {cls.revision!r}, which should be a number from 1"
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        yield f"it does not say {', '.join(missing)}"
    for name, base in (("variables", Variables), ("outputs", Outputs), ("job_variables", JobVariables)):
        model = getattr(cls, name)
        if not (inspect.isclass(model) and issubclass(model, base)):
            yield f"its {name} is {model!r}, which is not a subclass of {base.__name__}"
        elif base is Variables:
            yield from _variable_problems(model)
    for name, provider in cls.providers.items():
        if not isinstance(provider, Provider):
            yield f"the provider {name} is {provider!r}, which is not a Provider"
    if cls.templates is None and cls.providers:
        yield "it has providers but no templates"


def _variable_problems(model: type[BaseModel]) -> Iterator[str]:
    for name in sorted(model.model_fields.keys() & (_RESERVED | CORE_VARIABLES.keys())):
        yield f"the variable {name} has a name that is reserved"
    for name, field in model.model_fields.items():
        if any(secret.__name__ in repr(field.annotation) for secret in (SecretStr, SecretBytes)):
            yield f"the variable {name} is a secret, and whatever Terraform is given may end in its state"
    try:
        schema = model.model_json_schema()
        for field in schema.get("properties", {}).values():
            hcl.type_constraint(field, schema.get("$defs", {}))
    except Exception as exc:  # noqa: BLE001 - whatever pydantic says of a stranger's model
        yield f"its variables cannot become Terraform's: {exc}"
