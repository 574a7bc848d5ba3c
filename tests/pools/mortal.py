"""A plugin whose pool type dies on request: at the step that MORTAL_AT names, of the signal MORTAL_OF.

Its "cloud" is the folder MORTAL_CLOUD: keys are files in keys/, registered jobs files in jobs/, and what the module
makes are files in objects/, each bearing the pool's id.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from poolform import Connection, Credential, Finding, Identity, Orphan, Outputs, PoolType, Variables, hookimpl

STEPS_UP = ("identity", "preflight", "review", "apply", "connect", "issued", "mint", "minted", "accepted", "told")
STEPS_DOWN = ("disconnect", "revoke", "revoked", "destroy", "told-destroyed")


def step(name):
    if os.environ.get("MORTAL_AT") == name:
        os.kill(os.getpid(), getattr(signal, os.environ["MORTAL_OF"]))


def cloud(*parts):
    path = Path(os.environ["MORTAL_CLOUD"]).joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


class MortalVariables(Variables):
    if "MORTAL_RENAMED" in os.environ:
        width: int
    else:
        size: int = 1
    key: bool = Field(default=True, description="Whether to mint a key.")
    account: str = "a-1"


class MortalOutputs(Outputs):
    place: str


class Mortal(PoolType):
    slug = "mortal"
    title = "Mortal"
    variables = MortalVariables
    outputs = MortalOutputs
    templates = Path(__file__).with_name("mortal_templates")
    nouns: ClassVar = {"terraform_data": "a thing at {input}"}

    revision = int(os.environ.get("MORTAL_REVISION", "1"))

    def migrate(self, revision, variables):
        if "MORTAL_RENAMED" in os.environ:
            ways = {"fails": lambda: 1 / 0, "nothing": lambda: None, "too-little": lambda: variables}
            return ways[os.environ["MORTAL_RENAMED"]]()
        return {**variables, "size": variables["size"] + 1}

    def identity(self, variables):
        step("identity")
        return Identity("tester", os.environ.get("MORTAL_ACCOUNT", variables.account), "here")

    def preflight(self, variables, resources):
        step("preflight")
        for name in filter(None, os.environ.get("MORTAL_MISSING", "").split(",")):
            yield Finding(name, "missing", hint="Ask the tester.")

    def connect(self, variables, outputs):
        step("connect")
        return Connection(settings={"place": outputs.place})

    def launcher(self, connection, credential):
        raise AssertionError("no test launches here")

    # FindsOrphans

    def orphans(self, variables, pool_id, known):
        for pair in filter(None, os.environ.get("MORTAL_ORPHANS", "").split(",")):
            address, _, import_id = pair.partition("=")
            yield Orphan(address, import_id)

    # MintsCredentials

    def wants_key(self, variables):
        return variables.key

    def issued(self, variables, connection):
        step("issued")
        place = connection.settings["place"]
        return sorted(path.name for path in cloud("keys").iterdir() if path.name.startswith(place))

    def mint(self, variables, connection):
        step("mint")
        key_id = f"{connection.settings['place']}-key-{secrets.token_hex(4)}"
        secret = f"secret-{secrets.token_hex(12)}"
        (cloud("keys") / key_id).write_text(secret)
        step("minted")
        return Credential("mortal-key", {"secret": secret}, key_id)

    def revoke(self, variables, connection, key_id):
        step("revoke")
        (cloud("keys") / key_id).unlink(missing_ok=True)
        step("revoked")

    # ChecksCredentials

    def authenticate(self, connection, credential):
        step("accepted")
        if credential is not None and not (cloud("keys") / credential.key_id).exists():
            return Finding("key", "missing", f"the key {credential.key_id} is gone")
        return Finding("key", "allowed")

    # Disconnects

    def disconnect(self, connection, credential):
        step("disconnect")
        for job in cloud("jobs").iterdir():
            job.unlink()


@hookimpl
def poolform_pool_types():
    return [Mortal]


@hookimpl
def poolform_review_plan(pool, plan):
    step("review")
    if "MORTAL_WAIT_FOR" in os.environ:
        Path(os.environ["MORTAL_WAIT_FOR"]).with_suffix(".waiting").touch()
        while not Path(os.environ["MORTAL_WAIT_FOR"]).exists():
            time.sleep(0.02)
    if pool.variables.get("size", 0) > 10:
        from poolform import Review

        return [Review("error", "that is too large")]
    return []


@hookimpl
def poolform_after_apply(pool):
    step("told")


@hookimpl
def poolform_after_destroy(pool):
    step("told-destroyed")
