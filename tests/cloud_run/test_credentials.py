"""Who may: the caller's identity, what preflight asks about, the launcher's own credentials, the registry's login."""

from __future__ import annotations

import json

import pytest
from clouds.google import PROJECT, Fault
from clouds.google.wire import BUSY, THROTTLED, GoogleError

from poolform.core.errors import PoolformError, PreflightFailed
from poolform.core.pools.contract import Connection, Credential
from poolform.core.pools.preflight import require_permissions
from poolform.provisioners.cloud_run import access, discovery, keys, orphans, registry
from poolform.provisioners.cloud_run.permissions import BY_TYPE, KEYS, everything, needed
from poolform.provisioners.cloud_run.pool_type import CloudRunPush
from poolform.provisioners.cloud_run.variables import CloudRunVariables

from .conftest import EMAIL, OWNER, REGION, become, provisioned

DEFAULT = CloudRunVariables(project=PROJECT)
KEYED = CloudRunVariables(project=PROJECT, credentials="key")
TYPES = sorted(BY_TYPE)


def verdicts(findings):
    return {finding.subject: finding.verdict for finding in findings}


@pytest.fixture
def caller(lab, monkeypatch):
    """Become somebody with these permissions and no others."""

    def make(permissions, name="somebody"):
        become(monkeypatch, lab.person(name, frozenset(permissions)))

    return make


def test_identity_names_principal_project_and_region(owner):
    found = CloudRunPush().identity(DEFAULT)
    assert (found.principal, found.account, found.region) == (EMAIL, PROJECT, REGION)


def test_a_key_that_google_does_not_take_is_said_to_be(owner, lab, monkeypatch, tmp_path):
    info = json.loads((lab.folder / f"{OWNER}.json").read_text())
    stale = tmp_path / "stale.json"
    stale.write_text(json.dumps({**info, "private_key_id": "0" * 40}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(stale))
    with pytest.raises(PoolformError, match=r"Asking Google who you are failed: .*Invalid JWT Signature") as failed:
        CloudRunPush().identity(DEFAULT)
    assert "gcloud auth application-default login" in failed.value.hint
    assert info["private_key"] not in str(failed.value)


def test_a_federated_identity_gets_in_though_it_has_no_email(owner, monkeypatch, tmp_path):
    """What runs in somebody else's CI: its provider's word is exchanged for Google's token."""
    (tmp_path / "word").write_text("word-of-the-provider")
    owner.accounts.federated["word-of-the-provider"] = "subject-of-ci"
    configuration = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/ci",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{owner.endpoint}/sts",
        "credential_source": {"file": str(tmp_path / "word")},
    }  # fmt: skip
    (tmp_path / "federated.json").write_text(json.dumps(configuration))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "federated.json"))
    assert CloudRunPush().identity(DEFAULT).principal == "the Google credentials in the environment"
    assert "missing" in verdicts(CloudRunPush().preflight(DEFAULT, TYPES)).values()
    owner.accounts.people["subject-of-ci"] = everything()
    assert set(verdicts(CloudRunPush().preflight(DEFAULT, TYPES)).values()) == {"allowed"}


