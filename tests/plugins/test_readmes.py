"""What the plugins' READMEs say about settings is so, and their configurations load."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest

from pointsman import Router
from pointsman.kinds import converter

PLUGINS = sorted(path.parent for path in Path(__file__).parents[2].glob("plugins/*/pyproject.toml"))
REQUIRED = {"base_url": "http://localhost:8000/v1"}
"""What a plugin cannot do without."""

every_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)


def plugin_class(plugin: Path) -> Any:
    project = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, name = project["entry-points"]["pointsman.v1"][plugin.name].partition(":")
    return getattr(import_module(module), name)


def settings(plugin: Path) -> dict[str, Any]:
    return {field.name: field for field in attrs.fields(plugin_class(plugin)) if field.init}


def table(plugin: Path) -> dict[str, str]:
    """Each setting of the README's table, and its default as it is written there."""
    text = (plugin / "README.md").read_text("utf-8")
    rows = text.split("| setting | default | meaning |\n")[1].split("\n\n")[0].splitlines()[1:]
    return {name.strip().strip("`"): default.strip() for _, name, default, *_ in (row.split("|") for row in rows)}


@every_plugin
def test_every_setting_is_in_the_readmes_table_and_nothing_else_is(plugin: Path) -> None:
    assert sorted(table(plugin)) == sorted(settings(plugin))


@every_plugin
def test_the_defaults_in_the_readmes_table_are_the_plugins_own(plugin: Path) -> None:
    cls, fields = plugin_class(plugin), settings(plugin)
    required = {name: REQUIRED[name] for name, field in fields.items() if field.default is attrs.NOTHING}
    untouched = converter().structure(required, cls)
    for name, cell in table(plugin).items():
        if cell == "required":
            assert fields[name].default is attrs.NOTHING
        elif cell == "none":
            assert not getattr(untouched, name)
        elif re.fullmatch("`.*`|[0-9]+", cell):
            value = tomllib.loads(f"{name} = {cell.strip('`')}")
            assert getattr(converter().structure(required | value, cls), name) == getattr(untouched, name)
        else:
            assert getattr(untouched, name) is None, "words stand for what has no value of its own"


@every_plugin
def test_the_configurations_in_the_readme_load(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (plugin / "README.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        for name in re.findall(r'env = "(\w+)"', block):
            monkeypatch.setenv(name, "sk-nobody")
        (tmp_path / "pointsman.toml").write_text(block, "utf-8")
        with Router.from_toml(tmp_path / "pointsman.toml"):
            pass


@every_plugin
def test_the_readme_says_how_to_install_the_plugin(plugin: Path) -> None:
    name = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    assert f"pip install {name}\n" in (plugin / "README.md").read_text("utf-8")
