"""Values travel as data; Jinja decides only which blocks exist; model and module cannot disagree."""

from __future__ import annotations

import enum
import json
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import BaseModel, Field

from poolform.core.errors import PluginError
from poolform.core.pools.contract import Orphan, Outputs, Provider, Variables
from poolform.core.terraform import hcl
from poolform.core.terraform.render import Module, imports, render

PLAIN = 'resource "terraform_data" "pool" {}\n'
NASTY = [
    '${file("/etc/hostname")}',
    "%{ for x in [1] }%{ endfor }",
    '"; quoted \\',
    "two\nlines\tand",
    "żółć 🦉 \u2028",
    "",
]


class Size(enum.Enum):
    small = "small"
    large = "large"


class Disk(BaseModel):
    path: str
    gigabytes: int | None = None


class Many(Variables):
    text: str = Field("${x}", description='Say "${it}" %{ twice.')
    maybe: str | None = None
    number: float = 1.5
    flag: bool = True
    tags: dict[str, str] = {"a b": "${c}"}
    zones: list[str] = ["a"]
    ports: set[int] = {80}
    size: Size = Size.small
    speed: Literal["slow", "fast"] = "slow"
    disk: Disk | None = None
    disks: list[Disk] = []


class NoOutputs(Outputs):
    pass


def test_equal_inputs_give_equal_modules_and_different_ones_differ(pool_type):
    made = pool_type()
    first, again, other = (
        render(made, made.variables(folder=folder), pool_name="p", pool_id="ab12cd34") for folder in ("/a", "/a", "/b")
    )
    assert first == again
    assert first.digest == again.digest != other.digest
    assert first.files["main.tf"] == other.files["main.tf"]


@pytest.mark.parametrize("text", NASTY)
def test_text_of_users_is_taken_literally(pool_type, lab, text):
    made = pool_type(
        main='resource "terraform_data" "pool" {\n  input = var.text\n}\n',
        outputs='output "text" {\n  value = terraform_data.pool.output\n}\n',
        variables=type("V", (Variables,), {"__annotations__": {"text": str}}),
    )
    type(made).outputs = type("O", (Outputs,), {"__annotations__": {"text": str}})
    terraform = lab(made=made, text=text)
    assert not any(text in body for name, body in terraform.module.files.items() if text and name.endswith(".tf"))
    terraform.plan()
    assert terraform.apply() == {"text": text}


def test_every_kind_of_variable_becomes_a_terraform_variable(pool_type, lab):
    made = pool_type(main="", outputs="", variables=Many)
    type(made).outputs = NoOutputs
    terraform = lab(
        made=made, maybe="m", size="large", speed="fast", disk={"path": "/d"}, disks=[{"path": "/e", "gigabytes": 3}]
    )
    assert terraform.validate() == ()
    terraform.plan()  # Terraform checks each value against its type
    declared = terraform.module.files["variables.tf"]
    for name in (*Many.model_fields, "pool_id", "pool_name"):
        assert f'variable "{name}" {{' in declared


def test_an_enumeration_is_enforced_by_the_module_itself(pool_type, lab):
    made = pool_type(main="", outputs="", variables=Many)
    type(made).outputs = NoOutputs
    terraform = lab(made=made)
    values = json.loads(terraform.module.files["terraform.tfvars.json"]) | {"speed": "warp"}
    terraform.workspace.put("terraform.tfvars.json", json.dumps(values))
    with pytest.raises(Exception, match="The value of speed must be one of: slow, fast"):
        terraform.plan()


