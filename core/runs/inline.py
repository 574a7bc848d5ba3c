"""Code that travels with each run: a few small files, compressed, for jobs that know no folder of ours."""

from __future__ import annotations

import json
import zlib
from base64 import b85encode
from typing import TYPE_CHECKING

from poolform.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from poolform.core.runs.launchers import Json

LIMIT = 6000
"""Most characters that the files may take, compressed: ECS has 8,192 for them, the parameters and all else of a run."""


def pack(folder: Path, files: Sequence[str]) -> dict[str, Json]:
    """Return a source that brings these files of a folder along. Raises UsageError over the limit, and for no text."""
    if not files:
        raise UsageError("There are no files to send along: the flow is in an installed package.")
    texts = {}
    for path in sorted(files):
        try:
            with (folder / path).open(encoding="utf-8", newline="") as file:
                texts[path] = file.read()
        except UnicodeDecodeError as exc:
            raise UsageError(f"{path} cannot be sent along with a run: it is not UTF-8 text.", hint=_HINT) from exc
        except OSError as exc:
            raise UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    # `$` is what Kubernetes expands in an environment, so `,` stands in its place, which base85 leaves unused.
    packed = b85encode(zlib.compress(json.dumps(texts, ensure_ascii=False).encode(), 9)).decode().replace("$", ",")
    if len(packed) > LIMIT:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise UsageError(
            f"{min(files)}{more} take {len(packed):,} characters compressed, and a run can bring {LIMIT:,} along.",
            hint=_HINT,
        )
    return {"type": "inline", "files": packed}


_HINT = "Put the code into an image (--image NAME:TAG) or fetch it from a repository or bucket (--source URL)."
