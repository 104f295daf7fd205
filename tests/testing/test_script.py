"""Scripted networks, scripted names, and what was tried."""

import gzip
import itertools
import math
import ssl

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resilience
from resilience.testing import (
    After,
    Answer,
    ConnectionRefused,
    ConnectionReset,
    Hang,
    Script,
    ScriptedDns,
    StuckError,
    assert_attempts,
    fast,
    virtual,
)

A, B = "10.0.0.1:8080", "10.0.0.2:8080"
TWO = resilience.Service(discovery=resilience.Static([A, B]))
URL = "http://web.internal:8080/items"
KINDS = ["threads", "asyncio", "trio"]


def calls(kind, script, service=TWO, *, urls=(URL,), method="GET", pause=0.0, **arguments):
    """The responses and errors of calls through a client, on virtual time."""

    def outcome(do):
        try:
            return do()
        except httpx.HTTPError as error:
            return error

    with virtual() as clock:
        if kind == "threads":
            outcomes = []
            with resilience.Client(transport=script, defaults=service, **arguments) as client:
                for url in urls:
                    outcomes.append(outcome(lambda url=url: client.request(method, url)))
                    clock.advance(pause)
            return outcomes, clock

        async def main():
            outcomes = []
            async with resilience.AsyncClient(transport=script, defaults=service, **arguments) as client:
                for url in urls:
                    try:
                        outcomes.append(await client.request(method, url))
                    except httpx.HTTPError as error:
                        outcomes.append(error)
                    await anyio.sleep(pause)
            return outcomes

        return clock.run(main, backend=kind), clock


