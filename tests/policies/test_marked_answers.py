"""An answer that says that trying again is of no use: its verdict, and that it is passed on."""

import httpx
import pytest

from resilience.client import Client
from resilience.core.errors import BadAnswerError
from resilience.core.outcome import Blame, Sent
from resilience.core.propagation import Inbound, inbound
from resilience.http.service import Service
from resilience.pipeline import Pipeline
from resilience.policies.guard import Guard
from resilience.policies.retry import Retry
from resilience.policies.verdicts import judge_status


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_it_is_final_and_blamed_as_ever(status):
    plain = judge_status(status, {})
    marked = judge_status(status, {"x-no-retry": "1", "retry-after": "5"})
    assert plain.retry
    assert not marked.retry
    assert marked.final
    assert (marked.blame, marked.sent, marked.retry_after) == (plain.blame, Sent.ANSWERED, None)
    assert judge_status(status, {"x-no-retry": "0"}).retry


def test_it_marks_our_own_answer():
    answering = Inbound()
    token = inbound.set(answering)
    judge_status(200, {"x-no-retry": "1"})
    assert not answering.exhausted
    assert judge_status(503, {"x-no-retry": "1"}).blame is Blame.BAD
    assert answering.exhausted
    inbound.reset(token)


@pytest.mark.parametrize(("status", "blame"), [(500, Blame.BAD), (501, Blame.GOOD), (599, Blame.GOOD)])
def test_one_that_is_repeated_on_request_only_is_passed_on_as_well(status, blame):
    answering = Inbound()
    token = inbound.set(answering)
    assert not judge_status(status, {}).final
    assert not answering.exhausted
    verdict = judge_status(status, {"x-no-retry": "1"})
    assert (verdict.blame, verdict.final, answering.exhausted) == (blame, True, True)
    assert verdict.consecutive is judge_status(status, {}).consecutive
    inbound.reset(token)


class Server:
    """Always fails; says whether trying again is of any use."""

    def __init__(self, status, mark):
        self.status, self.headers = status, {"x-no-retry": mark}
        self.asked = 0

    def answer(self, request):
        self.asked += 1
        return httpx.Response(self.status, headers=self.headers, request=request)

    def respond(self):
        return self.answer(httpx.Request("GET", "http://service.test/"))

    def fail(self):
        return self.respond().raise_for_status()


WISHES = [
    {"on": (500, 503)},
    {"on": lambda outcome: True},
    {"on": (httpx.HTTPStatusError, BadAnswerError)},
]


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("wish", WISHES)
def test_no_policys_own_wish_repeats_it(status, wish):
    retry = Retry(3, wait=0.0, **wish)
    marked = Server(status, "1")
    with pytest.raises(httpx.HTTPStatusError):
        retry.call(marked.fail)
    retry.call(marked.respond)
    with Client(defaults=Service(retry=retry), transport=httpx.MockTransport(marked.answer)) as client:
        assert client.get("http://service.test/").status_code == status
    assert marked.asked == 3
    unmarked = Server(status, "0")
    with pytest.raises(httpx.HTTPStatusError):
        retry.call(unmarked.fail)
    assert unmarked.asked == 3


@pytest.mark.parametrize("guard", [Guard(status=200), Guard(check=lambda reply: False)])
@pytest.mark.parametrize(("mark", "asked"), [("1", 1), ("0", 3)])
def test_a_guard_that_refuses_it_passes_that_on(guard, mark, asked):
    server = Server(503, mark)
    with pytest.raises(BadAnswerError) as caught:
        Pipeline(Retry(3, wait=0.0), guard).call(server.respond)
    assert server.asked == asked
    assert caught.value.final is (mark == "1")


def test_a_list_of_refused_answers_does_not_overrule_it():
    sent = []

    def ask():
        sent.append(None)
        return httpx.Response(503, headers={"x-no-retry": "1"})

    with pytest.raises(BadAnswerError):
        Pipeline(Retry(3, on=BadAnswerError, wait=0.0), Guard(status=200)).call(ask)
    assert len(sent) == 1
