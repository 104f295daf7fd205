"""Which requests a fault hits, and what no server can do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.lab import Fault
from resilience.lab.faults import HEALTHY, Stride


@given(tenths=st.integers(0, 10), seed=st.text(max_size=3), windows=st.integers(1, 20))
def test_a_ratio_is_exact_in_every_ten(tenths: int, seed: str, windows: int) -> None:
    stride = Stride(tenths / 10, seed)
    for _ in range(windows):
        assert sum(stride.hit() for _ in range(10)) == tenths


@given(ratio=st.floats(0, 1), windows=st.integers(1, 50))
def test_any_ratio_is_within_one_hit_after_whole_windows(ratio: float, windows: int) -> None:
    stride = Stride(ratio, "a")
    hits = sum(stride.hit() for _ in range(10 * windows))
    assert abs(hits - ratio * 10 * windows) <= 1 + 0.001 * windows


def test_the_same_seed_hits_the_same_requests_and_another_one_others() -> None:
    first, again, other = (Stride(0.5, seed) for seed in ("a", "a", "b"))
    hits = [[stride.hit() for _ in range(60)] for stride in (first, again, other)]
    assert hits[0] == hits[1] != hits[2]


def test_a_fault_survives_the_control_channel() -> None:
    fault = Fault(delay=0.5, reset="after", methods=("GET", "HEAD"), path="/items", retry_after="soon")
    assert Fault.from_dict(json.loads(json.dumps(fault.as_dict()))) == fault
    assert HEALTHY.as_dict() == {}
    assert Fault.from_dict({}) == HEALTHY


def test_limits() -> None:
    fault = Fault(status=503, methods=("GET",), path="/items")
    assert fault.concerns("GET", "/items/7")
    assert not fault.concerns("POST", "/items/7")
    assert not fault.concerns("GET", "/readyz")
    assert HEALTHY.concerns("PATCH", "/")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"delay": -1}, "delay=-1"),
        ({"delay": float("nan")}, "delay=nan"),
        ({"delay": float("inf")}, "delay=inf"),
        ({"drip": -0.1}, "drip=-0.1"),
        ({"ratio": 1.1}, "ratio=1.1"),
        ({"refuse_streams": -1}, "refuse_streams=-1"),
        ({"status": 100}, "status=100"),
        ({"idle_close": -1}, "idle_close=-1"),
        ({"reset": "never"}, "reset='never'"),
    ],
)
def test_bad_faults_are_refused_by_name(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Fault(**fields)  # type: ignore[arg-type]
