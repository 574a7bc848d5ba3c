"""The module, with the real Terraform and the provider's true schema: made, settled, broken anywhere, mended, gone."""

from __future__ import annotations

import pytest

from poolform.core.pools.proposal import plan_sentences
from poolform.core.terraform.render import render
from poolform.provisioners.cloud_run.nouns import NOUNS
from poolform.provisioners.cloud_run.permissions import BY_TYPE
from poolform.provisioners.cloud_run.pool_type import CloudRun, CloudRunPush
from poolform.testing import PoolTypeContract

from .test_docs import PAGE

PROJECT = "lab-project"
NASTY = '${file("/etc/hostname")} %{ if true }x%{ endif } "quoted" \\ ü\n'
# The first is what failures are tried with, a resource at a time; test_crashes_provisioning.py does that for all.
EXAMPLES = (
    {"project": PROJECT, "credentials": "ambient", "vpc_connector": "shared", "vpc_egress": "all-traffic"},
    {"project": PROJECT},
    {
        "project": PROJECT, "region": "europe-west1", "credentials": "key", "code_bucket": True,
        "runtime_roles": ["roles/bigquery.user"], "network": "default", "connector_range": "10.8.0.0/28",
        "labels": {"team": "data"},
    },
    {"project": PROJECT, "impersonators": ["group:team@example.com"], "network": "vpc", "subnet": "jobs"},
)  # fmt: skip


@pytest.mark.slow
class TestCloudRunPush(PoolTypeContract):
    pool_type = CloudRunPush
    examples = EXAMPLES
    shared = frozenset({"google_project_service"})

    # Each of them, as people meet it: test_crashes_provisioning.py.
    @pytest.mark.exhaustive
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_apply_that_fails_anywhere_is_mended_by_the_next(self, cloud, start, when):
        super().test_an_apply_that_fails_anywhere_is_mended_by_the_next(cloud, start, when)

    def test_the_plan_with_a_key_reads_like_a_tutorial(self, start):
        trial = start(self.example(2), pool_id="ab12cd34")
        told = [sentence.text for sentence in plan_sentences(trial.plan(), NOUNS)]
        assert told[:2] == ["Activate the Cloud Run API", "Activate the Artifact Registry API"]
        first = {text: told.index(text) for text in told}
        steps = [
            "Create an Artifact Registry repository named poolform-trial-ab12cd34",
            "Create a service account poolform-launch-ab12cd34, which launches jobs",
            "Grant the launcher roles/run.developer: it runs jobs in the project",
            "Grant the launcher roles/iam.serviceAccountUser on the flows' account alone",
        ]
        assert [first[step] for step in steps] == sorted(first[step] for step in steps)
        assert not any("(known after apply)" in text or "(google_" in text for text in told), told

    def test_the_page_shows_such_a_plan(self, start):
        trial = start(self.pool_type.variables(project=PROJECT, credentials="key"), pool_id="ab12cd34")
        told = [f"+ {sentence.text}\n" for sentence in plan_sentences(trial.plan(), NOUNS)]
        PAGE.compare("plan", f"```text\n{''.join(told)}```\n")

    def test_no_noun_or_permission_is_for_something_that_is_never_made(self):
        made = set()
        for variables in self._all_examples():
            made |= set(self._render(variables).addresses)
        kinds = {address.partition(".")[0] for address in made}
        assert kinds - {"terraform_data"} == BY_TYPE.keys()
        assert {key for key in NOUNS if "." in key} <= made
        assert {key for key in NOUNS if "." not in key} <= kinds

    def test_whatever_can_bear_labels_bears_the_pools_id(self, cloud, start):
        trial = start(self.example(2))
        trial.provision()
        labelled = [item for _, _, item in trial.state() if "effective_labels" in item]
        assert len(labelled) == 2
        for item in labelled:
            assert item["effective_labels"]["poolform-pool-id"] == trial.pool_id
            assert item["effective_labels"]["team"] == "data"

    def test_rights_are_no_wider_than_they_need_to_be(self, start):
        trial = start(self.example(1))
        trial.provision()
        state = {address: attributes for address, _, attributes in trial.state()}
        on_project = {
            item["role"] for address, item in state.items() if address.startswith("google_project_iam_member.")
        }
        roles = {f"projects/{PROJECT}/roles/poolform_{part}_{trial.pool_id}" for part in ("launcher", "secrets")}
        assert on_project == {"roles/run.developer", "roles/secretmanager.secretAccessor", *roles}
        for name in ("launcher_secrets", "runtime_secrets"):
            (condition,) = state[f"google_project_iam_member.{name}"]["condition"]
            assert f"/secrets/poolform-{trial.pool_id}-" in condition["expression"]
        account = state["google_service_account_iam_member.launcher_uses_runtime"]
        assert account["service_account_id"].startswith(f"projects/{PROJECT}/serviceAccounts/poolform-run-")

    def test_who_first_applied_may_act_as_the_launcher_and_a_colleague_takes_nothing_over(self, cloud, start):
        trial = start(self.example(1))
        trial.provision()
        state = {address: attributes for address, _, attributes in trial.state()}
        grant = state["google_service_account_iam_member.impersonators"]
        assert (grant["role"], grant["member"]) == ("roles/iam.serviceAccountTokenCreator", "user:standin@example.com")

    def test_what_looks_like_hcl_stays_text(self):
        module = render(CloudRunPush(), self.example(1), pool_name=NASTY, pool_id="ab12cd34")
        assert all(NASTY not in text for name, text in module.files.items() if name.endswith(".tf"))


@pytest.mark.parametrize("pool_type", [CloudRunPush, CloudRun])
def test_both_types_have_one_module(pool_type):
    variables = pool_type.variables.model_validate(EXAMPLES[0])
    files = render(pool_type(), variables, pool_name="lab", pool_id="ab12cd34").files
    other = render(CloudRunPush(), variables, pool_name="lab", pool_id="ab12cd34").files
    assert {name: text.partition("\n")[2] for name, text in files.items()} == {
        name: text.partition("\n")[2] for name, text in other.items()
    }
