"""The public names with their signatures are those in ``public_api.txt``; ``RENEW_PUBLIC_API=1`` writes them anew."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import resilience

if TYPE_CHECKING:
    from collections.abc import Iterator

SNAPSHOT = Path(__file__).with_name("public_api.txt")
NAMES = resilience.__all__


def own(kind: type) -> Iterator[tuple[str, Any]]:
    """The public members that a class has from us, not from the library it builds on."""
    seen: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith("resilience"):
            for name in vars(base):
                if not name.startswith("_") and name not in seen:
                    seen.add(name)
                    yield name, inspect.getattr_static(kind, name)


def public_bases(kind: type) -> Iterator[type]:
    for base in kind.__bases__:
        if base.__name__.startswith("_"):
            yield from public_bases(base)
        elif base is not object:
            yield base


def signature(of: Any) -> str:
    """The signature as written in the source; a default that has no text of its own, without its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(of)))


def described(name: str) -> Iterator[str]:
    value = getattr(resilience, name)
    if not isinstance(value, type):
        yield f"{name}{signature(value)}" if callable(value) else f"{name}: {type(value).__name__}"
        return
    bases = ", ".join(f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in public_bases(value))
    yield f"class {name}({bases})"
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
        return
    if any("__init__" in vars(base) for base in value.__mro__ if base.__module__.startswith("resilience")):
        yield f"    {signature(value.__init__)}"
    fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
    for attribute, member in sorted(own(value), key=lambda item: item[0]):
        if attribute in fields:
            continue
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(inner):
            yield f"    {'async ' * inspect.iscoroutinefunction(inner)}{attribute}{signature(inner)}"
        elif isinstance(inner, property) or inspect.isdatadescriptor(inner):
            yield f"    {attribute}"


def test_the_public_names_are_as_recorded() -> None:
    found = "\n".join(line for name in NAMES for line in described(name)) + "\n"
    if os.environ.get("RENEW_PUBLIC_API"):
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8")


def test_they_are_sorted_and_each_is_there_once() -> None:
    assert sorted(set(NAMES)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    value = getattr(resilience, name)
    assert (inspect.getdoc(value) or "").strip()
    if isinstance(value, type):
        silent = [
            attribute
            for attribute, member in own(value)
            if isinstance(member, property) or inspect.isfunction(member)
            if not (inspect.getdoc(member) or "").strip()
        ]
        assert silent == []


def test_nothing_else_is_offered() -> None:
    modules = {name for name, value in vars(resilience).items() if inspect.ismodule(value)}
    public = {name for name in vars(resilience) if not name.startswith("_")}
    assert public - modules == set(NAMES)


def test_those_who_install_it_get_its_types() -> None:
    packages = [Path(resilience.__file__).parent, Path(__file__).parent.parent / "resilience_pytest"]
    assert [package.name for package in packages if not (package / "py.typed").is_file()] == []
