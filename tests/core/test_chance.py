"""A number for a text: every text has one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.core.chance import fixed


@given(st.text())
def test_a_text_has_one_number(text):
    assert 0.0 <= fixed(text) < 1.0
    assert fixed(text) == fixed(text)


@pytest.mark.parametrize("text", ["\ud800", "user \udcff"])
def test_half_a_surrogate_pair_has_one_too(text):
    """Bytes of a header that are no UTF-8 are such texts."""
    assert 0.0 <= fixed(text) < 1.0
    assert fixed(text) != fixed("?")
