"""Who may: the caller's identity, the permissions that preflight asks about, and the launcher's own secret."""

from __future__ import annotations

import logging

import pytest
from azure.core.exceptions import ClientAuthenticationError
from clouds.azure import SUBSCRIPTION, TENANT
from clouds.azure.wire import BROKEN, THROTTLED, AzureError
from clouds.faults import Fault

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Credential
from poolform.provisioners.container_instance import endpoints, keys, session
from poolform.provisioners.container_instance.permissions import (
    AMBIENT,
    BY_TYPE,
    DIRECTORY_TYPES,
    LOOKING,
    PROVIDERS,
    needed,
    role,
)
from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

from .conftest import become
from .test_module import PEOPLE, PLACE, SUBNET

DEFAULT = ContainerInstanceVariables(**PLACE)
KEYED = ContainerInstanceVariables(**PLACE, credentials="key")
TYPES = sorted(BY_TYPE)
EVERYTHING = (*needed(BY_TYPE), *AMBIENT)
REGISTERED = {f"resource provider {name}" for name in PROVIDERS}


def verdicts(findings):
    return {finding.subject: finding.verdict for finding in findings}


@pytest.fixture
def caller(azure, monkeypatch, owner):
    """Become a new service principal with one role."""

    def make(actions=EVERYTHING, **how):
        environment = azure.principal("somebody", (*actions, *LOOKING), **how)
        become(monkeypatch, environment)
        return environment["ARM_CLIENT_ID"]

    return make


# Who is asking


def test_identity_names_principal_account_and_region(caller):
    client_id = caller()
    found = ContainerInstancePush().identity(DEFAULT)
    assert (found.principal, found.account, found.region) == (client_id, f"{TENANT}/{SUBSCRIPTION}", "westeurope")


def test_a_person_is_called_by_their_name(azure, owner, monkeypatch, tmp_path):
    become(monkeypatch, azure.person("ada@lab.test", tmp_path))
    assert ContainerInstancePush().identity(DEFAULT).principal == "ada@lab.test"


def test_a_login_that_azure_does_not_take_is_said_to_be(azure, owner, monkeypatch):
    become(monkeypatch, {**azure.environment, "ARM_CLIENT_SECRET": "wrong"})
    with pytest.raises(PoolformError, match=r"Asking Azure who you are failed: .*AADSTS7000215") as failed:
        ContainerInstancePush().identity(DEFAULT)
    assert "az login" in failed.value.hint


def test_no_login_at_all_is_said_to_be_missing(azure, owner, monkeypatch, tmp_path):
    become(monkeypatch, {**azure.endpoints, "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential", "PATH": str(tmp_path)})
    with pytest.raises(PoolformError, match="Asking Azure who you are failed") as failed:
        ContainerInstancePush().identity(DEFAULT)
    assert "az login" in failed.value.hint


def test_a_login_is_missing_in_one_sentence_however_many_ways_were_tried(azure, owner, monkeypatch, tmp_path):
    become(monkeypatch, {**azure.endpoints, "AZURE_TOKEN_CREDENTIALS": "dev", "PATH": str(tmp_path)})
    with pytest.raises(PoolformError, match="no Azure login here") as failed:
        ContainerInstancePush().identity(DEFAULT)
    assert len(str(failed.value)) < 160
    # azure-identity logs its troubles, and Python prints warnings that no handler takes.
    assert logging.getLogger("azure.identity").handlers


