"""Alive, ready: what a server says of itself."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.errors import ConfigurationError
from resilience.health.serving import ALIVE, Finding, Report, dependency, readiness, service_name
from resilience.http.origins import checked_name


class Client:
    """Knows of services by name: for each endpoint, why it is not ready."""

    def __init__(self, **services: list[tuple[str, ...]]) -> None:
        self._services = {
            f"{name}:80": SimpleNamespace(endpoints=[SimpleNamespace(not_ready_because=causes) for causes in endpoints])
            for name, endpoints in services.items()
        }

    def status(self) -> Any:
        return SimpleNamespace(services=self._services)


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([(), ()], Finding("pass")),
        ([("full",), ("full",)], Finding("pass")),
        ([(), ("circuit",)], Finding("warn", "1 of 2 endpoints can be called: circuit")),
        ([("full",), ("circuit", "full")], Finding("warn", "1 of 2 endpoints can be called: circuit")),
        (
            [("unhealthy", "circuit"), ("ejected",)],
            Finding("fail", "0 of 2 endpoints can be called: ejected; unhealthy, circuit"),
        ),
        ([], Finding("fail", "0 of 0 endpoints can be called: no endpoints")),
    ],
)
def test_a_dependency_is_what_its_endpoints_are(endpoints: Any, expected: Finding) -> None:
    client = Client(payments=endpoints, other=[("circuit",)])
    assert dependency("payments:80", client) == dependency("payments", client) == expected


def test_never_called_is_a_pass_and_of_several_ports_the_worst_counts() -> None:
    assert dependency("payments", Client()) == Finding("pass", "not called yet")
    client = Client(a=[()])
    client._services["a:81"] = SimpleNamespace(endpoints=[])
    assert dependency("a:80", client).status == "pass"
    assert dependency("a", client).status == "fail"


def test_alive_looks_at_nothing() -> None:
    assert (ALIVE.code, json.loads(ALIVE.body({"version": "1"}))) == (200, {"status": "pass", "version": "1"})


def test_the_answer_in_the_drafts_form() -> None:
    client = Client(payments=[(), ("circuit",)], users=[("circuit",)])
    found = readiness(started=True, draining=False, requires={"payments": client, "users": client})
    assert found.code == 503
    assert json.loads(found.body({"serviceId": "orders"})) == {
        "status": "fail",
        "serviceId": "orders",
        "output": "cannot do without users",
        "checks": {
            "payments": [{"status": "warn", "output": "1 of 2 endpoints can be called: circuit"}],
            "users": [{"status": "fail", "output": "0 of 1 endpoints can be called: circuit"}],
        },
    }


causes = st.lists(st.sampled_from(["draining", "unhealthy", "ejected", "circuit", "full"]), unique=True).map(tuple)


@given(st.booleans(), st.booleans(), st.dictionaries(st.sampled_from("abc"), st.lists(causes, max_size=3)))
def test_ready_is_started_not_draining_and_every_requirement(
    started: bool, draining: bool, services: dict[str, list[tuple[str, ...]]]
) -> None:
    client = Client(**services)
    found = readiness(started=started, draining=draining, requires=dict.fromkeys(services, client))
    callable_ = [any(set(causes) <= {"full"} for causes in endpoints) for endpoints in services.values()]
    assert (found.code == 200) is (started and not draining and all(callable_))
    if found.code == 200:
        whole = all(set(causes) <= {"full"} for endpoints in services.values() for causes in endpoints)
        assert found.status == ("pass" if whole else "warn")
    else:
        assert found.output
    assert isinstance(found, Report)


def test_what_can_be_called_in_part_is_a_warning_and_no_failure() -> None:
    whole, part = Client(a=[()]), Client(b=[(), ("circuit",)])
    assert readiness(started=True, draining=False, requires={"a": whole}) == Report("pass", "", {"a": Finding("pass")})
    found = readiness(started=True, draining=False, requires={"a": whole, "b": part})
    assert (found.status, found.code, found.output) == ("warn", 200, "")
    assert json.loads(found.body({}))["checks"]["a"] == [{"status": "pass"}]


@pytest.mark.parametrize(
    ("started", "draining", "output"), [(False, False, "starting"), (True, True, "draining"), (False, True, "draining")]
)
def test_what_is_known_of_others_is_told_while_it_is_not_ready(started: bool, draining: bool, output: str) -> None:
    found = readiness(started=started, draining=draining, requires={"a": Client(a=[()])})
    assert found == Report("fail", output, {"a": Finding("pass")})


def test_a_dependency_may_be_an_address() -> None:
    client = Client(b=[()])
    client._services["[fd00::1]:80"] = SimpleNamespace(endpoints=[])
    assert dependency("[fd00::1]", client).status == "fail"
    assert dependency("[fd00::1]:80", client).status == "fail"


def test_what_is_called_at_another_port_alone_is_a_warning() -> None:
    client = Client(db=[()])
    client._services["db:443"] = client._services["db:80"]
    assert dependency("db:8080", client) == Finding("warn", "not called yet, but at port 443, 80")
    assert dependency("dbb:80", client) == Finding("pass", "not called yet")


def test_what_knows_its_services_without_ports_is_a_source_too() -> None:
    client = Client()
    client._services["Kafka"] = SimpleNamespace(endpoints=[])
    assert dependency("kafka", client).status == "fail"
    assert dependency("kafka:9092", client) == Finding("pass", "not called yet")


def test_who_cannot_say_what_it_knows_is_a_failure_that_tells_no_secrets() -> None:
    client = Client(a=[()])
    client._services["a:80"] = SimpleNamespace()
    assert dependency("a", client) == Finding("fail", "status() raised AttributeError")


@pytest.mark.parametrize(
    "value",
    ["", ":80", "http://db", "db/x", "db?", "db#x", "a b", "db:0", "db:65536", "db:http", "db:", "a:b:80",
     "10.0.0.999", "[]", "[db]", "[::1", "::1]", "[10.0.0.1]", "[::1]80", "db\n", "bücher", "db:\u0663", 3, None],
)  # fmt: skip
def test_what_is_no_name(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^requires=.*'host:port'"):
        service_name("requires", value)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as raised:
        service_name("requires", "http://me:se@cret@db?token=secret?")
    assert raised.value.value == "db", "and what is no secret is"


@pytest.mark.parametrize("value", ["::1", "0::1", "[::1]", "[0:0::1]"])
def test_an_ipv6_address_has_one_spelling(value: str) -> None:
    assert service_name("requires", value) == "[::1]"
    if value.startswith("["):
        assert service_name("requires", f"{value}:080") == "[::1]:80"


labels = st.text(st.sampled_from("aB9-_."), min_size=1, max_size=12)
ipv4 = st.ip_addresses(v=4).map(str)
ports = st.just("") | st.integers(1, 65_535).map(lambda port: f":{port}")


@given(st.builds(str.__add__, labels | ipv4, ports))
def test_a_service_is_named_as_clients_name_it(name: str) -> None:
    try:
        expected = checked_name(name)
    except ConfigurationError:
        return  # httpx calls no such host
    assert service_name("requires", name) == expected
