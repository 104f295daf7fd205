"""``resilience check``: every warning with its line; and the published schema."""

import json
import sys
from pathlib import Path

import pytest

import resilience
from resilience.cli import main
from resilience.config import doubts_of, load, schema
from resilience.config.schema import schema_text
from resilience.http.doubts import doubts

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


def test_counts_that_mean_no_limit_are_doubted_in_no_time():
    many = 10**300
    service = resilience.Service(
        retry=resilience.Retry(10**9), circuit=resilience.CircuitBreaker(minimum_calls=many), max_in_flight=many
    )
    assert [warning.split(":")[0] for warning in doubts(service, None)] == [
        f"this circuit never opens by its ratio: {many} calls never fit into 10 s with {many} at a time".split(":")[0]
    ]
    (warning,) = doubts(resilience.Service(retry=resilience.Retry(many), attempt_timeout=1.0), None)
    assert warning.startswith(f"{many} attempts of 1 s do not fit")


def test_every_warning_has_its_own_line_in_a_large_file(tmp_path):
    path = tmp_path / "a.toml"
    tables = (f'[services."s{number}"]\ntotal_timeout = 2\nattempt_timeout = "5s"\n' for number in range(300))
    path.write_text("".join(tables), encoding="utf-8")
    assert [doubt.line for doubt in doubts_of(load(path))] == list(range(3, 903, 3))


def test_a_name_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"pipelines": {"a\nb": [{"kind": "circuit"}, {"kind": "retry"}]}}), encoding="utf-8")
    told = str(doubts_of(load(path))[0])
    assert told.startswith(f"{path}:1: a\\nb: ")


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
