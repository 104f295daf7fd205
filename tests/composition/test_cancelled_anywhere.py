"""Every policy, cut at each suspension of a call, on asyncio, trio and the simulator: as if the call had never been.

Each cut is compared with the same scene in which the call is not made, at the same instant and at the end: who is
inside and who waits, permits, turns, balances, what is counted and learnt, tasks that are left, and who else was
served, in which order. What was really sent stays paid for and counted.
"""

import asyncio
import itertools
import math

import pytest
import trio

from resilience.core.call import Ambient, ambient
from resilience.core.errors import OverloadedError
from resilience.runtimes.anyio import ANYIO
from resilience.runtimes.stand_in import here
from resilience.runtimes.virtual import VirtualCancelled, VirtualRuntime
from resilience.testing.virtual import virtual
from tests.composition.cancelling import on_anyio, on_asyncio
from tests.composition.every_policy import public_policies
from tests.composition.scenes import SCENES

ARRIVAL, MOMENT, END = 0.25, 1e-3, 200.0


class Simulator(VirtualRuntime):
    """Virtual time that counts the steps of all tasks while a call is under way, and cuts it after the chosen one."""

    def __init__(self):
        super().__init__()
        self.tasks = []
        self.call = None

    def spawn(self, work, *, name="task"):
        task = super().spawn(work, name=name)
        self.tasks.append(task)
        return task

    def _step(self):
        super()._step()
        if self.call is not None and not self.call.done:
            self.steps += 1
            if self.steps == self.at:
                self.cancel(self.call)

    async def cut(self, scene, at):
        self.steps, self.at = 0, at
        gate = self.gate()
        call = self.call = self.spawn(scene.run)
        call.on_done.append(gate.open)
        await gate.wait(math.inf)
        self.call = None
        cancelled = isinstance(call.error, VirtualCancelled)
        if call.error is not None and not cancelled:
            raise call.error
        return self.steps, cancelled


def tasks_alive():
    runtime = here(ANYIO)
    if isinstance(runtime, Simulator):
        return sum(not task.done for task in runtime.tasks)
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


async def cut_in_simulator(scene, at):
    return await here(ANYIO).cut(scene, at)


BACKENDS = {
    "asyncio": ("asyncio", on_anyio),
    "asyncio, the task itself": ("asyncio", on_asyncio),
    "trio": ("trio", on_anyio),
    "simulator": ("simulator", cut_in_simulator),
}


def on_backend(main, backend):
    if backend != "simulator":
        with virtual() as clock:
            return clock.run(main, backend=backend)
    runtime = Simulator()
    token = ambient.set(Ambient(runtime=runtime))
    try:
        return runtime.run(main)
    finally:
        ambient.reset(token)


class Play:
    """One run of a scene: cut at its `at`-th suspension (0: not at all), or without the call, beside one that was."""

    def __init__(self, kind, backend, *, at=0, beside=None):
        self.kind, self.at, self.beside = kind, at, beside
        self.backend, self.how = BACKENDS[backend]
        self.suspensions, self.cancelled, self.came_of_it = 0, False, None
        on_backend(self.main, self.backend)

    async def main(self):
        self.scene = scene = self.kind()
        runtime = scene.runtime
        await runtime.sleep(MOMENT)  # a loop has tasks of its own to begin
        before, began = tasks_alive(), runtime.now()
        others = [runtime.start(lambda it=it: scene.call_later(*it)) for it in scene.others]
        await runtime.sleep(ARRIVAL)
        if self.beside is None:
            await self.make_the_call()
            self.took = runtime.now() - began - ARRIVAL
        else:
            await runtime.sleep(self.beside.took)
        await runtime.sleep(MOMENT)
        self.compare("at once", scene.state(), tasks_alive())
        for it in others:
            await it.gone()
        await runtime.sleep(began + END - runtime.now())
        self.compare("in the end", scene.state(), tasks_alive())
        self.ending = scene.ending()[:] if isinstance(scene.ending(), list) else scene.ending()
        assert tasks_alive() == before
        assert await scene.guarded(scene.other, "call") == "reply", "and everything still works"

    async def make_the_call(self):
        scene = self.scene
        try:
            self.suspensions, self.cancelled = await self.how(scene, self.at)
        except (TimeoutError, OverloadedError) as error:
            self.came_of_it = error
        assert scene.kept_ambient
        assert not (self.cancelled and scene.running), "nothing goes on behind the back of who has cut it"

    def compare(self, when, state, tasks):
        if self.beside is None:
            self.seen = {**getattr(self, "seen", {}), when: (state, tasks)}
        else:
            assert self.beside.seen[when] == (self.beside.scene.expected(self.scene), tasks), when


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_cut_anywhere_it_is_as_if_the_call_had_never_been(kind, backend, monkeypatch):
    monkeypatch.setenv("RESILIENCE_CHAOS", "1")
    uncut = Play(kind, backend)
    assert not uncut.cancelled
    if uncut.came_of_it is not None or not isinstance(kind.ends, str):
        assert isinstance(uncut.came_of_it, kind.ends)
    unsent = 0
    for at in itertools.count(1):
        cut = Play(kind, backend, at=at)
        if not cut.cancelled:
            break
        unsent += cut.scene.sends == 0
        assert Play(kind, backend, beside=cut).ending == cut.ending
    assert at > 1, "it suspends now and then, and each time it can be cut"
    # Not cut because it did not suspend so often. (How often, trio's order of tasks has a say in, which is by chance.)
    assert cut.came_of_it is not None or cut.suspensions < at
    assert unsent or not kind.waits


def test_every_policy_is_here():
    assert {scene.policy_class for scene in SCENES} == public_policies()
