"""What runs inside a job: `python -m poolform.runtime`. Standard library only, imports nothing of ours.

All that it needs is in its environment:

- POOLFORM_ENTRYPOINT: `path/to/file.py:function`, relative to the source, or `package.module:function`
- POOLFORM_SOURCE: where the code is, as JSON: `{"type": "local", "path": "/a/folder"}`; absent, the current folder;
  another type is fetched by the module `fetch_TYPE`
- POOLFORM_SOURCE_SECRET: what fetching it takes, as a JSON object; the flow does not see it
- POOLFORM_SCRATCH: the folder in which a folder for fetched code is made; absent, that for temporary files
- POOLFORM_PARAMETERS: a JSON object; absent, `{}`
- POOLFORM_TIMEOUT_SECONDS: how long loading and running the flow may take; absent, for ever
- POOLFORM_GRACE_SECONDS: how long a flow may clean up after its timeout, before it is ended hard; absent, 5
- POOLFORM_WORKING_DIR: the working directory; absent, the source's folder
- POOLFORM_FLOW_NAME, POOLFORM_ATTEMPT, POOLFORM_RUN_ID: told to the log and to the flow, else unused

The flow runs as `python file.py` would run it: the entrypoint's folder is `sys.path[0]` (the source's own folder comes
second), relative paths start at the working directory, SIGTERM is as good as Ctrl-C, and threads that the flow left
running are waited for. Two lines on stdout are the runtime's: `poolform: {"event": "started", …}` first, and an
outcome last: `completed`, `failed`, `timed_out` or `cancelled`, with a `reason`. Exit codes: `exit_codes`.

A job that the platform kills, or a flow that calls `os._exit`, ends without an outcome line.
The same code, compressed, is the bootstrap of images without Poolform; keep it small, and its syntax Python 3.8's.
"""
