"""Posts to a webhook whenever a run changes. Where to is kept in a block, for addresses of webhooks are secrets:

$ poolform block create webhook/runs
"""

import atexit
import hashlib
import hmac
import json
import logging
import queue
import threading
import urllib.request
from functools import cache

from pydantic import SecretStr

from poolform import Block, hookimpl

SECONDS = 10.0
"""How long a server may take to answer, and how long we wait for it at the end."""


class Webhook(Block):
    """Where to post to. With a `key`, bodies are signed as GitHub signs them: HMAC, in X-Hub-Signature-256."""

    block_type = "webhook"
    title = "Webhook"

    url: SecretStr
    key: SecretStr | None = None


@hookimpl
def poolform_block_types():
    return [Webhook]


@hookimpl
def poolform_run_changed(run):
    """Leave it to a thread: the worker must not wait for somebody's server. With no room left, say so by queue.Full."""
    fields = ("id", "name", "state", "reason", "deployment", "pool", "attempt")
    poster().news.put_nowait(json.dumps({field: getattr(run, field) for field in fields}).encode())


@cache
def poster():
    return Poster(Webhook.load("runs"))


class Poster(threading.Thread):
    """Posts what is put into `news`, in order. What cannot be delivered is dropped, with a line in Python's log."""

    def __init__(self, webhook):
        super().__init__(name="run-webhook", daemon=True)
        self.webhook, self.news = webhook, queue.Queue(1000)
        self.start()
        atexit.register(self.finish)

    def run(self):
        while (body := self.news.get()) is not None:
            try:
                urllib.request.urlopen(self.request(body), timeout=SECONDS).close()
            except (OSError, ValueError) as exc:  # never the address: it is the secret
                logging.getLogger(__name__).warning("A run's webhook was not delivered: %s", type(exc).__name__)

    def request(self, body):
        headers = {"Content-Type": "application/json"}
        if self.webhook.key:
            digest = hmac.new(self.webhook.key.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        return urllib.request.Request(self.webhook.url.get_secret_value(), body, headers)

    def finish(self):
        """Deliver what is left, as far as there is time."""
        self.news.put(None)
        self.join(SECONDS)
