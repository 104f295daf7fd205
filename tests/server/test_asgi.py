"""The ASGI middleware: deadlines adopted, failures marked."""

import contextlib
import math

import anyio
import anyio.lowlevel
import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException

import resilience
from resilience.core.call import ambient
from resilience.core.errors import CircuitOpenError, ConfigurationError, DeadlineExceededError, OverloadedError
from resilience.http.deadline_header import DeadlineHeader
from resilience.policies.retry import Retry
from resilience.runtimes.blocking import BLOCKING
from resilience.server import DeadlineMiddleware, do_not_retry


async def ask(app, path="/", **headers):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.test") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def application(**options):
    app = FastAPI()
    app.add_middleware(DeadlineMiddleware, **options)

    @app.get("/left")
    async def left():
        around = ambient.get()
        return None if around is None or around.deadline == math.inf else around.deadline - BLOCKING.now()

    @app.get("/left-in-a-thread")
    def left_in_a_thread():
        return ambient.get().deadline - BLOCKING.now()

    @app.get("/fails")
    async def fails(kind: str):
        errors = {
            "deadline": DeadlineExceededError("too late"),
            "open": CircuitOpenError("open", retry_after=1.2),
            "full": OverloadedError("full"),
            "forced": CircuitOpenError("forced open", retry_after=math.inf),
        }
        raise errors[kind]

    @app.get("/exhausted")
    async def exhausted(status: int):
        @Retry(2, wait=0.0)
        async def call():
            raise ConnectionError

        try:
            await call()
        except ConnectionError as error:
            if status < 300:
                return "recovered"
            raise HTTPException(status) from error

    @app.get("/marked")
    async def marked():
        do_not_retry()
        raise HTTPException(503)

    @app.get("/plain")
    async def plain():
        raise HTTPException(503)

    return app


async def test_the_callers_deadline_is_adopted(anyio_backend):
    app = application()
    assert 1.0 < (await ask(app, "/left", x_deadline_ms="1500")).json() <= 1.5
    assert 1.0 < (await ask(app, "/left-in-a-thread", x_deadline_ms="1500")).json() <= 1.5
    assert (await ask(app, "/left")).json() is None
    assert ambient.get() is None


@pytest.mark.parametrize("around", [None, 60.0])
async def test_what_is_done_when_the_answer_is_out_has_no_deadline_of_its_caller(anyio_backend, around):
    seen = []
    app = FastAPI()
    app.add_middleware(DeadlineMiddleware)

    def note():
        inherited = ambient.get()
        seen.append(inherited.deadline)

    @app.get("/")
    async def handler(background: BackgroundTasks):
        note()
        background.add_task(note)  # in a thread: in a copy of the context
        return "said"

    with contextlib.nullcontext(math.inf) if around is None else resilience.deadline(around) as outer:
        assert (await ask(app, x_deadline_ms="1500")).json() == "said"
    during, afterwards = seen
    assert during < BLOCKING.now() + 1.5
    assert afterwards == outer


async def test_parts_of_an_answer_are_made_within_the_deadline(anyio_backend):
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for more in (True, False):
            seen.append(ambient.get().deadline < math.inf)
            await send({"type": "http.response.body", "body": b"part", "more_body": more})
        seen.append(ambient.get().deadline < math.inf)

    assert (await ask(DeadlineMiddleware(app), x_deadline_ms="1500")).text == "partpart"
    assert seen == [True, True, False]


@pytest.mark.parametrize("value", ["", "soon", "1.5", "1e3", "9" * 20, "٣"])
async def test_what_is_malformed_is_ignored(anyio_backend, value):
    assert (await ask(application(), "/left", x_deadline_ms=value.encode())).json() is None


async def test_callers_ask_for_no_more_than_is_allowed(anyio_backend):
    app = application(at_most=2.0)
    assert 1.5 < (await ask(app, "/left", x_deadline_ms="60000")).json() <= 2.0
    assert 1.5 < (await ask(app, "/left")).json() <= 2.0
    assert (await ask(app, "/left", x_deadline_ms="100")).json() <= 0.1


async def test_the_header_may_have_another_name(anyio_backend):
    app = application(header="X-Envoy-Expected-Rq-Timeout-Ms", no_retry_header="Please-Stop")
    assert (await ask(app, "/left", x_envoy_expected_rq_timeout_ms="1500")).json() <= 1.5
    assert (await ask(app, "/left", x_deadline_ms="1500")).json() is None
    assert (await ask(app, "/marked")).headers["please-stop"] == "1"


@pytest.mark.parametrize("value", ["0", "-20"])
async def test_who_arrives_too_late_is_told_so_at_once(anyio_backend, value):
    response = await ask(application(), "/left", x_deadline_ms=value)
    assert (response.status_code, response.text) == (504, "Gateway Timeout")
    assert response.headers["x-no-retry"] == "1"


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [("deadline", 504, None), ("open", 503, "2"), ("full", 503, None), ("forced", 503, None)],
)
async def test_errors_of_ours_that_nobody_handles_have_an_answer(anyio_backend, kind, status, retry_after):
    response = await ask(application(), f"/fails?kind={kind}")
    assert response.status_code == status
    assert response.headers.get("retry-after") == retry_after
    assert response.headers["x-no-retry"] == "1"


