"""The line of a file that a problem is about, with the place marked."""

import re
import sys
from pathlib import Path

from pointsman.complaints import printable
from pointsman.errors import Problem

from .columns import length

_OPEN = frozenset({"router", "models", "tasks", "paths", "rollout", "order"})
"""The sections in which no key of anybody's is ever written, not even by mistake."""

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_-]+)\s*[\].]")
_TOKEN = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'|.""")


def excerpt(problem: Problem, room: int = sys.maxsize) -> str:
    """Three lines of at most so many columns below a problem, or nothing where it has no place in a file.

    What could be a key is not shown: outside the sections that hold none, no value is.
    """
    if problem.file is None or problem.line is None:
        return ""
    try:
        lines = Path(problem.file).read_text(encoding="utf-8-sig", errors="replace").split("\n")
        line = lines[problem.line - 1].rstrip("\r")
    except (OSError, IndexError):
        return ""
    start = (problem.column or 1) - 1
    marked = _TOKEN.match(line, start)
    end = marked.end() if marked else start + 1
    if not _HEADER.match(line) and _section(lines[: problem.line - 1]) not in _OPEN:
        line, start, end = _hidden(line, start, end)
    number = str(problem.line)
    gutter = " " * len(number)
    before, place, after = _fitted(*printable_parts(line, start, end), room - len(f"{number} | "))
    mark = " " * length(before) + "^" * max(length(place), 1)
    return f"{gutter} |\n{number} | {before}{place}{after}\n{gutter} | {mark}"


def printable_parts(line: str, start: int, end: int) -> tuple[str, str, str]:
    """What stands before, at and after the place, tabs as spaces."""
    before, place, after = (
        printable(part.replace("\t", "    ")) for part in (line[:start], line[start:end], line[end:])
    )
    return before, place, after.rstrip()


def _fitted(before: str, place: str, after: str, room: int) -> tuple[str, str, str]:
    """The parts, with dots for what has no room; the place itself gives way last."""
    if length(before) > room - length(place + after):
        before = _cut(before[::-1], max(room // 3, room - length(place + after)))[::-1]
    place = _cut(place, room - length(before + (DOTS if after else "")))
    return before, place, _cut(after, room - length(before + place))


def _cut(text: str, columns: int) -> str:
    """As much from a text's beginning as there is room for."""
    if length(text) <= columns:
        return text
    kept = len(text)
    while kept and length(text[:kept] + DOTS) > columns:
        kept -= 1
    return text[:kept] + DOTS


DOTS = "..."


def _section(above: list[str]) -> str:
    """The section that the lines above have opened."""
    return next((found[1] for line in reversed(above) if (found := _HEADER.match(line))), "")


def _hidden(line: str, start: int, end: int) -> tuple[str, int, int]:
    """The line up to its value. A mark in the value is set where it begins."""
    name, equals, value = line.partition("=")
    if not equals:
        name, value = line[: len(line) - len(line.lstrip())], line.strip()
    kept = name + equals + (" " if equals else "")
    if not value.strip() or value.lstrip().startswith("#"):
        return kept, min(start, len(kept)), min(end, len(kept))
    if end <= len(name):
        return kept + "...", start, end
    return kept + "...", len(kept), len(kept) + 3
