"""A provider that a plugin author declares in a few lines; and what only small schemas show."""

from __future__ import annotations

import json
import threading
import time

import pytest

from poolform.core.errors import NotFound
from poolform.testing.schemas import VERSIONS, load
from poolform.testing.standin import (
    Behaviour,
    Blocks,
    Cloud,
    Computed,
    Optional,
    Required,
    Resource,
    Schema,
    Validator,
    fail,
    install,
    parse_schema,
    read_schema,
    schema,
    slow,
)
from poolform.testing.standin.cloud import Refused
from poolform.testing.standin.provider import Provider
from poolform.testing.standin.schema import Attribute, Block, Nested, schema_document

LAB = schema(
    "acme/lab",
    resources={
        "lab_cluster": {
            "id": Computed("string"),
            "name": Required("string"),
            "size": Optional("number"),
            "ratio": Optional("number"),
            "endpoint": Computed("string"),
            "version": Computed("number"),
            "anything": Optional("dynamic"),
            "password": Optional("string", write_only=True, sensitive=True),
            "tags": Optional(["map", "string"], computed=True),
            "network": Blocks({"subnet": Required("string"), "gateway": Computed("string")}),
            "rule": Blocks({"port": Required("number")}, mode="set"),
            "limits": Attribute(
                nested=Nested(Block({"cpu": Optional("number"), "burst": Computed("number")}), "single"), optional=True
            ),
        },
        "lab_token": {"name": Required("string"), "secret": Computed("string", sensitive=True)},
    },
    data_sources={
        "lab_cluster": {"id": Computed("string"), "name": Required("string"), "endpoint": Computed("string")},
        "lab_zones": {"names": Computed(["list", "string"])},
    },
    provider={"region": Optional("string")},
)
BEHAVIOUR = Behaviour(
    {
        "lab_cluster": Resource(
            computed={"endpoint": "https://{name}.{region}.lab.test", "version": 3},
            defaults={"size": 1},
            force_new=("name", "network.0.subnet"),
            touched=("version",),
            unique=("name",),
            conflict="Error 409: a cluster called {name} exists",
            validators={"size": Validator(lambda value: value > 0, "size must be positive, not {}")},
        )
    },
    {"lab_zones": {"names": ["a", "b"]}},
    {"region": "eu-1"},
)
MODULE = """
terraform {
  required_providers {
    lab = { source = "acme/lab" }
  }
}

variable "name" { default = "one" }
variable "size" { default = 2 }
variable "subnet" { default = "s-1" }
variable "cpu" { default = 1 }

provider "lab" {}

data "lab_zones" "all" {}

resource "lab_cluster" "this" {
  name     = var.name
  size     = var.size
  ratio    = 0.1
  anything = { deep = [1, "two", 0.5] }
  password = "hush"
  limits   = { cpu = var.cpu }

  network { subnet = var.subnet }

  dynamic "rule" {
    for_each = data.lab_zones.all.names
    content { port = 80 + rule.key }
  }
}

resource "lab_token" "this" {
  name = "for ${lab_cluster.this.endpoint}"
}
"""


@pytest.fixture
def cloud(standin):
    return standin(LAB, behaviour=BEHAVIOUR)


@pytest.fixture
def terraform(cloud, module):
    terraform = module(MODULE)
    terraform.apply()
    return terraform


def test_what_is_declared_is_what_comes_to_be(cloud, terraform):
    cluster = cloud.only("lab_cluster")
    assert cluster["endpoint"] == "https://one.eu-1.lab.test"
    assert cluster["size"] == 2
    assert cluster["version"] == 3
    assert cluster["password"] is None, "a write-only value is never kept"
    assert cluster["limits"]["cpu"] == 1
    assert [rule["port"] for rule in cluster["rule"]] == [80, 81]
    assert cluster["network"][0]["gateway"].startswith("gateway-")
    assert cloud.only("lab_token")["name"] == "for https://one.eu-1.lab.test"


def test_a_second_plan_is_empty(terraform):
    assert terraform.actions() == {}
    terraform.apply()
    assert terraform.actions() == {}


def test_changes_are_made_in_place_unless_declared_otherwise(cloud, terraform):
    assert terraform.actions("-var=size=3") == {"lab_cluster.this": ["update"]}
    assert terraform.actions("-var=cpu=3") == {"lab_cluster.this": ["update"]}
    assert terraform.actions("-var=subnet=s-2") == {"lab_cluster.this": ["delete", "create"]}
    first = cloud.only("lab_cluster")["id"]
    terraform.apply("-var=subnet=s-2")
    assert cloud.only("lab_cluster")["id"] != first
    assert cloud.only("lab_cluster")["network"][0]["subnet"] == "s-2"


