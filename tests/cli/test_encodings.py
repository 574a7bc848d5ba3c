"""Terminals whose encoding is not UTF-8: what they cannot show is escaped, and nothing fails for it."""

from __future__ import annotations

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_what_a_terminal_cannot_show_is_escaped_and_json_stays_json(poolform, tmp_path):
    (tmp_path / "flows.py").write_text('def greet():\n    """Grüßt."""\n    print("Grüße ✓")\n', encoding="utf-8")
    assert poolform("work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes").code == 0
    assert poolform("deploy", "flows.py:greet", "--name", "t", "--pool", "p", **ASCII).code == 0
    watched = poolform("deployment", "run", "greet/t", "--watch", **ASCII)
    assert (watched.code, watched.out) == (0, "Gr\\xfc\\xdfe \\u2713\n"), watched.err
    (run,) = poolform("flow-run", "ls", "-o", "json", **ASCII).json
    assert poolform("flow-run", "logs", run["id"], "-o", "json", **ASCII).json[0]["line"] == "Grüße ✓"
    assert poolform("deployment", "inspect", "greet/t", "-o", "json", **ASCII).json["description"] == "Grüßt."
    assert "Gr\\xfc\\xdft." in poolform("deployment", "inspect", "greet/t", **ASCII).out
    assert poolform("flow-run", "logs", run["id"]).out == "Grüße ✓\n"
