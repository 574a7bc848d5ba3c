"""How a job ends, as its exit code. Any other code is not the runtime's: the platform, or `os._exit` in the flow."""

from __future__ import annotations

COMPLETED = 0
FAILED = 1
"""The flow raised, or called sys.exit with something other than 0."""
CODE_NOT_FOUND = 70
"""The source's folder, the file or the module is not there."""
ENTRYPOINT_INVALID = 71
"""The file or module cannot be imported, or has no such function."""
PARAMETERS_INVALID = 72
"""The parameters do not fit the flow's signature."""
TIMED_OUT = 73
CANCELLED = 74
"""SIGTERM or Ctrl-C ended it."""