@pytest.mark.parametrize("kind", KINDS)
class TestSteps:
    def test_each_endpoint_plays_its_own_part(self, kind):
        script = Script({A: [503, ConnectionRefused], B: 200})
        outcomes, clock = calls(kind, script, urls=[URL] * 4)
        assert [response.status_code for response in outcomes] == [200] * 4
        failed = [response for response in outcomes if len(response.extensions["resilience"].attempts) == 2]
        assert_attempts(failed[0], [(A, 503), (B, 200)])
        assert_attempts(failed[1], [(A, ConnectionRefused), (B, 200)])
        assert [sent.endpoint for sent in script.sent].count(B) == 4
        assert clock.elapsed == 0.0
        script.assert_done()

    def test_a_hung_server_takes_the_read_timeout(self, kind):
        (response,), clock = calls(kind, Script([Hang(), 200]), timeout=3.0)
        assert_attempts(response, [Hang(), 200])
        assert clock.elapsed == 3.0

    def test_a_hung_dial_takes_a_second_while_somebody_else_is_ready(self, kind):
        (response,), clock = calls(kind, Script([Hang("connect"), 200]))
        assert_attempts(response, [Hang("connect"), 200])
        assert clock.elapsed == 1.0

    def test_an_attempt_timeout_ends_it_earlier(self, kind):
        service = resilience.Service(discovery=resilience.Static([A, B]), attempt_timeout=0.5)
        (response,), clock = calls(kind, Script([Hang(), 200]), service)
        assert_attempts(response, [Hang(), 200])
        assert clock.elapsed == 0.5

    def test_a_deadline_ends_the_call(self, kind):
        service = resilience.Service(discovery=resilience.Static([A, B]), total_timeout=2.0)
        (error,), clock = calls(kind, Script([], then=Hang()), service)
        assert isinstance(error, resilience.DeadlineExceededError)
        assert clock.elapsed == 2.0

    def test_answers_come_late(self, kind):
        (response,), clock = calls(kind, Script([After(2.0, Answer(201, json={"a": 1}))]))
        assert (response.status_code, response.json(), clock.elapsed) == (201, {"a": 1}, 2.0)

    def test_answers_that_come_too_late_never_come(self, kind):
        (response,), clock = calls(kind, Script([After(9.0, 200), After(1.0, resilience.Ok("hi"))]))
        assert_attempts(response, [httpx.ReadTimeout, 200])
        assert (response.text, clock.elapsed) == ("hi", 6.0)

    def test_what_was_never_sent_is_sent_again_whatever_it_is(self, kind):
        (response,), _ = calls(kind, Script([ConnectionRefused, 200]), method="POST")
        assert_attempts(response, [ConnectionRefused, 200])

    def test_what_may_have_been_sent_is_not(self, kind):
        (error,), _ = calls(kind, Script([ConnectionReset]), method="POST")
        assert isinstance(error, httpx.ReadError)
        assert_attempts(error, [ConnectionReset])

    def test_a_body_that_breaks_off_is_a_failed_attempt(self, kind):
        broken = Answer(content=[b"half", EOFError], headers={"content-length": "8"})
        (response,), _ = calls(kind, Script([broken, resilience.Ok(b"whole")]))
        assert response.content == b"whole"
        assert_attempts(response, [httpx.RemoteProtocolError, 200])

    def test_a_body_that_hangs_is_one_too(self, kind):
        (response,), clock = calls(kind, Script([Answer(content=[b"half", Hang()]), 204]))
        assert response.status_code == 204
        assert clock.elapsed == 5.0

    def test_functions_and_ready_made_things(self, kind):
        steps = [
            lambda request: Answer(content=request.url.path),
            httpx.Response(418, text="tea"),
            httpx.ConnectTimeout("slow"),
            200,
        ]
        outcomes, _ = calls(kind, Script(steps), urls=[URL] * 3)
        assert [response.text for response in outcomes] == ["/items", "tea", ""]
        assert_attempts(outcomes[2], ["ConnectTimeout", 200])

    def test_a_certificate_of_somebody_elses(self, kind):
        (error,), _ = calls(kind, Script([], then=ssl.SSLCertVerificationError("expired")))
        assert_attempts(error, [(None, "ConnectError")] * 2)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)

    def test_after_its_end_a_script_says_so(self, kind):
        script = Script({A: [503]})
        with pytest.raises((AssertionError, BaseExceptionGroup), match="no step|unhandled"):
            calls(kind, script, resilience.Service(discovery=resilience.Static([A])))
        with pytest.raises(AssertionError, match="had no step for"):
            script.assert_done()

    def test_names_are_followed_as_time_goes_by(self, kind):
        names = ScriptedDns({0: ["10.0.0.1"], 20: "servfail", 30: ["10.0.0.2"]}, after=0.1)
        script = Script([], then=200)
        calls(kind, script, resilience.Service(discovery=names), urls=[URL] * 20, pause=5.0)
        asked = [sent.endpoint for sent in script.sent]
        assert asked == [A] * asked.count(A) + [B] * asked.count(B)
        assert asked.count(A) > 6  # also while nameservers fail
        assert asked.count(B) > 6

    def test_names_are_followed_lookup_by_lookup(self, kind):
        names = ScriptedDns(["timeout", ["10.0.0.2:8080"]])
        script = Script([], then=200)
        outcomes, _ = calls(kind, script, resilience.Service(discovery=names), urls=[URL] * 2, pause=2.0)
        assert isinstance(outcomes[0], resilience.NoEndpointsError)
        assert_attempts(outcomes[1], [(B, 200)])
        assert names.lookups == 2

    def test_a_name_that_nobody_scripts_is_one_endpoint(self, kind):
        (response,), _ = calls(kind, Script([200]), resilience.Service())
        assert_attempts(response, [("web.internal:8080", 200)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_is_played_as_often_as_it_takes(kind):
    coded = httpx.Response(200, content=gzip.compress(b"stock"), headers={"content-encoding": "gzip"})
    chunked = httpx.Response(200, content=iter([b"st", b"ock"]))
    chunked.read()
    decoded = httpx.Response(200, content=iter([gzip.compress(b"stock")]), headers={"content-encoding": "gzip"})
    decoded.read()
    steps = [coded, chunked, decoded, coded, lambda _: httpx.Response(200, text="stock")]
    outcomes, _ = calls(kind, Script(steps), urls=[URL] * 5)
    assert [response.content for response in outcomes] == [b"stock"] * 5


def test_names_are_the_same_in_capitals():
    script = Script({"Web.Internal": [503], "WEB.internal:8080": [200]})
    outcomes, _ = calls("threads", script, resilience.Service(), urls=["http://WEB.internal:8080/"])
    assert_attempts(outcomes[0], [200])
    assert script.left == {"web.internal": 1}


def test_it_plays_for_httpx_itself():
    script = Script({"web.internal": [503], "[::1]:80": [204]})
    with httpx.Client(transport=script) as client:
        assert client.get(URL).status_code == 503
        assert client.get("http://[::1]/").status_code == 204
    assert script.left == {}


def test_a_hang_in_real_time_without_any_limit_is_refused():
    with httpx.Client(transport=Script([Hang()]), timeout=None) as client, pytest.raises(StuckError):
        client.get(URL)


def test_a_script_that_is_not_over_says_so():
    script = Script([200, 200])
    assert script.left == {"": 2}
    with pytest.raises(AssertionError, match="not over"):
        script.assert_done()


class TestFast:
    def test_waits_are_left_out_and_nothing_else(self):
        script = Script([503, 503, 200])
        service = resilience.Service(retry=resilience.Retry(3, wait=10))
        with fast() as left_out, resilience.Client(transport=script, defaults=service) as client:
            response = client.get(URL)
        assert_attempts(response, [503, 503, 200])
        waits = [record.waited for record in response.extensions["resilience"].attempts]
        assert waits == [0.0, *left_out[:1]] or left_out

    async def test_in_tasks_too(self):
        calls = []

        @resilience.Retry(3, wait=3600)
        async def fetch():
            calls.append(0)
            raise ConnectionError

        with fast() as left_out, pytest.raises(ConnectionError):
            await fetch()
        assert (len(calls), left_out) == (3, [3600, 3600])

    def test_plain_functions_too(self):
        calls = []

        @resilience.Retry(3, wait=3600)
        def fetch():
            calls.append(0)
            raise ConnectionError

        with fast() as left_out, pytest.raises(ConnectionError):
            fetch()
        assert (len(calls), left_out) == (3, [3600, 3600])

    def test_the_deadline_around_stays(self):
        with resilience.deadline(5.0) as instant, fast(), resilience.deadline(10.0) as inner:
            assert inner == instant


class TestAttempts:
    def response(self):
        (response,), _ = calls("threads", Script([503, Hang(), 200]))
        return response

    def test_any_endpoint_and_anything(self):
        assert_attempts(self.response(), [(None, 503), None, 200])

    @pytest.mark.parametrize(
        "expected",
        [[503, Hang()], [503, Hang(), 200, 200], [503, 503, 200], [("10.9.9.9:1", 503), None, None], [500, None, None]],
    )
    def test_both_are_shown_where_they_differ(self, expected):
        with pytest.raises(AssertionError, match=r"(?s)attempts:.*503.*ReadTimeout.*expected:"):
            assert_attempts(self.response(), expected)

    def test_the_steps_of_a_script_say_what_comes_of_them(self):
        steps = [Answer(503), httpx.ReadError("gone"), ConnectionReset("gone"), httpx.Response(503), resilience.Ok(b"")]
        service = resilience.Service(discovery=TWO.discovery, retry=resilience.Retry(9), circuit=None)
        (response,), _ = calls("threads", Script(steps), service)
        assert_attempts(response, steps)
        with pytest.raises(AssertionError, match=r"(?s)expected:.*Answer"):
            assert_attempts(response, [*steps[:-1], Answer(201)])

    @pytest.mark.parametrize("entry", [After(1, 200), 1.5, int, object()])
    def test_what_says_nothing_of_an_attempt_is_refused(self, entry):
        with pytest.raises(resilience.ConfigurationError) as caught:
            assert_attempts(self.response(), [503, entry, 200])
        assert caught.value.argument == "expected"

    def test_functions_have_attempts_without_endpoints(self):
        def fetch():
            raise ConnectionRefusedError

        with fast(), pytest.raises(ConnectionRefusedError) as caught:
            resilience.Retry(2).call(fetch)
        assert_attempts(caught.value, [ConnectionRefused, "ConnectionRefusedError"])

    def test_what_has_no_record_is_refused(self):
        with pytest.raises(resilience.ConfigurationError):
            assert_attempts(httpx.Response(200), [200])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Script(503),
        lambda: Script("503"),
        lambda: Script([99]),
        lambda: Script([True]),
        lambda: Script([object()]),
        lambda: Script([int]),
        lambda: Script({A: [600]}),
        lambda: Script({A: object()}),
        lambda: Script([200], then="x"),
        lambda: Answer(42),
        lambda: Answer(content=5),
        lambda: Answer(content=[b"half", "half"]),
        lambda: Answer(content=[-1]),
        lambda: Answer(content=[math.nan]),
        lambda: Answer(content=[int]),
        lambda: Answer(content=[bytes]),
        lambda: Answer(headers=5),
        lambda: Script([httpx.Response(200, content=iter([b"once"]))]),
        lambda: Hang("write"),
        lambda: After(-1, 200),
        lambda: After(math.nan, 200),
        lambda: After(1, "x"),
        lambda: ScriptedDns([]),
        lambda: ScriptedDns("servfail"),
        lambda: ScriptedDns(5),
        lambda: ScriptedDns([5]),
        lambda: ScriptedDns(["broken"]),
        lambda: ScriptedDns({5: ["10.0.0.1"]}),
        lambda: ScriptedDns({0: ["10.0.0.1"], 9: "servfail", 3: "servfail"}),
        lambda: ScriptedDns([["10.0.0.1:99999"]]),
        lambda: ScriptedDns([["10.0.0.1"]], ttl=-1),
        lambda: ScriptedDns([["10.0.0.1"]], after="x"),
    ],
)
def test_bad_input_is_refused_where_it_is_made(make):
    with pytest.raises(resilience.ConfigurationError):
        make()


