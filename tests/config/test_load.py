"""Configuration from files and from the environment: what comes out, and what is said about mistakes."""

import importlib
import json
import sys
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience.config import ConfigurationFileError, load, parse
from resilience.config.values import _SECONDS
from resilience.policies.waits import FullJitter
from resilience.testing import Script, assert_attempts

TOML = """\
# services of the shop
[defaults]
total_timeout = "2s"
retry = { max_attempts = 2, wait = { base = 0.1 }, on = [500, "httpx.ReadTimeout"] }

[services."web.internal"]
balancer = "least_request"
discovery = ["10.0.0.1:8080", { address = "10.0.0.2:8080", weight = 2 }]
hedge = { after = { quantile = 0.95, ceiling = "250ms" } }

[services."pay:9000"]
retry = false
max_in_flight = false
discovery = { kind = "dns", record = "SRV", nameservers = ["127.0.0.1:5353"] }
balancer = { kind = "peak_ewma", decay = 5 }

[services."pay:9000".circuit]
consecutive_failures = 3
open_for = "1m"

[services."pay:9000".health]
path = "/readyz"
expect = "200-204"

[[pipelines.payments]]
kind = "timeout"
seconds = 2

[[pipelines.payments]]
kind = "retry"
budget = false
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="services.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(*args, **kwargs):
    with pytest.raises(ConfigurationFileError) as caught:
        (load if not isinstance(args[0], dict) else parse)(*args, **kwargs)
    return caught.value


def test_what_a_file_says(file):
    found = load(file(TOML))
    assert found.defaults.total_timeout == 2.0
    assert found.defaults.retry.max_attempts == 2
    assert found.defaults.retry.wait == FullJitter(0.1, 1.0)
    assert found.defaults.retry.on == [500, httpx.ReadTimeout]
    assert found.defaults.circuit is not None
    web = found.services["web.internal"]
    assert web.discovery == resilience.Static(["10.0.0.1:8080", ("10.0.0.2:8080", 2)])
    assert isinstance(web.balancer, resilience.LeastRequest)
    assert web.hedge == resilience.Hedge(after=resilience.quantile(0.95, ceiling=0.25))
    assert (web.total_timeout, web.retry) == (2.0, found.defaults.retry)  # of the defaults
    pay = found.services["pay:9000"]
    assert (pay.retry, pay.max_in_flight) == (None, None)
    assert pay.discovery == resilience.Dns(record="SRV", nameservers=["127.0.0.1:5353"])
    assert pay.balancer.decay == 5.0
    assert (pay.circuit.options.consecutive_failures, pay.circuit.options.open_for) == (3, 60.0)
    assert pay.health == resilience.HealthCheck("/readyz", expect=list(range(200, 205)))
    assert found.pipelines["payments"].policies == (resilience.Timeout(2.0), resilience.Retry(budget=False))
    assert found.line("services", "pay:9000", "circuit", "open_for") == 19


def test_json_says_the_same(file):
    import tomllib

    text = json.dumps(tomllib.loads(TOML), indent=1)
    toml, of_json = load(file(TOML)), load(file(text, "services.json"))
    assert dict(of_json.services) == dict(toml.services)
    assert of_json.pipelines["payments"].policies == toml.pipelines["payments"].policies


def test_it_fits_clients_and_registries(file):
    found = load(file(TOML))
    with resilience.Client(transport=Script([], then=503)) as client:
        client.update(services=found.services, defaults=found.defaults)
        response = client.get("http://web.internal")
        assert_attempts(response, [503, 503])
    registry = resilience.Registry(found.pipelines)
    assert registry.names == ("payments",)


def test_nothing_at_all():
    found = load()
    assert found.defaults == resilience.Service()
    assert (dict(found.services), dict(found.pipelines)) == ({}, {})


EVERY_STAGE = [
    ({"kind": "timeout", "seconds": "2s"}, resilience.Timeout(2.0)),
    ({"kind": "retry", "wait": {"cap": 2}}, resilience.Retry(wait=resilience.full_jitter(cap=2))),
    ({"kind": "retry", "on": "TimeoutError"}, resilience.Retry(on=TimeoutError)),
    ({"kind": "retry", "budget": {"ratio": 0.5}}, resilience.Retry(budget=resilience.RetryBudget(0.5))),
    ({"kind": "hedge", "after": 0.5, "extra": 2}, resilience.Hedge(after=0.5, extra=2)),
    ({"kind": "retry", "budget": None}, resilience.Retry(budget=False)),
    ({"kind": "hedge", "after": 0.5, "budget": False}, resilience.Hedge(after=0.5, budget=False)),
    ({"kind": "guard", "json": True, "status": 200}, resilience.Guard(json=True, status=200)),
    ({"kind": "bulkhead", "limit": 3, "queue": 2}, resilience.Bulkhead(3, queue=2)),
    ({"kind": "rate_limit", "rate": 5, "wait": 1}, resilience.RateLimit(5, wait=1)),
    ({"kind": "throttle", "k": 3}, resilience.Throttle(k=3)),
    ({"kind": "adaptive_limit", "initial": 30}, resilience.AdaptiveLimit(resilience.Aimd(initial=30))),
    (
        {"kind": "adaptive_limit", "law": "target_latency", "target": "250ms"},
        resilience.AdaptiveLimit(resilience.TargetLatency(0.25)),
    ),
    ({"kind": "adaptive_limit", "law": "gradient2"}, resilience.AdaptiveLimit(resilience.Gradient2())),
    ({"kind": "fallback", "value": {"a": 1}}, resilience.Fallback({"a": 1})),
    ({"kind": "single_flight"}, resilience.SingleFlight()),
]


@pytest.mark.parametrize(
    ("stage", "policy"), EVERY_STAGE, ids=lambda it: it.get("kind") if isinstance(it, dict) else ""
)
def test_every_stage(stage, policy):
    assert parse({"pipelines": {"a": [stage]}}).pipelines["a"].policies == (policy,)


def test_a_circuit_as_a_stage():
    (circuit,) = (
        parse({"pipelines": {"a": [{"kind": "circuit", "name": "a", "slow_after": 1}]}}).pipelines["a"].policies
    )
    assert (circuit.name, circuit.options.slow_after) == ("a", 1.0)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ({"balancer": "random"}, "balancer", resilience.Random),
        ({"balancer": "round_robin"}, "balancer", resilience.RoundRobin),
        ({"balancer": {"kind": "rendezvous", "header": "x-user"}}, "balancer", resilience.Rendezvous),
        ({"discovery": "auto"}, "discovery", resilience.Auto),
        ({"discovery": "dns"}, "discovery", resilience.Dns),
        ({"ejection": {"interval": 5}}, "ejection", resilience.OutlierEjection),
        ({"guard": {"max_bytes": 5}}, "guard", resilience.Guard),
        ({"budget": {"ratio": 0.1}}, "budget", resilience.RetryBudget),
    ],
)
def test_every_table_of_a_service(part, field, value):
    assert isinstance(getattr(parse({"defaults": part}).defaults, field), value)


@pytest.mark.parametrize(
    "stage", ["retry", "budget", "circuit", "health", "hedge", "guard", "ejection", "overprovisioning"]
)
def test_false_drops_a_stage(stage):
    assert getattr(parse({"defaults": {stage: False}}).defaults, stage) is None


MISTAKES = [
    ({"defaults": {"retry": {"max_attempts": 0}}}, "defaults.retry.max_attempts", 0, "a number from 1"),
    ({"defaults": {"retry": {"max_attempts": 2.5}}}, "defaults.retry.max_attempts", 2.5, "a whole number"),
    ({"defaults": {"retry": {"max_attempts": "5"}}}, "defaults.retry.max_attempts", "5", "a whole number"),
    ({"defaults": {"retry": {"on": ["Nope"]}}}, "defaults.retry.on.0", "Nope", "a status, or an exception"),
    ({"defaults": {"retry": {"on": [True]}}}, "defaults.retry.on.0", True, "a status, or an exception"),
    ({"defaults": {"retry": True}}, "defaults.retry", True, "a table"),
    ({"defaults": {"total_timeout": "soon"}}, "defaults.total_timeout", "soon", "seconds as a number"),
    ({"defaults": {"total_timeout": -1}}, "defaults.total_timeout", -1.0, "seconds above 0"),
    ({"defaults": {"circuit": {"failure_ratio": 1.5}}}, "defaults.circuit.failure_ratio", 1.5, "a number up to 1"),
    ({"defaults": {"circuit": {"open_for": 5, "max_open_for": 1}}}, "defaults.circuit.max_open_for", 1.0, "not below"),
    ({"defaults": {"balancer": "best"}}, "defaults.balancer", "best", "a kind among 'round_robin'"),
    ({"defaults": {"balancer": {"kind": 5}}}, "defaults.balancer.kind", 5, "a kind among 'round_robin'"),
    ({"defaults": {"balancer": 5}}, "defaults.balancer", 5, "a table"),
    ({"defaults": {"discovery": []}}, "defaults.discovery", [], "at least 1"),
    ({"defaults": {"discovery": ["10.0.0.999"]}}, "defaults.discovery.addresses", "10.0.0.999", "host:port"),
    ({"defaults": {"discovery": {"kind": "dns", "port": 0}}}, "defaults.discovery.port", 0, "a number from 1"),
    ({"defaults": {"health": {}}}, "defaults.health.path", None, "this key is needed"),
    ({"defaults": {"health": {"path": "x"}}}, "defaults.health.path", "x", "a path that begins"),
    ({"defaults": {"panic": 1}}, "defaults.panic", 1, "a number below 1"),
    ({"defaults": {"guard": {"status": "2xx"}}}, "defaults.guard.status", "2xx", "a range such as"),
    ({"defaults": {"guard": {}}}, "defaults.guard.status", None, "at least one rule"),
    ({"defaults": {"slow_start": True}}, "defaults.slow_start", True, "seconds as a number"),
    ({"defaults": {"total_timeout": 10**400}}, "defaults.total_timeout", 10**400, "finite"),
    ({"defaults": {"retry": {"wait": {"base": 2}}}}, "defaults.retry.wait.cap", 1.0, "not below base"),
    ({"defaults": {"hedge": {"after": {"quantile": 0.5, "ceiling": 0}}}}, "defaults.hedge.after.ceiling", 0, "above 0"),
    ({"defaults": {"discovery": [{"address": "a", "weight": 0}]}}, "defaults.discovery.0.weight", 0, "above 0"),
    ({"defaults": {"deadline_header": "a b"}}, "defaults.deadline_header", "a b", "the name of a header"),
    ({"pipelines": {"a": [{"kind": "retry", "budget": {"ttl": 0}}]}}, "pipelines.a.0.budget.ttl", 0, "above 0"),
    ({"services": {"a b": {}}}, 'services."a b"', "a b", "keys like"),
    ({"services": {"web": {}, "WEB": {}}}, "services.WEB", "WEB", "another name than 'web'"),
    ({"services": 5}, "services", 5, "a table"),
    ({"pipelines": {"a": {"kind": "retry"}}}, "pipelines.a", {"kind": "retry"}, "a list"),
    ({"pipelines": {"a": [{"kind": "magic"}]}}, "pipelines.a.0.kind", "magic", "a kind among"),
    ({"pipelines": {"a": [{}]}}, "pipelines.a.0", {}, "a table with a kind"),
    ({"pipelines": {"a": [{"kind": "hedge"}]}}, "pipelines.a.0.after", None, "this key is needed"),
    ({"pipelines": {"a": [{"kind": "fallback"}]}}, "pipelines.a.0.value", None, "a value, a function"),
]


@pytest.mark.parametrize(
    ("data", "key", "value", "expected"), MISTAKES, ids=lambda it: it if isinstance(it, str) else ""
)
def test_a_mistake_is_told_with_key_value_and_range(data, key, value, expected):
    (problem,) = problems(data).problems
    assert (problem.key, problem.source, problem.line) == (key, "the configuration", None)
    if value is not None:
        assert problem.value == value
    assert expected in problem.expected
    assert str(problem).startswith(f"the configuration: {key} = ")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"service": {"token": "s3cr3t"}}, "service: no such key"),
        ({"defaults": {"retry": {"password": "s3cr3t"}}}, "defaults.retry.password: no such key"),
        ({"pipelines": {"mail": {"password": "s3cr3t"}}}, "pipelines.mail = a table: expected a list"),
    ],
)
def test_what_is_in_the_wrong_place_may_be_a_secret_and_is_not_shown(data, told):
    error = problems(data)
    assert str(error) == f"the configuration: {told}"
    assert "s3cr3t" not in "".join(map(str, error.problems))


def test_all_mistakes_are_told_each_with_its_line(file):
    path = file('[defaults]\ntotal_timeout = "soon"\n\n[services.web.retry]\nmax_attempts = 0\nwhat = 1\n')
    error = problems(path)
    assert str(error).splitlines() == [
        f"{path}:2: defaults.total_timeout = 'soon': expected {_SECONDS}",
        f"{path}:5: services.web.retry.max_attempts = 0: expected a number from 1",
        f"{path}:6: services.web.retry.what: no such key",
    ]
    assert (error.argument, error.value) == ("defaults.total_timeout", "soon")
    assert isinstance(error, resilience.ConfigurationError)


def test_so_are_those_that_the_library_finds_in_the_order_of_the_file(file):
    path = file("""\