def test_what_is_unique_is_refused_twice(cloud, terraform):
    second = '\nresource "lab_cluster" "second" {\n  name = "one"\n}\n'
    (terraform.folder / "second.tf").write_text(second)
    code, said = terraform.run("apply", "-auto-approve", "-no-color")
    assert code == 1
    assert "Error 409: a cluster called one exists" in said
    (terraform.folder / "second.tf").write_text(second.replace('"one"', '"two"'))
    terraform.apply()
    assert cloud.counts()["lab_cluster"] == 2


def test_validators_speak_before_any_plan(cloud, terraform):
    code, said = terraform.run("plan", "-no-color", "-var=size=0")
    assert code == 1
    assert "size must be positive, not 0" in said


def test_a_type_without_an_id_is_known_by_its_name(cloud, terraform):
    cloud.delete("lab_token", "for https://one.eu-1.lab.test")
    assert terraform.actions() == {"lab_token.this": ["create"]}


def test_a_data_source_named_like_a_resource_finds_one(cloud, terraform):
    cloud.put("lab_cluster", "c-9", {"name": "by hand", "endpoint": "https://elsewhere"})
    (terraform.folder / "data.tf").write_text(
        'data "lab_cluster" "found" {\n  name = "by hand"\n}\n\n'
        'output "endpoint" {\n  value = data.lab_cluster.found.endpoint\n}\n'
    )
    terraform.apply()
    assert terraform("output", "-raw", "endpoint") == "https://elsewhere"
    cloud.delete("lab_cluster", "c-9")
    code, said = terraform.run("plan", "-no-color")
    assert code == 1
    assert "Error 404: no lab_cluster with name 'by hand'" in said


def test_a_behaviour_travels_to_an_installed_provider_by_name(standin, module, monkeypatch, tmp_path):
    (tmp_path / "lab_behaviour.py").write_text(
        "from poolform.testing.standin import Resource\n"
        'LAB = {"lab_cluster": Resource(computed={"endpoint": "https://{name}.test"})}\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(TypeError, match=r"package\.module:NAME"):
        standin(LAB, behaviour=BEHAVIOUR, installed=True)
    cloud = standin(LAB, behaviour="lab_behaviour:LAB", installed=True)
    module(MODULE.replace("data.lab_zones.all.names", "[1]")).apply()
    assert cloud.only("lab_cluster")["endpoint"] == "https://one.test"


def test_a_mirror_needs_a_cloud_that_processes_can_share(tmp_path):
    with pytest.raises(ValueError, match="cloud with a path"):
        install(tmp_path, LAB, Cloud())


def test_a_schema_survives_its_file(tmp_path):
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(schema_document(LAB)))
    assert read_schema(path, "acme/lab") == LAB


def test_one_of_several_providers_must_be_named():
    document = {"provider_schemas": {"a/b/c": {}, "a/b/d": {}}}
    with pytest.raises(ValueError, match="2 providers"):
        parse_schema(document)
    assert parse_schema(document, "a/b/d") == Schema("a/b/d")


@pytest.mark.parametrize("name", VERSIONS)
def test_every_resource_type_of_the_kit_has_a_behaviour_that_fits_it(name):
    provider = Provider(load(name), Cloud())
    assert set(provider.behaviour.resources) == set(provider.schema.resources)


def test_a_behaviour_that_the_schema_does_not_fit_is_a_mistake():
    with pytest.raises(ValueError, match="lab_cluster names what its schema lacks: nam"):
        Provider(LAB, Cloud(), {"lab_cluster": Resource(unique=("nam",))})


def test_what_the_bindings_lost_is_back():
    google, azure = load("google").resources, load("azurerm").resources
    assert google["google_service_account_key"].block.attributes["private_key"].sensitive
    assert not google["google_service_account_key"].block.attributes["public_key"].sensitive
    assert google["google_secret_manager_secret_version"].block.attributes["secret_data_wo"].write_only
    assert google["google_service_account"].block.attributes["description"].optional
    container = azure["azurerm_container_group"].block.blocks["container"].block
    assert container.attributes["secure_environment_variables"].sensitive
    assert not azure["azurerm_storage_account"].block.attributes["shared_access_key_enabled"].sensitive
    with pytest.raises(NotFound, match="'gogle'") as caught:
        load("gogle")
    assert caught.value.hint == "Did you mean google?"


