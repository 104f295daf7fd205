"""The demo: its numbers, its drawings, and once all of it, shortened."""

import io
import math
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from resilience.cli.demo.chart import chart
from resilience.cli.demo.page import page
from resilience.cli.demo.picture import draw
from resilience.cli.demo.scenes import script
from resilience.cli.demo.screen import frame
from resilience.cli.demo.show import show
from resilience.cli.demo.sides import OURS, PLAIN
from resilience.cli.demo.table import table
from resilience.cli.demo.tally import STALL, Called, Stretch, Tally, rows
from resilience.cli.demo.world import World
from resilience.lab import DnsServer

SCRIPT = script()


def tally(side, failing=()):
    made = Tally(side)
    for number in range(int(SCRIPT.seconds) * 10):
        scheduled = number / 10
        lost = int(scheduled) in failing
        made.add(
            Called(scheduled, 2.0 if lost else 0.01, 0.0, "ReadTimeout: " if lost else None, None if lost else "a")
        )
    return made


def printed(*renderables, width=120):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(*renderables)
    return console.file.getvalue()


def test_the_script_fits_into_ninety_seconds_and_scenes_do_not_overlap():
    assert SCRIPT.seconds < 60
    for scene, following in zip(SCRIPT.scenes, SCRIPT.scenes[1:], strict=False):
        assert scene.starts < scene.ends < following.starts
        assert len(scene.short) <= scene.ends - scene.starts  # its name stands under its seconds


def test_every_scene_can_be_played_and_mended():
    assert all(callable(getattr(World, name)) for scene in SCRIPT.scenes for name in (scene.begin, scene.end))


def test_pace_shortens_all_of_it():
    assert script(0.5).seconds == pytest.approx(SCRIPT.seconds / 2)


def test_a_stretch_of_no_calls():
    nothing = Stretch(())
    assert (nothing.sent, nothing.lost) == (0, 0)
    assert math.isnan(nothing.answered)
    assert math.isnan(nothing.latency(0.5))


def test_what_a_stretch_counts():
    stretch = tally(PLAIN, failing={3}).between(0, 5)
    assert (stretch.sent, stretch.lost, stretch.answered) == (50, 10, 0.8)
    assert stretch.latency(0.5) == 0.01
    assert stretch.latency(0.99) == 2.0


def test_rows_count_every_call_once():
    found = rows(SCRIPT, tally(PLAIN, failing={12, 13}), tally(OURS))
    *parts, whole = found
    assert sum(row.plain.sent for row in parts) == whole.plain.sent == whole.ours.sent
    assert sum(row.plain.lost for row in parts) == whole.plain.lost == 20
    assert next(row for row in found if row.short == "hung").plain.lost == 20


def test_a_loss_is_excused_only_while_the_machine_stood_still():
    ours = Tally(OURS)
    ours.add(Called(1.0, 0.9, 0.0, "ReadTimeout: ", None))
    ours.add(Called(1.5, 0.5, STALL * 2, None, "a"))
    assert ours.unexcused() == ()
    lost = Called(9.0, 0.9, 0.0, "ReadTimeout: ", None)
    ours.add(lost)
    assert ours.unexcused() == (lost,)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("now", [-0.5, 0.2, 7.0, 30.0, 100.0])
def test_the_live_view_fits_its_terminal(width, now):
    sides = (tally(PLAIN, failing={5}), tally(OURS))
    text = printed(frame(SCRIPT, now, sides, {"a": "killed", "c": "gone"}, "abcdef", width), width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "plain httpx" in text
    assert "killed" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table(width):
    text = printed(table(rows(SCRIPT, tally(PLAIN, failing={5}), tally(OURS)), (0.9, 1.1), width), width=width)
    assert f"10 of {int(SCRIPT.seconds) * 10}" in text
    assert "1.100" in text


def test_the_charts_are_well_formed_and_show_every_second():
    drawn = ET.fromstring(chart(SCRIPT, tally(PLAIN, failing={5}), 10))
    tips = [title.text for title in drawn.iter("title")]
    assert "second 5: 0 answered, 10 lost" in tips
    assert "second 6: 10 answered, 0 lost" in tips


def test_the_page_stands_alone():
    sides = (tally(PLAIN, failing={5}), tally(OURS))
    text = page(SCRIPT, sides, rows(SCRIPT, *sides), (0.9, 1.1))
    assert f"Plain httpx lost 10 of {int(SCRIPT.seconds) * 10} calls, resilience 0" in text
    assert not {"<script", "src=", "href=", "@import"} & set(text.split())
    assert "src=" not in text
    assert all(scene.title in text for scene in SCRIPT.scenes)


def test_the_picture(tmp_path):
    draw(SCRIPT, (tally(PLAIN, failing={5}), tally(OURS)), tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("terminal", [True, False])
def test_all_of_it_shortened(tmp_path, terminal):
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
    code = show(pace=0.05, out=tmp_path, console=console)
    said = console.file.getvalue()
    assert "What became of the calls" in said
    assert (code == 1) == ("it should have saved" in said)
    assert {file.name for file in tmp_path.iterdir()} == {"demo.html", "demo.json", "demo.png"}


def test_a_caller_that_fails_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(DnsServer, "address", "no address")
    with pytest.raises(RuntimeError, match=r"(?s)ended with exit code 1:.*Traceback"):
        show(pace=0.05, out=tmp_path, console=Console(file=io.StringIO()))
