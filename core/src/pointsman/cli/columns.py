"""Lines and columns of plain text, for views that are to be there at once."""

import sys
import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size

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
    filled = textwrap.fill(
        text, width(), initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
    click.secho(filled.replace(strong, click.style(strong, bold=True), 1) if strong else filled, dim=dim)


def table(rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """Rows in columns as wide as their content; the last column is wrapped, where that leaves it room enough."""
    if not rows:
        return
    widths = [max(_length(cell) for cell in column) for column in zip(*rows, strict=True)][:-1]
    left = indent + sum(widths) + 2 * len(widths)
    room = width() - left
    for row in rows:
        cells = (cell + " " * (wide - _length(cell) + 2) for cell, wide in zip(row, widths, strict=False))
        start = " " * indent + "".join(cells)
        if room >= MIN_ROOM:
            wrapped = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        else:
            wrapped = [row[-1]]
        click.echo(f"\n{' ' * left}".join([start + wrapped[0], *wrapped[1:]]).rstrip())


def fits(rows: Sequence[Sequence[str]], *, indent: int = 0) -> bool:
    """Whether the terminal is wide enough for rows that are not to be wrapped."""
    widths = [max(_length(cell) for cell in column) for column in zip(*rows, strict=True)]
    return indent + sum(widths) + 2 * len(widths) - 2 <= width()


def _length(cell: str) -> int:
    """Columns that a cell takes, styled or not."""
    return len(click.unstyle(cell))


MIN_ROOM = 20
"""Columns below which wrapping helps nobody."""
