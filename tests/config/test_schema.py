"""The published schema says what the loader says, key by key, as far as a schema can."""

import math
import re

import pytest

from resilience.config import ConfigurationFileError, parse, schema

SCHEMA = schema()
TABLES = {
    "retry": "RetryPart",
    "budget": "BudgetPart",
    "circuit": "CircuitPart",
    "health": "HealthPart",
    "hedge": "HedgePart",
    "limit": "LimitPart",
    "throttle": "ThrottlePart",
    "rate_limit": "RateLimitPart",
    "guard": "GuardPart",
    "ejection": "EjectionPart",
}
NEEDED = {"health": {"path": "/"}, "hedge": {"after": 1}, "rate_limit": {"rate": 1}, "guard": {"max_bytes": 1}}
CHOICES = [
    ("discovery", "dns", "DnsPart"),
    ("balancer", "peak_ewma", "PeakEwmaPart"),
    ("balancer", "rendezvous", "RendezvousPart"),
]
STAGES = {
    "timeout": {"seconds": 1},
    "bulkhead": {"limit": 1},
    "fallback": {"value": 1},
    "retry": {},
    "hedge": {"after": 1},
}
VALUES = [
    None,
    False,
    True,
    0,
    0.0,
    -1,
    0.5,
    1,
    2,
    1e400,
    float("nan"),
    "0s",
    "0.0 m",
    "2s",
    " 250 ms ",
    "2S",
    "2",
    [],
    {},
]
# What a schema cannot say: how one number compares with another, and what a text has to look like.
TOGETHER = {
    ("circuit", "max_open_for"),
    ("dns", "max_ttl"),
    ("limit", "initial"),
    ("limit", "most"),
    ("limit", "law"),
    ("guard", "max_bytes"),
    ("guard", "status"),
}
TEXTS = {"path", "name", "content_type", "header", "deadline_header", "on"}


def fits(what, value):
    """Tell whether the value is what this part of the schema describes."""
    if not what.keys() - {"default", "title", "description"}:
        return True
    if "$ref" in what:
        return fits(SCHEMA["$defs"][what["$ref"].rpartition("/")[2]], value)
    if "anyOf" in what or "oneOf" in what:
        return any(fits(each, value) for each in what.get("anyOf", what.get("oneOf")))
    if "const" in what or "enum" in what:
        return any(type(value) is type(each) and value == each for each in what.get("enum", [what.get("const")]))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if what["type"] in {"number", "integer"}:
        return (
            number
            and (what["type"] == "number" or isinstance(value, int))
            and what.get("minimum", value) <= value <= what.get("maximum", value)
            and not value <= what.get("exclusiveMinimum", float("-inf"))
            and not value >= what.get("exclusiveMaximum", float("inf"))
        )
    if what["type"] == "string":
        return isinstance(value, str) and bool(re.search(what.get("pattern", ""), value))
    if what["type"] == "array":
        return isinstance(value, list) and len(value) >= what.get("minItems", 0)
    if what["type"] == "object":
        return isinstance(value, dict) and all(key in value for key in what.get("required", ()))
    return {"null": value is None, "boolean": isinstance(value, bool)}[what["type"]]


def loads(data):
    try:
        parse(data)
    except ConfigurationFileError:
        return False
    return True


def keys():
    for key, what in SCHEMA["$defs"]["ServicePart"]["properties"].items():
        yield f"service.{key}", what, lambda value, key=key: {"defaults": {key: value}}
    for table, part in TABLES.items():
        for key, what in SCHEMA["$defs"][part]["properties"].items():
            if (table, key) not in TOGETHER:
                rest = NEEDED.get(table, {})
                yield (
                    f"{table}.{key}",
                    what,
                    lambda value, rest=rest, key=key, table=table: {"defaults": {table: {**rest, key: value}}},
                )
    for choice, kind, part in CHOICES:
        for key, what in SCHEMA["$defs"][part]["properties"].items():
            if key != "kind" and (kind, key) not in TOGETHER:
                yield (
                    f"{kind}.{key}",
                    what,
                    lambda value, key=key, choice=choice, kind=kind: {"defaults": {choice: {"kind": kind, key: value}}},
                )
    for kind, rest in STAGES.items():
        name = "".join(map(str.title, kind.split("_"))) + "Stage"
        for key, what in SCHEMA["$defs"][name]["properties"].items():
            if key != "kind":
                yield (
                    f"{kind} stage.{key}",
                    what,
                    lambda value, rest=rest, key=key, kind=kind: {
                        "pipelines": {"a": [{"kind": kind, **rest, key: value}]}
                    },
                )


KEYS = list(keys())


@pytest.mark.parametrize(("key", "what", "data"), KEYS, ids=[key for key, *_ in KEYS])
def test_what_the_schema_allows_is_loaded_and_nothing_else(key, what, data):
    for value in VALUES:
        if isinstance(value, float) and not math.isfinite(value):
            continue  # no JSON: what becomes of it is TOML's business
        if isinstance(value, str) and key.rpartition(".")[2] in TEXTS:
            continue
        if value == {} and key.startswith("service."):
            continue  # a table is looked at key by key
        assert loads(data(value)) == fits(what, value), value


@pytest.mark.parametrize(("key", "what", "data"), KEYS, ids=[key for key, *_ in KEYS])
def test_whatever_a_number_is_the_answer_is_typed(key, what, data):
    for value in (*VALUES, 10**400, -(10**400), float("-inf")):
        loads(data(value))


def test_the_bounds_are_those_of_the_library():
    for bound in (1, 1.25):
        found = parse({"defaults": {"balancer": {"kind": "rendezvous", "header": "x-user", "bounded_load": bound}}})
        assert found.defaults.balancer.bounded_load == bound


def test_null_says_nothing_where_it_is_no_value():
    found = parse({"defaults": {"retry": {"max_attempts": None, "wait": {"base": None}}, "panic": None}}).defaults
    assert found == parse({"defaults": {"retry": {"wait": {}}}}).defaults
    assert parse({"defaults": {"limit": {"law": "gradient2", "target": None}}}).defaults.limit is not None
    assert parse({"defaults": {"total_timeout": 2}, "services": {"web": {"total_timeout": None, "balancer": None}}})
    (policy,) = parse({"pipelines": {"a": [{"kind": "fallback", "value": None}]}}).pipelines["a"].policies
    assert policy.value is None


@pytest.mark.parametrize("endless", ["max_retry_after", "stale_for", "last_good"])
def test_what_may_be_endless(endless):
    for data in (
        {"defaults": {"retry": {endless: float("inf")}}},
        {"defaults": {"discovery": {"kind": "dns", endless: float("inf")}}},
        {"pipelines": {"a": [{"kind": "fallback", endless: float("inf")}]}},
    ):
        if loads(data):
            return
    raise AssertionError(endless)
