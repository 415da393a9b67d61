"""What the README says of installing works: in an empty environment, with pip, in the README's order."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.examples.clean_environment import CleanEnvironment
from tests.support import readme

pytestmark = [
    pytest.mark.index,
    pytest.mark.xdist_group("clean_environment"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the environment's Python is elsewhere there"),
]


def words(title: str) -> list[str]:
    """The words after the `pip install` of a section, its folders as they are here."""
    (line,) = (block for block in readme.blocks("console", title) if block.startswith("pip install "))
    return [word.replace("./", f"{readme.ROOT}/") for word in shlex.split(line)[2:]]


def test_each_user_has_the_plugins_that_the_readme_speaks_of(tmp_path: Path) -> None:
    made = CleanEnvironment.make(tmp_path / "environment", *map(Path, words("Install a backend and ask")))
    assert "openrouter_direct" in made.run("-m", "pointsman", "plugins").out
    assert made.pip("install", "--quiet", *words("Order and disable rules")).status == 0

    pyproject, table = readme.blocks("toml", "Write a sink")
    (made.folder / "pyproject.toml").write_text(pyproject, "utf-8")
    (made.folder / "acme_ledger.py").write_text(readme.blocks("python", "Write a sink")[0], "utf-8")
    installed = made.pip("install", "--quiet", *words("Write a sink"))
    assert installed.status == 0, installed.err

    (made.folder / "pointsman.toml").write_text(readme.blocks("toml", "Order and disable rules")[0] + table, "utf-8")
    said = made.run("-m", "pointsman", "hooks")
    assert said.status == 0, said.err
    assert said.out.startswith(readme.blocks("text", "Order and disable rules")[0].removesuffix("...\n"))
    assert "  emit_metric  ledger\n" in said.out
