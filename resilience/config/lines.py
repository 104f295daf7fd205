"""Where in a TOML or JSON text each key stands: the parsers of the standard library do not say.

The text has been parsed already, so this only follows its shape. A path is a tuple of keys and of places in lists.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path: TypeAlias = "tuple[str | int, ...]"

# Each of these matches nothing, too.
_BARE = re.compile(r"[^\s=.:\[\]{},#\"']*")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_LONG = {  # of up to five quotes at the end the last three are the end
    '"': re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    "'": re.compile(r"'''.*?'{3,5}", re.DOTALL),
}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
"""All other letters stand for themselves, but for these two, which have so many digits after them."""
_DIGITS = {"u": 4, "U": 8}


def lines_of(text: str, *, toml: bool) -> tuple[Mapping[Path, int], Mapping[Path, int]]:
    """Return the line of each key and list item, counted from 1; of a table, the line that opens it.

    And, of JSON, the line of each key that stands in its object already.
    """
    scan = _Scan(text)
    if toml:
        scan.toml()
        return scan.found, {}
    scan.value(())
    return scan.found, scan.again


def nearest(found: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of the path, or of what is around it; None when nothing is known."""
    return next((found[path[:length]] for length in range(len(path), 0, -1) if path[:length] in found), None)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self.again: dict[Path, int] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._counted: dict[Path, int] = {}

    def note(self, path: Path, at: int) -> None:
        line = bisect.bisect_right(self._starts, at)
        if path not in self.found:
            self.found[path] = line
        elif not any(path[:length] in self.again for length in range(1, len(path) + 1)):
            self.again[path] = line

    def skip(self) -> str:
        """Go to what comes next, and return its first character."""
        self.take(_SPACE)
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> str:
        """Go past what the pattern matches here, and return it."""
        match = cast("re.Match[str]", pattern.match(self.text, self.at))
        self.at = match.end()
        return match[0]

    def toml(self) -> None:
        table: Path = ()
        while self.skip():
            at = self.at
            if self.text.startswith("[[", at):
                self.at += 2
                name = tuple(self.keys())
                self.at += 2
                number = self._counted[name] = self._counted.get(name, -1) + 1
                self.note(name, at)
                table = (*name, number)
                self.note(table, at)
            elif self.text[at] == "[":
                self.at += 1
                table = self.through_lists(tuple(self.keys()))
                self.at += 1
                self.note_all(table, at)
            else:
                self.entry(table, "=")

    def through_lists(self, name: Path) -> Path:
        """Return the path of a table inside the latest item of a list of tables, where it is inside one."""
        path: Path = ()
        plain: Path = ()
        for key in name:
            path, plain = (*path, key), (*plain, key)
            if plain in self._counted and plain != name:
                path = (*path, self._counted[plain])
        return path

    def note_all(self, path: Path, at: int) -> None:
        for length in range(1, len(path) + 1):
            self.note(path[:length], at)

    def entry(self, table: Path, mark: str) -> None:
        at = self.at
        path = (*table, *self.keys())
        for length in range(len(table) + 1, len(path) + 1):
            self.note(path[:length], at)
        self.skip()
        self.at += len(mark)
        self.value(path)

    def keys(self) -> Iterator[str]:
        while True:
            mark = self.skip()
            yield self.string() if mark in {'"', "'"} else self.take(_BARE)
            if self.skip() != ".":
                return
            self.at += 1

    def value(self, path: Path) -> None:
        mark = self.skip()
        if mark in {'"', "'"}:
            self.string()
        elif mark == "[":
            self.items(path, "]")
        elif mark == "{":
            self.items(path, "}")
        else:
            self.take(_SCALAR)

    def items(self, path: Path, end: str) -> None:
        self.at += 1
        number = 0
        while (mark := self.skip()) and mark != end:
            if mark == ",":
                self.at += 1
                continue
            if end == "]":
                self.note((*path, number), self.at)
                self.value((*path, number))
                number += 1
            else:
                self.entry(path, "=")
        self.at += 1

    def string(self) -> str:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.take(_LONG[quote])
            return ""
        self.at += 1
        found: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != quote:
            if self.text[self.at] == "\\" and quote == '"':
                self.at += 1
                found.append(self.escaped())
            else:
                found.append(self.text[self.at])
            self.at += 1
        self.at += 1
        # JSON has two escapes for one sign beyond the first 65,536.
        return "".join(found).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

    def escaped(self) -> str:
        letter = self.text[self.at]
        digits = _DIGITS.get(letter, 0)
        if not digits:
            return _ESCAPES.get(letter, letter)
        self.at += digits
        return chr(int(self.text[self.at - digits + 1 : self.at + 1], 16))