def test_a_login_that_is_there_and_failed_is_told_of_among_those_that_are_not():
    tried = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Not configured.
Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot this issue.
\tAzureCliCredential: Please run 'az login' to set up an account
\tAzurePowerShellCredential: PowerShell is not installed
To mitigate this issue, please refer to the troubleshooting guidelines."""
    told = session.error_text(ClientAuthenticationError(tried))
    assert told == "AzureCliCredential: Please run 'az login' to set up an account"


def test_a_subscription_that_is_not_seen_is_said_with_those_that_are(caller):
    caller()
    other = ContainerInstanceVariables(**{**PLACE, "subscription_id": PEOPLE[0]})
    with pytest.raises(PoolformError, match=f"does not see the subscription {PEOPLE[0]}") as failed:
        ContainerInstancePush().identity(other)
    assert failed.value.hint == f"It sees {SUBSCRIPTION}."


def test_an_azure_that_does_not_say_where_it_is_is_named(azure, owner, monkeypatch):
    endpoints._asked.cache_clear()
    become(monkeypatch, {**azure.environment, "ARM_METADATA_HOSTNAME": "localhost:1"})
    with pytest.raises(PoolformError, match="ARM_METADATA_HOSTNAME names localhost:1, which does not say"):
        ContainerInstancePush().identity(DEFAULT)


def test_every_known_azure_has_its_own_endpoints(monkeypatch):
    monkeypatch.delenv("ARM_METADATA_HOSTNAME", raising=False)
    found = [endpoints.endpoints(name) for name in ("public", "usgovernment", "china")]
    assert len({url for one in found for url in (one.resource_manager, one.graph, one.authority)}) == 9
    assert all(one.well_known for one in found)


def test_subscriptions_and_regions_are_offered_and_nothing_where_nobody_is_logged_in(caller, azure, monkeypatch):
    caller()
    push = ContainerInstancePush()
    assert push.suggestions("subscription_id") == [SUBSCRIPTION]
    assert push.suggestions("location") == ["northeurope", "westeurope"]
    assert list(push.suggestions("tags")) == []
    become(monkeypatch, {**azure.environment, "ARM_CLIENT_SECRET": "wrong"})
    assert list(push.suggestions("subscription_id")) == []


# What they may


def test_the_documented_role_is_enough(caller):
    caller(role()["Actions"])
    found = verdicts(ContainerInstancePush().preflight(KEYED, [*TYPES, *DIRECTORY_TYPES]))
    assert set(found.values()) == {"allowed"}
    assert found.keys() == {*needed(BY_TYPE), *REGISTERED, "registering an application in Microsoft Entra"}
    found = verdicts(ContainerInstancePush().preflight(DEFAULT, TYPES))
    assert set(found.values()) == {"allowed"}
    assert found.keys() == {*EVERYTHING, *REGISTERED}


@pytest.mark.parametrize("action", EVERYTHING)
def test_each_permission_that_is_missing_is_named(caller, action):
    """Everything but this one: exactly it is missing, where the role has it not and where it takes it away."""
    caller(not_actions=(action,))
    missing = [f for f in ContainerInstancePush().preflight(DEFAULT, TYPES) if f.verdict == "missing"]
    assert [finding.subject for finding in missing] == [action]
    assert f"no role of yours allows it on /subscriptions/{SUBSCRIPTION}" in missing[0].message
    assert f"owner of the subscription {SUBSCRIPTION}" in missing[0].hint


def test_only_what_the_module_makes_is_asked_about(caller):
    caller([])
    found = verdicts(ContainerInstancePush().preflight(KEYED, ["azurerm_user_assigned_identity"]))
    assert {subject for subject, verdict in found.items() if verdict == "missing"} == set(
        BY_TYPE["azurerm_user_assigned_identity"]
    )


def test_a_role_on_the_named_resource_group_is_enough(azure, caller):
    azure.manager.resource_groups.add("theirs")
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/theirs"
    client_id = caller([])
    principal = azure.directory._principals[client_id]
    from clouds.azure.authorisation import Assignment

    azure.roles.given.append(Assignment(principal.object_id, group, EVERYTHING))
    named = ContainerInstanceVariables(**PLACE, resource_group_name="theirs")
    assert set(verdicts(ContainerInstancePush().preflight(named, TYPES)).values()) == {"allowed"}
    assert "missing" in verdicts(ContainerInstancePush().preflight(DEFAULT, TYPES)).values()


def test_roles_are_to_be_assigned_on_existing_things_too(caller):
    caller()
    subnet = ContainerInstanceVariables(**PLACE, credentials="key", subnet_id=SUBNET)
    findings = list(ContainerInstancePush().preflight(subnet, TYPES))
    assert len([f for f in findings if f.subject == "Microsoft.Authorization/roleAssignments/write"]) == 2


def test_what_cannot_be_asked_is_unknown_not_missing(caller, azure):
    caller()
    azure.faults.add(Fault("GET permissions", "error", error=AzureError(403, "AuthorizationFailed", "no"), times=None))
    azure.faults.add(Fault("GET provider", "error", error=AzureError(403, "AuthorizationFailed", "no"), times=None))
    found = verdicts(ContainerInstancePush().preflight(DEFAULT, TYPES))
    assert found == {**dict.fromkeys(REGISTERED, "unknown"), "permissions": "unknown"}


def test_a_resource_provider_that_is_not_registered_is_named_with_the_command(caller, azure):
    caller()
    azure.manager.registered["Microsoft.ContainerInstance"] = "NotRegistered"
    try:
        missing = [f for f in ContainerInstancePush().preflight(DEFAULT, TYPES) if f.verdict == "missing"]
    finally:
        azure.manager.registered.clear()
    assert [finding.subject for finding in missing] == ["resource provider Microsoft.ContainerInstance"]
    assert missing[0].hint.endswith("az provider register --wait --namespace Microsoft.ContainerInstance")


def test_a_region_without_containers_is_named_with_those_that_have_them(caller):
    caller()
    elsewhere = DEFAULT.model_copy(update={"location": "mars"})
    (missing,) = (f for f in ContainerInstancePush().preflight(elsewhere, TYPES) if f.verdict == "missing")
    assert (missing.subject, missing.is_permission) == ("region mars", False)
    assert "northeurope, westeurope" in missing.hint


def test_a_program_without_graph_permissions_may_not_register_an_application(caller):
    caller(graph_roles=())
    missing = [f for f in ContainerInstancePush().preflight(KEYED, DIRECTORY_TYPES) if f.verdict == "missing"]
    assert [finding.subject for finding in missing] == ["registering an application in Microsoft Entra"]
    assert "Application.ReadWrite.OwnedBy" in missing[0].hint
    assert "credentials=ambient" in missing[0].hint


@pytest.mark.parametrize(("may", "verdict"), [(True, "allowed"), (False, "unknown")])
def test_people_may_register_where_their_directory_lets_them(azure, owner, monkeypatch, tmp_path, may, verdict):
    become(monkeypatch, azure.person("ada@lab.test", tmp_path))
    azure.directory.people_may_register = may
    found = verdicts(ContainerInstancePush().preflight(KEYED, DIRECTORY_TYPES))
    azure.directory.people_may_register = True
    assert found["registering an application in Microsoft Entra"] == verdict


# The launcher's secret


@pytest.fixture
def secret(pool, owner):
    """The pool's connection; afterwards it has the one secret that it began with."""
    yield pool.connection
    for key_id in keys.issued(pool.connection):
        if key_id != pool.credential.key_id:
            keys.revoke(pool.connection, key_id)


