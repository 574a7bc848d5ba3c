"""The generated parts of docs/pool-types/managed.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew."""

from __future__ import annotations

import sys

import pytest
from generated import Page, fields

from poolform.provisioners.managed.variables import ManagedJobVariables, ManagedVariables

PAGE = Page("pool-types/managed.md")


@pytest.mark.parametrize(("name", "model"), [("variables", ManagedVariables), ("job variables", ManagedJobVariables)])
def test_every_field_is_on_the_page(name, model):
    here = f"`python:{sys.version_info.major}.{sys.version_info.minor}-slim`"
    PAGE.compare(name, fields(model).replace(here, "that of the worker's Python"))
