"""Shows what checkov finds in a plan, and stops on the checks that CHECKOV_STOP_ON names: "CKV_AWS_24,CKV_GCP_*".

Needs checkov (https://www.checkov.io) on the PATH; CHECKOV may name another program. Nothing is sent anywhere.
"""

import json
import os
import subprocess
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from poolform import Review, hookimpl

FLAGS = ("--framework", "terraform_plan", "--output", "json", "--quiet", "--compact", "--skip-download")


@hookimpl
def poolform_review_plan(pool, plan):
    resources = list(changed(plan))
    if not resources:
        return
    stops = [pattern.strip() for pattern in os.environ.get("CHECKOV_STOP_ON", "").split(",")]
    for check in failed(resources):
        stop = any(fnmatchcase(check["check_id"], pattern) for pattern in stops)
        text = f"{check['check_name']} ({check['check_id']})"
        yield Review("error" if stop else "warning", text, check["resource"])


def changed(plan):
    """Yield what would be made or changed as Terraform writes planned values, without what is secret."""
    for change in plan.changes:
        if change.action != "destroy":
            values = {name: value for name, value in (change.after or {}).items() if name not in change.sensitive}
            yield {
                "address": change.address,
                "mode": "managed",
                "type": change.type,
                "name": change.name,
                "values": values,
            }


def failed(resources):
    """Return the checks that fail. Raises RuntimeError when checkov does, which stops the plan as well."""
    document = {
        "format_version": "1.2",
        "terraform_version": "1.10.0",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": [
            {**resource, "change": {"actions": ["create"], "before": None, "after": resource["values"]}}
            for resource in resources
        ],
    }
    with tempfile.TemporaryDirectory(prefix="checkov-") as folder:  # nobody else's to read
        (Path(folder) / "plan.json").write_text(json.dumps(document), encoding="utf-8")
        command = [os.environ.get("CHECKOV", "checkov"), "--file", "plan.json", *FLAGS]
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    if done.returncode not in (0, 1):  # 1: some checks fail
        raise RuntimeError(f"checkov exited {done.returncode}: {' '.join(done.stderr.split())[-200:]}")
    return json.loads(done.stdout).get("results", {}).get("failed_checks", [])
