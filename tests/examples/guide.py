"""The guide as it is used: its plugins in a module that is installed, its configurations and programs beside it."""

import re
import tomllib
from pathlib import Path

from attrs import frozen

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
MODULE = "acme_pointsman"


@frozen
class Section:
    """One kind of plugin: what is written, configured, run and seen."""

    title: str
    plugin: str
    table: str
    program: str
    screen: str


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _parts() -> tuple[str, dict[str, str]]:
    head, *parts = re.split(r"^## (.*)\n", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    return head, dict(zip(parts[::2], parts[1::2], strict=True))


_INSTALLING = "One file, installed"


def sections() -> list[Section]:
    found: list[Section] = []
    for title, text in _parts()[1].items():
        if title != _INSTALLING:
            plugin, program = _blocks(text, "python")
            (table,), (screen,) = _blocks(text, "toml"), _blocks(text, "text")
            found.append(Section(title, plugin, table, program, screen))
    return found


def project() -> str:
    """The pyproject.toml."""
    return _blocks(_parts()[1][_INSTALLING], "toml")[0]


def configuration() -> str:
    """What every section's table is added to."""
    return _blocks(_parts()[1][_INSTALLING], "toml")[1]


def offers() -> dict[str, str]:
    return tomllib.loads(project())["project"]["entry-points"]["pointsman.v1"]


def module() -> str:
    """Every plugin, in one file."""
    return "\n\n".join(section.plugin for section in sections())
