"""Where each key of a TOML document stands, so that a message can point at it.

`tomllib` says what a document means but not where its keys are. This scanner says where, and
leaves every question of validity to `tomllib`, which has accepted the document before.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias

from attrs import define, field, frozen

Path: TypeAlias = tuple[str | int, ...]
"""Names of keys and indices of array elements, from the document's root."""


@frozen
class Position:
    """A place in a text."""

    line: int
    """1-based."""
    column: int
    """1-based, counted in characters."""


def locate(text: str) -> dict[Path, Position]:
    """The position of every key and every array element of a valid TOML document.

    A key stands where its name is first written, be it as a part of a header or of a dotted key;
    an element of an array where its value begins; a table of an array of tables where the last name
    of its `[[header]]` begins. Raises ValueError for some documents that `tomllib` rejects, and
    means nothing for the others.
    """
    scanner = _Scanner(text=text, line_starts=[0, *(newline.end() for newline in re.finditer("\n", text))])
    scanner.document()
    return scanner.positions


def syntax_error_position(error: tomllib.TOMLDecodeError) -> Position | None:
    """Where `tomllib` stopped reading; None where it does not say.

    Before Python 3.14 a document that ends too early is such a case.
    """
    # Python 3.14 has these two as attributes; before, they stand in the message only.
    line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
    if isinstance(line, int) and isinstance(column, int):
        return Position(line, column)
    place = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
    return Position(int(place[1]), int(place[2])) if place else None


_SINGLE_LINE_STRING = r"""
    "(?:[^"\\]|\\.)*"
  | '[^']*'
"""
# Up to two quotes may stand immediately before the three that close a string.
_MULTI_LINE_STRING = r'''
    """(?:[^\\]|\\.)*?"{3,5}
  | \'\'\'.*?\'{3,5}
'''
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_NAME = re.compile(rf"[A-Za-z0-9_-]+ | {_SINGLE_LINE_STRING}", re.VERBOSE)
_SCALAR = re.compile(rf"{_MULTI_LINE_STRING} | {_SINGLE_LINE_STRING} | [^,\]}}\#\r\n]+", re.VERBOSE | re.DOTALL)


@define
class _Scanner:
    """Reads a document once, from left to right; `at` is the offset of what comes next."""

    text: str
    line_starts: list[int]
    at: int = 0
    positions: dict[Path, Position] = field(factory=dict[Path, Position])
    last_index: dict[Path, int] = field(factory=dict[Path, int])
    """Of each array of tables, the index of its latest table: the one that headers below it continue."""

    def document(self) -> None:
        table: Path = ()
        self.skip_blank()
        while self.at < len(self.text):
            if self.take("["):
                table = self.header(opens_array_table=self.take("["))
            else:
                self.key_value(table)
            self.skip_blank()

    def header(self, *, opens_array_table: bool) -> Path:
        names = self.key()
        path = self.descend((), names)
        if opens_array_table:
            self.last_index[path] = self.last_index.get(path, -1) + 1
            path = (*path, self.last_index[path])
            self.mark(path, names[-1][1])
        self.expect("]]" if opens_array_table else "]")
        return path

    def key_value(self, table: Path) -> None:
        path = self.descend(table, self.key())
        self.expect("=")
        self.skip_blank()
        self.value(path)

    def value(self, path: Path) -> None:
        if self.take("["):
            self.skip_blank()
            index = 0
            while not self.take("]"):
                self.mark((*path, index), self.at)
                self.value((*path, index))
                self.skip_comma()
                index += 1
        elif self.take("{"):
            self.skip_blank()
            while not self.take("}"):
                self.key_value(path)
                self.skip_comma()
        else:
            self.match(_SCALAR)

    def key(self) -> list[tuple[str, int]]:
        """The names of a key, dotted or not, each with the offset at which it begins."""
        names: list[tuple[str, int]] = []
        while not names or self.take("."):
            self.skip_blank()
            start = self.at
            names.append((_unquoted(self.match(_NAME)), start))
            self.skip_blank()
        return names

    def descend(self, path: Path, names: Iterable[tuple[str, int]]) -> Path:
        """The path that `names` lead to from `path`, every step of it marked."""
        for name, offset in names:
            path = (*path, self.last_index[path], name) if path in self.last_index else (*path, name)
            self.mark(path, offset)
        return path

    def mark(self, path: Path, offset: int) -> None:
        if path not in self.positions:
            line = bisect_right(self.line_starts, offset)
            self.positions[path] = Position(line, offset - self.line_starts[line - 1] + 1)

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"not a TOML document: cannot read it beyond character {self.at}")
        self.at = found.end()
        return found[0]

    def take(self, token: str) -> bool:
        taken = self.text.startswith(token, self.at)
        if taken:
            self.at += len(token)
        return taken

    def expect(self, token: str) -> None:
        self.match(re.compile(re.escape(token)))

    def skip_blank(self) -> None:
        self.match(_BLANK)

    def skip_comma(self) -> None:
        self.skip_blank()
        self.take(",")
        self.skip_blank()


def _unquoted(name: str) -> str:
    # tomllib knows every escape that its own version of TOML has.
    return next(iter(tomllib.loads(f"{name} = 0"))) if name[0] in "\"'" else name
