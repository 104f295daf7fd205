"""The pytest plugin: two fixtures. Beside the package, because importing anything of that would load all of it.

pytest imports this file when it starts, in every project that has the library installed; so it imports nothing else.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilience.testing import Script, VirtualClock
    from resilience.testing.script import Scripts


@pytest.fixture
def resilience_clock() -> Iterator[VirtualClock]:
    """Run the test on virtual time and return its clock; an async test on an event loop of that clock.

    On trio where the test has an ``anyio_backend`` that says so, else on asyncio.
    """
    from resilience.testing import virtual  # noqa: PLC0415 - see the module

    with virtual() as clock:
        yield clock


@pytest.fixture
def resilience_script() -> Iterator[Scripts]:
    """Return a function that makes a ``Script``; after the test, each must have been played to its end."""
    from resilience.testing import Script  # noqa: PLC0415 - see the module

    made: list[Script] = []

    def script(*args: Any, **kwargs: Any) -> Script:  # noqa: ANN401 - Script's
        made.append(Script(*args, **kwargs))
        return made[-1]

    yield script
    for each in made:
        each.assert_done()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Make a plain function of an async test that wants the clock: no other plugin is to run it on its own loop."""
    if not isinstance(item, pytest.Function) or "resilience_clock" not in item.fixturenames:
        return
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        return

    @functools.wraps(test)
    def on_the_clock(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the test's
        clock = cast("VirtualClock", item.funcargs["resilience_clock"])
        clock.run(functools.partial(test, *args, **kwargs), backend=_backend(item))

    item.obj = on_the_clock
    # Items of pytest-asyncio's have a `runtest` of their own, which wants a coroutine of what is a plain function now.
    item.runtest = functools.partial(pytest.Function.runtest, item)  # type: ignore[method-assign]


def _backend(item: pytest.Function) -> str:
    backend: Any = item.funcargs.get("anyio_backend", "asyncio")
    return str(cast("tuple[str, object]", backend)[0] if isinstance(backend, tuple) else backend)
