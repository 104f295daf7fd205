"""What can be listed, and what belongs to it; ``test_retry.py`` and ``test_bad_input.py`` have most of it."""

import pytest

from resilience.core.errors import ConfigurationError
from resilience.core.outcome import Ok
from resilience.policies.matching import listed, matcher


def test_a_result_without_a_status_is_of_no_status_that_is_listed():
    assert not matcher("on", 503).matches(Ok("no status"))


class Group(list):
    """A list that can be called."""

    def __call__(self, outcome):
        return True


def test_a_list_that_can_be_called_is_a_list():
    assert listed("on", Group([ValueError, 503])) == (ValueError, 503)


@pytest.mark.parametrize("value", [5.5, None, "ValueError", b"503"])
def test_what_is_no_list_of_anything_is_refused(value):
    with pytest.raises(ConfigurationError) as caught:
        listed("on", value)
    assert caught.value.argument == "on"
