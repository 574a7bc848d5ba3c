"""What a command costs before it does anything: `work-pool ls` against a bare interpreter, and against Prefect's."""

from __future__ import annotations

from harness import clean_environment, in_turn, installed, prefect, report, run, throwaway, verdict


def main() -> None:
    """Measure and print."""
    bins = installed()
    with throwaway() as folder:
        env = clean_environment(folder / "home")
        run(bins / "poolform", "work-pool", "create", "p", "--type", "process", env=env)
        contenders = {
            "python -c pass (the limit)": lambda: run(bins / "python", "-c", "pass", env=env),
            "poolform work-pool ls": lambda: run(bins / "poolform", "work-pool", "ls", env=env),
            "poolform --help": lambda: run(bins / "poolform", "--help", env=env),
        }
        rival = prefect()
        if rival is not None:
            server = {**env, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
            contenders["prefect --version"] = lambda: run(rival, "--version", env=server)
        figures = in_turn(contenders, runs=15)
        seconds = figures["poolform work-pool ls"].median
        report("CLI start", figures, [verdict("work-pool ls", seconds, 0.15, unit=" s")])


if __name__ == "__main__":
    main()
