"""One circuit per key: they do not mix, and they do not pile up."""

import threading

import pybreaker
import pytest

from resilience.core.errors import CircuitOpenError, ConfigurationError
from resilience.policies.keyed import KeyedCircuitBreaker
from resilience.runtimes.virtual import VirtualRuntime
from tests.composition.fake_time import on


def call(host, fails=False):
    if fails:
        raise ConnectionError(host)
    return host


def trip(keyed, host):
    with pytest.raises(ConnectionError):
        keyed.call(call, host, fails=True)


def keyed_by_host(**options):
    return KeyedCircuitBreaker(lambda host, **_: host, consecutive_failures=1, **options)


def test_each_key_has_its_own():
    keyed = keyed_by_host()
    trip(keyed, "a")
    with pytest.raises(CircuitOpenError, match="circuit for a is open"):
        keyed.call(call, "a")
    assert keyed.call(call, "b") == "b"
    assert {key: breaker.current_state for key, breaker in keyed.circuits.items()} == {"a": "open", "b": "closed"}
    assert keyed.circuits["a"].options.consecutive_failures == 1


def test_names_tell_which():
    keyed = keyed_by_host(name="shard")
    trip(keyed, 7)
    with pytest.raises(CircuitOpenError, match="circuit for shard 7 is open"):
        keyed.call(call, 7)
    assert "most=1000" in repr(keyed)


def test_it_decorates():
    @keyed_by_host()
    def function(host):
        return host

    assert function("a") == "a"


def test_the_longest_unused_goes_unless_it_is_needed():
    keyed = keyed_by_host(most=3)
    trip(keyed, "open")
    for host in "abcab":
        keyed.call(call, host)
    assert list(keyed.circuits) == ["open", "a", "b"]
    keyed.circuits["a"].force_open()
    keyed.call(call, "d")
    assert list(keyed.circuits) == ["open", "a", "d"]
    trip(keyed, "d")
    keyed.call(call, "e")
    assert list(keyed.circuits) == ["open", "a", "d", "e"], "none of them may go"
    keyed.call(call, "f")
    assert list(keyed.circuits) == ["open", "a", "d", "f"]


@pytest.mark.parametrize("calls", [[5.0], [5.0, 1.0]], ids=["its only one", "beside one that has ended"])
def test_one_with_a_call_inside_stays(calls):
    runtime = VirtualRuntime()
    keyed = KeyedCircuitBreaker(lambda _seconds, key: key, most=1)

    async def work(seconds, _key):
        await runtime.sleep(seconds)

    with on(runtime):
        for seconds in calls:
            runtime.spawn(lambda seconds=seconds: keyed.acall(work, seconds, "a"))
        runtime.advance(2.0)
        runtime.run(lambda: keyed.acall(work, 0.0, "b"))
        assert list(keyed.circuits) == ["a", "b"]
        runtime.advance(10.0)
        runtime.run(lambda: keyed.acall(work, 0.0, "c"))
        assert list(keyed.circuits) == ["c"]


def test_the_key_may_be_an_argument_by_name():
    keyed = KeyedCircuitBreaker(lambda *, host: host)
    assert keyed.call(call, host="a") == "a"
    assert list(keyed.circuits) == ["a"]


def test_sixty_four_threads_share_one_circuit_per_key():
    keyed = KeyedCircuitBreaker(lambda host: host, most=8)

    def work():
        for number in range(200):
            keyed.call(call, number % 8)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [breaker._circuit.counts(breaker._place.runtime.now())[0] for breaker in keyed.circuits.values()]
    assert counts == [64 * 200 // 8] * 8
    assert all(entry.inside == 0 for entry in keyed._entries.values())


def test_bad_arguments_are_named():
    for make, argument in (
        (lambda: KeyedCircuitBreaker("host"), "key"),
        (lambda: KeyedCircuitBreaker(len, most=0), "most"),
        (lambda: KeyedCircuitBreaker(len, probes=0), "probes"),
        (lambda: KeyedCircuitBreaker(len, name=5), "name"),
        (lambda: KeyedCircuitBreaker(lambda *_: []).call(call, "a"), "key"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert caught.value.argument == argument


def test_every_key_has_what_an_iterator_listed():
    heard = pybreaker.CircuitBreakerListener()
    keyed = keyed_by_host(exclude=(kind for kind in (ConnectionError,)), listeners=iter([heard]), name="shard")
    for host in "aabb":
        trip(keyed, host)
    assert {key: it.current_state for key, it in keyed.circuits.items()} == {"a": "closed", "b": "closed"}
    assert {it.listeners for it in keyed.circuits.values()} == {(heard,)}
