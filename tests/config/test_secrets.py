"""What is told of files and variables that make no sense: where, and why; never the text, which may be a secret."""

import dataclasses
import sys
import traceback

import pytest

import resilience
from resilience.config import ConfigurationFileError, load, parse
from resilience.config.model import ServicePart

SECRET = "hunter2"
EVERY_KEY = [name for name in ServicePart.model_fields if name != "schema_"]


def refused(*, text=None, path=None, environment=None, data=None):
    """Load what cannot be used; see that nothing of it is told, by the error and by what it hangs on to."""
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationFileError) as caught:
        load(path, environment=environment) if data is None else parse(data)
    error = caught.value
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in repr([dataclasses.astuple(problem) for problem in error.problems])
    assert SECRET not in repr((error.args, error.value, error.argument, error.expected))
    while error is not None:
        assert SECRET not in repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        (f"[services.a]\npassword = {SECRET}\n", "a.toml", ":2: expected valid TOML: Invalid value (column 12)"),
        (f"[services.a]\nx = 1 {SECRET}", "a.toml", ":2: expected valid TOML: Expected newline or end of document"),
        (f"x = '{SECRET}", "a.toml", ': expected valid TOML: Expected "\'" (at end of document)'),
        (f'{{"a":\n {{"b": {SECRET}}}}}', "a.json", ":2: expected valid JSON: Expecting value (column 8)"),
        (f'{{"b": "{SECRET}"}} x', "a.json", ":1: expected valid JSON: Extra data (column 18)"),
        (f'["{SECRET}"]', "a.json", ":1: expected an object with services, defaults, pipelines"),
        (f'"{SECRET}"', "a.json", ":1: expected an object with services, defaults, pipelines"),
        (f"a = '{SECRET}\xff'".encode("latin-1"), "a.toml", ": 'a.toml': expected text in UTF-8"),
        (f"password = '{SECRET}'", "a.toml", ":1: password: no such key"),
    ],
)
def test_a_file_that_makes_no_sense_is_not_shown(tmp_path, text, name, told):
    path = tmp_path / name
    assert refused(text=text, path=path).startswith(f"{path}{told}")


@pytest.mark.parametrize("variable", ["RESILIENCE__SERVICES", "RESILIENCE__DEFAULTS", "RESILIENCE__SERVICES__WEB"])
@pytest.mark.parametrize("value", [f'{{"a": {{"password": "{SECRET}"}},}}', f"{{{SECRET}", SECRET, f'"{SECRET}"'])
def test_a_variable_that_is_no_table_is_not_shown(tmp_path, variable, value):
    text = "[services.web]\nretry = false\n[services.other]\n"
    told = refused(text=text, path=tmp_path / "a.toml", environment={variable: value})
    assert told == f"{variable}: expected a table, in valid JSON"


@pytest.mark.parametrize("key", EVERY_KEY)
@pytest.mark.parametrize("value", [f'{{"password": {SECRET}}}', f'["{SECRET}"', f' [{{"a": "{SECRET}"}},]'])
def test_broken_json_is_not_shown_whatever_the_key(key, value):
    variable = f"RESILIENCE__DEFAULTS__{key.upper()}"
    told = refused(environment={variable: value})
    assert told.startswith(f"{variable}: expected ")
    assert "valid JSON" in told


def test_a_list_is_json_too():
    told = refused(environment={"RESILIENCE__PIPELINES__MAIL": f'[{{"kind": "{SECRET}"'})
    assert told == "RESILIENCE__PIPELINES__MAIL: expected a list, in valid JSON"


def test_what_only_looks_like_json_is_a_text():
    environment = {"RESILIENCE__PIPELINES": '{"mail": [{"kind": "fallback", "value": ""}]}'}
    environment["RESILIENCE__PIPELINES__MAIL__0__VALUE"] = "{name} is away"
    (policy,) = load(environment=environment).pipelines["mail"].policies
    assert policy == resilience.Fallback("{name} is away")


def test_values_that_are_texts_are_shown_as_before():
    with pytest.raises(
        ConfigurationFileError, match=r"RESILIENCE__DEFAULTS__PANIC: defaults.panic = 'often': expected"
    ):
        load(environment={"RESILIENCE__DEFAULTS__PANIC": "often"})


