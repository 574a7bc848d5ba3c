"""The first container of an ECS task: what its definition and overrides make of it, as a process of this machine."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds import processes
from clouds.aws.accounts import ACCOUNT
from clouds.aws.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_TIMEOUT = 30.0


@dataclass
class Container(processes.Container):
    """Its output goes to CloudWatch Logs, where it says so; what its secrets are called becomes what they say."""

    region: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    log: tuple[str, str] | None = None

    @classmethod
    def of(
        cls, definition: dict[str, Any], overrides: dict[str, Any], task: dict[str, Any], region: str, scale: float
    ) -> Container:
        base = definition["containerDefinitions"][0]
        mine = [item for item in overrides.get("containerOverrides", ()) if item["name"] == base["name"]]
        environment = {item["name"]: item["value"] for item in base.get("environment", ())}
        command = base.get("command", [])
        for item in mine:
            environment |= {pair["name"]: pair["value"] for pair in item.get("environment", ())}
            command = item.get("command", command)
        options = (base.get("logConfiguration") or {}).get("options")
        log = None
        if options:
            stream = f"{options['awslogs-stream-prefix']}/{base['name']}/{task['taskArn'].rsplit('/', 1)[-1]}"
            log = (options["awslogs-group"], stream)
        memory = float(overrides.get("memory") or definition.get("memory") or 512) * 2**20 * scale
        return cls(
            command=[*base.get("entryPoint", []), *command],
            environment=environment,
            on_line=lambda line: None,
            region=region,
            secrets={item["name"]: item["valueFrom"] for item in base.get("secrets", ())},
            log=log,
            memory=memory,
            stop_timeout=float(base.get("stopTimeout", STOP_TIMEOUT)),
        )

    def needs(self) -> Iterator[tuple[str, str]]:
        """What the execution role must be allowed, for this container to start."""
        if self.log is not None:
            resource = f"arn:aws:logs:{self.region}:{ACCOUNT}:log-group:{self.log[0]}:log-stream:{self.log[1]}"
            yield "logs:CreateLogStream", resource
            yield "logs:PutLogEvents", resource
        for reference in self.secrets.values():
            action = "secretsmanager:GetSecretValue" if ":secretsmanager:" in reference else "ssm:GetParameters"
            yield action, reference

    def resolve(self) -> None:
        """Read the secrets into the environment, as ECS does before a container starts."""
        for name, reference in self.secrets.items():
            self.environment[name] = _secret(self.region, reference)

    def start(self) -> None:
        """Start it, with a log stream of its own."""
        self.on_line = self._write
        if self.log is not None:
            with _perhaps():
                _logs(self.region).create_log_stream(*self.log)
        super().start()

    def _write(self, line: str) -> None:
        if self.log is None or not line:  # CloudWatch takes no empty event
            return
        with _perhaps():
            _logs(self.region).put_log_events(*self.log, [{"timestamp": int(time.time() * 1000), "message": line}])


def _perhaps() -> contextlib.AbstractContextManager[None]:
    """A log group that is gone swallows output, as it does on AWS."""
    return contextlib.suppress(Exception)


def _logs(region: str) -> Any:
    from moto.logs.models import logs_backends

    return logs_backends[ACCOUNT][region]


def _secret(region: str, reference: str) -> str:
    from moto.secretsmanager.models import secretsmanager_backends
    from moto.ssm.models import ssm_backends

    if ":secretsmanager:" in reference:
        value = secretsmanager_backends[ACCOUNT][region].get_secret_value(reference, None, None)
        return str(value["SecretString"])
    name = reference.split(":parameter", 1)[-1]
    for parameter in ssm_backends[ACCOUNT][region].get_parameters([name]).values():
        return str(parameter.decrypt(parameter.value))
    raise AwsError("InvalidParameters", f"unable to pull secrets: invalid parameters: {name}")
