"""Fixtures for plugins that live in `examples/`, offered as an installer would offer them."""

import tomllib
from pathlib import Path

import pytest

from pointsman.plugins import GROUP
from tests.support.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every distribution of `examples/`, with the entry points of its own pyproject.toml."""
    site = Site.on_path(tmp_path / "site", monkeypatch)
    for file in EXAMPLES.glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        monkeypatch.syspath_prepend(file.parent / "src")
        site.install(project["name"], project["version"], offers=project["entry-points"][GROUP])