@given(text=strategies.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_quoted_string_starts_no_expression(text):
    quoted = hcl.quote(text)
    assert json.loads(quoted.replace("$${", "${").replace("%%{", "%{")) == text or "$${" in text or "%%{" in text
    assert "${" not in quoted.replace("$${", "")
    assert "%{" not in quoted.replace("%%{", "")


@pytest.mark.parametrize(
    "expression", ["variables.folder", "variables.folder | upper", "'a' if variables.seconds else 'b'", "variables"]
)
def test_a_template_that_prints_text_is_refused_by_name_and_line(pool_type, expression):
    made = pool_type(main=f'# one\nresource "terraform_data" "{{{{ {expression} }}}}" {{}}\n')
    with pytest.raises(PluginError, match=r"lab: template main\.tf\.j2 line 2: .*may not be printed into HCL"):
        render(made, made.variables(), pool_name="p", pool_id="ab12cd34")


def test_a_template_may_print_numbers_and_choose_blocks(pool_type):
    made = pool_type(main="{% if variables.seconds %}\n# {{ variables.seconds }} {{ 1 == 1 }}\n{% endif %}\n")
    text = render(made, made.variables(seconds=7), pool_name="p", pool_id="ab12cd34").files["main.tf"]
    assert text.endswith("# 7 true\n")
    assert "#" not in render(made, made.variables(), pool_name="p", pool_id="x").files["main.tf"].split("\n\n", 1)[1]


def test_a_template_that_needs_an_unknown_variable_names_it(pool_type):
    made = pool_type(main="\n\n{% if variables.zone %}{% endif %}")
    with pytest.raises(PluginError, match=r"main\.tf\.j2 line 3.*no attribute 'zone'"):
        render(made, made.variables(), pool_name="p", pool_id="ab12cd34")


def test_a_template_with_a_syntax_error_names_the_line(pool_type):
    with pytest.raises(PluginError, match=r"main\.tf\.j2 line 2"):
        made = pool_type(main="\n{% if %}")
        render(made, made.variables(), pool_name="p", pool_id="ab12cd34")


def test_outputs_that_disagree_with_the_model_are_named(pool_type):
    made = pool_type(outputs='output "fodler" {\n  value = 1\n}\n')
    said = "lacks the output `folder` of LabOutputs, and has the output `fodler` that LabOutputs has not"
    with pytest.raises(PluginError, match=said):
        render(made, made.variables(), pool_name="p", pool_id="ab12cd34")


def test_a_pool_type_without_main_is_told_so(pool_type, tmp_path):
    made = pool_type()
    (tmp_path / "templates" / "main.tf.j2").unlink()
    with pytest.raises(PluginError, match=r"has no main\.tf\.j2"):
        render(made, made.variables(), pool_name="p", pool_id="ab12cd34")


def test_a_module_read_back_from_its_files_is_the_same(pool_type):
    providers = {"aws": Provider("hashicorp/aws", ">= 5.0"), "b": Provider("acme/b", "~> 2.1")}
    main = f'provider "aws" {{}}\n\n{PLAIN}\nresource "b_thing" "this" {{}}\n'
    made = pool_type(main, providers=providers)
    module = render(made, made.variables(), pool_name="p", pool_id="ab12cd34", backend="s3")
    assert module.providers == {"hashicorp/aws": ">= 5.0", "acme/b": "~> 2.1"}
    assert Module.from_files(module.files) == module
    assert module.resource_types == ("b_thing", "terraform_data")
    assert module.addresses == ("b_thing.this", "terraform_data.pool")


@pytest.mark.parametrize(
    ("code", "is_used"),
    [
        ('resource "lab_cluster" "this" {}', True),
        ('resource "lab" "this" {}', True),
        ('  data "lab_cluster" "this" {}', True),
        ('provider "lab" {}', True),
        ('resource "terraform_data" "x" {\n  provider = lab.other\n}', True),
        ('locals {\n  x = provider::lab::parse("x")\n}', True),
        ('module "inner" {\n  source = "./inner"\n}', True),
        ('resource "laboratory_cluster" "this" {}', False),
        ('resource "terraform_data" "lab_cluster" {}', False),
    ],
)
def test_a_provider_is_required_where_the_module_uses_it(pool_type, code, is_used):
    """A pool that does not ask for what a provider makes needs no download of it."""
    made = pool_type(f"{PLAIN}\n{code}\n", providers={"lab": Provider("acme/lab", "~> 2.1")})
    module = render(made, made.variables(), pool_name="p", pool_id="ab12cd34")
    assert (module.providers == {"acme/lab": "~> 2.1"}) is is_used
    assert ("acme/lab" in module.files["versions.tf"]) is is_used


def test_what_is_rendered_is_formatted_and_valid(lab):
    assert lab().validate() == ()


def test_imports_quote_ids():
    text = imports([Orphan("a_b.c", '${x}"'), Orphan("a_b.d[0]", "plain")])
    assert text == 'import {\n  to = a_b.c\n  id = "$${x}\\""\n}\n\nimport {\n  to = a_b.d[0]\n  id = "plain"\n}\n'
