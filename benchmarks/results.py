"""`RESULTS.md`: each command rewrites its own sections, machine, versions and command beside the numbers."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from measure import Spread

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = "# Results\n\nWritten by the commands in this folder; how to read them: [README](README.md).\n"


def processor() -> str:
    """Model of the processor as the kernel tells it, and how many of its cores we may use."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)):
        model = found[1]
    affinity = getattr(os, "sched_getaffinity", None)
    return f"{model}, {len(affinity(0)) if affinity else os.cpu_count()} cores, nothing pinned"


def versions(distributions: Iterable[str]) -> str:
    """`name version` of each installed distribution; those not installed are named as such."""
    found = []
    for name in distributions:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _version_of_ours() -> str:
    try:
        return importlib.metadata.version("httpx-resilience")
    except importlib.metadata.PackageNotFoundError:
        return "of this tree"


def circumstances(distributions: Iterable[str], notes: Sequence[str] = ()) -> str:
    """Machine, interpreter, versions, command, date and load: what a number means nothing without."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"- command: `{command}`",
        f"- date: {dt.datetime.now(tz=dt.UTC):%Y-%m-%d %H:%M} UTC",
        f"- machine: {processor()}; {platform.system()}; load average at the end {load}",
        f"- {platform.python_implementation()} {platform.python_version()}",
        f"- versions: httpx-resilience {_version_of_ours()}, {versions(distributions)}",
        *(f"- {note}" for note in notes),
    ]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table: the first column to the left, numbers to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def ratio(spread: Spread | None) -> str:
    """`2.31 (2.20-2.45)`: the median of the paired ratios, and the range of the middle half of the rounds."""
    return "1" if spread is None else f"{spread.median:.2f} ({spread.lower:.2f}–{spread.upper:.2f})"


def control(spread: Spread | None) -> str:
    """Show the A/A control in the same form, but with the range of nine rounds in ten: the noise."""
    return "" if spread is None else f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def terminal() -> Console:
    """Give the terminal, or 140 columns when the output is a pipe, so that tables stay tables."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def show(body: str, console: Console) -> None:
    """Print Markdown."""
    console.print(Markdown(body))


def write_section(name: str, body: str, *, path: Path = RESULTS) -> None:
    """Replace the section `name` of the file, or append it; other sections stay as they are."""
    text = path.read_text() if path.exists() else TITLE
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n## {name}\n\n{body.strip()}\n{end}\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end) + "\n", re.DOTALL)
    known = pattern.search(text)
    path.write_text(pattern.sub(lambda _: section, text) if known else f"{text.rstrip()}\n\n{section}")