[services."a/b"]
total_timeout = 0
attempt_timeout = "0s"
[services.b]
discovery = ["10.0.0.999"]
[services.b.circuit]
open_for = 5
max_open_for = 1
[services.b.retry]
budget.ttl = 0
wait.base = 3
[defaults]
retry.max_attempts = 0
""")
    assert [(problem.line, problem.key) for problem in problems(path).problems] == [
        (1, 'services."a/b"'),
        (2, 'services."a/b".total_timeout'),
        (3, 'services."a/b".attempt_timeout'),
        (5, "services.b.discovery.addresses"),
        (8, "services.b.circuit.max_open_for"),
        (10, "services.b.retry.budget.ttl"),
        (11, "services.b.retry.wait.cap"),
        (13, "defaults.retry.max_attempts"),
    ]


def test_a_key_that_stands_twice_in_json_is_refused(file):
    services = '{"web": {"x": 1},\n"other": {},\n"w\\u0065b": {"x": 1,\n"x": 2}}'
    text = f'{{"services": {services}, "defaults": {{\n"panic": 0,\n"panic": 0}}}}'
    path = file(text, "a.json")
    assert str(problems(path)).splitlines() == [
        f"{path}:3: services.web: expected once: it stands in line 1, too",
        f"{path}:6: defaults.panic: expected once: it stands in line 5, too",
    ]


@pytest.mark.parametrize("data", [None, 5, "services", [], [("services", {})]])
def test_data_that_are_none(data):
    with pytest.raises(ConfigurationFileError, match="expected an object with services"):
        parse(data)


def test_a_name_that_is_no_text():
    (problem,) = problems({"services": {5: {}, "web": {}}}).problems
    assert (problem.key, problem.expected) == ("services.5", "a text")


@pytest.mark.parametrize(("argument", "value"), [("file", 5), ("file", b"a.toml"), ("environment", ["a"])])
def test_arguments_that_are_none(argument, value):
    with pytest.raises(resilience.ConfigurationError) as caught:
        load(**{argument: value})
    assert (caught.value.argument, caught.value.value) == (argument, value)


def test_keys_are_told_in_one_line_whatever_is_in_them():
    told = str(problems({"a\nb": 1, "services": {"\ud800": {}}, "\x1b[31m": 1}))
    assert told.splitlines() == [
        'the configuration: "a\\nb": no such key',
        'the configuration: "\\x1b[31m": no such key',
        "the configuration: services.\"\\ud800\" = '\\ud800': expected keys like 'host' or 'host:port'",
    ]


def test_what_the_library_refuses_is_told_with_its_line_too(file):
    path = file("[defaults.circuit]\nopen_for = 5\nmax_open_for = 1\n[services.web]\ndiscovery = ['10.0.0.999']\n")
    assert [problem.line for problem in problems(path).problems] == [3, 5]


@pytest.mark.parametrize(
    ("text", "name", "line", "told"),
    [
        ("[defaults\n", "a.toml", 1, "valid TOML"),
        ("\n\nx = \n", "a.toml", 3, "valid TOML"),
        ('{\n"a": }', "a.json", 2, "valid JSON"),
        ("[]", "a.json", 1, "an object"),
        ("x: 1", "a.yaml", None, "a file named .toml or .json"),
    ],
)
def test_files_that_make_no_sense(file, text, name, line, told):
    (problem,) = problems(file(text, name)).problems
    assert problem.line == line
    assert told in problem.expected


def test_files_that_cannot_be_read(tmp_path):
    assert "No such file" in str(problems(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    assert "UTF-8" in str(problems(tmp_path / "latin.toml"))


class TestEnvironment:
    def test_it_wins(self, file):
        environment = {
            "RESILIENCE__DEFAULTS__TOTAL_TIMEOUT": "3s",
            "RESILIENCE__SERVICES__PAY_9000__CIRCUIT__OPEN_FOR": "5",
            "RESILIENCE__SERVICES__WEB_INTERNAL__HEDGE": "false",
            "RESILIENCE__SERVICES__WEB_INTERNAL__MAX_IN_FLIGHT": "7",
            "RESILIENCE__PIPELINES__PAYMENTS__0__SECONDS": "9",
            "RESILIENCE": "nothing of ours",
            "PATH": "/bin",
        }
        found = load(file(TOML), environment=environment)
        assert found.defaults.total_timeout == 3.0
        assert found.services["pay:9000"].circuit.options.open_for == 5.0
        assert found.services["pay:9000"].circuit.options.consecutive_failures == 3
        assert found.services["web.internal"] == replace(
            load(file(TOML)).services["web.internal"], hedge=None, max_in_flight=7, total_timeout=3.0
        )
        assert found.pipelines["payments"].policies[0] == resilience.Timeout(9)

    def test_it_needs_no_file(self):
        services = json.dumps({"web.internal": {"retry": {"max_attempts": 2}}})
        environment = {"APP__SERVICES": services, "APP__DEFAULTS__RETRY__MAX_ATTEMPTS": "4"}
        found = load(environment=environment, prefix="APP")
        assert found.services["web.internal"].retry.max_attempts == 2
        assert found.defaults.retry.max_attempts == 4

    @pytest.mark.parametrize(
        ("name", "word"),
        [("xn--caf-dma.internal", "XN_CAF_DMA_INTERNAL"), ("[::1]:80", "1_80"), ("caf\u00e9.internal", "CAF_INTERNAL")],
    )
    def test_signs_become_one_underscore_however_many_they_are(self, file, name, word):
        environment = {f"RESILIENCE__SERVICES__{word}__MAX_IN_FLIGHT": "7"}
        assert load(file(f'[services."{name}"]'), environment=environment).services[name].max_in_flight == 7

    def test_a_variable_for_two_services_is_refused(self, file):
        text = '[services."web.internal"]\n[services."web-internal"]'
        told = str(problems(file(text), environment={"RESILIENCE__SERVICES__WEB_INTERNAL__RETRY": "false"}))
        assert "one key: 'web.internal' and 'web-internal' are spelled alike here" in told

    @pytest.mark.parametrize(
        ("variable", "value", "told"),
        [
            ("RESILIENCE__PIPELINES__PAYMENTS__\u0660__SECONDS", "1", "joined by two underscores"),
            (f"RESILIENCE__PIPELINES__PAYMENTS__{'9' * 5000}__SECONDS", "1", "joined by two underscores"),
            (
                "RESILIENCE__DEFAULTS__RETRY__MAX_ATTEMPTS",
                "0",
                "defaults.retry.max_attempts = 0: expected a number from 1",
            ),
            ("RESILIENCE__DEFAULTS__WHAT", "x", "defaults.what: no such key"),
            ("RESILIENCE__SERVICES__OTHER__RETRY", "false", "a service that is in the file (web.internal, pay:9000)"),
            ("RESILIENCE__DEFAULTS__", "1", "joined by two underscores"),
            ("RESILIENCE__DEFAULTS__TOTAL_TIMEOUT__X", "1", "joined by two underscores"),
            ("RESILIENCE__PIPELINES__PAYMENTS__9__SECONDS", "1", "joined by two underscores"),
        ],
    )
    def test_mistakes_name_the_variable(self, file, variable, value, told):
        error = str(problems(file(TOML), environment={variable: value}))
        assert variable in error
        assert told in error


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2s", "retry", "dns"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "retry",
                    "circuit",
                    "max_attempts",
                    "discovery",
                    "kind",
                    "balancer",
                    "hedge",
                    "after",
                    "budget",
                    "on",
                    "wait",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    defaults=VALUE,
    services=VALUE | st.dictionaries(st.text(max_size=5), VALUE, max_size=2),
    pipelines=VALUE | st.dictionaries(st.text(max_size=3), st.lists(VALUE, max_size=2), max_size=2),
)
def test_whatever_is_in_a_file_it_is_used_or_refused_by_name(defaults, services, pipelines):
    data = {"defaults": defaults, "services": services, "pipelines": pipelines}
    try:
        found = parse(data)
    except ConfigurationFileError as error:
        for problem in error.problems:
            assert problem.path[0] in data
            assert problem.expected
    else:
        assert set(found.services) == set(services)


def test_without_pydantic_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'httpx-resilience\[config\]'"):
        importlib.reload(resilience.config)


def test_a_password_in_the_place_of_a_name_is_not_repeated():
    told = str(problems({"services": {"http://me:s3cret@web": {}}}))
    assert "keys like 'host' or 'host:port'" in told
    assert "s3cret" not in told
