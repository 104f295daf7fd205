"""``virtual()``: user code, plain and async, on a clock that jumps and cannot hang."""

import asyncio
import queue
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import anyio
import anyio.lowlevel
import httpx
import pytest
import sniffio
from hypothesis import given, settings
from hypothesis import strategies as st

import resilience
from resilience.testing import Answer, Script, StuckError, virtual

BACKENDS = ["asyncio", "trio"]


def failing(counter, error=ConnectionError):
    counter.append(0)
    raise error


def test_plain_code_waits_for_nothing_and_time_passes():
    calls = []
    with virtual() as clock:

        @resilience.Retry(4, wait=10)
        def fetch():
            time.sleep(2)
            failing(calls)

        with pytest.raises(ConnectionError):
            fetch()
        assert clock.slept == (10, 10, 10)
        assert clock.elapsed == 38.0
    assert len(calls) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_async_code_waits_for_nothing_and_time_passes(backend):
    calls = []

    async def main():
        @resilience.Retry(4, wait=10)
        async def fetch():
            await anyio.sleep(2)
            failing(calls)

        with pytest.raises(ConnectionError):
            await fetch()
        return "done"

    with virtual() as clock:
        assert clock.run(main, backend=backend) == "done"
        assert clock.slept == (10, 10, 10)
        assert clock.elapsed == 38.0
    assert len(calls) == 4


def test_an_async_block_takes_the_running_loop_along():
    async def main():
        with virtual() as clock:
            await asyncio.sleep(3600)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.Event().wait()
            assert clock.elapsed == 3605.0
        return asyncio.get_running_loop().time()

    before = time.monotonic()
    assert before <= asyncio.run(main()) < before + 3600


async def in_a_scope(seconds, work):
    with anyio.move_on_after(seconds):
        return await work()
    raise TimeoutError


