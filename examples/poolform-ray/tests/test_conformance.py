"""The contracts, rule by rule; the launcher's on a real cluster."""

from __future__ import annotations

import pytest
from poolform_ray import conformance
from poolform_ray.conformance import TestRayPoolType

__all__ = ["TestRayPoolType"]


class TestRayLauncher(conformance.TestRayLauncher):
    """On the cluster of this session."""

    @pytest.fixture
    def address(self, cluster):
        return cluster.address
