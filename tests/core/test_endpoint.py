"""An endpoint names each cause of not being ready."""

import threading
import time

import pytest

from resilience.core.endpoint import HUNG_AFTER, HUNG_FACTOR, SILENT, UNKNOWN_PATIENCE, Address, Endpoint
from resilience.core.outcome import BAD
from resilience.core.resolution import Target
from resilience.policies.circuit import Circuit
from resilience.policies.permits import CircuitOptions


def test_addresses_as_text():
    assert str(Address("10.0.0.1", 80)) == "10.0.0.1:80"
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Target("web.internal", 8080)) == "web.internal:8080"
    assert repr(Endpoint(Address("::1", 80))) == "<Endpoint [::1]:80>"


@pytest.mark.parametrize(
    ("change", "cause"),
    [({"healthy": False}, "unhealthy"), ({"draining": True}, "draining"), ({"ejected": True}, "ejected")],
)
def test_lasting_causes(change, cause):
    endpoint = Endpoint(Address("10.0.0.1", 80))
    assert endpoint.ready(0.0)
    assert endpoint.open_to(0.0)
    endpoint.mark(**change)
    assert not endpoint.ready(0.0)
    assert not endpoint.open_to(0.0)
    assert endpoint.not_ready_because(0.0) == (cause,)
    endpoint.mark(healthy=True, draining=False, ejected=False)
    assert endpoint.ready(0.0)
    assert endpoint.not_ready_because(0.0) == ()


def test_a_circuit_is_made_when_somebody_looks_at_it_and_once():
    made = []

    def make():
        time.sleep(0)  # lets another thread in
        made.append(Circuit(CircuitOptions()))
        return made[-1]

    endpoint = Endpoint(Address("10.0.0.1", 80), make_circuit=make)
    endpoint.mark(draining=True, healthy=False)
    endpoint.observe(0.1)
    assert not endpoint.ready(0.0)
    assert not made, "of an endpoint that takes no calls nobody looks at it"
    start, found = threading.Barrier(8), []

    def look():
        start.wait()
        found.append(endpoint.circuit)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == made * 8
    with pytest.raises(AttributeError, match="cirquit"):
        _ = endpoint.cirquit


def test_full_and_open():
    circuit = Circuit(CircuitOptions(consecutive_failures=1))
    endpoint = Endpoint(Address("10.0.0.1", 80), limit=1, circuit=circuit)
    assert endpoint.ready(0.0)
    assert endpoint.slots.take()
    assert not endpoint.ready(0.0)
    assert endpoint.open_to(0.0), "as soon as a slot is free"
    circuit.settle(circuit.admit(0.0), BAD, now=0.0)
    endpoint.mark(ejected=True)
    assert endpoint.not_ready_because(0.0) == ("ejected", "circuit", "full")
    assert not endpoint.open_to(0.0)
    endpoint.mark(ejected=False)
    endpoint.slots.give_back()
    assert not endpoint.ready(0.0)
    assert endpoint.ready(1.0)


def test_latency_is_smoothed():
    endpoint = Endpoint(Address("10.0.0.1", 80))
    endpoint.observe(1.0)
    assert endpoint.latency == 1.0
    endpoint.observe(9.0)
    assert endpoint.latency == 2.0


def test_it_hangs_when_several_wait_longer_than_any_answer_usually_takes():
    endpoint = Endpoint(Address("10.0.0.1", 80))
    assert not endpoint.hangs(1e9), "when new"
    endpoint.slots.take()
    endpoint.silent, endpoint.silent_since = SILENT, 8.0
    for usual, patience in ((None, UNKNOWN_PATIENCE), (1.0, HUNG_FACTOR), (0.001, HUNG_AFTER)):
        endpoint.usual = usual
        assert not endpoint.hangs(8.0 + patience - 1e-6)
        assert endpoint.hangs(8.0 + patience + 1e-6)
    endpoint.usual = 1.0
    assert not endpoint.hangs(11.0), "as long as it may take"
    endpoint.silent = SILENT - 1
    assert not endpoint.hangs(1e9), "too few wait"
    endpoint.silent = SILENT
    endpoint.slots.give_back()
    assert not endpoint.hangs(1e9), "nobody waits"


def test_a_new_one_weighs_one_and_nothing_speaks_against_it():
    endpoint = Endpoint(Address("10.0.0.1", 80))
    assert endpoint.weight == 1.0
    assert [endpoint.healthy, endpoint.draining, endpoint.ejected, endpoint.panic] == [True, False, False, False]
    assert (endpoint.silent, endpoint.latency, endpoint.usual, endpoint.route) == (0, None, None, None)
    assert endpoint.adaptive is None


def test_a_new_one_is_of_the_first_tier():
    assert Endpoint(Address("10.0.0.1", 80)).tier == 0
