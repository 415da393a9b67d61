"""Lines and columns of plain text, for views that are to be there at once."""

import re
import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from unicodedata import category, combining, east_asian_width

import click

WIDEST = 110
"""Columns. Longer lines are hard to read, however wide the terminal is."""


def width() -> int:
    """Columns to write in; without a terminal, as if there were no edge."""
    return min(get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else sys.maxsize


def heading(text: str) -> None:
    """A line that begins a part."""
    click.secho(text, bold=True)


def line(text: str, *, indent: int = 0, hanging: int = 0, dim: bool = False, strong: str = "") -> None:
    """A paragraph; where the terminal is too narrow for it, further lines stand `hanging` further in.

    `strong` is what it begins with, to be seen first.
    """
    first, further = " " * indent, " " * (indent + hanging)
    filled = "\n".join(wrapped(text, width(), first=first, further=further))
    click.secho(filled.replace(strong, click.style(strong, bold=True), 1) if strong else filled, dim=dim)


def table(rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """Rows in columns as wide as their content; the last column is wrapped, where that leaves it room enough."""
    if not rows:
        return
    widths = [max(length(cell) for cell in column) for column in zip(*rows, strict=True)][:-1]
    left = indent + sum(widths) + 2 * len(widths)
    room = width() - left
    for row in rows:
        cells = (cell + " " * (wide - length(cell) + 2) for cell, wide in zip(row, widths, strict=False))
        start = " " * indent + "".join(cells)
        lines = wrapped(row[-1], room) if room >= MIN_ROOM else [row[-1]]
        click.echo(f"\n{' ' * left}".join([start + lines[0], *lines[1:]]).rstrip())


def fits(rows: Sequence[Sequence[str]], *, indent: int = 0) -> bool:
    """Whether the terminal is wide enough for rows that are not to be wrapped."""
    widths = [max(length(cell) for cell in column) for column in zip(*rows, strict=True)]
    return indent + sum(widths) + 2 * len(widths) - 2 <= width()


def wrapped(text: str, room: int, *, first: str = "", further: str = "") -> list[str]:
    """A text in lines of so many columns. A word that is longer, such as an address, stays whole."""
    words = re.sub(r"\s", " ", text).split(" ")
    lines = [first + words[0]]
    for word in words[1:]:
        if length(lines[-1]) + 1 + length(word) > room:
            lines.append(further + word)
        else:
            lines[-1] += f" {word}"
    return lines


def length(text: str) -> int:
    """Columns that a text takes on a terminal, styled or not: two for a wide character, none for a combining one."""
    plain = click.unstyle(text)
    return len(plain) if plain.isascii() else sum(_columns(one) for one in plain)


def _columns(character: str) -> int:
    if combining(character) or category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


MIN_ROOM = 20
"""Columns below which wrapping helps nobody."""
