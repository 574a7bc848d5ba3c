"""Two machines that work on one pool: its record is in a database that they share, its state in a backend."""

from __future__ import annotations

import shutil

KEY = "ZmVybmV0LWtleS1mb3ItdGVzdHMtb25seS0wMDAwMDA="
"""Of nobody's: made for tests."""


def shared(root):
    """What both machines have in their environment."""
    return {"POOLFORM_DATABASE_URL": f"sqlite:///{root / 'team.db'}", "POOLFORM_SECRET_KEYS": KEY}


def share(one, other, *, create, options, change, secrets):
    """One makes a pool, the other runs `greet` there and changes it; one is lost, and takes it down all the same.

    `create` are the pool's options, `change` those of another provisioning, `options` those of the deployment. Nothing
    in the folder that they and their database are in says any of the `secrets`.
    """
    one("work-pool", "create", "p", "--provision-infra", "--yes", *create)
    # Terraform's data folder keeps a file of that name, too: the backend's settings.
    for path in (one.root / "home").rglob("terraform.tfstate"):
        assert '"resources"' not in path.read_text()

    other("work-pool", "drift", "p")
    other.deploy("greet", options=options)
    other("deployment", "run", "greet/n", "--watch")
    other("work-pool", "provision-infra", "p", "--yes", *change)
    one("work-pool", "drift", "p")
    shutil.rmtree(one.root / "home" / "pools", ignore_errors=True)  # that machine is lost
    one("work-pool", "deprovision", "p", "--yes")
    for path in (path for path in one.root.parent.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path
