# ruff: noqa: N802 - the names are the service's
"""A stand-in for Modal's service, for the SDK's own client: Sandboxes are processes of this machine.

Only what the launcher's calls come to; everything else is refused as unimplemented. Names are free again once a Sandbox
has ended, as Modal documents it. That Modal itself behaves so is not proved by this.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_grpc, api_pb2

TOKEN = ("ak-standin", "as-standin-secret-4711")
WORKSPACE = "lab"
Result = api_pb2.GenericResult


@dataclass
class Box:
    """One Sandbox."""

    id: str
    name: str
    app_id: str
    request: api_pb2.SandboxCreateV2Request
    process: asyncio.subprocess.Process | None = None
    result: Result | None = None
    lines: list = field(default_factory=list)  # when in nanoseconds, stream, text
    created: float = field(default_factory=time.time)


class _Service(api_grpc.ModalClientBase):
    """What the SDK asks for. Abstract methods that are not here answer that they are not."""

    def __init__(self):
        self.boxes: dict[str, Box] = {}
        self.apps: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.calls: list[str] = []
        self.tasks: set = set()

    async def _begin(self, stream):
        self.calls.append(type(stream).__name__)
        sent = (stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret"))
        if sent != TOKEN:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is not valid.")
        return await stream.recv_message()

    async def ClientHello(self, stream):
        await self._begin(stream)
        await stream.send_message(api_pb2.ClientHelloResponse(image_builder_version="2025.06"))

    async def AuthTokenGet(self, stream):
        await self._begin(stream)
        claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 3600}).encode()).decode().rstrip("=")
        await stream.send_message(api_pb2.AuthTokenGetResponse(token=f"e30.{claims}.x"))

    async def WorkspaceNameLookup(self, stream):
        await self._begin(stream)
        await stream.send_message(api_pb2.WorkspaceNameLookupResponse(workspace_name=WORKSPACE, username=WORKSPACE))

    async def EnvironmentGetOrCreate(self, stream):
        asked = await self._begin(stream)
        metadata = api_pb2.EnvironmentMetadata(name=asked.deployment_name or "main")
        metadata.settings.image_builder_version = "2025.06"
        await stream.send_message(api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata))

    async def AppGetOrCreate(self, stream):
        asked = await self._begin(stream)
        app_id = self.apps.setdefault(asked.app_name, f"ap-{uuid.uuid4().hex[:22]}")
        self.stopped.discard(app_id)
        await stream.send_message(api_pb2.AppGetOrCreateResponse(app_id=app_id))

    async def AppStop(self, stream):
        from google.protobuf.empty_pb2 import Empty

        asked = await self._begin(stream)
        self.stopped.add(asked.app_id)
        await stream.send_message(Empty())

    async def ImageGetOrCreate(self, stream):
        asked = await self._begin(stream)
        if any("no-such-image" in line for line in asked.image.dockerfile_commands):
            result = Result(status=Result.GENERIC_STATUS_FAILURE, exception="manifest unknown")
        else:
            result = Result(status=Result.GENERIC_STATUS_SUCCESS)
        await stream.send_message(api_pb2.ImageGetOrCreateResponse(image_id="im-1", result=result))

    async def SandboxCreateV2(self, stream):
        asked = await self._begin(stream)
        name = asked.definition.name
        if any(box.name == name and box.result is None for box in self.boxes.values()):
            raise GRPCError(Status.ALREADY_EXISTS, f"Sandbox with name {name} already exists")
        box = Box(f"sb-{uuid.uuid4().hex[:26]}", name, asked.app_id, asked)
        self.boxes[box.id] = box
        task = asyncio.ensure_future(self._run(box))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        answer = api_pb2.SandboxCreateV2Response(sandbox_id=box.id, task_id=f"ta-{box.id}")
        answer.metadata.app_id = box.app_id
        await stream.send_message(answer)

    async def _run(self, box):
        env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for source in box.request.secret_sources:
            env |= dict(source.env.contents)
        try:
            box.process = await asyncio.create_subprocess_exec(
                *box.request.definition.entrypoint_args, env=env, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**20, start_new_session=True,
            )  # fmt: skip
        except OSError as exc:
            box.result = Result(status=Result.GENERIC_STATUS_FAILURE, exitcode=127, exception=str(exc))
            return
        await asyncio.gather(self._read(box, 1, box.process.stdout), self._read(box, 2, box.process.stderr))
        code = await box.process.wait()
        if box.result is None:
            status = Result.GENERIC_STATUS_FAILURE if code else Result.GENERIC_STATUS_SUCCESS
            box.result = Result(status=status, exitcode=code if code >= 0 else 128 - code)

    @staticmethod
    async def _read(box, descriptor, pipe):
        while line := await pipe.readline():
            box.lines.append((time.time_ns(), descriptor, line.decode("utf-8", "replace")))

    async def SandboxGetFromNameV2(self, stream):
        asked = await self._begin(stream)
        app_id = self.apps.get(asked.app_name)
        named = [box for box in self.boxes.values() if box.name == asked.sandbox_name and box.app_id == app_id]
        alive = [box for box in named if box.result is None]
        found = alive or (named if asked.include_terminated else [])
        if not found:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox with name {asked.sandbox_name} not found")
        answer = api_pb2.SandboxGetFromNameResponse(sandbox_id=found[-1].id)
        answer.metadata.app_id = found[-1].app_id
        await stream.send_message(answer)

    async def SandboxWaitV2(self, stream):
        asked = await self._begin(stream)
        box = self._box(asked.sandbox_id)
        answer = api_pb2.SandboxWaitResponse(result=box.result or Result())
        answer.metadata.app_id = box.app_id
        await stream.send_message(answer)

    async def SandboxTerminateV2(self, stream):
        asked = await self._begin(stream)
        box = self._box(asked.sandbox_id)
        if box.result is None:
            box.result = Result(status=Result.GENERIC_STATUS_TERMINATED, exitcode=137)
            if box.process is not None and box.process.returncode is None:
                os.killpg(box.process.pid, 9)
        await stream.send_message(api_pb2.SandboxTerminateResponse())

    async def SandboxGetTaskIdV2(self, stream):
        asked = await self._begin(stream)
        self._box(asked.sandbox_id)
        await stream.send_message(api_pb2.SandboxGetTaskIdResponse(task_id=f"ta-{asked.sandbox_id}"))

    async def SandboxListV2(self, stream):
        asked = await self._begin(stream)
        alive = [b for b in self.boxes.values() if b.result is None and b.app_id == asked.app_id]
        alive = [b for b in alive if not asked.before_timestamp or b.created < asked.before_timestamp]
        infos = [
            api_pb2.SandboxInfo(id=b.id, created_at=b.created, app_id=b.app_id, name=b.name) for b in reversed(alive)
        ]
        for info, box in zip(infos, reversed(alive), strict=True):
            info.metadata.app_id = box.app_id
        await stream.send_message(api_pb2.SandboxListResponse(sandboxes=infos))

    async def AppCountLogs(self, stream):
        asked = await self._begin(stream)
        counts = {}
        for at, _, _ in self._lines(asked):
            start = int(at / 1e9 // asked.bucket_secs * asked.bucket_secs)
            counts[start] = counts.get(start, 0) + 1
        answer = api_pb2.AppCountLogsResponse(app_id=asked.app_id)
        for start, count in sorted(counts.items()):
            bucket = answer.buckets.add(stdout_logs=count)
            bucket.bucket_start_at.FromSeconds(start)
        await stream.send_message(answer)

    async def AppFetchLogs(self, stream):
        asked = await self._begin(stream)
        batch = api_pb2.TaskLogsBatch(task_id=asked.task_id)
        for at, descriptor, text in self._lines(asked)[: asked.limit or None]:
            batch.items.add(data=text, timestamp=at / 1e9, timestamp_ns=at, file_descriptor=descriptor)
        await stream.send_message(api_pb2.AppFetchLogsResponse(batches=[batch] if batch.items else []))

    def _lines(self, asked):
        box = self._box(asked.task_id.removeprefix("ta-"))
        since, until = asked.since.ToNanoseconds(), asked.until.ToNanoseconds()
        return [line for line in box.lines if since <= line[0] < until]

    def _box(self, sandbox_id):
        if sandbox_id not in self.boxes:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox {sandbox_id} not found")
        return self.boxes[sandbox_id]


async def _unknown(self, stream):
    raise GRPCError(Status.UNIMPLEMENTED, "The stand-in does not know this call.")


for name in _Service.__abstractmethods__:
    setattr(_Service, name, _unknown)
_Service.__abstractmethods__ = frozenset()


@contextmanager
def serving():
    """Serve on loopback while this lasts; yields the service and its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    service = _Service()

    async def start():
        server = Server([service])
        await server.start("127.0.0.1", 0)
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    port = server._server.sockets[0].getsockname()[1]
    try:
        yield service, f"http://127.0.0.1:{port}"
    finally:

        async def stop():
            for box in service.boxes.values():
                if box.process is not None and box.process.returncode is None:
                    os.killpg(box.process.pid, 9)
            await asyncio.gather(*service.tasks)
            server.close()
            await server.wait_closed()

        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