LIMITS = {
    "asyncio": lambda seconds, work: asyncio.wait_for(work(), seconds),
    "anyio": in_a_scope,
    "ours": lambda seconds, work: resilience.Timeout(seconds).acall(work),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_around_an_async_block_stays_as_far_away(name):
    async def block(seconds):
        with virtual() as clock:
            with pytest.raises(TimeoutError):
                await LIMITS[name](1, asyncio.Event().wait)
            assert clock.elapsed == 1.0
            await asyncio.sleep(seconds)
        return "done"

    async def main(seconds):
        return await LIMITS[name](100, lambda: block(seconds))

    with virtual() as clock:
        clock.advance(10_000)  # the next clock begins where this one ends
    assert asyncio.run(main(90)) == "done"
    with pytest.raises(TimeoutError):
        asyncio.run(main(110))


def test_a_task_that_outlives_an_async_block_goes_on_in_the_time_that_is_left():
    async def main():
        async def hour():
            await asyncio.sleep(3600)
            return "done"

        with virtual():
            task = asyncio.create_task(hour())
            await asyncio.sleep(3599.99)
        return await asyncio.wait_for(task, 30)

    assert asyncio.run(main()) == "done"


def test_a_loop_goes_back_to_the_clock_around_the_inner_one():
    async def main():
        with virtual() as inner:
            await asyncio.sleep(3)
            assert (inner.elapsed, clock.elapsed) == (3.0, 0.0)
        await asyncio.to_thread(time.sleep, 2)
        return clock.elapsed

    with virtual() as clock:
        assert clock.run(main) == 2.0


def test_one_description_serves_for_a_block_in_a_block():
    before = time.monotonic, time.sleep, asyncio.BaseEventLoop.run_forever
    week = virtual(limit=7 * 86_400)
    with week as outer:
        with week as inner:
            time.sleep(3)
        assert (inner.elapsed, outer.elapsed) == (3.0, 0.0)
        time.sleep(1)
        assert outer.elapsed == 1.0
    assert (time.monotonic, time.sleep, asyncio.BaseEventLoop.run_forever) == before


def test_loops_that_the_code_starts_itself_follow():
    async def main():
        await asyncio.sleep(60)
        return await anyio.to_thread.run_sync(lambda: 5)

    with virtual() as clock:
        assert asyncio.run(main()) == 5
        assert anyio.run(main) == 5
        assert clock.elapsed == 120.0


def test_inside_trio_it_says_what_to_do():
    async def main():
        with pytest.raises(RuntimeError, match="backend='trio'"), virtual():
            raise AssertionError

    anyio.run(main, backend="trio")


def test_a_loop_that_cannot_follow_says_so():
    async def main():
        await resilience.Retry(2, wait=1, budget=False).acall(fetch)

    async def fetch():
        raise ConnectionError

    with virtual() as clock, pytest.raises(RuntimeError, match="does not live by the virtual clock"):
        import trio

        trio.run(main)
    assert clock.elapsed == 0.0


def test_as_a_decorator_of_plain_code():
    @virtual()
    def check(amount, clock):
        """Check."""
        time.sleep(amount)
        return clock.elapsed

    assert check(3.0) == 3.0
    assert check(amount=4.0) == 4.0
    assert (check.__name__, check.__doc__) == ("check", "Check.")


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_a_decorator_it_makes_a_plain_function_of_an_async_one(backend):
    @virtual(backend=backend)
    async def check(amount, *, clock):
        await anyio.sleep(amount)
        return clock.elapsed

    assert check(3.0) == 3.0


@virtual()
async def test_decorated_async_tests_are_plain_to_pytest(clock):
    await asyncio.sleep(5)
    assert clock.elapsed == 5.0


def test_generators_are_refused():
    def plain():
        yield

    async def tasks():
        yield

    for function in (plain, tasks, 5):
        with pytest.raises(resilience.ConfigurationError):
            virtual()(function)


class TestItCannotHang:
    def test_plain_code_that_goes_in_circles(self, monkeypatch):
        monkeypatch.setattr("resilience.runtimes.clock.TURNS", 1000)
        with virtual() as clock, pytest.raises(StuckError, match="goes in circles"):
            end = time.monotonic() + 1
            while time.monotonic() < end:
                time.sleep(0)
        assert clock.elapsed == 0.0

    def test_plain_code_that_waits_for_what_no_thread_brings(self):
        for wait in (threading.Event().wait, queue.Queue().get, threading.Semaphore(0).acquire, Future().result):
            with virtual() as clock, pytest.raises(StuckError, match="everybody waits"):
                time.sleep(5)
                wait()
            assert clock.elapsed == 5.0

    def test_a_thread_that_waits_for_an_event_is_ended_with_the_block(self):
        with virtual() as clock:
            thread = clock.start(threading.Event().wait)
            clock.advance(1)
            assert not thread.done
        assert not [it for it in threading.enumerate() if it.name.startswith("resilience-virtual")]

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_async_code_that_goes_in_circles(self, backend, monkeypatch):
        monkeypatch.setattr("resilience.runtimes.clock.TURNS", 1000)

        async def main():
            with anyio.move_on_after(1):
                while True:
                    await anyio.lowlevel.checkpoint()

        with virtual() as clock:
            with pytest.raises(StuckError, match="goes in circles"):
                clock.run(main, backend=backend)
            assert clock.run(anyio.sleep, 1, backend=backend) is None  # and the clock still goes

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_many_turns_are_no_circle_while_time_passes(self, backend, monkeypatch):
        monkeypatch.setattr("resilience.runtimes.clock.TURNS", 1000)

        async def main():
            for _ in range(5):
                for _ in range(300):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(1)
            return clock.elapsed

        with virtual() as clock:
            assert clock.run(main, backend=backend) == 5.0
            for _ in range(5):
                for _ in range(900):
                    time.sleep(0)
                time.sleep(1)
            assert clock.elapsed == 10.0

    def test_plain_code_that_waits_for_nothing_that_can_come(self):
        bulkhead = resilience.Bulkhead(1, queue=1)
        with virtual(), pytest.raises(StuckError, match="everybody waits"):
            bulkhead.call(lambda: bulkhead.call(lambda: None))

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_async_code(self, backend):
        async def main():
            await anyio.Event().wait()

        with virtual() as clock:
            with pytest.raises(StuckError, match="everybody waits"):
                clock.run(main, backend=backend)
            assert clock.run(anyio.sleep, 1, backend=backend) is None  # and the clock still goes

    def test_async_code_says_where(self):
        async def lost():
            await asyncio.get_running_loop().create_future()

        with virtual() as clock, pytest.raises(StuckError, match=r"test_virtual.py:\d+ in .*lost"):
            clock.run(lost)

    def test_a_block_in_a_task_cleans_up_first(self):
        done = []

        async def main():
            with virtual():
                try:
                    await asyncio.Event().wait()
                finally:
                    done.append("cleaned up")

        with pytest.raises(StuckError):
            asyncio.run(main())
        assert done == ["cleaned up"]

    def test_a_cancellation_of_somebody_elses_is_none_of_ours(self):
        async def main():
            async def inner():
                with virtual():
                    task.cancel()
                    await asyncio.sleep(1)

            task = asyncio.create_task(inner())
            await asyncio.wait([task])
            return task.cancelled()

        assert asyncio.run(main())

    def test_code_that_only_waits_comes_to_an_end(self):
        with virtual(limit=3600) as clock, pytest.raises(StuckError, match="3600 s have passed"):
            while True:
                time.sleep(1)
        assert clock.elapsed == 3600.0

    def test_a_thread_that_waits_for_ever_is_ended(self):
        ended = []

        def wait():
            try:
                time.sleep(1e9)
            finally:
                ended.append("ended")

        with virtual() as clock:
            thread = clock.start(wait)
            clock.advance(1)
            assert not thread.done
        assert ended == ["ended"]
        assert not [it for it in threading.enumerate() if it.name.startswith("resilience-virtual")]

    def test_threads_of_others_are_told(self):
        import contextvars

        raised = []

        def sleep():
            try:
                time.sleep(1)
            except RuntimeError as error:
                raised.append(str(error))

        with virtual():
            thread = threading.Thread(target=contextvars.copy_context().run, args=(sleep,))
            thread.start()
            thread.join()
        assert "clock.start" in raised[0]


class TestWhatFollowsTheClock:
    def test_the_timeout_of_plain_code(self):
        @resilience.Timeout(1.5)
        def slow():
            time.sleep(5)

        with virtual() as clock:
            with pytest.raises(resilience.DeadlineExceededError):
                slow()
            assert clock.elapsed == 1.5

    def test_the_hedge_of_plain_code(self):
        delays = [4.0, 1.0]
        hedge = resilience.Hedge(after=0.5)

        def ask():
            delay = delays.pop(0)
            time.sleep(delay)
            return delay

        with virtual() as clock:
            assert hedge.call(ask) == 1.0
            assert clock.elapsed == 1.5

    def test_circuits_open_and_close_again(self):
        circuit = resilience.CircuitBreaker(consecutive_failures=2, open_for=30)
        with virtual() as clock:
            for _ in range(2):
                with pytest.raises(ConnectionError):
                    circuit.call(failing, [])
            with pytest.raises(resilience.CircuitOpenError):
                circuit.call(failing, [])
            clock.advance(30)
            assert circuit.call(lambda: "fine") == "fine"
            assert circuit.current_state == "closed"

    def test_a_deadline_around_stays_as_far_away(self):
        with resilience.deadline(5.0), virtual():
            time.sleep(4)
            assert resilience.Policy().call(lambda: 1) == 1
            time.sleep(2)
            with pytest.raises(resilience.DeadlineExceededError):
                resilience.Policy().call(lambda: 1)

    def test_threads_of_the_clock_take_turns(self):
        order = []

        def work(name, pause):
            for _ in range(2):
                time.sleep(pause)
                order.append((name, clock.elapsed))
            return name

        with virtual() as clock:
            threads = [clock.start(work, "a", 2.0), clock.start(work, "b", 3.0)]
            assert [thread.result() for thread in threads] == ["a", "b"]
        assert order == [("a", 2.0), ("b", 3.0), ("a", 4.0), ("b", 6.0)]

    def test_events_and_queues_of_threads(self):
        def bring():
            for number in range(3):
                time.sleep(2)
                line.put(number)
            ready.set()

        def wait():
            ready.wait()
            return clock.elapsed

        line, ready = queue.Queue(), threading.Event()
        with virtual() as clock:
            assert not ready.wait(1.5)
            with pytest.raises(queue.Empty):
                line.get(timeout=1)
            assert clock.elapsed == 2.5
            clock.start(bring)
            waiting = [clock.start(wait) for _ in range(2)]
            assert [(line.get(timeout=9), clock.elapsed) for _ in range(3)] == [(0, 4.5), (1, 6.5), (2, 8.5)]
            assert [thread.result() for thread in waiting] == [8.5, 8.5]
            assert not threading.Semaphore(0).acquire(timeout=1)
            with (condition := threading.Condition()):
                assert not condition.wait_for(lambda: False, timeout=1)
            assert clock.elapsed == 10.5
            with pytest.raises(RuntimeError, match="un-acquired"):
                threading.Condition().wait()

    def test_real_threads_may_bring_it_too(self):
        with virtual() as clock, ThreadPoolExecutor(2) as pool:
            assert [pool.submit(lambda n=n: (time.sleep(0.05), n)[1]).result() for n in range(3)] == [0, 1, 2]
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
            assert clock.elapsed == 0.0

    def test_several_may_wait_for_the_same_thread(self):
        with virtual() as clock:
            first = clock.start(lambda: (time.sleep(2), clock.elapsed)[1])
            others = [clock.start(first.result) for _ in range(3)]
            assert [thread.result() for thread in (*others, first)] == [2.0] * 4

    def test_what_a_thread_raises_comes_out_of_its_result(self):
        with virtual() as clock, pytest.raises(ConnectionError):
            clock.start(failing, []).result()

    def test_threads_that_asyncio_starts_take_part(self):
        async def main():
            return await asyncio.gather(*(asyncio.to_thread(lambda n=n: (time.sleep(n), n)[1]) for n in (3, 1, 2)))

        with virtual() as clock:
            assert clock.run(main) == [3, 1, 2]
            assert clock.elapsed == 3.0

    def test_a_client_made_outside_follows_inside(self):
        script = Script([503, 503, 200])
        with resilience.Client(
            transport=script, defaults=resilience.Service(retry=resilience.Retry(3, wait=10))
        ) as client:
            with virtual() as clock:
                assert client.get("http://web.internal").status_code == 200
                assert clock.slept == (10, 10)
                assert clock.elapsed == 20.0
            assert client.status().services["web.internal:80"].counts["attempts"] == 3

    def test_what_is_random_is_the_same_again(self):
        def story():
            with virtual(seed=7) as clock:
                with pytest.raises(ConnectionError):
                    resilience.Retry(5).call(failing, [])
                return clock.slept, random.random()

        assert story() == story()

    def test_the_random_module_goes_on_where_it_was(self):
        random.seed(3)
        expected = [random.random() for _ in range(2)]
        random.seed(3)
        first = random.random()
        with virtual():
            random.random()
        assert [first, random.random()] == expected

    def test_other_threads_keep_real_time(self):
        told = []
        with virtual() as clock:
            clock.advance(1e4)
            thread = threading.Thread(target=lambda: told.append(time.monotonic()))
            thread.start()
            thread.join()
            assert time.monotonic() - told[0] > 9e3

    def test_everything_is_put_back(self):
        before = time.monotonic, time.sleep, asyncio.BaseEventLoop.run_forever, threading.Condition.wait
        with virtual(), virtual():
            pass
        assert (time.monotonic, time.sleep, asyncio.BaseEventLoop.run_forever, threading.Condition.wait) == before


def test_nothing_is_dialled():
    with virtual(), resilience.Client() as client, pytest.raises(resilience.ConfigurationError, match="transport"):
        client.get("http://127.0.0.1:1/")


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_dialled_by_tasks(backend):
    async def main():
        async with resilience.AsyncClient() as client:
            with pytest.raises(resilience.ConfigurationError, match="transport"):
                await client.get("http://127.0.0.1:1/")

    with virtual() as clock:
        clock.run(main, backend=backend)


def test_an_application_in_the_same_process_may_use_threads():
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/")
    def plain():
        return {"fine": True}

    async def main():
        async with resilience.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get("/")).json()

    with virtual() as clock:
        assert clock.run(main) == {"fine": True}
        assert clock.elapsed == 0.0


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [({"seed": "x"}, "seed"), ({"limit": 0}, "limit"), ({"backend": "curio"}, "backend")],
)
def test_bad_arguments(arguments, argument):
    with pytest.raises(resilience.ConfigurationError) as caught:
        virtual(**arguments)
    assert caught.value.argument == argument


