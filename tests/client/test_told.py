"""What a failure says to whoever reads it: the notes of its attempts, and what is wrong with a URL."""

import httpx
import pytest

import resilience
from resilience.testing import ConnectionRefused, Hang, Script, virtual

URL = "http://web.internal/items"


def hung(**options) -> resilience.Client:
    service = resilience.Service(attempt_timeout=0.3, **options)
    return resilience.Client(transport=Script([Hang(), Hang(), Hang()]), defaults=service)


def test_a_single_attempt_is_told_too_and_why_it_was_the_last():
    with virtual(), hung() as client, pytest.raises(httpx.ReadTimeout) as caught:
        client.post(URL)
    assert caught.value.__notes__ == [
        "attempt 1 at web.internal:80: ReadTimeout after 0.300 s; not sent again: not repeatable"
    ]


def test_without_retries_there_is_no_reason_to_tell():
    script = Script([ConnectionRefused])
    client = resilience.Client(transport=script, defaults=resilience.Service(retry=None))
    with virtual(), client, pytest.raises(httpx.ConnectError) as caught:
        client.get(URL)
    assert caught.value.__notes__ == ["attempt 1 at web.internal:80: ConnectError after 0.000 s"]


def test_an_exception_that_ends_several_calls_is_annotated_for_the_last():
    same = httpx.ReadTimeout("always the same")

    def handler(request: httpx.Request) -> httpx.Response:
        raise same

    with resilience.Client(transport=httpx.MockTransport(handler)) as client:
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                client.post(URL)
    assert len(same.__notes__) == 1


def test_of_several_attempts_each_is_told_once():
    with virtual(), hung(total_timeout=60.0) as client, pytest.raises(httpx.ReadTimeout) as caught:
        client.get(URL)
    assert [note.split()[1] for note in caught.value.__notes__] == ["1", "2", "3"]


def test_the_last_of_several_says_why_there_was_no_other():
    budget = resilience.RetryBudget(0.0, min_per_second=0.1)
    with virtual(), hung(budget=budget) as client, pytest.raises(httpx.ReadTimeout) as caught:
        client.get(URL)
    first, second = caught.value.__notes__
    assert first == "attempt 1 at web.internal:80: ReadTimeout after 0.300 s"
    assert second.endswith("; not sent again: budget")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "web.internal/items",
            "the URL is missing an 'http://' or 'https://' and a host in front of '/web.internal/items'",
        ),
        (
            "me:hunter2@web.internal/items?hunter2",
            "the URL is missing an 'http://' or 'https://' and a host in front of 'web.internal/items'",
        ),
        ("ftp://user:s3cr3t@x/?token=s3cr3t", "the URL 'ftp://x' has an unsupported protocol"),
    ],
)
async def test_what_is_wrong_with_a_url(url, told):
    with resilience.Client() as client, pytest.raises(httpx.UnsupportedProtocol) as caught:
        client.get(url)
    assert (str(caught.value), caught.value.attempts) == (told, ())  # type: ignore[attr-defined]
    async with resilience.AsyncClient() as aclient:
        with pytest.raises(httpx.UnsupportedProtocol) as caught:
            await aclient.get(url)
    assert (str(caught.value), caught.value.attempts) == (told, ())  # type: ignore[attr-defined]


def test_too_many_redirects_tell_of_their_attempts():
    loop = httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": "/"}))
    client = resilience.Client(transport=loop, follow_redirects=True, max_redirects=3)
    with client, pytest.raises(httpx.TooManyRedirects) as caught:
        client.get(URL)
    assert len(caught.value.attempts) == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize("policy", [resilience.Retry, resilience.Timeout, resilience.Bulkhead])
def test_a_policy_without_its_parentheses_is_told_so(policy):
    def function() -> None:
        return

    with pytest.raises(resilience.ConfigurationError, match=r"written with parentheses: @Retry\(\)"):
        policy(function)


@pytest.mark.parametrize(
    ("argument", "value", "such"),
    [("balancer", resilience.PeakEwma, "PeakEwma()"), ("discovery", ["a:80"], "Static([")],
)
def test_what_is_no_balancer_or_resolver_is_told_of_one(argument, value, such):
    with pytest.raises(resilience.ConfigurationError) as caught:
        resilience.Service(**{argument: value})
    assert such in str(caught.value)
