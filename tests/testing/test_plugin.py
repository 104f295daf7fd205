"""The pytest plugin, in a pytest of its own; and that it costs nothing where nobody uses it."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import time, anyio, pytest
import resilience

def test_plain(resilience_clock):
    time.sleep(3600)
    assert resilience_clock.elapsed == 3600

@pytest.mark.anyio
async def test_tasks(resilience_clock, anyio_backend):
    await anyio.sleep(3600)
    assert resilience_clock.elapsed == 3600
    assert anyio.get_current_task().name

async def test_tasks_without_any_other_plugin(resilience_clock, resilience_script):
    script = resilience_script([503, 200])
    async with resilience.AsyncClient(transport=script) as client:
        assert (await client.get("http://web.internal")).status_code == 200

def test_script(resilience_script):
    resilience_script([200])
"""


def test_the_fixtures(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=50).stdout
    assert "5 passed, 1 error" in told
    assert "the script is not over" in told


OF_A_LOOP_OF_ITS_OWN = """
import asyncio, inspect, pytest

class Coroutine(pytest.Function):
    def runtest(self):
        test = self.obj
        self.obj = lambda **given: asyncio.run(test(**given))
        super().runtest()

@pytest.hookimpl(hookwrapper=True)
def pytest_pycollect_makeitem(collector):
    made = yield
    items = made.get_result()
    if isinstance(items, list):
        made.force_result([convert(item) if inspect.iscoroutinefunction(item.obj) else item for item in items])

def convert(item):
    same = dict(callspec=getattr(item, "callspec", None), fixtureinfo=item._fixtureinfo, originalname=item.originalname)
    return Coroutine.from_parent(item.parent, name=item.name, callobj=item.obj, **same)
"""
"""What pytest-asyncio does to items."""


def test_beside_a_plugin_whose_items_run_on_a_loop_of_its_own(tmp_path):
    tests = """
import asyncio, pytest

@pytest.mark.parametrize("seconds", [1.0, 3600.0])
async def test_on_the_clock(resilience_clock, seconds):
    await asyncio.sleep(seconds)
    assert resilience_clock.elapsed == seconds

async def test_on_its_own():
    await asyncio.sleep(0)
"""
    (tmp_path / "conftest.py").write_text(OF_A_LOOP_OF_ITS_OWN)
    (tmp_path / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=50).stdout
    assert "3 passed" in told


def test_pytest_starts_without_the_library():
    code = "import sys, resilience_pytest; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50).stdout
    assert "'resilience'" not in told
    assert "'httpx'" not in told


def test_the_entry_point_is_declared():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nresilience = "resilience_pytest"' in text
