"""Rendering: a pool type and its variables become a Terraform root module.

Jinja decides which blocks exist; values never enter HCL by interpolation, they travel as terraform.tfvars.json, which
Terraform takes literally. variables.tf and versions.tf are generated from the pool type, so that the model and the
module cannot disagree. Equal inputs give equal modules.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.errors import PluginError
from poolform.core.terraform import hcl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable

    from poolform.core.pools.contract import Orphan, PoolType, Provider, Variables
    from poolform.core.runs.launchers import Json

REQUIRED_VERSION = ">= 1.10"
VALUES_FILE = "terraform.tfvars.json"

# What core adds to every module. The id ends every resource name, so that two pools never collide.
CORE_VARIABLES = {
    "pool_name": "Name of the work pool.",
    "pool_id": "Random id of the work pool; ends the name of every resource.",
}
_HEADER = "# Written by Poolform from the pool type {slug}, revision {revision}.\n\n"


@dataclass(frozen=True)
class Module:
    """A root module: the text of each file by name (.tf and terraform.tfvars.json), and what init must provide."""

    files: Mapping[str, str]
    providers: Mapping[str, str]
    """Version constraint by source address."""
    backend: str = "local"

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> Module:
        """Return a module as it was rendered once, from its files alone."""
        versions = files.get("versions.tf", "")
        sources = re.findall(r'^\s+source\s+= "([^"]+)"\n\s+version = "([^"]+)"', versions, re.MULTILINE)
        backend = re.search(r'^\s+backend "([^"]+)"', versions, re.MULTILINE)
        return cls(files, dict(sources), backend[1] if backend else "local")

    @property
    def digest(self) -> str:
        """A fingerprint of every file."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()

    @property
    def resource_types(self) -> tuple[str, ...]:
        """The types of the managed resources, sorted."""
        return tuple(sorted({kind for kind, _ in self._blocks("resource")}))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the managed resources, without instance keys, sorted."""
        return tuple(sorted({f"{kind}.{name}" for kind, name in self._blocks("resource")}))

    def _blocks(self, keyword: str) -> list[tuple[str, str]]:
        pattern = re.compile(rf'^{keyword} "([^"]+)" "([^"]+)"', re.MULTILINE)
        return [match for name, text in self.files.items() if name.endswith(".tf") for match in pattern.findall(text)]


def render(
    pool_type: PoolType, variables: Variables, *, pool_name: str, pool_id: str, backend: str = "local"
) -> Module:
    """Return the root module of a pool.

    Raises PluginError when a template is missing, lacks a variable, prints a value, or outputs.tf disagrees with the
    pool type's Outputs.
    """
    header = _HEADER.format(slug=pool_type.slug, revision=pool_type.revision)
    rendered = _templates(pool_type, variables)
    providers = _used(pool_type.providers, "\n".join(rendered.values()))
    files = {
        "versions.tf": header + _versions(providers, backend),
        "variables.tf": header + _variables(type(variables)),
        VALUES_FILE: _values(variables, pool_name=pool_name, pool_id=pool_id),
        **{name: header + text for name, text in rendered.items()},
    }
    _compare_outputs(pool_type, files.get("outputs.tf", ""))
    return Module(files, {provider.source: provider.version for provider in providers.values()}, backend)


def imports(orphans: Sequence[Orphan]) -> str:
    """Return the text of an imports.tf that adopts objects which an interrupted apply left behind."""
    return "\n".join(
        f"import {{\n{hcl.attributes({'to': orphan.address, 'id': hcl.quote(orphan.import_id)})}}}\n"
        for orphan in orphans
    )


def _used(providers: Mapping[str, Provider], code: str) -> dict[str, Provider]:
    """Return the providers that the code speaks of: nobody should download one for what they did not ask for."""
    if re.search(r'^\s*module "', code, re.MULTILINE):
        return dict(providers)  # what a module inside hands on to others cannot be seen from here

    def is_used(name: str) -> bool:
        word = re.escape(name)
        block = rf'^\s*((resource|data|ephemeral) "{word}(_[^"]*)?"|provider "{word}")'
        reference = rf"\bprovider\s*=\s*{word}\b|\bprovider::{word}::"
        return re.search(f"{block}|{reference}", code, re.MULTILINE) is not None

    return {name: provider for name, provider in providers.items() if is_used(name)}


def _versions(providers: Mapping[str, Provider], backend: str) -> str:
    lines = [f"terraform {{\n  required_version = {hcl.quote(REQUIRED_VERSION)}\n"]
    if providers:
        lines.append("\n  required_providers {\n")
        for name, provider in sorted(providers.items()):
            inner = hcl.attributes(
                {"source": hcl.quote(provider.source), "version": hcl.quote(provider.version)}, " " * 6
            )
            lines.append(f"    {name} = {{\n{inner}    }}\n")
        lines.append("  }\n")
    if backend != "local":
        lines.append(f"\n  backend {hcl.quote(backend)} {{}}\n")
    lines.append("}\n")
    return "".join(lines)


def _variables(model: type[Variables]) -> str:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    blocks = [_variable(name, {"type": "string", "description": text}, {}) for name, text in CORE_VARIABLES.items()]
    blocks += [_variable(name, field, definitions) for name, field in schema.get("properties", {}).items()]
    return "\n".join(blocks)


def _variable(name: str, schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> str:
    pairs = {}
    if "description" in schema:
        pairs["description"] = hcl.quote(schema["description"])
    pairs["type"] = hcl.type_constraint(schema, definitions)
    if "default" in schema:
        pairs["default"] = hcl.literal(schema["default"])
    if not hcl.nullable(schema):
        pairs["nullable"] = "false"
    return f"variable {hcl.quote(name)} {{\n{hcl.attributes(pairs)}{_validation(name, schema, definitions)}}}\n"


def _validation(name: str, schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> str:
    values = hcl.allowed(schema, definitions)
    if values is None:
        return ""
    known = ", ".join(map(str, values))
    condition = f"contains({hcl.literal(list(values))}, var.{name})"
    inner = {
        "condition": f"var.{name} == null || {condition}" if hcl.nullable(schema) else condition,
        "error_message": hcl.quote(f"The value of {name} must be one of: {known}."),
    }
    return f"\n  validation {{\n{hcl.attributes(inner, ' ' * 4)}  }}\n"


def _values(variables: Variables, *, pool_name: str, pool_id: str) -> str:
    values = {"pool_name": pool_name, "pool_id": pool_id, **variables.model_dump(mode="json")}
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _templates(pool_type: PoolType, variables: Variables) -> dict[str, str]:
    if pool_type.templates is None:
        return {}
    import jinja2

    sources = _sources(pool_type.slug, pool_type.templates)
    if "main.tf.j2" not in sources:
        raise PluginError(pool_type.slug, f"its templates folder {pool_type.templates} has no main.tf.j2.")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - HCL, not HTML; and `finalize` lets no text through
    )
    rendered = {}
    for name in sorted(sources):
        if not name.endswith(".tf.j2"):
            continue
        try:
            rendered[name.removesuffix(".j2")] = environment.get_template(name).render(variables=variables)
        except jinja2.TemplateSyntaxError as exc:
            where = f"{exc.name or name} line {exc.lineno}"
            raise PluginError(pool_type.slug, f"template {where}: {exc.message}.") from exc
        except (jinja2.TemplateError, TypeError) as exc:
            raise PluginError(pool_type.slug, f"template {name}{_template_line(exc, name)}: {exc}.") from exc
    return rendered


def _sources(slug: str, folder: Traversable) -> dict[str, str]:
    try:
        return {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith(".j2")}
    except OSError as exc:
        raise PluginError(slug, f"its templates folder {folder} cannot be read: {exc.strerror or exc}.") from exc


def _printable(value: object) -> object:
    """Let numbers through and stop text: text in HCL is code, and whoever chose it would be running it."""
    if isinstance(value, int):
        return json.dumps(value)
    message = f"{type(value).__name__} values may not be printed into HCL; refer to var.NAME, or decide with {{% if %}}"
    raise TypeError(message)


def _template_line(exc: BaseException, name: str) -> str:
    """Jinja rewrites tracebacks so that template frames carry the template's own line numbers."""
    lines = []
    frame = exc.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in (name, "<template>"):
            lines.append(frame.tb_lineno)
        frame = frame.tb_next
    return f" line {lines[-1]}" if lines else ""


def _compare_outputs(pool_type: PoolType, text: str) -> None:
    declared = set(re.findall(r'^output "([^"]+)"', text, re.MULTILINE))
    expected = set(pool_type.outputs.model_fields)
    if pool_type.templates is not None and declared != expected:
        missing, extra = sorted(expected - declared), sorted(declared - expected)
        model = pool_type.outputs.__name__
        parts = [f"lacks {_outputs(missing)} of {model}"] if missing else []
        parts += [f"has {_outputs(extra)} that {model} has not"] if extra else []
        raise PluginError(pool_type.slug, f"outputs.tf.j2 {', and '.join(parts)}.")


def _outputs(names: Sequence[str]) -> str:
    return f"the output{'s' * (len(names) > 1)} {', '.join(f'`{name}`' for name in names)}"
