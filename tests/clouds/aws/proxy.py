"""The door: one HTTP server for Terraform's provider and boto3 alike, in front of moto.

Each call is recognised, its caller found, its permissions checked, recorded, and then answered: by this stand-in
where moto is not true to AWS, else by moto.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clouds.aws import gaps, wire
from clouds.aws.authorisation import needs
from clouds.aws.simulation import simulate
from clouds.aws.wire import AwsError, Request, Response
from clouds.faults import HungUp, after, before
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from clouds.aws.accounts import Accounts, Caller
    from clouds.aws.definitions import Definitions
    from clouds.aws.tasks import Tasks
    from clouds.faults import Faults

Handler = Callable[[Request], dict[str, Any]]


@dataclass(frozen=True)
class Call:
    """One permission used: `api` is the call that it was used for. `status` is what the call was answered with."""

    action: str
    resource: str
    caller: str
    api: str
    status: int


class Proxy:
    """The WSGI application. Thread-safe."""

    def __init__(self, accounts: Accounts, definitions: Definitions, tasks: Tasks, faults: Faults) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._accounts, self._definitions, self._tasks, self._faults = accounts, definitions, tasks, faults
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.requests: list[Request] = []
        self._handlers: dict[str, Handler] = {
            "ecs:RunTask": tasks.run,
            "ecs:DescribeTasks": tasks.describe,
            "ecs:ListTasks": tasks.list,
            "ecs:StopTask": tasks.stop,
            "ecs:RegisterTaskDefinition": definitions.register,
            "ecs:DescribeTaskDefinition": definitions.describe,
            "ecs:DeregisterTaskDefinition": definitions.deregister,
            "ecs:DeleteTaskDefinitions": definitions.delete,
            "ecs:ListTaskDefinitions": definitions.list,
            "ecs:ListTaskDefinitionFamilies": definitions.families,
            "logs:AssociateKmsKey": gaps.associate_kms_key,
            "logs:DisassociateKmsKey": gaps.disassociate_kms_key,
            "iam:SimulatePrincipalPolicy": lambda request: simulate(accounts, request),
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _body(environ)
        headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key[:5] == "HTTP_"}
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        request = wire.parse(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), headers, body
        )
        faults = self._faults.matching(request)
        try:
            before(faults, request)
            caller = self._accounts.caller(request)
            response = self._answer(request, caller, environ)
            self._record(request, caller, response.status)
            after(faults, request)
        except AwsError as error:
            response = wire.refusal(request, error)
        except HungUp:
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            response = Response(500, b"", "text/plain")
        length = [("Content-Length", str(len(response.body)))]
        if any(name.lower() == "content-length" for name, _ in response.headers):
            length = []
        start_response(f"{response.status} -", [("Content-Type", response.content_type), *length, *response.headers])
        return [response.body]

    def _answer(self, request: Request, caller: Caller, environ: dict[str, Any]) -> Response:
        self._authorise(request, caller)
        handler = self._handlers.get(request.name)
        if handler is not None:
            return wire.answer(request, handler(request))
        if request.name == "ecs:DeleteCluster":
            name = request.params["cluster"].rsplit("/", 1)[-1]
            if self._tasks.in_cluster(name):
                raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        if request.name == "logs:DeleteLogGroup":
            gaps.forget_log_group_tags(request)
        if request.name == "ec2:DeleteNatGateway":
            gaps.free_address_of_gateway(request)
        try:
            return self._pass_on(request, environ)
        except NotImplementedError as error:
            # Said once and plainly: an answer of 500 would be tried again for many minutes.
            raise AwsError("UnsupportedOperation", f"moto has no {request.name}: {error}") from error

    def _authorise(self, request: Request, caller: Caller) -> None:
        if request.name == "sts:AssumeRole":
            role = request.params["RoleArn"]
            if not self._accounts.trusts(role, caller):
                raise _denied(request, caller, "sts:AssumeRole", role)
        for need in needs(request, self._definitions.by_arn):
            verdict = self._accounts.decide(caller.source, need.action, need.resource, need.context)
            if verdict.decision != "allowed":
                raise _denied(request, caller, need.action, need.resource)

    def _pass_on(self, request: Request, environ: dict[str, Any]) -> Response:
        seen: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            seen["status"] = int(status.split(maxsplit=1)[0])
            seen["type"] = {key.lower(): value for key, value in headers}.get("content-type", "text/plain")
            seen["headers"] = headers

        body = gaps.body(request)
        inner = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        app = self._moto.get_application(inner)
        inner["wsgi.input"] = io.BytesIO(body)
        chunks = app(inner, start)
        try:
            body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        kept = tuple(
            (name, value)
            for name, value in seen["headers"]
            if name.lower() not in ("content-type", "connection", "transfer-encoding", "date", "server")
        )
        return Response(seen["status"], body, seen["type"], kept)

    def _record(self, request: Request, caller: Caller, status: int) -> None:
        used = [(need.action, need.resource) for need in needs(request, self._definitions.by_arn)] or [
            (request.name, "*")
        ]
        with self._lock:
            self.requests.append(request)
            self.calls += [Call(action, resource, caller.source, request.name, status) for action, resource in used]


def _body(environ: dict[str, Any]) -> bytes:
    if environ.get("wsgi.input_terminated"):  # sent in chunks
        return bytes(environ["wsgi.input"].read())
    return bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))


def _denied(request: Request, caller: Caller, action: str, resource: str) -> AwsError:
    message = (
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} because no identity-based "
        f"policy allows the {action} action"
    )
    if request.service == "ec2":
        return AwsError("UnauthorizedOperation", message, 403)
    if request.service in ("iam", "sts", "s3"):
        return AwsError("AccessDenied", message, 403)
    return AwsError("AccessDeniedException", message)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # boto3 keeps its connections

    def log(self, *args: object, **kwargs: object) -> None:
        pass


@contextlib.contextmanager
def serving(proxy: Proxy) -> Iterator[str]:
    """Serve on a free loopback port; yields the endpoint's URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, proxy, threaded=True, request_handler=_Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
