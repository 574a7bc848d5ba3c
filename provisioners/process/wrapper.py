"""The shell around each job: it starts the job at most once, and records which process it is and how it ended.

It must outlive everybody: with it, a job's exit code is kept while no dispatcher runs. `sh` starts in 1 ms, a Python
would take ten; the script runs no program but the job, so the job's own PATH cannot confuse it.
"""

from __future__ import annotations

CLAIM = "pid"
"""The file whose creation (O_EXCL, by the shell's noclobber) is the right to start the job; holds who created it."""
EXIT = "exit"
"""The file with the exit code. Complete when it ends with a newline: one write, so never half a number."""

# $1 is the job's folder; the rest is its command. A signal to the group reaches the job by itself; the shell only
# notes it, so as to stay and see the job end. `trap :` would be enough, but for a signal before the job is started.
SCRIPT = """\
trap stopped=1 TERM INT HUP QUIT
set -C
if [ -r /proc/self/stat ]; then
  read -r self </proc/self/stat
  read -r boot </proc/sys/kernel/random/boot_id
else
  self="$$ $(ps -o lstart= -p $$)" boot=
fi
{ echo "$self $boot" >"$1/pid"; } 2>/dev/null || exit 0
folder=$1 code=143
shift
if [ -z "$stopped" ]; then
  "$@"
  code=$?
fi
echo $code >"$folder/exit"
exit $code
"""
