"""The generated parts of docs/pool-types/modal.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew."""

from __future__ import annotations

import pytest
from generated import Page, fields

from poolform.provisioners.modal.variables import ModalJobVariables, ModalVariables

PAGE = Page("pool-types/modal.md")


@pytest.mark.parametrize(("name", "model"), [("variables", ModalVariables), ("job variables", ModalJobVariables)])
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))