async def nothing():
    pass


def test_bad_arguments_of_the_clock():
    with virtual() as clock:
        for begin in (lambda: clock.run(5), lambda: clock.start(5), lambda: clock.start(nothing)):
            with pytest.raises(resilience.ConfigurationError):
                begin()
        coroutine = nothing()
        with pytest.raises(resilience.ConfigurationError, match=r"clock.run\(main, argument\)"):
            clock.run(coroutine)
        coroutine.close()
        with pytest.raises(resilience.ConfigurationError):
            clock.advance(-1)
        with pytest.raises(resilience.ConfigurationError):
            clock.run(anyio.sleep, 1, backend="curio")
        with pytest.raises(ValueError, match="non-negative"):
            time.sleep(-1)


@settings(max_examples=40)
@given(
    waits=st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0, 7.5]), max_size=4), min_size=1, max_size=5),
)
def test_plain_and_async_code_see_the_same_times(waits):
    """Whoever runs side by side goes on in the order of time, and all kinds of runtimes agree on it."""

    def in_threads():
        seen = []

        def work(number, pauses):
            for pause in pauses:
                time.sleep(pause)
                seen.append((clock.elapsed, number))

        with virtual() as clock:
            for thread in [clock.start(work, number, pauses) for number, pauses in enumerate(waits)]:
                thread.result()
        return seen

    def in_tasks(backend):
        seen = []

        async def work(number, pauses):
            for pause in pauses:
                await anyio.sleep(pause)
                seen.append((clock.elapsed, number))

        async def main():
            async with anyio.create_task_group() as group:
                for number, pauses in enumerate(waits):
                    group.start_soon(work, number, pauses)

        with virtual() as clock:
            clock.run(main, backend=backend)
        return seen

    threads = in_threads()
    assert [at for at, _ in threads] == sorted(at for at, _ in threads)
    assert sorted(in_tasks("asyncio")) == sorted(threads)
    assert sorted(in_tasks("trio")) == sorted(threads)
    assert in_threads() == threads


