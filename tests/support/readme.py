"""The README of the repository, taken apart: its sections, and the blocks in them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
CORE = (ROOT / "core" / "README.md").read_text("utf-8")

PIECES = ["Kære ", "Mette Hansen. ", "Tak for din henvendelse ..."]
"""The answer that its screens show."""


def section(title: str) -> str:
    """What stands below a heading."""
    parts = re.split(r"^## (.*)\n", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def blocks(language: str, title: str = "", *, text: str = TEXT) -> list[str]:
    """The blocks in a language, of one section or of the whole text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title) if title else text, re.MULTILINE | re.DOTALL)


def commands(title: str, *, after: str) -> list[str]:
    """The lines of the block in a section that begins with these words."""
    (found,) = (block for block in blocks("console", title) if block.startswith(after))
    return found.splitlines()


def project(pyproject: str) -> tuple[str, dict[str, str]]:
    """A distribution's name, and the plugins that it offers."""
    table = tomllib.loads(pyproject)["project"]
    return table["name"], table["entry-points"]["pointsman.v1"]
