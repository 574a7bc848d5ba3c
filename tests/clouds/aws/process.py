"""A task's container as a process of this machine: its command, exactly its environment, output to CloudWatch."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clouds.aws.accounts import ACCOUNT
from clouds.aws.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 16384  # Docker cuts what it logs into pieces of this size
STOP_TIMEOUT = 30.0


@dataclass
class Container:
    """The first container of a task; `exit_code` as Docker counts: 128 + n for a signal."""

    region: str
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    secrets: dict[str, str]
    log: tuple[str, str] | None
    memory: float
    stop_timeout: float
    content: Path | None = None
    out_of_memory: bool = False
    _process: subprocess.Popen[bytes] | None = None

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
            region=region,
            command=[*base.get("entryPoint", []), *command],
            environment=environment,
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
        image = Path(tempfile.mkdtemp(prefix="task-"))
        if self.content is not None:
            shutil.copytree(self.content, image, dirs_exist_ok=True)
        (image / "bin").mkdir()
        for name in ("python", "python3"):
            (image / "bin" / name).symlink_to(sys.executable)
        path = self.environment.get("PATH", f"{Path(sys.executable).parent}:{image / 'bin'}:/usr/bin:/bin")
        self._folder = image
        try:
            self._process = subprocess.Popen(
                self.command,
                env={"PATH": path, "HOME": str(image), **self.environment},
                cwd=image,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            self._write([f"exec: {exc}".encode()], create=True)
            return
        self._write([], create=True)
        threading.Thread(target=self._watch_memory, daemon=True).start()

    def wait(self) -> int:
        if self._process is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return 127
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip(b"\n")
            self._write([text[at : at + LONGEST_LINE] for at in range(0, max(len(text), 1), LONGEST_LINE)])
        code = self._process.wait()
        self._process.stdout.close()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL when that was not enough."""
        self._signal(signal.SIGTERM)
        timer = threading.Timer(self.stop_timeout, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _watch_memory(self) -> None:
        process = self._process
        assert process is not None
        while process.poll() is None:
            try:
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, IndexError):
                return
            if resident > self.memory:
                self.out_of_memory = True
                self.kill()
                return
            time.sleep(0.02)

    def _write(self, lines: list[bytes], *, create: bool = False) -> None:
        if self.log is None:
            return
        from moto.logs.models import logs_backends

        backend, (group, stream) = logs_backends[ACCOUNT][self.region], self.log
        with contextlib.suppress(Exception):  # a group that is gone swallows output, as it does on AWS
            if create:
                backend.create_log_stream(group, stream)
            events = [
                {"timestamp": int(time.time() * 1000), "message": line.decode(errors="replace")}
                for line in lines
                if line
            ]
            if events:
                backend.put_log_events(group, stream, events)


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
