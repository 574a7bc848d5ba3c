# The first thing that runs of a job, in the Python of a Ray node, handed over in its environment: it starts the command
# with exactly the environment that it was given, and passes on what that prints as UTF-8, without which Ray shows no
# log at all. Ray sends its signals to every process of a job, so this one ignores them and waits.
import base64
import codecs
import json
import os
import select
import signal
import subprocess
import sys

job = json.loads(base64.b64decode(os.environ.pop("POOLFORM_JOB")))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)


def restore():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


env = {**os.environ, **job["env"]}
out = open(1, "wb", buffering=0, closefd=False)
try:
    child = subprocess.Popen(
        job["command"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        preexec_fn=restore,
    )
except OSError as exc:
    out.write("{} cannot be started: {}\n".format(job["command"][0], exc.strerror).encode())
    sys.exit(127)
decoder = codecs.getincrementaldecoder("utf-8")("replace")
pipe = child.stdout.fileno()
while True:
    ended = child.poll() is not None
    if not select.select([pipe], [], [], 0.5)[0]:
        if ended:
            break  # something that it left behind holds the pipe open
        continue
    chunk = os.read(pipe, 65536)
    text = decoder.decode(chunk, final=not chunk).encode()
    while text:
        text = text[out.write(text) :]
    if not chunk:
        break
code = child.wait()
if code < 0:  # as the command ended, so does this
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -code)
sys.exit(code)
