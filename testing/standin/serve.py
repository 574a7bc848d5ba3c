"""The stand-in provider where Terraform finds it, in one of two ways.

`Attached` serves from the test's own process, and Terraform is told its address (TF_REATTACH_PROVIDERS): quick, no
mirror, nothing on disk, and `init` installs nothing. `install` makes an executable in a filesystem mirror, which
Terraform installs, starts and stops as it does real providers: for tests about init, lock files, dying processes.
Neither reaches for the network.

Handshake and TLS: https://github.com/hashicorp/go-plugin/blob/main/docs/internals.md
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.testing.standin import protocol, wire
from poolform.testing.standin.cloud import Cloud, Crashed
from poolform.testing.standin.provider import Provider
from poolform.testing.standin.schema import DEFAULT_HOST, read_schema, schema_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolform.testing.standin.behaviour import Given
    from poolform.testing.standin.schema import Schema

_COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
_HOSTS = (DEFAULT_HOST, "registry.opentofu.org")
"""OpenTofu reads a source address without a host as one of its own registry."""


def _sources(source: str) -> tuple[str, ...]:
    host, _, rest = source.partition("/")
    return tuple(f"{known}/{rest}" for known in _HOSTS) if host in _HOSTS else (source,)


# -- the gRPC server -----------------------------------------------------------------------------------------------


def start_server(
    provider: Provider,
    address: str,
    *,
    credentials: Any = None,
    on_shutdown: Callable[[], object] | None = None,
    on_crash: Callable[[Any], object],
) -> Any:
    """Serve `provider` on a gRPC address and return the server, started.

    `on_crash` is given the call's context when a fault asks the provider to die.
    """
    import grpc

    def handler(name: str, request: type[wire.Message]) -> Any:
        method = getattr(provider, _snake(name))

        def call(message: Any, context: Any) -> Any:
            try:
                return method(message)
            except Crashed:
                on_crash(context)
                raise

        return grpc.unary_unary_rpc_method_handler(call, lambda data: wire.decode(request, data), wire.encode)

    def shut_down(_request: bytes, _context: Any) -> bytes:
        if on_shutdown:
            on_shutdown()
        return b""

    calls = {name: handler(name, request) for name, request in protocol.REQUESTS.items()}
    controller = {"Shutdown": grpc.unary_unary_rpc_method_handler(shut_down)}
    output = {"StreamStdio": grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(()))}
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=unlimited)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("tfplugin6.Provider", calls),
            grpc.method_handlers_generic_handler("plugin.GRPCController", controller),
            grpc.method_handlers_generic_handler("plugin.GRPCStdio", output),
        )
    )
    if credentials:
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    server.start()
    return server


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# -- in the test's process -----------------------------------------------------------------------------------------


class Attached:
    """A stand-in provider in this process, until `close`.

    A crash is told to Terraform as an aborted call, which it reports as it reports a provider that died.
    """

    def __init__(self, schema: Schema, cloud: Cloud, behaviour: Given = None) -> None:
        import grpc

        self.provider = Provider(schema, cloud, behaviour)
        # Not below pytest's folder: a socket's path may have 104 characters at most on macOS.
        self._folder = tempfile.mkdtemp(prefix="standin-")
        self._socket = f"{self._folder}/s"
        self._server = start_server(
            self.provider,
            f"unix:{self._socket}",
            on_crash=lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "the stand-in was asked to crash"),
        )

    def reattach(self) -> dict[str, Any]:
        """Return this provider's entries for TF_REATTACH_PROVIDERS."""
        entry = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,  # Terraform does not kill it when it is done
            "Addr": {"Network": "unix", "String": self._socket},
        }
        return dict.fromkeys(_sources(self.provider.schema.source), entry)

    def close(self) -> None:
        """Stop serving. Calls that sleep are left to end on their own."""
        self.provider.stop.set()
        self._server.stop(grace=0).wait()
        shutil.rmtree(self._folder, ignore_errors=True)


# -- as an executable in a mirror ----------------------------------------------------------------------------------


