"""An application that has configured nothing sees nothing, and one that has sees it where it wants it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = """
from resilience.core.events import CallEnded, CircuitChanged, ResolutionFailed
from resilience.observe.log import Log
log = Log()
{setup}
log(ResolutionFailed("web:80", "SERVFAIL", 5.0))
log(CircuitChanged("web:80", "10.0.0.1:80", "open", "5 in a row", 1.0))
log(CallEnded("web:80", "GET", "get_item", 3, ("10.0.0.1:80",), 0.1, 0.5, "failed", error="refused"))
"""


def run(setup: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EVENTS.format(setup=setup)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout, done.stderr


def test_an_unconfigured_application_sees_no_output_at_all() -> None:
    assert run("") == ("", "")


def test_nor_does_one_that_only_binds_context_and_logs_with_an_unconfigured_structlog() -> None:
    out, err = run(
        "import structlog; structlog.contextvars.bind_contextvars(a=1); structlog.get_logger().info('hello')"
    )
    assert "hello" in out
    assert "circuit_opened" not in out
    assert err == ""


def test_basic_config_is_enough() -> None:
    out, err = run("import logging; logging.basicConfig(level='INFO')")
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == [
        "WARNING:resilience:resolution_failed",
        "INFO:resilience:circuit_opened",
        "WARNING:resilience:call",
    ]


def test_so_is_configuring_structlog() -> None:
    out, err = run("import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()])")
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["resolution_failed", "circuit_opened", "call"]
    assert err == ""


@pytest.mark.parametrize("level", ["ERROR", "CRITICAL"])
def test_a_level_above_is_silence(level: str) -> None:
    assert run(f"import logging; logging.basicConfig(level={level!r})") == ("", "")


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_a_client_that_a_module_keeps_until_the_end_says_nothing(name: str, tmp_path: Path) -> None:
    # A function of the module is what keeps it, and so the client, until the last collection.
    module = f"import resilience\nclient = resilience.{name}()\ndef use(): return client\n"
    (tmp_path / "keeper.py").write_text(module, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import keeper"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert (done.stdout, done.stderr) == ("", "")
