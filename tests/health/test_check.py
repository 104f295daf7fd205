import math
from datetime import timedelta

import pytest

from resilience.core.errors import ConfigurationError
from resilience.health.check import HealthCheck


def test_the_defaults_take_two_failures_and_one_pass():
    check = HealthCheck("/readyz")
    assert (check.interval, check.timeout, check.rise, check.fall) == (5.0, 1.0, 1, 2)
    assert [status for status in (199, 200, 204, 301, 399, 400, 503) if check.accepts(status)] == [200, 204, 301, 399]


@pytest.mark.parametrize("expect", [200, {200}, [200], frozenset({200}), range(200, 201)])
def test_what_is_expected_may_be_one_status_or_many(expect):
    check = HealthCheck("/", expect=expect)
    assert check.accepts(200)
    assert not check.accepts(201)
    assert hash(check) == hash(HealthCheck("/", expect=expect))


def test_durations_become_seconds():
    check = HealthCheck("/", interval=timedelta(milliseconds=500), timeout=timedelta(seconds=2))
    assert (check.interval, check.timeout) == (0.5, 2.0)


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        *(("path", bad) for bad in ["", "readyz", "http://x/", "/a b", "/a#b", "/a\n", None, 7, b"/"]),
        *((name, bad) for name in ("interval", "timeout") for bad in (0, -1, math.inf, math.nan, "5", None, True)),
        *((name, bad) for name in ("rise", "fall") for bad in (0, -1, 1.5, "2", None, True)),
        *(("expect", bad) for bad in [[], range(0), range(300), {99}, {600}, "200", b"200", None, 2.5, {True}, -200]),
    ],
)
def test_anything_else_is_refused_by_name(argument, bad):
    with pytest.raises(ConfigurationError) as caught:
        HealthCheck(**{"path": "/", argument: bad})
    assert caught.value.argument == argument