STEP = st.sampled_from([200, 503, ConnectionRefused, ConnectionReset, Hang(), After(0.5, 200), After(8.0, 200)])


@given(steps=st.lists(STEP, min_size=1, max_size=6), method=st.sampled_from(["GET", "POST"]))
def test_threads_asyncio_and_trio_play_the_same_piece(steps, method):
    def piece(kind):
        script = Script(steps, then=200)
        outcomes, clock = calls(kind, script, urls=[URL] * 2, method=method)
        told = [
            (type(outcome).__name__, [(it.endpoint, it.status, it.error) for it in attempts(outcome)])
            for outcome in outcomes
        ]
        return told, clock.elapsed, clock.slept, [(sent.endpoint, sent.method) for sent in script.sent]

    threads = piece("threads")
    assert piece("asyncio") == threads
    assert piece("trio") == threads


def attempts(outcome):
    return outcome.attempts if isinstance(outcome, Exception) else outcome.extensions["resilience"].attempts


def test_what_fails_too_often_is_ejected_as_on_a_network():
    flaky, *others = addresses = [f"10.0.0.{number}:80" for number in range(1, 5)]
    turns = itertools.cycle([200, 503])
    script = Script({flaky: lambda _: next(turns), **dict.fromkeys(others, 200)})
    service = resilience.Service(
        discovery=resilience.Static(addresses),
        ejection=resilience.OutlierEjection(interval=0.5),
        health=resilience.HealthCheck("/readyz"),
        circuit=None,
    )
    with virtual() as clock, resilience.Client(transport=script, services={"w": service}) as client:
        for _ in range(200):
            client.get("http://w/")
            clock.advance(0.01)
        endpoints = client.status().services["w:80"].endpoints
        described = str(client.describe())
    assert [endpoint.ejected for endpoint in endpoints] == [True, False, False, False]
    assert "(never asked: another transport connects)" in described, "of the health check"
