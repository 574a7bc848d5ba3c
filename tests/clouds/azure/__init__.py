"""An Azure on loopback, over HTTPS: logins, Microsoft Graph, Azure Resource Manager with container groups, a registry.

What Terraform makes is in the imaginary cloud of its stand-in provider (poolform.testing.standin); these services look
into it: an application that Terraform registered can be given a secret and log in, and the role that Terraform assigned
to it decides what it may do. Jobs are run for real, as processes.

Azure's libraries find it as they find Azure Stack: by ARM_METADATA_HOSTNAME, and trust it by REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl

from clouds.azure.authorisation import Assignment, Roles
from clouds.azure.directory import Directory, Principal
from clouds.azure.groups import Groups
from clouds.azure.manager import Manager, name_of
from clouds.azure.wire import AzureError, Request, Response
from clouds.faults import Faults, HungUp, after, before
from werkzeug.serving import WSGIRequestHandler, make_server

from poolform.testing.standin import Cloud
from poolform.testing.standin.behaviours.azurerm import SUBSCRIPTION, TENANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["SUBSCRIPTION", "TENANT", "Azure", "running"]

LOCATION = "westeurope"
EVERYTHING = ("*",)
REGISTRAR = ("Application.ReadWrite.OwnedBy",)


@dataclass
class Azure:
    """One running Azure. `environment` is what a process needs to be the subscription's owner."""

    base: str
    certificate: Path
    cloud: Cloud
    directory: Directory
    roles: Roles
    groups: Groups
    manager: Manager
    faults: Faults
    requests: list[Request]
    environment: dict[str, str]

    def principal(
        self,
        name: str,
        actions: Iterable[str] = EVERYTHING,
        *,
        not_actions: Iterable[str] = (),
        graph_roles: tuple[str, ...] = REGISTRAR,
        scope: str = f"/subscriptions/{SUBSCRIPTION}",
    ) -> dict[str, str]:
        """Make a service principal with one role; returns the environment of a process that is it."""
        made = self.directory.add(name, graph_roles=graph_roles)
        self.roles.given.append(Assignment(made.object_id, scope, tuple(actions), tuple(not_actions)))
        return self.environment_of(made)

    def person(self, name: str, folder: Path, actions: Iterable[str] = EVERYTHING) -> dict[str, str]:
        """Make a person, who has run `az login`; `folder` gets an `az` that says so."""
        made = self.directory.add(name, person=True)
        self.roles.given.append(Assignment(made.object_id, f"/subscriptions/{SUBSCRIPTION}", tuple(actions)))
        tokens = {
            audience: self.directory.issue(made, audience) for audience in (f"{self.base}/arm", f"{self.base}/graph")
        }
        cases = "".join(f'  *"{audience}"*) token={token} ;;\n' for audience, token in tokens.items())
        answer = '{"accessToken": "%s", "expiresOn": "2099-01-01 00:00:00.000000", "expires_on": 4070908800}'
        script = f'#!/bin/sh\ncase "$*" in\n{cases}esac\nprintf \'{answer}\' "$token"\n'
        (folder / "az").write_text(script)
        (folder / "az").chmod(0o755)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        return {**self.endpoints, "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential", "PATH": path}

    @property
    def endpoints(self) -> dict[str, str]:
        host = self.base.removeprefix("https://")
        return {"ARM_METADATA_HOSTNAME": host, "REQUESTS_CA_BUNDLE": str(self.certificate)}

    def environment_of(self, principal: Principal) -> dict[str, str]:
        return {
            **self.endpoints,
            "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
            "ARM_TENANT_ID": TENANT,
            "ARM_CLIENT_ID": principal.client_id,
            "ARM_CLIENT_SECRET": principal.secrets["only"],
            "AZURE_DEFAULTS_LOCATION": LOCATION,
        }

    def named(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.name == name]


class Front:
    """The WSGI application: tells the APIs apart, lets trouble strike, and writes everything down."""

    def __init__(self, azure: Azure) -> None:
        self._azure = azure

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = _parse(environ)
        self._azure.requests.append(request)
        struck = self._azure.faults.matching(request)
        try:
            before(struck, request)
            response = self._answer(request)
            after(struck, request)
        except AzureError as error:
            response = error.response(request)
        except HungUp:
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            response = Response(500)
        body = b"" if response.content is None else json.dumps(response.content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *response.headers]
        start_response(f"{response.status} -", headers)
        return [body]

    def _answer(self, request: Request) -> Response:
        azure = self._azure
        match request.api:
            case "metadata":
                return Response(200, _metadata(azure.base))
            case "login":
                return azure.directory.log_in(request, azure.base)
            case "registry":
                return _exchange(request, azure)
            case "graph":
                return azure.directory.graph(request, azure.directory.caller(request, f"{azure.base}/graph"))
            case "arm":
                return azure.manager.answer(request, azure.directory.caller(request, f"{azure.base}/arm"))
        raise AzureError(404, "NotFound", request.path)


def _parse(environ: dict[str, Any]) -> Request:
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key[:5] == "HTTP_"}
    body = bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    api = {"arm": "arm", "graph": "graph", "login": "login", "metadata": "metadata", "oauth2": "registry"}.get(
        path.split("/")[1], "nothing"
    )
    inner = path if api in ("metadata", "registry", "nothing") else path.removeprefix(f"/{api}")
    request = Request(api, method, inner, query, headers, body)
    name = name_of(method, inner) if api == "arm" else f"{method} {inner.rsplit('/', 1)[-1]}"
    return replace(request, name=name)


def _metadata(base: str) -> dict[str, Any]:
    return {
        "name": "standin",
        "resourceManager": f"{base}/arm/",
        "microsoftGraphResourceId": f"{base}/graph/",
        "authentication": {"loginEndpoint": f"{base}/login/", "audiences": [f"{base}/arm"], "tenant": "common"},
        "suffixes": {"acrLoginServer": "azurecr.io"},
    }


def _exchange(request: Request, azure: Azure) -> Response:
    """A registry's token for one of Azure Resource Manager."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    if form.get("grant_type") != "access_token" or form.get("tenant") != TENANT:
        raise AzureError(400, "invalid_request", "The grant type and the tenant are required.")
    bearer = replace(request, headers={"authorization": f"Bearer {form.get('access_token')}"})
    principal = azure.directory.caller(bearer, f"{azure.base}/arm")
    return Response(200, {"refresh_token": f"registry-token-of-{principal.name}"})


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args: object, **kwargs: object) -> None:
        pass


@contextmanager
def running(folder: Path, cloud: Cloud | None = None) -> Iterator[Azure]:
    """Run a fresh Azure until the block ends; `folder` gets its certificate."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    certificate, key = _certificate(folder)
    cloud = cloud or Cloud()
    roles = Roles(cloud)
    groups = Groups(cloud, roles)
    azure = Azure(
        "", certificate, cloud, Directory(cloud), roles, groups, Manager(cloud, roles, groups), Faults(), [], {}
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = make_server("127.0.0.1", 0, Front(azure), threaded=True, request_handler=_Quiet, ssl_context=context)
    server.daemon_threads = True
    azure.base = f"https://localhost:{server.server_port}"
    azure.environment = azure.principal("owner")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield azure
    finally:
        groups.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"
