"""AWS's wire formats, as far as telling requests apart and answering in their own dialect goes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
XMLNS = {"iam": "https://iam.amazonaws.com/doc/2010-05-08/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/"}


@dataclass(frozen=True)
class Request:
    """One API request: `action` is the API's name of it, `params` its JSON or flattened query parameters."""

    service: str
    action: str
    region: str
    access_key: str | None
    params: dict[str, Any]
    body: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.service}:{self.action}"

    def members(self, prefix: str) -> list[str]:
        """The values of a list in a query request: `prefix.member.1`, `prefix.1`, …"""
        found = []
        for key, value in self.params.items():
            match = re.fullmatch(rf"{re.escape(prefix)}(?:\.member)?\.(\d+)", key)
            if match:
                found.append((int(match[1]), value))
        return [value for _, value in sorted(found)]


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    """More headers; one of them may be the Content-Length of a body that HEAD does not send."""


class AwsError(Exception):
    """An error as the service would answer it."""

    def __init__(self, code: str, message: str, status: int = 400, **extra: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.extra = code, message, status, extra


def parse(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Request:
    match = CREDENTIAL.search(headers.get("authorization", ""))
    key, region, service = match.groups() if match else (None, "us-east-1", "s3")
    target = headers.get("x-amz-target")
    if target:
        action = target.rsplit(".", 1)[-1]
        return Request(service, action, region, key, json.loads(body or b"{}"), body)
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        params = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        return Request(service, params.pop("Action", ""), region, key, params, body)
    params = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    params["path"] = path
    return Request(service, _rest_action(service, method, path, params), region, key, params, body)


def _rest_action(service: str, method: str, path: str, params: dict[str, Any]) -> str:
    """IAM's name for an S3 request, close enough for a state backend."""
    if service != "s3":
        return f"{method} {path}"
    bucket, _, obj = path.strip("/").partition("/")
    if not bucket:
        return "ListAllMyBuckets"
    if not obj:
        if "versioning" in params:
            return "GetBucketVersioning" if method == "GET" else "PutBucketVersioning"
        return {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}[method]
    return {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]


def answer(request: Request, result: dict[str, Any]) -> Response:
    if request.service in XMLNS:
        inner = f"<{request.action}Result>{_xml(result)}</{request.action}Result>"
        text = (
            f'<{request.action}Response xmlns="{XMLNS[request.service]}">{inner}'
            f"<ResponseMetadata><RequestId>stand-in</RequestId></ResponseMetadata></{request.action}Response>"
        )
        return Response(200, text.encode(), "text/xml")
    return Response(200, json.dumps(result).encode(), "application/x-amz-json-1.1")


def refusal(request: Request, error: AwsError) -> Response:
    code, message = escape(error.code), escape(error.message)
    if request.service == "ec2":
        text = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
        return Response(error.status, text.encode(), "text/xml")
    if request.service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Response(error.status, text.encode(), "application/xml")
    if request.service in XMLNS:
        text = (
            f'<ErrorResponse xmlns="{XMLNS[request.service]}"><Error><Type>Sender</Type><Code>{code}</Code>'
            f"<Message>{message}</Message></Error><RequestId>stand-in</RequestId></ErrorResponse>"
        )
        return Response(error.status, text.encode(), "text/xml")
    body = {"__type": error.code, "message": error.message, **error.extra}
    return Response(error.status, json.dumps(body).encode(), "application/x-amz-json-1.1")


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(item)}</{key}>" for key, item in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(item)}</member>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))