def test_a_minted_secret_works_until_it_is_revoked(secret, pool):
    made = keys.mint(secret)
    assert made.block_type == "azure-container-instance-credentials"
    block = keys.AzureCredentials(**made.data)
    assert (block.client_id, block.tenant_id) == (secret.settings["client_id"], TENANT)
    assert made.data["client_secret"] not in repr(made)
    assert list(keys.issued(secret)) == [pool.credential.key_id, made.key_id]
    assert keys.authenticate(secret, made).verdict == "allowed"
    keys.revoke(secret, made.key_id)
    keys.revoke(secret, made.key_id)  # gone is fine
    assert list(keys.issued(secret)) == [pool.credential.key_id]
    refused = keys.authenticate(secret, made)
    assert refused.verdict == "missing"
    assert "AADSTS7000215" in refused.message
    assert "work-pool provision-infra" in refused.hint


def test_a_secret_is_made_once_though_its_answer_was_lost(secret, pool, owner):
    owner.faults.add(Fault("POST addPassword", "drop-after"))
    with pytest.raises(PoolformError, match="Creating a secret for the pool's launcher failed"):
        keys.mint(secret)
    assert len(keys.issued(secret)) == 2  # core revokes the one that no block holds


@pytest.mark.parametrize("error", [THROTTLED, BROKEN], ids=["throttled", "broken"])
def test_trouble_on_the_way_is_no_verdict_on_the_secret(secret, pool, owner, error):
    owner.faults.add(Fault("LIST groups", "error", error=error, times=None))
    assert keys.authenticate(secret, pool.credential).verdict == "unknown"
    owner.faults.clear()
    owner.faults.add(Fault("LIST groups", "drop", times=None))
    assert keys.authenticate(secret, pool.credential).verdict == "unknown"


def test_a_role_that_was_taken_away_is_noticed(secret, pool, owner):
    assignments = owner.cloud.objects()["azurerm_role_assignment"].items()
    kept = [(id_, item) for id_, item in assignments if item["role_definition_name"] != "AcrPull"]
    for id_, _ in kept:
        owner.cloud.delete("azurerm_role_assignment", id_)
    try:
        refused = keys.authenticate(secret, pool.credential)
    finally:
        for id_, item in kept:
            owner.cloud.put("azurerm_role_assignment", id_, item)
    assert refused.verdict == "missing"
    assert "Microsoft.ContainerInstance/containerGroups/read" in refused.message


def test_an_ambient_login_is_tried_as_it_is(secret, pool, azure, monkeypatch):
    ambient = Connection({**secret.settings, "credentials": "ambient"})
    assert keys.authenticate(ambient, None).verdict == "allowed"
    become(monkeypatch, azure.principal("stranger", ()))
    refused = keys.authenticate(ambient, None)
    assert (refused.verdict, refused.hint) == ("missing", None)


def test_a_pool_without_an_application_has_no_secrets(secret):
    for settings in ({"application_object_id": None}, {"application_object_id": PEOPLE[0]}):
        assert list(keys.issued(Connection({**secret.settings, **settings}))) == []


def test_a_lost_block_is_said_to_be_lost(secret):
    with pytest.raises(PoolformError, match="credentials block is gone"):
        ContainerInstancePush().launcher(secret, None)


def test_a_block_takes_nothing_but_a_secret():
    with pytest.raises(ValueError, match="Extra inputs"):
        keys.AzureCredentials(client_id="A", tenant_id="T", client_secret="B", password="C")
    assert "hush" not in repr(Credential("azure-container-instance-credentials", {"client_secret": "hush"}, "A"))
