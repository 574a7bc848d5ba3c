"""Provisioning against bare `terraform init, plan, apply` of the same module, the first time and again.

The `process` pool's module has one builtin resource, so Terraform itself takes a tenth of a second and what is measured
is our own start; on a cloud, Terraform's time is most of it. See also ecs.py.
"""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING

from harness import clean_environment, in_turn, installed, report, run, throwaway, verdict

if TYPE_CHECKING:
    from pathlib import Path


def main() -> None:
    """Measure and print."""
    bins = installed()
    with throwaway() as folder:
        env = clean_environment(folder / "home")
        run(bins / "poolform", "work-pool", "render", "--type", "process", "--out", folder / "module", env=env)
        number = itertools.count()
        create = (bins / "poolform", "work-pool", "create", "--type", "process", "--provision-infra", "--yes")

        def ours() -> None:
            name = f"p{next(number)}"
            run(*create, name, env=env)

        def bare(where: Path | None = None) -> None:
            where = where or shutil.copytree(folder / "module", folder / f"bare-{next(number)}")
            run("terraform", "init", "-input=false", env=env, cwd=where)
            run("terraform", "plan", "-input=false", "-out=plan.bin", env=env, cwd=where)
            run("terraform", "apply", "-input=false", "plan.bin", env=env, cwd=where)

        first = in_turn({"terraform init, plan, apply": bare, "poolform work-pool create": ours}, runs=7)
        again = shutil.copytree(folder / "module", folder / "again")
        bare(again)
        run(*create, "again", env=env)
        second = in_turn(
            {
                "terraform init, plan, apply": lambda: bare(again),
                "poolform work-pool provision-infra": lambda: run(
                    bins / "poolform", "work-pool", "provision-infra", "again", "--yes", env=env
                ),
            },
            runs=7,
        )
        for title, figures, budget in (("Provision", first, 1.05), ("Provision again", second, 0.6)):
            rival, own = figures.values()
            more = own.median - rival.median
            lines = [
                verdict("ratio, process pool", own.median / rival.median, budget),
                f"     difference: {more:+.3f} s",
            ]
            report(f"{title}, process pool", figures, lines)


if __name__ == "__main__":
    main()
