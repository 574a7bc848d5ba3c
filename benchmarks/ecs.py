"""ECS against bare Terraform and a bare boto3 loop, with the real AWS provider in front of the tests' stand-in account.

Needs the development environment (moto), Terraform, and the provider in a filesystem mirror: POOLFORM_TEST_PROVIDERS
names it, else it is looked for. The stand-in answers in milliseconds, so what is measured is what we add; on AWS, where
each call takes longer, our share is smaller.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import ROOT, clean_environment, in_turn, installed, report, run, throwaway, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(ROOT / "tests"))

LAUNCHES = 300
ROUNDS = 5
# Both loops ask for the same task in the same way, each with a token of its own.
LOOPS = """
import sys, time, uuid
from dataclasses import replace
from poolform.core.pools.records import connection_of
from poolform.core.runs.jobs import base_job_template, resolve, with_defaults
from poolform.core.runs.launchers import Job
from poolform.core.settings import Settings
from poolform.core.store import pools
from poolform.core.store.database import open_store
from poolform.provisioners.ecs.pool_type import EcsPush

which, number = sys.argv[1], int(sys.argv[2])
with open_store(Settings.from_environment().database_url) as store, store.read() as tx:
    connection = connection_of(pools.get(tx, "again"))
launcher = EcsPush().launcher(connection, None)
configuration = resolve(with_defaults(base_job_template(EcsPush), connection.job_defaults))
job = Job("first.1", "job", ("true",), configuration, {"POOLFORM_RUN_ID": "x"})
request = launcher.prepare(job)["run_task"]
ecs = launcher._clients["ecs"]
ecs.run_task(**request)
start = time.perf_counter()
for _ in range(number):
    key = f"{uuid.uuid4()}.1"
    if which == "bare":
        ecs.run_task(**{**request, "clientToken": key, "startedBy": key.replace(".", "/")})
    else:
        one = replace(job, key=key)
        launcher.launch(Job.from_json(replace(one, request=launcher.prepare(one)).to_json()))
print(number / (time.perf_counter() - start))
"""


def mirror() -> Path | None:
    """Return the filesystem mirror that has the AWS provider."""
    named = os.environ.get("POOLFORM_TEST_PROVIDERS")
    if named:
        return Path(named)
    pattern = "*/registry.terraform.io/hashicorp/aws/*/terraform-provider-aws*"
    command = ("find", "/", "-xdev", "-path", pattern, "-print", "-quit")
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return Path(found[0]).parents[5] if found else None


def main() -> None:
    """Measure and print."""
    providers = mirror()
    try:
        from clouds.aws import running
    except ModuleNotFoundError:
        providers = None
    if providers is None or shutil.which("terraform") is None:
        print("\nECS: left out; it needs moto, Terraform and the hashicorp/aws provider on disk")
        return
    bins = installed()
    with throwaway() as folder, running() as aws:
        env = clean_environment(folder / "home", **aws.environment)
        (folder / "terraform.rc").write_text(
            f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(providers))}\n  }}\n}}\n"
        )
        provision(bins, folder, env)
        aws.tasks.start_delay = 3600.0  # nobody needs these tasks to run
        launch(bins, env)


def provision(bins: Path, folder: Path, env: dict[str, str]) -> None:
    """Provision, again, and a second pool; the bare rival shares a plugin cache, as people's do."""
    number = itertools.count()
    bare_env = {**env, "TF_PLUGIN_CACHE_DIR": str(folder / "plugins")}
    (folder / "plugins").mkdir()
    create = (bins / "poolform", "work-pool", "create", "--type", "ecs:push", "--provision-infra", "--yes")

    def module() -> Path:
        where = folder / f"module-{next(number)}"
        run(bins / "poolform", "work-pool", "render", "--type", "ecs:push", "--out", where, env=env)
        return where

    def bare(where: Path) -> None:
        run("terraform", "init", "-input=false", env=bare_env, cwd=where)
        run("terraform", "plan", "-input=false", "-out=plan.bin", env=bare_env, cwd=where)
        run("terraform", "apply", "-input=false", "plan.bin", env=bare_env, cwd=where)

    fresh: Iterator[Path] = iter([module() for _ in range(ROUNDS + 1)])  # and one to warm up
    first = in_turn(
        {
            "terraform init, plan, apply": lambda: bare(next(fresh)),
            "poolform work-pool create": lambda: run(*create, f"p{next(number)}", env=env),
        },
        runs=ROUNDS,
    )
    again = module()
    bare(again)
    run(*create, "again", env=env)
    second = in_turn(
        {
            "terraform init, plan, apply": lambda: bare(again),
            "poolform work-pool provision-infra": lambda: run(
                bins / "poolform", "work-pool", "provision-infra", "again", "--yes", env=env
            ),
        },
        runs=ROUNDS,
    )
    for title, figures, budget in (("Provision", first, 1.05), ("Provision again", second, 0.6)):
        rival, own = figures.values()
        report(f"{title}, ecs:push", figures, [verdict("ratio, ecs:push", own.median / rival.median, budget)])
    copies = [p for p in (folder / "home").rglob("terraform-provider-aws*") if p.is_file() and not p.is_symlink()]
    real = {path.resolve() for path in copies}
    inside = [path for path in real if str(path).startswith(str(folder / "home"))]
    print(f"  {'ok  ' if not inside else 'OVER'} copies of the provider in Poolform's home: {len(inside)} (budget ≤ 0)")


def launch(bins: Path, env: dict[str, str]) -> None:
    """Launch in a loop, ours and bare; each rate is of a process of its own."""
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(5):
        for which, found in rates.items():
            said = run(bins / "python", "-c", LOOPS, which, LAUNCHES, env=env)
            found.append(float(said))
    bare, ours = (sorted(rates[which])[2] for which in ("bare", "ours"))
    print(f"\nLaunching on ECS, {LAUNCHES} tasks")
    print(f"  bare boto3 loop {bare:30.0f} a second")
    print(f"  EcsLauncher {ours:34.0f} a second")
    print(f"  {verdict('rate against the bare loop', ours / bare, 0.8, at_least=True)}")


if __name__ == "__main__":
    main()