def install(mirror: Path, schema: Schema, cloud: Cloud, behaviour: str | None = None) -> None:
    """Put a stand-in provider into a filesystem mirror (unpacked layout), under the version of its schema.

    Its processes share `cloud`, which must have a path; `behaviour` is `package.module:NAME`, since a function can't
    travel to another process. Raises ValueError for a cloud in memory.
    """
    if cloud.path is None:
        raise ValueError("A provider with processes of its own needs a cloud with a path, which they can share.")
    folder = mirror / schema.source / schema.version / _platform()
    folder.mkdir(parents=True, mode=0o700)
    config = folder / "standin.json"
    (folder / "schema.json").write_text(json.dumps(schema_document(schema)), encoding="utf-8")
    settings = {"source": schema.source, "cloud": str(cloud.path.absolute()), "behaviour": behaviour}
    config.write_text(json.dumps(settings), encoding="utf-8")
    _write_certificate(folder)
    executable = folder / f"terraform-provider-{schema.name}_v{schema.version}"
    command = shlex.join([sys.executable, "-m", "poolform.testing.standin"])
    executable.write_text(f'#!/bin/sh\nexec {command} "$(dirname "$0")"\n', encoding="utf-8")
    executable.chmod(0o700)
    for source in _sources(schema.source):
        other = mirror / source / schema.version
        if not other.exists():
            other.parent.mkdir(parents=True, exist_ok=True)
            other.symlink_to(folder.parent, target_is_directory=True)


def cli_config(mirror: Path) -> str:
    """Return a Terraform CLI configuration that installs providers from this mirror and from nowhere else."""
    return f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n}}\n"


def _platform() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return f"{os.uname().sysname.lower()}_{machine}"


def _write_certificate(folder: Path) -> None:
    """Write a self-signed certificate and its key for the provider's end of go-plugin's mutual TLS.

    Once for each mirror: making it when the provider starts would cost every command the import of `cryptography`.
    """
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "cert.der").write_bytes(certificate.public_bytes(Encoding.DER))


def main(folder: Path, environ: Mapping[str, str]) -> None:
    """Be the provider that `install` put into `folder`: shake hands on stdout, serve until told to go, and exit.

    Exits at once with a sentence when anybody but Terraform starts it.
    """
    if environ.get(_COOKIE[0]) != _COOKIE[1]:
        sys.exit("This is a Terraform provider; Terraform starts it.")
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; Terraform decides, and says StopProvider
    settings = json.loads((folder / "standin.json").read_text(encoding="utf-8"))
    schema = read_schema(folder / "schema.json", settings["source"])
    provider = Provider(schema, Cloud(Path(settings["cloud"])), settings["behaviour"])
    done = threading.Event()
    secure = "PLUGIN_CLIENT_CERT" in environ
    with tempfile.TemporaryDirectory(prefix="standin-") as sockets:
        address = f"{sockets}/s"
        server = start_server(
            provider,
            f"unix:{address}",
            credentials=_credentials(folder) if secure else None,
            on_shutdown=done.set,
            on_crash=lambda _context: os._exit(2),
        )
        certificate = base64.b64encode((folder / "cert.der").read_bytes()).decode().rstrip("=") if secure else ""
        print("1", "6", "unix", address, "grpc", certificate, sep="|", flush=True)  # noqa: T201 - the handshake
        _wait(done)
        server.stop(grace=0)
    os._exit(0)  # gRPC's threads would keep a call that sleeps, and so the process, alive


def _credentials(folder: Path) -> Any:
    """Return the server's side of go-plugin's TLS.

    Terraform's own certificate is not asked for: its key is on P-521, which gRPC's TLS library refuses, and the socket
    is in a folder that only this user may enter.
    """
    import grpc

    return grpc.ssl_server_credentials([((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())])


def _wait(done: threading.Event) -> None:
    """Wait until Terraform says goodbye, or is gone without having said it."""
    parent = os.getppid()
    while not done.wait(0.5) and os.getppid() == parent:
        pass
