"""``resilience check``: every warning with its line; and the published schema."""

import json
import sys
from pathlib import Path

import pytest

from resilience.cli import main
from resilience.config import doubts_of, load, schema
from resilience.config.schema import schema_text

DOUBTFUL = """\
[defaults]
total_timeout = 2

[services.web]
retry.max_attempts = 3
attempt_timeout = "5s"

[services.plain]
budget = false
attempt_timeout = 0.2

[[pipelines.payments]]
kind = "circuit"
[[pipelines.payments]]
kind = "retry"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "services.toml"
    path.write_text(DOUBTFUL, encoding="utf-8")
    return path


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["resilience", "check", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capsys.readouterr()
    return caught.value.code, told.out.splitlines(), told.err.splitlines()


def test_each_warning_has_the_line_of_the_key_it_is_about(file):
    found = {(doubt.about, doubt.line): doubt.warning for doubt in doubts_of(load(file))}
    assert found["web", 6].startswith("attempt_timeout=5 s never acts")
    assert found["plain", 9].startswith("retries without a budget")
    assert any(about == "defaults" and line in {1, 2} for about, line in found)


def test_the_command_prints_them(file, capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch, file)
    assert (code, err) == (0, [])
    assert f"{file}:6: web: attempt_timeout=5 s never acts: the deadline of 2 s comes first" in out
    assert out[-1].startswith(f"{file}: 2 services, 1 pipeline, ")
    assert [line for line in out[:-1] if not line.startswith(f"{file}:")] == []


def test_strictly_a_warning_is_a_failure(file, capsys, monkeypatch):
    assert run(capsys, monkeypatch, "--strict", file)[0] == 1


def test_what_is_fine(tmp_path, capsys, monkeypatch):
    path = tmp_path / "fine.json"
    path.write_text('{"services": {"web": {}}}', encoding="utf-8")
    assert run(capsys, monkeypatch, "--strict", path) == (0, [f"{path}: 1 service, 0 pipelines, 0 warnings"], [])


def test_what_is_wrong(tmp_path, capsys, monkeypatch):
    path = tmp_path / "wrong.toml"
    path.write_text("[defaults]\nretry = 5\n", encoding="utf-8")
    assert run(capsys, monkeypatch, path) == (1, [], [f"{path}:2: defaults.retry = 5: expected a table"])
    path.write_text("[defaults]\npassword = hunter2\n", encoding="utf-8")
    told = f"{path}:2: expected valid TOML: Invalid value (column 12)"
    assert run(capsys, monkeypatch, path) == (1, [], [told])
    path.write_text(f"x = {'[' * 5000}{']' * 5000}", encoding="utf-8")
    assert run(capsys, monkeypatch, path) == (1, [], [f"{path}: expected tables and lists nested less deeply"])


def test_the_environment_when_asked(tmp_path, capsys, monkeypatch):
    path = tmp_path / "fine.toml"
    path.write_text("[defaults]\n", encoding="utf-8")
    monkeypatch.setenv("RESILIENCE__DEFAULTS__RETRY", "5")
    assert run(capsys, monkeypatch, path)[0] == 0
    code, _, err = run(capsys, monkeypatch, "--environment", path)
    assert (code, err) == (1, ["RESILIENCE__DEFAULTS__RETRY: defaults.retry = 5: expected a table"])


def test_the_published_schema_is_that_of_the_code():
    """Renewed by ``python -m resilience.config > docs/schema.json``."""
    published = Path(__file__).parents[2] / "docs" / "schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == json.loads(schema_text())


def test_the_schema_describes_every_key_of_a_service():
    from dataclasses import fields

    import resilience

    described = schema()["$defs"]["ServicePart"]["properties"]
    assert set(described) == {field.name for field in fields(resilience.Service)}
    assert schema()["additionalProperties"] is False
