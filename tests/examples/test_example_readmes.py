"""The examples' READMEs are true: configurations load, settings and hosts are all there, links lead somewhere."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import attrs
import pytest

from pointsman import Router
from pointsman.plugins import GROUP
from tests.examples.conftest import EXAMPLES

DISTRIBUTIONS = sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml"))
READMES = sorted(EXAMPLES.glob("*/README.md"))


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_the_configuration_loads_and_names_every_plugin(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    readme = (folder / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    with Router(tomllib.loads(block)) as router:
        named = {plugin.name for plugin in router.snapshot.plugins if not plugin.built_in}
    assert named == project["entry-points"][GROUP].keys()
    assert f"pip install ./examples/{folder.name}\n" in readme


@pytest.mark.usefixtures("examples")
def test_the_settings_of_the_sink_are_those_of_its_table() -> None:
    readme = (EXAMPLES / "statsd_sink" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", readme, re.MULTILINE)
    statsd = import_module("pointsman_statsd").Statsd
    assert {name: tomllib.loads(f"value = {default}")["value"] for name, default in rows} == {
        one.name: one.default for one in attrs.fields(statsd) if one.init
    }


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_every_link_leads_somewhere(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", readme.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []


def test_every_host_is_in_the_readme_and_has_a_test() -> None:
    folder = EXAMPLES / "hosts"
    readme = (folder / "README.md").read_text("utf-8")
    hosts = [path for path in folder.iterdir() if path.suffix in {".py", ".ipynb"}]
    assert len(hosts) == 5
    assert [path.name for path in hosts if f"[`{path.name}`]({path.name})" not in readme] == []
    tests = Path(__file__).parent
    assert [path.name for path in hosts if not (tests / f"test_{path.stem}.py").exists()] == []