@pytest.mark.parametrize("variables", [["NOPE__X"], ["NOPE__X__Y", "DEFAULTS__TOTAL_TIMEOUT"], ["NOPE__X", "NOPE__Z"]])
def test_a_table_that_only_a_variable_has_made_is_the_variables(tmp_path, variables):
    environment = {f"RESILIENCE__{each}": "1" for each in variables}
    told = refused(text="[defaults]\n", path=tmp_path / "a.toml", environment=environment)
    assert told == f"RESILIENCE__{variables[0]}: nope: no such key"


def test_a_key_that_is_missing_is_missed_where_the_table_is(tmp_path):
    environment = {"RESILIENCE__DEFAULTS__HEALTH__INTERVAL": "5"}
    path = tmp_path / "a.toml"
    told = refused(text="[defaults]\n", path=path, environment=environment)
    assert told.startswith("RESILIENCE__DEFAULTS__HEALTH__INTERVAL: defaults.health.path = ")
    told = refused(text="[defaults]\n[defaults.health]\ntimeout = 1\n", path=path, environment=environment)
    assert told.startswith(f"{path}:2: defaults.health.path = ")


def test_a_key_of_the_file_is_the_files_though_a_variable_adds_to_it(tmp_path):
    path = tmp_path / "a.toml"
    told = refused(text="[nope]\ny = 1\n", path=path, environment={"RESILIENCE__NOPE__X": "1"})
    assert told == f"{path}:1: nope: no such key"


def test_variables_that_take_each_others_place():
    environment = {"RESILIENCE__DEFAULTS__RETRY": SECRET, "RESILIENCE__defaults": "5"}
    assert refused(environment=environment) == "RESILIENCE__defaults: defaults = 5: expected a table"
    data = {"defaults": {"panic": "often"}}
    with pytest.raises(ConfigurationFileError, match="A__B: defaults.panic = 'often': expected"):
        parse(data, names={("defaults", "panic"): "A__B"})
    with pytest.raises(ConfigurationFileError, match="A__B: nope: no such key"):
        parse({"nope": 1}, names={("nope", "x"): "A__B"})


DEEP = "[" * 5000 + "]" * 5000
TOO_DEEP = "expected tables and lists nested less deeply"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"x = {DEEP}", "a.toml"),
        ("x = " + "{a=" * 3000 + "1" + "}" * 3000, "a.toml"),
        (f'{{"x": {DEEP}}}', "a.json"),
        (DEEP, "a.json"),
    ],
)
def test_what_nobody_can_follow_is_refused_by_name(tmp_path, text, name):
    path = tmp_path / name
    told = refused(text=text, path=path)
    # How deep is too deep for json differs between versions of Python; whatever it takes is no object here.
    assert told in {f"{path}: {TOO_DEEP}", f"{path}:1: expected an object with services, defaults, pipelines"}


def test_whatever_the_depth_the_error_is_typed(tmp_path):
    path = tmp_path / "a.json"
    limit = sys.getrecursionlimit()
    told = set()
    for depth in range(limit // 10, limit + limit // 10, limit // 50):  # each step of the way gives up at another depth
        text = '{"x": ' + "[" * depth + "]" * depth + "}"
        told.add(refused(text=text, path=path, environment={}))
    assert told == {f"{path}:1: x: no such key", f"{path}: {TOO_DEEP}"}


def test_a_variable_that_nobody_can_follow_is_refused_by_name():
    told = refused(environment={"RESILIENCE__DEFAULTS__RETRY": '{"a":' * 100_000 + "1" + "}" * 100_000})
    assert told == f"RESILIENCE__DEFAULTS__RETRY: {TOO_DEEP}"


def test_data_that_nobody_can_follow_are_refused():
    data = {}
    for _ in range(100_000):
        data = {"a": data}
    assert refused(data={"defaults": {"guard": {"status": [data]}}}) == f"the configuration: {TOO_DEEP}"


@pytest.mark.parametrize(
    ("text", "name"), [("[defaults]\npanic = 0.5\n", "a.toml"), ('{"defaults": {"panic": 0.5}}', "a.json")]
)
def test_a_mark_of_windows_before_the_text_is_no_part_of_it(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8-sig")
    found = load(path)
    assert found.defaults.panic == 0.5
    assert found.line("defaults", "panic") == (2 if name == "a.toml" else 1)
