"""A team's database: the same command line, with PostgreSQL instead of the file."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.postgresql


@pytest.mark.slow
def test_from_a_pool_to_a_run_and_back(poolform, postgresql_url, tmp_path, home):
    (tmp_path / "flow.py").write_text("def greet(name: str):\n    print(f'Hello, {name}!')\n")
    env = {"POOLFORM_DATABASE_URL": postgresql_url}
    assert poolform("work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes", **env).code == 0
    assert poolform("deploy", "flow.py:greet", "--name", "d", "--pool", "p", **env).code == 0
    done = poolform("deployment", "run", "greet/d", "--watch", "--param", "name=Ana", **env)
    assert (done.code, done.out) == (0, "Hello, Ana!\n")
    assert not (home / "poolform.db").exists()
    # Somebody else's machine: the same pool and runs, but the state is not there.
    there = {**env, "POOLFORM_HOME": tmp_path / "another-home"}
    (run,) = poolform("flow-run", "ls", "-o", "json", **there).json
    assert run["state"] == "completed"
    assert poolform("flow-run", "logs", run["id"], **there).out == "Hello, Ana!\n"
    refused = poolform("work-pool", "drift", "p", **there)
    assert (refused.code, "is not on this machine" in refused.err) == (1, True)
    assert poolform("work-pool", "deprovision", "p", "--yes", **env).code == 0


def test_a_server_that_is_down_is_a_sentence(poolform):
    result = poolform("work-pool", "ls", POOLFORM_DATABASE_URL="postgresql://somebody:hunter2@127.0.0.1:1/nowhere")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "hunter2" not in result.err
    assert "127.0.0.1" in result.err
