"""The rules that need no cloud: the class, its variables, and the text that it renders."""

# ruff: noqa: D102 - the name of a rule is its sentence

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from poolform.core.pools.conformance import contract_problems
from poolform.core.pools.contract import Migrates
from poolform.core.runs.jobs import base_job_template, check_template
from poolform.core.terraform.render import VALUES_FILE, Module, render
from poolform.testing.pool_types.case import PoolTypeCase
from poolform.testing.pool_types.sampling import texts, told
from poolform.testing.pool_types.trial import hcl_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from poolform.core.pools.contract import Variables
    from poolform.testing.pool_types.trial import Trial

# The same samples each time: a plugin's CI must not fail by chance. Nothing is remembered, nothing is hurried; and that
# several classes share a rule is the point of them.
sampled = settings(
    max_examples=40,
    phases=(Phase.generate, Phase.shrink),  # explaining a failure would render hundreds of modules more
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SHAPES = 6
"""How many modules of different text are given to Terraform."""
_TELLING = 8
"""Text shorter than this may stand in a template by chance."""


class Rendering(PoolTypeCase):
    """What can be said of a pool type without provisioning a pool."""

    def _render(self, variables: Variables) -> Module:
        return render(self.pool_type(), variables, pool_name="trial", pool_id="ab12cd34")

    def _shapes(self) -> list[Variables]:
        """Return variables whose modules differ in text, the examples' first."""
        found: dict[str, Variables] = {}

        def add(variables: Variables) -> None:
            code = json.dumps(dict(hcl_of(self._render(variables))))
            if len(found) < max(SHAPES, len(self.examples)):
                found.setdefault(code, variables)

        for variables in self._all_examples():
            add(variables)
        sampled(given(self.made_up())(add))()
        return list(found.values())

    def test_the_class_keeps_the_contract(self) -> None:
        problems = contract_problems(self.pool_type)
        assert not problems, "; ".join(problems)

    def test_the_examples_are_valid(self) -> None:
        assert self.examples, "give one example at least"
        for values in self.examples:
            try:
                self.pool_type.variables.model_validate(values)
            except ValidationError as exc:
                pytest.fail(f"`examples` must hold valid variables, with all that are required: {told(exc)}")

    def test_what_the_environment_offers_are_variables(self, throwaway_home: Path) -> None:
        """`discover` never fails, in an environment without any account too."""
        offered = self.pool_type().discover()
        unknown = sorted(offered.keys() - self.pool_type.variables.model_fields.keys())
        assert not unknown, f"discover offers what are no variables: {', '.join(unknown)}"

    def test_job_variables_make_a_template(self) -> None:
        check_template(base_job_template(self.pool_type))

    @sampled
    @given(data=st.data())
    def test_it_renders_whatever_the_variables(self, data: st.DataObject) -> None:
        variables = data.draw(self.made_up())
        module = self._render(variables)
        assert module == self._render(variables), "equal variables must give equal modules"
        values = json.loads(module.files[VALUES_FILE])
        sent = variables.model_dump(mode="json")
        assert {name: values[name] for name in sent} == sent, "values must reach Terraform as they are"

    @sampled
    @given(data=st.data())
    def test_no_value_is_written_into_hcl(self, data: st.DataObject) -> None:
        """Text in HCL is code: it must arrive as a value of a variable, never as text of a template."""
        own = self._own_text()
        variables = data.draw(self.made_up())
        for name, text in hcl_of(self._render(variables)):
            for value in texts(variables.model_dump(mode="json")):
                told = len(value) >= _TELLING and value not in own and value in text
                assert not told, f"{name} holds the value {value!r}: write var.NAME, not {{{{ variables.NAME }}}}"

    def _own_text(self) -> str:
        """Return all that may stand in a module for being the author's."""
        templates = self.pool_type.templates
        written = (
            [item.read_text(encoding="utf-8") for item in templates.iterdir() if item.is_file()] if templates else []
        )
        return "\n".join([*written, *texts(self.pool_type.variables.model_json_schema())])

    def test_terraform_finds_nothing_to_mend(self, start: Callable[..., Trial]) -> None:
        """`terraform fmt -check` and `terraform validate`, on modules of every shape that the samples take."""
        for variables in self._shapes():
            found = start(variables).terraform.validate()
            assert not found, f"{'; '.join(found)} (with the variables {variables!r})"

    def test_every_resource_has_a_noun(self) -> None:
        """A plan is shown in plain words: "Create an Artifact Registry repository named flows"."""
        nouns = self.pool_type.nouns
        made = {address for variables in self._shapes() for address in self._render(variables).addresses}
        without = sorted(address for address in made if not nouns.keys() & {address, address.partition(".")[0]})
        assert not without, f"resources without a noun: {', '.join(without)}"

    def test_variables_of_older_revisions_can_be_upgraded(self) -> None:
        older = range(1, self.pool_type.revision)
        unknown = ", ".join(str(revision) for revision in older if revision not in self.history)
        assert not unknown, f"`history` needs variables as each older revision has stored them: of revision {unknown}"
        pool_type = self.pool_type()
        for revision in older:
            stored = dict(self.history[revision])
            kept: Mapping[str, Any] = copy.deepcopy(stored)
            migrated = pool_type.migrate(revision, stored) if isinstance(pool_type, Migrates) else stored
            assert stored == kept, "migrate must leave what it is given as it was"
            try:
                variables = self.pool_type.variables.model_validate(migrated)
            except ValidationError as exc:
                now = f"do not fit revision {self.pool_type.revision}"
                pytest.fail(
                    f"variables that revision {revision} has stored {now}, whatever `migrate` does: {told(exc)}"
                )
            self._render(variables)
