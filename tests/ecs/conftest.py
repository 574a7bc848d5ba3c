"""One AWS account, and the real provider, for all tests of ECS."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import string
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clouds.aws import running

from poolform.core.terraform.render import render
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.variables import EcsOutputs, EcsVariables

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection

REGION = "eu-west-1"
# Read by boto3 and the provider; what the tester's own shell says must not reach a test.
FOREIGN = ("AWS_", "TF_")
KEPT = ("TF_CLI_CONFIG_FILE", "AWS_CA_BUNDLE")


@pytest.fixture(scope="session")
def aws():
    with running() as account:
        yield account


@pytest.fixture
def administrator(aws, monkeypatch):
    """This process is the account's administrator."""
    become(monkeypatch, aws.environment)
    return aws


def become(monkeypatch, environment):
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in KEPT:
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def mirror():
    """The folder of a filesystem mirror with the real hashicorp/aws provider; POOLFORM_TEST_PROVIDERS may name it."""
    named = os.environ.get("POOLFORM_TEST_PROVIDERS")
    if named:
        return Path(named)
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "none")
    pattern = f"*/registry.terraform.io/hashicorp/aws/*/{system}_*/terraform-provider-aws*"
    command = ("find", "/", "-xdev", "-path", pattern, "-print", "-quit")
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if not found or shutil.which("terraform") is None:
        pytest.skip("the hashicorp/aws provider is not on disk, or terraform not on PATH")
    return Path(found[0]).parents[5]


@pytest.fixture(scope="session")
def cli_config(mirror, tmp_path_factory):
    """Terraform's CLI configuration: providers come from the mirror and nowhere else."""
    path = tmp_path_factory.mktemp("terraform") / "terraform.rc"
    path.write_text(
        f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n}}\n"
    )
    return path


@pytest.fixture(scope="session")
def modules(aws, cli_config, tmp_path_factory):
    """Makes a folder with the rendered module for some variables; all share one init."""
    return Modules(aws, cli_config, tmp_path_factory.mktemp("modules"))


@dataclass
class Modules:
    aws: object
    cli_config: Path
    root: Path

    def __call__(self, *, pool_type=EcsPush, pool_name="lab", **variables):
        pool_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        values = EcsVariables(region=REGION, **variables)
        module = render(pool_type(), values, pool_name=pool_name, pool_id=pool_id)
        folder = self.root / pool_id
        folder.mkdir()
        made = Module(folder, pool_id, pool_name, self.environment(self.aws.environment), self, values)
        made.write(module)
        return made

    def environment(self, environment):
        """What Terraform sees as one of the account's users."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        data = {"TF_DATA_DIR": str(self.root / "data"), "TF_CLI_CONFIG_FILE": str(self.cli_config)}
        # As core/terraform/providers.py has it: the provider's schema is large, and collecting garbage costs a fifth.
        ours = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "GOGC": "400"}
        return {**mine, **environment, **data, **ours}

    def init(self, module):
        """Providers are linked into the shared data folder once; the lock file is copied to each module."""
        lock = self.root / "lock.hcl"
        if not lock.exists():
            run(module, "init", "-input=false")
            shutil.copy(module.folder / ".terraform.lock.hcl", lock)
        shutil.copy(lock, module.folder / ".terraform.lock.hcl")


@dataclass
class Module:
    """A rendered module and the account it is for."""

    folder: Path
    pool_id: str
    pool_name: str
    environment: dict[str, str]
    modules: Modules
    variables: EcsVariables

    def become(self, **variables):
        """Render again, for other variables."""
        self.variables = EcsVariables(region=REGION, **variables)
        self.write(render(EcsPush(), self.variables, pool_name=self.pool_name, pool_id=self.pool_id))

    def write(self, module):
        for stale in self.folder.glob("*.tf"):
            stale.unlink()
        for name, text in module.files.items():
            (self.folder / name).write_text(text)

    def validate(self):
        self.modules.init(self)
        run(self, "fmt", "-check", "-diff")
        return json.loads(run(self, "validate", "-json"))

    def plan(self, *flags):
        """The plan as JSON."""
        self.modules.init(self)
        run(self, "plan", "-input=false", "-out=plan.bin", *flags)
        return json.loads(run(self, "show", "-json", "plan.bin"))

    def plan_again(self):
        """What another plan would change; nothing, where all is as it should be."""
        done = subprocess.run(
            ("terraform", "plan", "-input=false", "-out=plan.bin", "-detailed-exitcode"),
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 2), done.stderr
        return [] if done.returncode == 0 else changes(json.loads(run(self, "show", "-json", "plan.bin")))

    def apply(self):
        run(self, "apply", "-input=false", "plan.bin")
        return self.outputs()

    def outputs(self):
        found = json.loads(run(self, "output", "-json"))
        return EcsOutputs(**{name: output["value"] for name, output in found.items()})

    def connection(self, outputs) -> Connection:
        return EcsPush().connect(self.variables, outputs)

    def destroy(self):
        run(self, "apply", "-destroy", "-auto-approve", "-input=false")

    def resources(self):
        return run(self, "state", "list").split()


def run(module, *arguments):
    done = subprocess.run(
        ("terraform", *arguments, *(() if arguments[0] in ("show", "output", "state") else ("-no-color",))),
        cwd=module.folder, env=module.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"terraform {arguments[0]}: {said[said.find('Error:') :][:6000]}"
    return done.stdout


def changes(plan):
    return [change for change in plan["resource_changes"] if change["change"]["actions"] not in (["no-op"], ["read"])]


@contextmanager
def provisioned(modules, **variables):
    """A pool's infrastructure while the block runs: the module and its connection."""
    module = modules(**variables)
    module.plan()
    connection = module.connection(module.apply())
    try:
        yield module, connection
    finally:
        module.destroy()


@pytest.fixture(scope="session")
def pool(modules):
    """One applied pool for all tests that only use it."""
    with provisioned(modules) as (_, connection):
        yield connection
