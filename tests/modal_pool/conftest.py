"""A stand-in of Modal's service for all tests, which the SDK is pointed at before it is imported."""

from __future__ import annotations

import os

import pytest

from poolform.testing.fixtures import standin, throwaway_home

__all__ = ["standin", "throwaway_home"]


@pytest.fixture(scope="session")
def modal_service():
    pytest.importorskip("modal")
    from clouds.modal import TOKEN, serving

    with serving() as (service, url):
        settings = {"MODAL_SERVER_URL": url, "MODAL_TOKEN_ID": TOKEN[0], "MODAL_TOKEN_SECRET": TOKEN[1]}
        kept = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        yield service
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
