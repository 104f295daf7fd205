"""Every example runs as its first line says, and prints what it promises."""

import runpy
import sys
from pathlib import Path

import httpx
import pytest

import resilience
from resilience.lab import Fleet

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, capsys):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_quick_start(capsys):
    out = run("quick_start.py", capsys)
    healthy, killed, *_ = out.splitlines()
    assert "[200, 200, 200, 200, 200, 200]" in healthy
    assert "[200, 200, 200, 200, 200, 200]" in killed
    assert set(healthy.split("from ")[1].split()) == {"a", "b", "c"}
    assert "a" not in killed.split("from ")[1].split()


def test_any_function(capsys):
    out = run("any_function.py", capsys)
    assert out.startswith("ConnectionRefusedError\n")
    assert "circuit for ledger is open" in out


def test_own_policy(capsys):
    assert [line.split()[0] for line in run("own_policy.py", capsys).splitlines()] == ["in_a_thread", "in_a_task"]


def test_own_policy_is_short():
    lines = (EXAMPLES / "own_policy.py").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("class "))
    end = next(n for n, line in enumerate(lines) if line.startswith("watched"))
    assert len([line for line in lines[start:end] if line.strip()]) <= 15


def test_own_httpx_client(capsys):
    both, one, plain = run("own_httpx_client.py", capsys).splitlines()
    assert sorted(eval(both)) == ["a", "a", "b", "b"]
    assert eval(one) == ["b"] * 4
    assert plain == "no policies here"


@pytest.fixture(scope="module")
def create_app():
    sys.dont_write_bytecode = True
    return runpy.run_path(str(EXAMPLES / "fastapi_service.py"))["create_app"]


@pytest.fixture
def anyio_backend():
    return "asyncio"  # FastAPI's own


async def test_fastapi_service_survives_a_killed_and_a_hung_replica(create_app):
    with Fleet(3) as replicas:
        stock = resilience.Service(discovery=resilience.Static(replicas.addresses), attempt_timeout=0.3)
        app = create_app(stock)
        ours = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test")
        async with app.router.lifespan_context(app), ours:
            replicas[0].kill()
            replicas[1].hang()
            answers = [await ours.get("/orders/42") for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 6
            assert answers[0].json() == {"item": "42", "stock": {"server": "c", "path": "/items/42"}}
            ready = (await ours.get("/readyz")).json()
            assert replicas[2].address in ready["stock.internal:8080"]


async def test_fastapi_service_says_when_to_come_back(create_app):
    with Fleet(2) as replicas:
        addresses = replicas.addresses
    app = create_app(resilience.Service(discovery=resilience.Static(addresses)))
    ours = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test")
    async with app.router.lifespan_context(app), ours:
        answers = [await ours.get("/orders/42") for _ in range(8)]
    assert answers[0].status_code == 502
    assert answers[-1].status_code == 503
    assert int(answers[-1].headers["retry-after"]) > 0
