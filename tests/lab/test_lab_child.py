"""Children that do not do as they are told."""

from pathlib import Path

import pytest

from resilience.lab import LabError
from resilience.lab.child import Child

PROGRAM = """
import json, socket, sys
channel = socket.socket(fileno=json.loads(sys.argv[1])["control"])
channel.sendall(b"{}\\n")
"""


def child(tmp_path: Path, rest: str) -> Child:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + rest, encoding="utf-8")
    started = Child("the child", program, {}, {})
    started.reply()
    return started


def test_a_refused_order(tmp_path: Path) -> None:
    disobedient = child(tmp_path, 'channel.recv(99)\nchannel.sendall(b\'{"error": "no"}\\n\')\nchannel.recv(1)')
    with pytest.raises(LabError, match="the child refused: no"):
        disobedient.order({"any": "thing"})
    disobedient.end()


def test_an_order_to_one_that_has_ended(tmp_path: Path) -> None:
    ended = child(tmp_path, "channel.close()")
    with pytest.raises(LabError, match="ended without a reply"):
        ended.reply()
    with pytest.raises(LabError, match="the child is not running"):
        ended.order({"any": "thing"})
    ended.end()


def test_one_that_neither_replies_nor_ends_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = child(tmp_path, "import time\ntime.sleep(60)")
    monkeypatch.setattr("resilience.lab.child._PATIENCE", 0.01)
    with pytest.raises(LabError, match="the child does not reply"):
        deaf.order({"any": "thing"})
    deaf.end()
    assert not deaf.alive
