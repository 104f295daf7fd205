"""What import contracts cannot say about the floors: no waiting primitives above the runtimes, one idea a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "resilience"
FILES = sorted(PACKAGE.rglob("*.py"))
ABOVE = [path for path in FILES if path.relative_to(PACKAGE).parts[0] not in {"runtimes", "lab", "cli"}]
BOOKKEEPING = {"Lock", "RLock", "get_ident", "local", "current_thread", "TIMEOUT_MAX"}
"""Of `threading`: what neither waits for an event nor starts anything."""
LONGEST = 300


LISTED = (PACKAGE.parent / ".ci" / "decisions").read_text(encoding="utf-8").splitlines()
DECISIONS = [line for line in LISTED if line and not line.startswith("#")]


def threading_names(tree: ast.AST) -> set[str]:
    taken = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "threading"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "threading":
            taken |= {alias.name for alias in node.names}
    return taken


def clocks_read(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"utcnow", "today", "perf_counter", "monotonic", "sleep"}
        and isinstance(node.value, ast.Name)
        and node.value.id in {"datetime", "date", "dt", "time"}
    }


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", ABOVE, ids=name)
def test_only_the_runtimes_use_the_parts_of_threading_that_wait(path: Path) -> None:
    assert threading_names(ast.parse(path.read_text(encoding="utf-8"))) <= BOOKKEEPING


@pytest.mark.parametrize("path", ABOVE, ids=name)
def test_only_the_runtimes_read_a_clock(path: Path) -> None:
    assert clocks_read(ast.parse(path.read_text(encoding="utf-8"))) == set()


def test_a_file_is_one_idea() -> None:
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize("pattern", DECISIONS)
def test_what_is_listed_as_a_decision_exists(pattern: str) -> None:
    assert list(PACKAGE.parent.glob(pattern)) != []
