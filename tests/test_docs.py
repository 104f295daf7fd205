"""The documents keep their promises: every Python snippet runs, every link leads somewhere.

The snippets of one document run in their order and share their names, `await` included. What they find around them:

- names under ``.internal`` resolve to three servers of the lab, which answer on port 8080; nothing else of the network;
- an empty working directory;
- ``<!-- invisible-code-block: python … -->`` sets up and clears away what readers need not see.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser

from resilience.lab import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil.example import Example

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^]]*]\((?!https?:|mailto:|#)([^)#\s]+)")
ANCHOR = re.compile(r"\[[^]]*]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
PORT = 8080


@pytest.fixture(scope="module")
def addresses() -> Iterator[list[str]]:
    """Three servers, on loopback addresses that no other test process uses."""
    high, low = divmod(os.getpid() % 65_536, 256)
    servers = [Server(f"127.{net}.{high}.{low}", PORT, name=name) for net, name in ((81, "a"), (82, "b"), (83, "c"))]
    for server in servers:
        server.begin()
    for server in servers:
        server.ready()
    yield [server.host for server in servers]
    for server in servers:
        server.stop()


@pytest.fixture
def network(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    system = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name.endswith(".internal"):
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (a, port or 0)) for a in addresses]
        return system(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("resilience")
    before = [(logger, logger.level, logger.handlers[:]) for logger in (root, own)]
    yield
    structlog.reset_defaults()
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.mark.usefixtures("network", "logging_as_it_was")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_snippet_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with asyncio.Runner() as runner:

        def evaluate(example: Example) -> None:
            source = pad(example.parsed, example.line + example.parsed.line_offset)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
            if code.co_flags & inspect.CO_COROUTINE:

                async def run() -> None:
                    await eval(code, example.namespace)

                runner.run(run())
            else:
                exec(code, example.namespace)

        parsed = Sybil(parsers=[CodeBlockParser("python", evaluate)], path=str(ROOT)).parse(document)
        parsed.namespace["__name__"] = "__main__"
        for example in parsed.examples():
            example.evaluate()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def heading(text: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_anchor_is_a_heading(document: Path) -> None:
    wrong: list[str] = []
    for target, anchor in ANCHOR.findall(document.read_text(encoding="utf-8")):
        text = (document.parent / target if target else document).read_text(encoding="utf-8")
        if anchor not in {heading(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}:
            wrong.append(f"{target}#{anchor}")
    assert wrong == []
