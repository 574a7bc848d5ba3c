"""The generated parts of docs/pool-types/docker.md are what the code says. POOLFORM_WRITE_DOCS=1 writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from generated import Page, fields

from poolform.provisioners.docker.job_variables import DockerJobVariables
from poolform.provisioners.docker.variables import DockerVariables

PAGE = Page("pool-types/docker.md")
THEIRS = Path(__file__).parents[1] / "runs" / "base_job_templates" / "docker.json"


@pytest.mark.parametrize(("name", "model"), [("variables", DockerVariables), ("job variables", DockerJobVariables)])
def test_every_field_is_on_the_page(name, model):
    PAGE.compare(name, fields(model))


def test_job_variables_have_prefect_s_names():
    theirs = set(json.loads(THEIRS.read_text())["variables"]["properties"])
    assert theirs - DockerJobVariables.model_fields.keys() == {"registry_credentials"}
    assert DockerJobVariables.model_fields.keys() - theirs == {"cpus"}
