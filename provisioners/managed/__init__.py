"""The pool that needs no account: flows run on the worker's machine, apart from it, with packages of their own."""

from __future__ import annotations

import os

from poolform.core.plugins import hookimpl


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where it is."""
    return {"managed": "poolform.provisioners.managed.pool_type:Managed"} if os.name == "posix" else {}