@pytest.mark.parametrize(
    ("kinds", "status", "retry_after"),
    [(("open", "full"), 503, "2"), (("open", "deadline"), 504, None), (("open", "other"), 500, None)],
)
async def test_a_task_group_of_them_is_answered_as_the_worst(anyio_backend, kinds, status, retry_after):
    errors = {
        "deadline": DeadlineExceededError("too late"),
        "open": CircuitOpenError("open", retry_after=1.2),
        "full": OverloadedError("full"),
        "other": ValueError("no error of ours"),
    }
    app = FastAPI()
    app.add_middleware(DeadlineMiddleware)

    async def fails(kind):
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            raise errors[kind]

    @app.get("/")
    async def both():
        async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
            outer.start_soon(fails, kinds[0])
            inner.start_soon(fails, kinds[1])

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.test") as client:
        response = await client.get("/")
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert response.headers.get("x-no-retry") == ("1" if status != 500 else None)


async def test_the_mark_is_there_once(anyio_backend):
    async def app(_scope, _receive, send):
        do_not_retry()
        await send({"type": "http.response.start", "status": 503, "headers": [(b"x-no-retry", b"1"), (b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    response = await ask(DeadlineMiddleware(DeadlineMiddleware(app)))
    assert response.headers.get_list("x-no-retry") == ["1"]
    assert response.headers["a"] == "b"


async def test_failures_after_our_own_attempts_are_marked_and_others_are_not(anyio_backend):
    app = application()
    assert (await ask(app, "/exhausted?status=502")).headers["x-no-retry"] == "1"
    assert (await ask(app, "/marked")).headers["x-no-retry"] == "1"
    for path in ("/exhausted?status=200", "/exhausted?status=429", "/plain", "/left"):
        assert "x-no-retry" not in (await ask(app, path)).headers


async def test_outside_of_a_request_marking_does_nothing(anyio_backend):
    do_not_retry()
    with pytest.raises(ConnectionError):
        await Retry(1).acall(anyio.sleep, _fails())


class _fails:  # noqa: N801 - a value that fails where it is used
    def __le__(self, other):
        raise ConnectionError

    __lt__ = __add__ = __radd__ = __gt__ = __ge__ = __le__


async def test_what_has_begun_is_not_answered_again(anyio_backend):
    sent = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OverloadedError("in the middle")

    async def send(message):
        sent.append(message)

    with pytest.raises(OverloadedError):
        await DeadlineMiddleware(app)({"type": "http", "headers": []}, None, send)
    assert len(sent) == 1


async def test_other_protocols_pass(anyio_backend):
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    await DeadlineMiddleware(app, at_most=1.0)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"header": ""}, "header"),
        ({"header": "a b"}, "header"),
        ({"header": 5}, "header"),
        ({"no_retry_header": "x:y"}, "no_retry_header"),
        ({"at_most": 0}, "at_most"),
        ({"at_most": math.nan}, "at_most"),
    ],
)
def test_bad_arguments_are_named(options, argument):
    with pytest.raises(ConfigurationError) as caught:
        DeadlineMiddleware(None, **options)
    assert caught.value.argument == argument
    with pytest.raises(ConfigurationError):
        DeadlineHeader("a b")


class Tiers:
    """Three tiers of three attempts each, in front of something dead."""

    def __init__(self, *, middleware):
        self.asked = 0

        async def dead(scope, receive, send):
            self.asked += 1
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        third = self.tier(dead, middleware)
        second = self.tier(third, middleware)
        self.client = self.tier(second, middleware).client

    @staticmethod
    def tier(below, middleware):
        """An application that asks the one below."""
        service = resilience.Service(retry=Retry(3, wait=0.0), circuit=None)
        client = resilience.AsyncClient(transport=httpx.ASGITransport(below), defaults=service)

        async def app(scope, receive, send):
            response = await client.get("http://below.test/")
            await send({"type": "http.response.start", "status": response.status_code, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        whole = DeadlineMiddleware(app) if middleware else app
        whole.client = client
        return whole


async def test_three_tiers_do_not_multiply_their_attempts(anyio_backend):
    calls = 500
    tiers = Tiers(middleware=True)
    for _ in range(calls):
        assert (await tiers.client.get("http://top.test/")).status_code == 503
    # The budget of the last tier alone: a fifth of the calls, and a reserve of 30 in ten seconds.
    assert tiers.asked <= calls * 1.2 + 30 + 1
    assert tiers.asked <= calls * 1.33
    unmarked = Tiers(middleware=False)
    for _ in range(calls):
        await unmarked.client.get("http://top.test/")
    assert unmarked.asked > tiers.asked
