"""`resilience health`: one line, 0 or 1, and nothing beyond the library."""

import subprocess
import sys

import pytest

from resilience.cli.health import check, run
from resilience.lab import Server


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def healthy_again(server):
    yield
    server.fault()


def test_an_answer_of_200_is_healthy(server, capsys):
    assert run([f"{server.url}/readyz"]) == 0
    assert capsys.readouterr().out.startswith("healthy: 200 in ")


@pytest.mark.parametrize(("status", "code"), [(204, 0), (301, 0), (399, 0), (400, 1), (404, 1), (500, 1), (503, 1)])
def test_statuses_from_200_to_399_are_healthy(server, status, code):
    assert run([f"{server.url}/status/{status}"]) == code


def test_it_asks_once(server):
    server.reset_counts()
    server.fault(status=503, retry_after=0)
    assert run([server.url]) == 1
    assert server.count == 1


def test_redirects_are_not_followed(server):
    server.reset_counts()
    assert run([f"{server.url}/redirect?to=/status/503"]) == 0
    assert server.count == 1


def test_a_slow_answer_is_unhealthy(server, capsys):
    assert run([f"{server.url}/slow/30", "--timeout", "0.05"]) == 1
    assert capsys.readouterr().out.startswith("unhealthy: DeadlineExceededError: ")


def test_proxies_of_the_environment_are_not_asked(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert run([server.url]) == 0


def test_nobody_there():
    with Server() as gone:
        url = gone.url
    healthy, line = check(url, 1.0)
    assert not healthy
    assert line.startswith("ConnectError: ")
    assert "\n" not in line


@pytest.mark.parametrize("arguments", [[], ["http://x", "--timeout", "soon"], ["http://x", "--surely"]])
def test_bad_usage_is_unhealthy_too_since_docker_reserves_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(arguments)
    assert exit_.value.code == 1
    assert capsys.readouterr().err.startswith("unhealthy: ")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://",
        "ftp://127.0.0.1/",
        "http://[",
        "http://127.0.0.1:99999/",
        "http://xn--/",
        "http://a/\udcff",
    ],
)
def test_what_is_no_url_is_unhealthy(url):
    assert run([url]) == 1


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_timeouts_out_of_range_are_unhealthy(server, timeout, capsys):
    assert run([server.url, "--timeout", timeout]) == 1
    assert "total_timeout=" in capsys.readouterr().out


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=50)


def test_as_a_module(server):
    done = python("-m", "resilience", "health", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("healthy: 200 in ")


INTERRUPTED = """
import sys, resilience.cli.health
def run(_arguments): raise KeyboardInterrupt
resilience.cli.health.run = run
resilience.cli.main()
"""


def test_interrupted_it_says_nothing():
    done = python("-c", INTERRUPTED, "health", "http://127.0.0.1/")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


WITHOUT = "import sys; sys.modules.update(typer=None, rich=None); from resilience.cli import main; main()"


def test_it_needs_neither_typer_nor_rich(server):
    assert python("-c", WITHOUT, "health", server.url).returncode == 0


def test_the_others_say_what_is_missing():
    done = python("-c", WITHOUT, "resolve", "web.internal")
    assert done.returncode == 1
    assert "check" in done.stderr
    assert "pip install 'httpx-resilience[cli,config,lab]'" in done.stderr
