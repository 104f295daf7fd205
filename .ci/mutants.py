"""A pytest plugin: which tests come by which line (`MUTATION=watch`), and which mutants they notice (`MUTATION=run`).

mutmut's own runner starts pytest anew for each mutant, with all tests that come by its function, and sends every call
of every function through a trampoline: for the thousands of mutants here that is hours. This one collects the tests
once. Then each mutant gets a fork of that process, in which the code of one function is replaced by the mutant's, and
the tests that come by the changed line are run until the first fails.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MutantDict = dict[str, Any]
F = TypeVar("F")
FUNCTIONS: dict[int, Any] = {}
"""The functions of the package under test, each under the identity of the table of its mutants."""

# A mutant is given this many times what its tests take, and some seconds more, before it counts as one that hangs.
PATIENCE = 20
CPU_LEAST, WALL_LEAST = 5, 30


def switch(mutants: MutantDict, is_classmethod: bool = False) -> Callable[[F], F]:  # noqa: FBT001, FBT002 - as mutmut
    """Stand in for mutmut's trampoline: the function stays as it is, and is remembered beside its mutants."""
    del is_classmethod

    def remember(function: F) -> F:
        FUNCTIONS[id(mutants)] = function
        return function

    return remember


def activate(module: str, name: str) -> None:
    """Make a function behave as one of its mutants, for everybody who holds it."""
    table = vars(sys.modules[module])[f"mutants_{name.rpartition('_')[0]}"]
    function, mutant = FUNCTIONS[id(table)], table[name]
    function.__code__ = mutant.__code__
    function.__defaults__ = mutant.__defaults__
    function.__kwdefaults__ = mutant.__kwdefaults__


class Watch:
    """Write down what each test executes and how long it takes."""

    def __init__(self, watched: list[str], notes: Path) -> None:
        import coverage  # noqa: PLC0415 -- in this mode alone

        self.seconds: dict[str, float] = {}
        self.notes = notes
        self.coverage = coverage.Coverage(data_file=None, config_file=False, branch=False, include=watched)
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Put what a test executes down to it."""
        self.coverage.switch_context(item.nodeid)
        begun = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - begun
            self.coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        """Write it down."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {
            str(Path(file).relative_to(Path.cwd())): {
                line: [test for test in tests if test] for line, tests in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        self.notes.write_text(json.dumps({"seconds": self.seconds, "lines": lines}), encoding="utf-8")


class Run:
    """Run, for each mutant of the plan, its tests in a process of its own."""

    def __init__(self, plan: Path, results: Path, processes: int) -> None:
        self.plan: list[dict[str, Any]] = json.loads(plan.read_text(encoding="utf-8"))
        self.results = results
        self.processes = processes
        self.items: dict[str, pytest.Item] = {}
        self.under_way: dict[int, tuple[int, str, float]] = {}
        self.mutant = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End with the first test that notices."""
        if self.mutant and report.failed:
            sys.stderr.write(f"{report.nodeid}\n{report.longreprtext}\n")
            sys.stderr.flush()
            os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant instead of running every test once; first see that without any the tests pass."""
        self.items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()
        every = sorted({test for mutant in self.plan for test in mutant["tests"]})
        if self._wait_for(self._fork({"name": None, "tests": every, "seconds": 1e3})) != "survived":
            pytest.exit("the tests fail without any mutant", returncode=3)
        with self.results.open("a", encoding="utf-8") as out:
            self.out = out
            for mutant in self.plan:
                while len(self.under_way) >= self.processes:
                    self._collect()
                reader, pid, until = self._fork(mutant)
                self.under_way[reader] = (pid, mutant["name"], until)
            while self.under_way:
                self._collect()
        return True

    def _fork(self, mutant: dict[str, Any]) -> tuple[int, int, float]:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            self._be(mutant)
        os.close(writer)
        return reader, pid, time.monotonic() + WALL_LEAST + PATIENCE * mutant["seconds"]

    def _be(self, mutant: dict[str, Any]) -> None:
        for entry in self.under_way:
            os.close(entry)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if mutant["name"] is not None:
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            limit = int(time.process_time() + CPU_LEAST + PATIENCE * mutant["seconds"])
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        self.mutant = True
        try:
            if mutant["name"] is not None:
                module, _, name = mutant["name"].rpartition(".")
                activate(module, name)
            items = [self.items[test] for test in mutant["tests"]]
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except BaseException:  # noqa: BLE001 -- whatever a mutant brings about, it has been noticed
            os._exit(1)
        os._exit(0)

    def _collect(self) -> None:
        first = min(until for _, _, until in self.under_way.values())
        ready, _, _ = select.select(list(self.under_way), [], [], max(0.0, first - time.monotonic()))
        for reader, (pid, name, until) in list(self.under_way.items()):
            if reader in ready or time.monotonic() >= until:
                del self.under_way[reader]
                self.out.write(f"{name} {self._wait_for((reader, pid, until))}\n")
                self.out.flush()

    @staticmethod
    def _wait_for(child: tuple[int, int, float]) -> str:
        reader, pid, until = child
        ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            os.kill(pid, 9)
        os.close(reader)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code < 0:
            return "timeout" if not ready or -code in {9, 24} else "crashed"
        return "killed" if code else "survived"


def pytest_configure(config: pytest.Config) -> None:
    """Do what the environment asks for."""
    asked = json.loads(os.environ["MUTATION"])
    plugin = (
        Watch(asked["watched"], Path(asked["notes"]))
        if "watched" in asked
        else Run(Path(asked["plan"]), Path(asked["results"]), asked["processes"])
    )
    config.pluginmanager.register(plugin)
