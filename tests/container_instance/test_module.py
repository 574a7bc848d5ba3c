"""The module keeps the pool type contract, with the real Terraform, in an imaginary Azure."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.testing import PoolTypeContract

SUBSCRIPTION = "00000000-0000-4000-a000-000000000001"
PEOPLE = ["11111111-1111-4111-a111-111111111111", "22222222-2222-4222-a222-222222222222"]
NETWORKS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/networks/providers"
SUBNET = f"{NETWORKS}/Microsoft.Network/virtualNetworks/n/subnets/jobs"
WORKSPACE = f"{NETWORKS}/Microsoft.OperationalInsights/workspaces/logs"
IDENTITY = f"{NETWORKS}/Microsoft.ManagedIdentity/userAssignedIdentities/reader"
# Nothing says that a network is in the pool's own subscription.
FOREIGN_SUBNET = SUBNET.replace(SUBSCRIPTION, "99999999-9999-4999-a999-999999999999")
PLACE = {"subscription_id": SUBSCRIPTION, "location": "westeurope"}


@pytest.mark.slow
class TestModule(PoolTypeContract):
    pool_type = ContainerInstancePush
    examples = (
        {**PLACE, "credentials": "key"},
        {**PLACE, "tags": {"team": "data"}, "registry_sku": "Premium"},
        {**PLACE, "launcher_principal_ids": PEOPLE, "resource_group_name": "theirs"},
        {
            **PLACE, "credentials": "key", "subnet_id": FOREIGN_SUBNET, "log_analytics_workspace_id": WORKSPACE,
            "job_identity_ids": [IDENTITY],
        },
    )  # fmt: skip
    strategies = {
        "tags": st.dictionaries(
            st.text("abcäöü _.:-", min_size=1, max_size=9),
            st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=99),
        ),
        "job_identity_ids": st.lists(st.just(IDENTITY), max_size=1),
        "launcher_principal_ids": st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True),
    }

    # Each of them, as people meet it: test_crashes.py.
    @pytest.mark.exhaustive
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_apply_that_fails_anywhere_is_mended_by_the_next(self, cloud, start, when):
        super().test_an_apply_that_fails_anywhere_is_mended_by_the_next(cloud, start, when)
