"""A whole directory on virtual time: one lookup however many wait, outages, early and idle refreshes."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from resilience.core.endpoint import Address
from resilience.core.errors import NoEndpointsError
from resilience.core.events import ResolutionFailed
from resilience.core.resolution import Replica, Resolution, Target
from resilience.discovery.directory import Directory
from resilience.discovery.failures import ResolutionError
from resilience.discovery.freshness import IDLE, PATIENCE
from resilience.runtimes.background_virtual import VirtualBackground
from resilience.runtimes.virtual import VirtualRuntime

TARGET = Target("web.internal", 80)


def found(*hosts: str, ttl: float = 10.0) -> Resolution:
    return Resolution(tuple(Replica(Address(host, 80)) for host in hosts), ttl, "dns")


class World:
    """A name, what a nameserver says of it, and what a directory makes of that."""

    def __init__(self, **bounds: float) -> None:
        self.runtime = VirtualRuntime(start=0.0)
        self.answer: Any = found("10.0.0.1")
        self.takes = 0.01
        self.asked: list[float] = []
        self.adopted: list[Resolution | None] = []
        self.events: list[Any] = []
        self.lease = VirtualBackground(self.runtime).acquire()
        for name, value in bounds.items():
            setattr(self, name, value)
        self.directory = Directory(
            TARGET, self, self.lease, self.runtime, self.adopted.append, self.events.append, self.runtime
        )

    async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
        assert (target, deadline) == (TARGET, self.runtime.now() + 5.0)
        self.asked.append(self.runtime.now())
        await self.runtime.sleep(self.takes)
        answer = self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def first(self, seconds: float = 5.0) -> Any:
        self.directory.used(self.runtime.now())
        return self.runtime.run(lambda: self.directory.first(self.runtime, seconds))

    def calls(self, seconds: float, *, every: float = 0.1, then: Callable[[], object] = lambda: None) -> float:
        """Let calls come; return how long they waited in all."""
        waited = 0.0
        for _ in range(round(seconds / every)):
            waited += self.directory.used(self.runtime.now())
            then()
            self.runtime.advance(every)
        return waited


def test_nobody_asks_before_somebody_calls() -> None:
    world = World()
    world.runtime.advance(100.0)
    assert not world.asked


def test_one_lookup_serves_all_who_wait() -> None:
    world = World()
    done: list[float] = []

    async def call() -> None:
        await world.directory.first(world.runtime, 5.0)
        done.append(world.runtime.now())

    world.directory.used(0.0)
    for _ in range(100):
        world.runtime.spawn(call)
    world.runtime.advance(1.0)
    assert (len(done), len(world.asked), world.adopted) == (100, 1, [found("10.0.0.1")])


def test_whoever_loses_patience_leaves_the_lookup_to_the_others() -> None:
    world = World()
    world.takes = 2.0
    with pytest.raises(TimeoutError):
        world.first(0.5)
    world.first()
    assert (world.runtime.now(), len(world.asked)) == (2.0, 1)


def test_it_is_kept_fresh_by_its_ttl_while_calls_come() -> None:
    world = World()
    world.first()
    assert world.calls(100.0) == 0.0
    assert 10 <= len(world.asked) <= 13
    assert len(world.adopted) == len(world.asked)


def test_a_failure_reaches_each_caller_as_an_error_of_its_own_and_is_remembered() -> None:
    world = World()
    world.answer = ResolutionError("web.internal", "servfail")
    errors: list[NoEndpointsError] = []
    for _ in range(3):
        with pytest.raises(NoEndpointsError) as caught:
            world.first()
        errors.append(caught.value)
        world.runtime.advance(0.25)
    (failed,) = world.events
    assert [error.retry_after for error in errors] == pytest.approx([failed.retry_in - 0.25 * n for n in range(3)])
    assert len({id(error) for error in errors}) == 3
    assert {(error.service, error.kind) for error in errors} == {("web.internal:80", "servfail")}  # type: ignore[attr-defined]
    assert len(world.asked) == 1
    assert world.events == [ResolutionFailed("web.internal:80", "servfail", pytest.approx(1.05, rel=0.06), 0)]
    world.answer = found("10.0.0.2")
    world.runtime.advance(0.45)
    world.first()
    assert world.adopted[0] is None
    assert world.adopted[-1] == found("10.0.0.2")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ValueError("a resolver's own"), "servfail"),
        (TimeoutError(), "timeout"),
        (found(), "empty"),
        (None, "servfail"),
        (SystemExit(1), "servfail"),
    ],
)
def test_whatever_a_resolver_raises_is_a_failure(answer: Any, kind: str) -> None:
    world = World()
    world.answer = answer
    with pytest.raises(ResolutionError) as caught:
        world.first()
    assert caught.value.kind == kind


def test_a_resolver_that_hangs_beyond_its_deadline_has_failed_and_is_asked_again() -> None:
    world = World()
    world.first()
    world.takes = math.inf
    world.calls(100.0)
    assert 4 <= len(world.asked) <= 9
    assert {event.reason for event in world.events} == {"timeout"}
    assert "no nameserver answered in time" in str(world.directory._error)
    world.takes, world.answer = 0.01, found("10.0.0.2")
    world.calls(100.0)
    assert world.adopted == [found("10.0.0.1"), found("10.0.0.2"), *world.adopted[2:]]


@pytest.mark.parametrize("answer", [None, found("10.0.0.2")])
def test_nonsense_from_a_resolver_and_what_a_balancer_raises_do_not_hammer_nameservers(answer: Any) -> None:
    world = World()
    world.first()
    before = world.directory._adopt

    def broken(resolution: Resolution | None) -> None:
        before(resolution)
        raise ValueError("a balancer's own")

    world.answer = answer
    world.directory.tell(broken)
    world.calls(30.0)
    assert len(world.asked) <= 7


@pytest.mark.parametrize("kind", ["servfail", "refused", "timeout", "malformed"])
def test_ten_minutes_of_outage_cost_no_call_and_a_query_in_thirty_seconds(kind: Any) -> None:
    world = World()
    world.first()
    world.answer = ResolutionError("web.internal", kind)
    before = len(world.asked)
    assert world.calls(600.0) == 0.0
    assert len(world.asked) - before <= 600 / 30
    assert world.adopted == [found("10.0.0.1")]
    assert {event.kept for event in world.events} == {1}
    world.answer = found("10.0.0.2")
    world.calls(70.0)
    assert world.adopted[-1] == found("10.0.0.2")


def test_three_absences_are_not_believed_the_fourth_is() -> None:
    world = World()
    world.first()
    world.answer = ResolutionError("web.internal", "nxdomain")
    world.calls(60.0)
    assert world.adopted[1] is None
    assert [event.kept for event in world.events][:4] == [1, 1, 1, 0]
    world.answer = found("10.0.0.3")
    world.calls(10.0)
    assert world.adopted[-1] == found("10.0.0.3")


def test_failed_dials_bring_it_forward_together_once_a_second() -> None:
    world = World(max_ttl=30.0)
    world.answer = found("10.0.0.1", ttl=30.0)
    world.first()

    def storm() -> None:
        for _ in range(50):
            world.directory.dial_failed()

    world.calls(10.0, then=storm)
    assert 9 <= len(world.asked) <= 12


def test_a_call_waits_for_what_a_failed_dial_has_asked_for_unless_nameservers_fail() -> None:
    world = World(max_ttl=30.0)
    world.first()
    world.calls(2.0)

    async def renewed() -> float:
        start = world.runtime.now()
        await world.directory.renewed(world.runtime, PATIENCE)
        return world.runtime.now() - start

    assert world.runtime.run(renewed) == 0.0  # nothing is under way
    world.answer = found("10.0.0.2")
    world.directory.dial_failed()
    assert world.runtime.run(renewed) == pytest.approx(world.takes)
    assert world.adopted[-1] == found("10.0.0.2")
    world.answer = ResolutionError("web.internal", "timeout")
    world.takes = 5.0
    world.calls(2.0)
    world.directory.dial_failed()
    assert world.runtime.run(renewed) == pytest.approx(PATIENCE)
    world.calls(10.0)
    world.directory.dial_failed()
    assert world.runtime.run(renewed) == 0.0


def test_what_was_asked_before_the_dial_failed_is_not_what_a_call_waits_for() -> None:
    world = World(takes=0.05)
    world.first()
    due = world.directory.freshness.due
    world.calls(due - world.runtime.now() - 0.01, every=0.01)
    assert len(world.asked) == 1
    old = world.answer

    class Old:
        """What the nameserver said as the lookup under way was asked."""

        async def resolve(self, target: Target, /, *, deadline: float) -> Resolution:
            world.directory._resolver = world
            await world.resolve(target, deadline=deadline)
            return old  # type: ignore[no-any-return]

    world.directory._resolver = Old()
    world.calls(0.03, every=0.01)
    assert len(world.asked) == 2
    world.answer = found("10.0.0.2")
    world.directory.dial_failed()
    world.runtime.run(lambda: world.directory.renewed(world.runtime, PATIENCE))
    assert world.adopted[-1] == found("10.0.0.2")
    assert len(world.asked) == 3


def test_nobody_takes_an_answer_for_fresh_before_it_is_adopted() -> None:
    world = World()
    world.first()
    world.calls(2.0)
    waiting: list[bool] = []
    world.directory.tell(lambda _: waiting.append(world.directory.freshness.due <= world.runtime.now()))
    world.directory.dial_failed()
    world.runtime.run(lambda: world.directory.renewed(world.runtime, PATIENCE))
    assert waiting == [True]  # another thread's call would still wait here


def test_after_a_pause_nobody_refreshes_and_the_next_call_waits_a_moment() -> None:
    world = World()
    world.first()
    world.runtime.advance(IDLE + 30.0)
    quiet = len(world.asked)
    world.runtime.advance(1000.0)
    assert len(world.asked) == quiet
    world.answer = found("10.0.0.9")
    wait = world.directory.used(world.runtime.now())
    assert wait == PATIENCE
    world.runtime.run(lambda: world.directory.fresh(world.runtime, wait))
    assert world.adopted[-1] == found("10.0.0.9")
    assert len(world.asked) == quiet + 1


def test_after_a_pause_stale_answers_will_do() -> None:
    world = World()
    world.first()
    world.runtime.advance(IDLE + 1000.0)
    world.takes = 3.0
    start = world.runtime.now()
    wait = world.directory.used(start)
    world.runtime.run(lambda: world.directory.fresh(world.runtime, wait))
    assert world.runtime.now() - start == PATIENCE


def test_what_is_closed_gives_those_who_wait_their_answer_and_begins_nothing_more() -> None:
    world = World()
    world.takes = 1.0
    world.directory.used(0.0)
    waiting = world.runtime.spawn(lambda: world.directory.first(world.runtime, 5.0))
    world.runtime.advance(0.5)
    world.directory.close()
    world.runtime.advance(200.0)
    assert (waiting.done, waiting.error, len(world.asked)) == (True, None, 1)
    other = World()
    other.first()
    other.directory.close()
    assert other.calls(200.0) <= 200 * PATIENCE
    assert len(other.asked) == 1


def test_who_waits_while_the_client_is_closed_hears_of_it_as_of_a_name_without_endpoints() -> None:
    world = World()
    world.takes = 1.0
    waiting = world.runtime.spawn(lambda: world.directory.first(world.runtime, 5.0))
    world.runtime.advance(0.5)
    world.lease.release()
    world.runtime.advance(0.0)
    assert isinstance(waiting.error, NoEndpointsError)
    assert waiting.error.service == "web.internal:80"
    assert "cannot resolve web.internal:80: " in str(waiting.error)


def test_who_could_do_with_stale_answers_does_so_while_the_client_is_closed() -> None:
    world = World()
    world.first()
    world.takes = 1.0
    world.runtime.advance(IDLE + 30.0)
    waiting = world.runtime.spawn(lambda: world.directory.fresh(world.runtime, PATIENCE))
    world.runtime.advance(0.1)
    world.lease.release()
    world.runtime.advance(0.0)
    assert (waiting.done, waiting.error) == (True, None)


def test_a_list_that_never_expires_is_asked_for_once() -> None:
    world = World()
    world.answer = found("10.0.0.1", ttl=math.inf)
    world.first()
    world.calls(100.0, then=world.directory.dial_failed)
    assert len(world.asked) == 1
