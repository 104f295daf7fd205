"""Where each key of a TOML or JSON text stands."""

import json
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.config.lines import lines_of, nearest

TOML = '''\
title = "a # no comment [x]"  # a comment

[a]
b = 1
"c.d" = { e = 1, f = [1, 2] }
many = [
  1,  # one
  { x = 1 },
  [ 3,
    4 ],
]
text = """
[not.a.table]
x = 1
"""
raw = \'\'\'it's "so" \'\'\'
dotted.key.path = 3

[a.deep."er.x"]
y = 2020-01-01

[[list]]
n = 1
[list.sub]
m = 1
[[list]]
n = 2
[list.sub]
m = 2
[[list.inner]]
k = 1
'''


def test_toml():
    found = lines_of(TOML, toml=True)[0]
    assert found[("title",)] == 1
    assert found[("a",)] == 3
    assert found[("a", "b")] == 4
    assert found[("a", "c.d")] == found[("a", "c.d", "e")] == found[("a", "c.d", "f", 1)] == 5
    assert found[("a", "many")] == 6
    assert found[("a", "many", 0)] == 7
    assert found[("a", "many", 1, "x")] == 8
    assert found[("a", "many", 2, 0)] == 9
    assert found[("a", "many", 2, 1)] == 10
    assert found[("a", "text")] == 12
    assert found[("a", "raw")] == 16
    assert found[("a", "dotted", "key", "path")] == 17
    assert found[("a", "deep", "er.x", "y")] == 20
    assert found[("list", 0, "n")] == 23
    assert found[("list", 0, "sub", "m")] == 25
    assert found[("list", 1)] == 26
    assert found[("list", 1, "n")] == 27
    assert found[("list", 1, "sub", "m")] == 29
    assert ("not",) not in found


def test_what_is_not_there_is_near_what_is_around_it():
    found = lines_of(TOML, toml=True)[0]
    assert nearest(found, ("a", "deep", "other", "z")) == 19
    assert nearest(found, ("list", 1, "what")) == 26
    assert nearest(found, ("nowhere",)) is None


KEY = st.text(alphabet="abcxyz", min_size=1, max_size=4)
SCALAR = st.integers(0, 99) | st.text(alphabet='ab {}[],:"#\\', max_size=5) | st.booleans()
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3), max_leaves=10
)
DATA = st.dictionaries(KEY, VALUE, max_size=4)


def paths(value, path=()):
    """Every path of the data, in the order in which a writer puts them down."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield (*path, number)
            yield from paths(inner, (*path, number))


@given(data=DATA)
def test_json_with_a_line_for_everything(data):
    text = json.dumps(data, indent=1)
    found = lines_of(text, toml=False)[0]
    assert list(found) == list(paths(data))
    lines = text.splitlines()
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert lines[line - 1].strip().startswith(f'"{path[-1]}":')


def toml_value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml_value(inner)}' for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(toml_value(inner) for inner in value) + "\n]"
    return json.dumps(value)


@given(data=DATA)
def test_toml_whatever_stands_in_its_texts(data):
    text = "\n".join(f"{key} = {toml_value(value)} # {key}" for key, value in data.items())
    found = lines_of(text, toml=True)[0]
    assert list(found) == list(paths(data))
    lines = text.splitlines()
    for key in data:
        assert re.match(rf"{key} = ", lines[found[(key,)] - 1])


@pytest.mark.parametrize(
    "long",
    [
        '""""""',
        '"""quoted: ""a"""""',
        '"""escaped: \\""" and\nx = 1"""',
        '"""a backslash: \\\\"""',
        "'''quoted: ''a'''''",
        "'''a backslash: \\'''",
        '"""\n\'\'\'\n"""',
    ],
)
def test_long_texts_end_where_they_end(long):
    text = f"a = {long}\nb = 2\n"
    assert list(tomllib.loads(text)) == ["a", "b"]
    found = lines_of(text, toml=True)[0]
    assert found == {("a",): 1, ("b",): text.count("\n")}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing"])
def test_nothing(text):
    assert lines_of(text, toml=True)[0] == {}


def test_what_stands_close_together_is_told_apart():
    text = """\
[[a]]# no = 1
[b]# no = 1
x = [[1],[2,3]]# no = 1
y = {z = {w = 1}}# no = 1
"""
    assert list(tomllib.loads(text)) == ["a", "b"]
    in_x = [("b", "x"), ("b", "x", 0), ("b", "x", 0, 0), ("b", "x", 1), ("b", "x", 1, 0), ("b", "x", 1, 1)]
    in_y = [("b", "y"), ("b", "y", "z"), ("b", "y", "z", "w")]
    expected = {("a",): 1, ("a", 0): 1, ("b",): 2} | dict.fromkeys(in_x, 3) | dict.fromkeys(in_y, 4)
    assert lines_of(text, toml=True)[0] == expected


def test_single_quotes_hold_texts_too():
    text = "'c.d' = 1\na = ['],', '#']\nb = 2\n"
    data = tomllib.loads(text)
    assert list(data) == ["c.d", "a", "b"]
    assert lines_of(text, toml=True)[0] == {("c.d",): 1, ("a",): 2, ("a", 0): 2, ("a", 1): 2, ("b",): 3}


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a\tb\n", "a/b", "caf\u00e9", "\b\f\r", "\x00", "\ufeffa"])
def test_a_key_is_what_its_escapes_stand_for(key):
    assert lines_of(json.dumps({key: 1}), toml=False)[0] == {(key,): 1}
    assert lines_of(f"{json.dumps(key)} = 1\n", toml=True)[0] == {(key,): 1}


def test_escapes_of_signs_beyond_the_first_65536():
    assert list(lines_of('{"\\ud83d\\ude00": 1,\n"\\ud800": 2}', toml=False)[0]) == [("\U0001f600",), ("\ud800",)]
    assert list(lines_of('"\\U0001F600" = 1', toml=True)[0]) == [("\U0001f600",)]


def test_keys_that_stand_twice():
    text = '{"a": {"x": 1},\n"b": [{"a": 1,\n"a": 2}],\n"a": {"x": 1,\n"x": 2}}'
    assert lines_of(text, toml=False)[1] == {("b", 0, "a"): 3, ("a",): 4}


def test_after_a_key_with_a_rare_escape_it_goes_on():
    found = lines_of('{"\\u00e9": 1,\n"b": 2}', toml=False)[0]
    assert (len(found), found[("b",)]) == (2, 2)
