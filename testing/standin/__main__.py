"""The executable that `serve.install` puts into a mirror: `python -m poolform.testing.standin FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from poolform.testing.standin.serve import main

main(Path(sys.argv[1]), os.environ)
