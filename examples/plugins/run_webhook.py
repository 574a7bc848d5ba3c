"""Posts to a webhook whenever a run changes. Where to is kept in a block, for addresses of webhooks are secrets:

$ poolform block create webhook/runs
"""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from functools import cache

from pydantic import SecretStr

from poolform import Block, hookimpl

SECONDS = 10.0
"""How long a server may take to answer."""


class Webhook(Block):
    """Where to post to. With a `key`, bodies are signed as GitHub signs them: HMAC, in X-Hub-Signature-256."""

    block_type = "webhook"
    title = "Webhook"

    url: SecretStr
    key: SecretStr | None = None


class NotDelivered(Exception):
    """The webhook did not take it. Raising anything asks to be told again, later."""


@hookimpl
def poolform_block_types():
    return [Webhook]


@hookimpl
def poolform_run_changed(run):
    """Post it. Poolform waits meanwhile with the next news, and with nothing else."""
    fields = ("id", "name", "state", "reason", "deployment", "pool", "attempt")
    post(json.dumps({field: getattr(run, field) for field in fields}).encode())


def post(body):
    try:
        urllib.request.urlopen(request(body), timeout=SECONDS).close()
    except (OSError, ValueError) as exc:  # never the address: it is the secret
        settings.cache_clear()  # somebody may put it right
        if isinstance(exc, urllib.error.HTTPError):
            raise NotDelivered(f"the webhook answered {exc.code}") from None
        raise NotDelivered(f"the webhook cannot be reached: {type(getattr(exc, 'reason', exc)).__name__}") from None


def request(body):
    webhook = settings()
    headers = {"Content-Type": "application/json"}
    if webhook.key:
        digest = hmac.new(webhook.key.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={digest}"
    return urllib.request.Request(webhook.url.get_secret_value(), body, headers)


@cache
def settings():
    return Webhook.load("runs")
