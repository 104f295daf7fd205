"""The protection of a service, from a file."""

import pytest

import resilience
from resilience.config import ConfigurationFileError, load

PROTECTED = """\
[services."web.internal"]
attempt_timeout = "1s"
limit = { target = "250ms", least = 2 }
throttle = { k = 1.5 }
rate_limit = { rate = 100, burst = 5 }

[services."other.internal"]
limit = { law = "gradient2", initial = 30 }
throttle = false
"""


def test_a_service_takes_its_limits_from_a_file(tmp_path):
    (tmp_path / "a.toml").write_text(PROTECTED)
    services = load(tmp_path / "a.toml").services
    web, other = services["web.internal"], services["other.internal"]
    assert web.limit == resilience.AdaptiveLimit(resilience.TargetLatency(0.25, least=2))
    assert web.throttle == resilience.Throttle(k=1.5)
    assert web.rate_limit == resilience.RateLimit(100.0, burst=5)
    assert other.limit == resilience.AdaptiveLimit(resilience.Gradient2(initial=30))
    assert (other.throttle, other.rate_limit) == (None, None)


@pytest.mark.parametrize(
    "limit",
    [
        '{ law = "target_latency" }',
        '{ law = "aimd", target = "1s" }',
        '{ target = "1s", initial = 20 }',
        '{ law = "vegas" }',
        '{ target = "1s", least = 9, most = 8 }',
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_with_its_line(tmp_path, limit):
    file = tmp_path / "a.toml"
    file.write_text(f'[services."web.internal"]\nlimit = {limit}\n')
    with pytest.raises(ConfigurationFileError) as caught:
        load(file)
    assert "limit" in str(caught.value)
    assert ":2" in str(caught.value) or "line 2" in str(caught.value)