def test_answers_in_pieces_take_their_time():
    script = Script([Answer(content=[b"a", 2.0, b"b"])])
    with virtual() as clock, resilience.Client(transport=script) as client:
        assert client.get("http://web.internal").content == b"ab"
        assert clock.elapsed == 2.0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_backend_of_the_block_is_that_of_what_runs_in_it(backend):
    async def where():
        return sniffio.current_async_library()

    with virtual(backend=backend) as clock:
        assert clock.run(where) == backend
        assert clock.run(where, backend="trio") == "trio"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("years", [0.6, 1, 5, 50])
def test_a_machine_that_has_been_running_for_years_is_no_other(monkeypatch, backend, years):
    monkeypatch.setattr("resilience.runtimes.clock._LATEST", [years * 366 * 86400])

    async def waits():
        for number in range(50):
            await anyio.sleep(0.1 + number / 73)
            with anyio.move_on_after(0.03) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
        return "done"

    with virtual() as clock:
        assert clock.run(waits, backend=backend) == "done"
        assert clock.elapsed == pytest.approx(0.13 * 50 + sum(range(50)) / 73, abs=1e-4)


def test_a_loop_gets_its_own_resolution_back():
    async def main():
        loop = asyncio.get_running_loop()
        before = loop._clock_resolution
        with virtual():
            await asyncio.sleep(5)
        assert loop._clock_resolution == before

    asyncio.run(main())
