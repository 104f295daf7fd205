"""`resilience resolve` and `resilience probe`, against real servers."""

import pytest
from typer.testing import CliRunner

from resilience.cli import commands
from resilience.lab import DnsServer, Fleet


@pytest.fixture(scope="module")
def fleet():
    with Fleet(3) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def dns(fleet):
    with DnsServer() as dns:
        dns.set("web.internal", "A", fleet.hosts, 7)
        dns.set("one.internal", "A", fleet.hosts[:1], 600)
        dns.set("a.internal", "A", fleet.hosts[:1], 7)
        dns.set("b.internal", "A", fleet.hosts[1:2], 7)
        services = [(0, 3, fleet.port, "a.internal"), (1, 1, fleet.port, "b.internal")]
        dns.set("_http._tcp.web.internal", "SRV", services, 7)
        yield dns


@pytest.fixture(autouse=True)
def well(fleet, dns):
    yield
    dns.fault()
    for server in fleet:
        server.start()
        server.fault()


def run(*arguments):
    commands.console.width = 200
    return CliRunner().invoke(commands.app, [str(argument) for argument in arguments])


def test_resolve_a_fleet(fleet, dns):
    done = run("resolve", "web.internal", "--port", 8080, "--nameserver", dns.address)
    assert done.exit_code == 0
    assert "web.internal is taken for a fleet of 3" in done.output
    assert "source: dns, good for 7 s" in done.output
    assert all(f"{host}:8080" in done.output for host in fleet.hosts)
    assert "balance over 3 addresses" in done.output
    assert "ask again after 7 s" in done.output


def test_resolve_services_with_weights_and_tiers(fleet, dns):
    done = run("resolve", "_http._tcp.web.internal", "--nameserver", dns.address, "--record", "SRV")
    assert f"{fleet.hosts[0]}:{fleet.port} │ 3      │ 0" in done.output
    assert f"{fleet.hosts[1]}:{fleet.port} │ 1      │ 1" in done.output
    assert "balance over 1 address," in done.output
    assert "use the other 1 only while none of those is ready" in done.output


def test_one_address_may_be_virtual(dns):
    done = run("resolve", "one.internal", "--nameserver", dns.address)
    assert "is it a virtual address" in done.output
    assert "ask again after 30 s" in done.output  # not in ten minutes


def test_resolve_an_origin():
    done = run("resolve", "127.0.0.1")
    assert done.exit_code == 0
    assert "127.0.0.1 is taken for one origin" in done.output
    assert "never ask again" in done.output


def test_resolve_by_the_system():
    done = run("resolve", "localhost", "--port", 8080)
    assert "localhost is taken for one origin" in done.output
    assert "is loopback" in done.output
    assert "keep one circuit" in done.output


@pytest.mark.parametrize(("fault", "word"), [("nxdomain", "does not exist"), ("servfail", "servfail")])
def test_resolve_what_cannot_be_resolved(dns, fault, word):
    dns.fault(fault)
    done = run("resolve", "web.internal", "--nameserver", dns.address)
    assert done.exit_code == 1
    assert word in done.output.replace("\n", " ")


@pytest.mark.parametrize("name", ["", "a b", "web.internal:80", "http://web.internal/", "me:hunter2@web/?hunter2"])
def test_resolve_takes_a_name_and_nothing_else(name):
    done = run("resolve", name)
    assert done.exit_code == 1
    assert "the port is --port" in done.output.replace("\n", " ")
    assert "hunter2" not in done.output


@pytest.mark.parametrize("name", ["::1", "[::1]"])
def test_resolve_an_address_in_either_spelling(name):
    assert "the URL names its address" in run("resolve", name).output


def test_resolve_with_a_bad_nameserver():
    done = run("resolve", "web.internal", "--nameserver", "a name")
    assert done.exit_code == 1
    assert "ConfigurationError" in done.output


def test_probe_a_healthy_fleet(fleet, dns):
    done = run("probe", f"http://web.internal:{fleet.port}/items", "--nameserver", dns.address)
    assert done.exit_code == 0
    assert done.output.count("200 OK") == 3
    assert "A client's own call: 200 from 127.0.1." in done.output
    assert "retry: Retry(" in done.output


def test_probe_tells_whom_it_blames(fleet, dns):
    fleet[0].fault(status=503)
    fleet[1].kill()
    fleet[2].fault(status=404)
    done = run("probe", f"http://web.internal:{fleet.port}/items", "--nameserver", dns.address)
    assert done.exit_code == 1
    lines = {host: next(x for x in done.output.splitlines() if f"│ {host}:" in x and "ms" in x) for host in fleet.hosts}
    assert lines[fleet.hosts[0]].split("│")[-3:-1] == [" the address ", " yes         "]
    assert "ConnectError" in lines[fleet.hosts[1]]
    assert lines[fleet.hosts[2]].split("│")[-3:-1] == [" nobody      ", " no          "]
    assert "A client's own call: 404 from" in done.output


def test_probe_when_nobody_is_there(fleet, dns):
    for server in fleet:
        server.kill()
    done = run("probe", f"http://web.internal:{fleet.port}/items", "--nameserver", dns.address)
    assert done.exit_code == 1
    assert "A client's own call: ConnectError" in done.output


@pytest.mark.parametrize("url", ["ftp://web.internal/", "web.internal", "http://", "http://[", "http://xn--/"])
def test_probe_refuses_what_it_cannot_call(url):
    done = run("probe", url)
    assert done.exit_code == 1
    assert "expected an absolute http or https URL" in done.output.replace("\n", " ")


def test_probe_prints_no_secret(fleet, dns):
    secret = f"http://me:hunter2@web.internal:{fleet.port}/items?token=hunter2"
    done = run("probe", secret, "--nameserver", dns.address)
    assert done.exit_code == 0
    assert f"GET http://web.internal:{fleet.port}/items, once from each" in done.output
    assert "hunter2" not in done.output
    assert "hunter2" not in run("probe", secret.replace("http:", "ftp:")).output


def test_probe_a_name_that_does_not_exist(dns):
    assert run("probe", "http://nope.internal/", "--nameserver", dns.address).exit_code == 1


def test_health_is_among_them(fleet):
    fleet[0].fault(status=503)
    done = run("health", fleet[0].url)
    assert done.exit_code == 1
    assert done.output.startswith("unhealthy: 503 in ")
    assert run("health", fleet[1].url).exit_code == 0


def test_help_names_them_all():
    done = run("--help")
    assert all(name in done.output for name in ("resolve", "probe", "health", "demo"))