def test_no_credentials_at_all_are_said_to_be_missing(owner, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(PoolformError, match="credentials were not found") as failed:
        CloudRunPush().identity(DEFAULT)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in failed.value.hint


# -- preflight -----------------------------------------------------------------------------------------------------


def test_the_documented_permissions_are_enough(caller):
    caller({*everything(), "orgpolicy.policy.get"})
    found = verdicts(CloudRunPush().preflight(KEYED, TYPES))
    assert set(found.values()) == {"allowed"}
    assert len(found) > 30


@pytest.mark.parametrize("lacking", sorted(everything()))
def test_each_permission_that_is_missing_is_named_with_who_can_grant_it(caller, lacking):
    caller({*everything(), "orgpolicy.policy.get"} - {lacking})
    findings = list(CloudRunPush().preflight(KEYED, TYPES))
    missing = [finding for finding in findings if finding.verdict == "missing"]
    assert [finding.subject for finding in missing] == [lacking]
    assert "roles/resourcemanager.projectIamAdmin" in missing[0].hint
    with pytest.raises(PreflightFailed, match=f"1 permission is missing; nothing was changed:\n  {lacking}"):
        require_permissions(findings)


def test_preflight_asks_about_exactly_the_modules_types(caller):
    caller(())
    services = ["google_project_service"]
    assert set(verdicts(CloudRunPush().preflight(DEFAULT, services))) == needed(services)
    assert set(KEYS) < set(verdicts(CloudRunPush().preflight(KEYED, services)))


def test_a_project_that_is_not_there_is_said_to_be_with_those_that_are(owner):
    other = CloudRunVariables(project="somewhere-else")
    (only,) = CloudRunPush().preflight(other, TYPES)
    assert (only.subject, only.verdict) == ("project somewhere-else", "missing")
    assert only.hint == f"You can see: {PROJECT}."


def test_an_organisation_that_forbids_keys_is_named_before_anything_is_made(owner, monkeypatch):
    monkeypatch.setattr(owner.accounts, "keys_forbidden", True)
    missing = [finding for finding in CloudRunPush().preflight(KEYED, TYPES) if finding.verdict == "missing"]
    assert [finding.subject for finding in missing] == ["constraints/iam.disableServiceAccountKeyCreation"]
    assert "credentials=impersonate" in missing[0].hint
    assert "missing" not in verdicts(CloudRunPush().preflight(DEFAULT, TYPES)).values()


def test_who_may_not_read_the_policy_is_warned_and_goes_on(caller):
    caller(everything())
    found = list(CloudRunPush().preflight(KEYED, TYPES))
    assert [f.subject for f in found if f.verdict == "unknown"] == ["constraints/iam.disableServiceAccountKeyCreation"]


@pytest.mark.slow
def test_what_cannot_be_asked_is_unknown_not_missing(owner):
    owner.faults.add(Fault("cloudresourcemanager.projects.testIamPermissions", "error", error=BUSY, times=None))
    try:
        (only,) = CloudRunPush().preflight(DEFAULT, TYPES)
    finally:
        owner.faults.clear()
    assert only.verdict == "unknown"
    assert "currently unavailable" in only.message


def test_an_api_that_is_not_active_is_named_with_how_to_activate_it(owner):
    """As on a new project: Resource Manager itself cannot be asked then."""
    message = "Cloud Resource Manager API has not been used in project 1 before or it is disabled."
    error = GoogleError(403, message, reason="SERVICE_DISABLED")
    owner.faults.add(Fault("cloudresourcemanager.projects.testIamPermissions", "error", error=error))
    (only,) = CloudRunPush().preflight(DEFAULT, TYPES)
    assert only.verdict == "unknown"
    assert only.message.endswith(f"gcloud services enable cloudresourcemanager.googleapis.com --project {PROJECT}")


def test_no_way_to_google_is_said_to_be_none(owner, lab, monkeypatch, tmp_path):
    info = json.loads((lab.folder / f"{OWNER}.json").read_text())
    unreachable = tmp_path / "unreachable.json"
    unreachable.write_text(json.dumps({**info, "token_uri": "http://127.0.0.1:9/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(unreachable))
    with pytest.raises(PoolformError, match=r"Asking Google who you are failed: Google cannot be reached") as failed:
        CloudRunPush().identity(DEFAULT)
    assert failed.value.hint == "Check the network, and proxies."


def test_projects_to_choose_from_are_those_that_the_caller_can_see(owner, monkeypatch):
    assert list(CloudRunPush().suggestions("project")) == [PROJECT]
    assert list(CloudRunPush().suggestions("region")) == []
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    assert list(CloudRunPush().suggestions("project")) == []


# -- the environment -----------------------------------------------------------------------------------------------


def test_project_and_region_come_from_where_google_s_tools_take_them(tmp_path, monkeypatch):
    become(monkeypatch, {"CLOUDSDK_CONFIG": str(tmp_path)})
    assert discovery.discover() == {}
    folder = tmp_path / "configurations"
    folder.mkdir()
    (folder / "config_default").write_text("[core]\nproject = default-project\n[compute]\nregion = europe-west4\n")
    (folder / "config_lab").write_text("[core]\nproject = 100%-lab\n[run]\nregion = asia-east1\n")
    assert discovery.discover() == {"project": "default-project", "region": "europe-west4"}
    (tmp_path / "active_config").write_text("lab\n")
    assert discovery.discover() == {"project": "100%-lab", "region": "asia-east1"}
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "named")
    monkeypatch.setenv("CLOUDSDK_RUN_REGION", "us-east1")
    assert CloudRunPush().discover() == {"project": "named", "region": "us-east1"}
    (folder / "config_lab").write_bytes(b"\xff[[[")
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.delenv("CLOUDSDK_RUN_REGION")
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"project_id": "of-the-key"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert discovery.discover() == {"project": "of-the-key"}


# -- the launcher's key --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(lab, tmp_path_factory):
    """A pool that is to have a key, and has none yet."""
    with pytest.MonkeyPatch.context() as patch:
        return provisioned(lab, tmp_path_factory.mktemp("keyed"), patch, pool_id="kkkkkkkk", credentials="key")


@pytest.fixture
def key(keyed, owner):
    made = keys.mint(keyed)
    yield made
    for key_id in keys.issued(keyed):
        keys.revoke(keyed, key_id)


@pytest.mark.slow
def test_a_minted_key_works_until_it_is_revoked(key, keyed):
    assert key.block_type == "gcp-credentials"
    held = keys.GcpCredentials(**key.data)
    assert json.loads(held.service_account_info.get_secret_value())["private_key_id"] == key.key_id
    assert "BEGIN" not in repr(key) + repr(held)
    assert list(keys.issued(keyed)) == [key.key_id]
    assert access.authenticate(keyed, key).verdict == "allowed"
    keys.revoke(keyed, key.key_id)
    keys.revoke(keyed, key.key_id)  # gone is fine
    assert list(keys.issued(keyed)) == []
    refused = access.authenticate(keyed, key)
    assert refused.verdict == "missing"
    assert refused.message == "invalid_grant: Invalid JWT Signature"
    assert "work-pool provision-infra" in refused.hint


@pytest.mark.slow
def test_more_keys_than_google_gives_are_refused(key, keyed):
    for _ in range(keys.LIMIT - 1):
        keys.mint(keyed)
    with pytest.raises(PoolformError, match="Maximum number of keys"):
        keys.mint(keyed)


def test_a_policy_against_keys_is_said_where_preflight_could_not_know(keyed, owner, monkeypatch):
    monkeypatch.setattr(owner.accounts, "keys_forbidden", True)
    with pytest.raises(PoolformError, match="an organisation policy forbids keys") as failed:
        keys.mint(keyed)
    assert "credentials=impersonate" in failed.value.hint


@pytest.mark.parametrize("error", [BUSY, THROTTLED], ids=["busy", "throttled"])
def test_trouble_on_the_way_is_no_verdict_on_the_key(key, keyed, owner, error):
    owner.faults.add(Fault("cloudresourcemanager.projects.testIamPermissions", "error", error=error, times=None))
    try:
        assert access.authenticate(keyed, key).verdict == "unknown"
    finally:
        owner.faults.clear()


def test_a_pool_without_a_launcher_account_has_no_keys(owner, keyed):  # which has activated the API
    for email in (None, f"gone@{PROJECT}.iam.gserviceaccount.com"):
        connection = Connection({"project": PROJECT, "launcher_email": email})
        assert list(keys.issued(connection)) == []


def test_a_lost_block_is_said_to_be_lost(keyed):
    with pytest.raises(PoolformError, match="credentials block is gone"):
        CloudRunPush().launcher(keyed, None)


def test_a_block_takes_nothing_but_a_key():
    with pytest.raises(ValueError, match="Extra inputs"):
        keys.GcpCredentials(service_account_info="{}", password="x")
    assert "hush" not in repr(Credential("gcp-credentials", {"service_account_info": "hush"}, "1"))


# -- acting as the launcher ----------------------------------------------------------------------------------------


def test_who_provisioned_may_act_as_the_launcher_and_a_stranger_may_not(pool, owner, caller):
    assert access.authenticate(pool, None).verdict == "allowed"
    caller({"run.jobs.create", "run.jobs.list"}, "stranger")
    refused = access.authenticate(pool, None)
    assert refused.verdict == "missing"
    assert refused.message.startswith("Unable to acquire impersonated credentials: Permission 'iam.serviceAccounts.")
    assert "getAccessToken' denied" in refused.message


def test_drift_names_the_right_that_the_launcher_has_lost(pool, owner, lab):
    grants = lab.google.cloud.objects()["google_project_iam_member"]
    (lost,) = [name for name, item in grants.items() if item["role"].endswith("launcher_ab12cd34")]
    lab.google.cloud.delete("google_project_iam_member", lost)
    try:
        found = access.authenticate(pool, None)
    finally:
        lab.google.cloud.put("google_project_iam_member", lost, grants[lost])
    assert found.verdict == "missing"
    assert found.message == "it may not logging.logEntries.list, secretmanager.secrets.create"


def test_a_login_for_the_registry_is_the_launcher_s_and_no_secret_is_shown(pool, owner):
    login = registry.login(pool)
    assert (login.registry, login.username) == (f"{REGION}-docker.pkg.dev", "oauth2accesstoken")
    assert owner.accounts.caller(f"Bearer {login.password}") == pool.settings["launcher_email"]
    assert login.password not in repr(login)
    assert CloudRunPush().image_reference(pool, "team-image", "1") == f"{pool.image_namespace}/team-image:1"


def test_a_login_is_whoever_deploys_where_there_is_nobody_to_act_as(keyed, owner):
    assert owner.accounts.caller(f"Bearer {registry.login(keyed).password}") == EMAIL


# -- what an interrupted apply left --------------------------------------------------------------------------------

WHOLE = CloudRunVariables(
    project=PROJECT, credentials="key", code_bucket=True, network="default", connector_range="10.8.0.0/28"
)


def found(variables, pool_id, known=()):
    return {orphan.address: orphan.import_id for orphan in CloudRunPush().orphans(variables, pool_id, known)}


@pytest.fixture(scope="module")
def whole(lab, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        given = WHOLE.model_dump(exclude={"project"}, exclude_unset=True)
        return provisioned(lab, tmp_path_factory.mktemp("whole"), patch, pool_id="wwwwwwww", **given)


@pytest.mark.slow
def test_everything_that_cannot_be_made_twice_is_found_and_nothing_of_another_pool(whole, owner):
    account = f"projects/{PROJECT}/serviceAccounts/poolform-%s-wwwwwwww@{PROJECT}.iam.gserviceaccount.com"
    place = f"projects/{PROJECT}/locations/{REGION}"
    everything_made = {
        "google_service_account.runtime": account % "run",
        "google_service_account.launcher": account % "launch",
        "google_project_iam_custom_role.launcher": f"projects/{PROJECT}/roles/poolform_launcher_wwwwwwww",
        "google_project_iam_custom_role.secrets": f"projects/{PROJECT}/roles/poolform_secrets_wwwwwwww",
        "google_artifact_registry_repository.images": f"{place}/repositories/poolform-trial-wwwwwwww",
        "google_storage_bucket.code": "poolform-wwwwwwww",
        "google_vpc_access_connector.jobs": f"{place}/connectors/poolform-wwwwwwww",
    }
    assert found(WHOLE, "wwwwwwww") == everything_made
    assert found(WHOLE, "xwwwwwww") == found(WHOLE, "wwwwwww") == {}
    assert found(WHOLE, "wwwwwwww", list(everything_made)[1:]) == dict(list(everything_made.items())[:1])
    assert set(found(CloudRunVariables(project=PROJECT, credentials="ambient"), "wwwwwwww")) == {
        "google_service_account.runtime", "google_artifact_registry_repository.images",
    }  # fmt: skip


def test_who_may_not_look_adopts_what_can_be_seen(whole, caller):
    caller({"iam.serviceAccounts.get"}, "half-blind")
    assert {address.partition(".")[0] for address in found(WHOLE, "wwwwwwww")} >= {"google_service_account"}
    assert "google_artifact_registry_repository.images" not in found(WHOLE, "wwwwwwww")
    assert orphans._domain("example.com:lab") == "lab.example.com"