AZURE = """
terraform {
  required_providers {
    azurerm = { source = "hashicorp/azurerm" }
    azuread = { source = "hashicorp/azuread" }
  }
}

provider "azurerm" {
  features {}
}

data "azurerm_client_config" "me" {}

resource "azurerm_resource_group" "this" {
  name     = "flows"
  location = "westeurope"
}

resource "azurerm_container_registry" "this" {
  name                = "flows"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  sku                 = "Basic"
}

resource "azurerm_user_assigned_identity" "this" {
  name                = "flows"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
}

resource "azurerm_role_assignment" "pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_user_assigned_identity.this.principal_id
}

resource "azuread_application" "this" {
  display_name = "flows"
  owners       = [data.azurerm_client_config.me.object_id]
}

resource "azuread_service_principal" "this" {
  client_id = azuread_application.this.client_id
}
"""

KUBERNETES = """
terraform {
  required_providers {
    kubernetes = { source = "hashicorp/kubernetes" }
  }
}

variable "name" { default = "flows" }

resource "kubernetes_namespace_v1" "this" {
  metadata { name = var.name }
}

resource "kubernetes_service_account_v1" "this" {
  metadata {
    name      = "runner"
    namespace = kubernetes_namespace_v1.this.metadata[0].name
  }
}
"""


def test_two_providers_share_a_cloud(standin, module):
    cloud = standin(load("azurerm"), load("azuread"))
    terraform = module(AZURE)
    terraform.apply()
    assert cloud.counts()["azuread_service_principal"] == 1
    assert cloud.only("azurerm_container_registry")["login_server"] == "flows.azurecr.io"
    assert terraform.actions() == {}
    terraform("destroy", "-auto-approve")
    assert cloud.objects() == {}


def test_an_object_is_named_by_its_metadata(standin, module):
    cloud = standin(load("kubernetes"))
    terraform = module(KUBERNETES)
    terraform.apply()
    assert list(cloud.objects()["kubernetes_service_account_v1"]) == ["flows/runner"]
    assert terraform.actions() == {}
    assert set(map(tuple, terraform.actions("-var=name=other").values())) == {("delete", "create")}


# -- the cloud itself ----------------------------------------------------------------------------------------------


def test_a_cloud_in_a_file_is_shared_and_loses_nothing(tmp_path):
    """Two clouds on one file are as apart as two processes: the lock is the file's, and so are the faults."""
    path = tmp_path / "cloud.json"
    clouds = [Cloud(path), Cloud(path)]
    clouds[0].inject(fail("read", where={"name": "x"}))

    def fill(cloud, start):
        for number in range(start, start + 25):
            cloud.put("lab_cluster", f"c-{number}", {"name": "n", "ratio": 0.5})

    threads = [threading.Thread(target=fill, args=(cloud, 100 * index)) for index, cloud in enumerate(clouds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clouds[1].counts() == {"lab_cluster": 50}
    assert clouds[1].objects()["lab_cluster"]["c-100"] == {"id": "c-100", "name": "n", "ratio": 0.5}
    with pytest.raises(Refused):
        clouds[1].enter("read", "lab_cluster", {"name": "x"}, threading.Event())
    assert clouds[0].pending() == ()
    assert [call.fault for call in clouds[0].calls()] == ["Error 500: the stand-in was asked to fail (before)"]


def test_faults_skip_repeat_and_run_out():
    cloud, stop = Cloud(), threading.Event()

    def outcomes(times):
        felt = []
        for _ in range(times):
            try:
                cloud.enter("create", "lab_cluster", {}, stop)
                felt.append("fine")
            except Refused as exc:
                felt.append(str(exc))
        return felt

    cloud.inject(fail("create", error="first", skip=1, times=2), fail("*", error="second"))
    assert outcomes(5) == ["second", "first", "first", "fine", "fine"]
    cloud.inject(fail("create", "lab_cluster", error="always", times=0), fail("delete"))
    assert outcomes(3) == ["always"] * 3
    cloud.heal()
    assert outcomes(1) == ["fine"]


def test_a_slow_call_does_not_hold_up_the_others():
    cloud, stop = Cloud(), threading.Event()
    cloud.inject(slow("create", seconds=5, interruptible=True))
    felt = []

    def call():
        try:
            cloud.enter("create", "t", {}, stop)
        except Refused as exc:
            felt.append(str(exc))

    waiting = threading.Thread(target=call)
    waiting.start()
    while not cloud.calls():
        time.sleep(0.01)
    cloud.enter("create", "t", {}, stop)
    stop.set()
    waiting.join(timeout=2)
    assert felt == ["context canceled"]


def test_only_says_what_it_found_instead():
    cloud = Cloud()
    with pytest.raises(LookupError, match="0 objects of type lab_cluster"):
        cloud.only("lab_cluster")
    with pytest.raises(LookupError, match="no lab_cluster with id 'c-1'"):
        cloud.delete("lab_cluster", "c-1")
