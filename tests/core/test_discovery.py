"""Plugins are found where they are installed, loaded when they are named, and blamed when they are broken."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from pointsman import Router
from pointsman.plugins import installed
from tests.support.acme import Echo, Quiet
from tests.support.reports import Reporter
from tests.support.site import Site

ROOT = Path(__file__).parents[2]


def in_fresh_python(code: str, *path: Path) -> Any:
    """What `code` leaves in `out`, run by a Python of its own with these folders on its path."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\nimport json; print(json.dumps(out))"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SINK = """
from attrs import define
from pointsman import MetricEmission, hookimpl

@define(eq=False)
class Sink(MetricEmission):
    prefix: str = "acme"

    @hookimpl
    def emit_metric(self, event): ...
"""

BUILD = """
import sys
from pointsman import ConfigError, Router
try:
    router = Router({config!r})
    out = [[plugin.name, plugin.distribution] for plugin in router.snapshot.plugins if not plugin.built_in]
except ConfigError as error:
    out = str(error)
"""


def build(config: dict[str, Any], *path: Path, then: str = "") -> Any:
    return in_fresh_python(BUILD.format(config=config) + then, *path)


@pytest.fixture
def folder(tmp_path: Path) -> Site:
    """A folder that is not on this process's path."""
    (tmp_path / "folder").mkdir()
    return Site(tmp_path / "folder")


# Found


def test_an_installed_plugin_is_found_by_its_name(folder: Site) -> None:
    folder.install("acme-sink", "1.4", offers={"acme_sink": "acme_sink:Sink"}, modules={"acme_sink": SINK})
    assert build({"plugins": {"acme_sink": {"prefix": "a"}}}, folder.folder) == [["acme_sink", "acme-sink 1.4"]]


def test_a_distribution_that_is_installed_editable_is_found() -> None:
    (plugin,) = [one for one in Router({"plugins": {"metrics_stdout": {}}}).snapshot.plugins if not one.built_in]
    assert plugin.distribution == f"pointsman-metrics-stdout {version('pointsman-metrics-stdout')}"
    assert type(plugin.instance).__name__ == "MetricsStdout"


def test_use_makes_more_instances_under_other_names(site: Site) -> None:
    config = {"echo": {"retries": 1}, "second": {"use": "echo", "retries": 2}, "third": {"use": "echo"}}
    plugins = [one for one in Router({"plugins": config}).snapshot.plugins if not one.built_in]
    assert [one.name for one in plugins] == ["echo", "second", "third"]
    assert [one.instance.retries for one in plugins if isinstance(one.instance, Echo)] == [1, 2, 0]
    assert {one.distribution for one in plugins} == {"acme-plugins 2.1"}


def test_use_alone_is_enough(site: Site) -> None:
    router = Router({"plugins": {"eu": {"use": "echo"}}, "models": {"m": {"on": {"eu": "m"}}}})
    assert [str(target) for target in router.snapshot.catalog.targets] == ["eu/m"]


def test_a_built_in_plugin_can_have_a_second_instance() -> None:
    plugins = Router({"plugins": {"patient": {"use": "fallback", "skip_backend_after": 9}}}).snapshot.plugins
    built_in = {one.name: one.built_in for one in plugins}
    assert built_in["fallback"]
    assert not built_in["patient"]


def test_every_installed_plugin_is_listed_by_name(site: Site) -> None:
    site.install("acme-other", "3.0", offers={"zz_last": Quiet, "aa_first": "acme_nowhere:Nothing"})
    found = installed()
    assert list(found) == sorted(found)
    assert {"aa_first", "echo", "metrics_stdout", "quiet", "zz_last"} <= found.keys()
    assert [entry.value for entry in found["aa_first"]] == ["acme_nowhere:Nothing"]


def test_entry_points_of_other_groups_are_not_plugins(site: Site) -> None:
    (info,) = site.folder.glob("*.dist-info")
    with (info / "entry_points.txt").open("a") as file:
        file.write("\n[pointsman.v0]\nold_one = tests.support.acme:Quiet\n")
    assert "old_one" not in installed()


@define(eq=False)
class Named(Quiet):
    name: str = field(default="nobody", init=False)


def test_a_plugin_with_a_field_for_its_name_is_told_it_when_it_is_built(site: Site) -> None:
    site.install("acme-named", offers={"named": Named})
    by_hand = Named()
    Router({"plugins": {"mine": by_hand}})
    assert by_hand.name == "mine"
    (by_table,) = [one for one in Router({"plugins": {"yours": {"use": "named"}}}).snapshot.plugins if not one.built_in]
    assert isinstance(by_table.instance, Named)
    assert by_table.instance.name == "yours"


# Seen twice, offered twice


def test_one_distribution_that_is_on_the_path_twice_is_no_clash(folder: Site, tmp_path: Path) -> None:
    again = Site(tmp_path / "again")
    again.folder.mkdir()
    for site in (folder, again):
        site.install("acme-sink", "1.4", offers={"acme_sink": "acme_sink:Sink"}, modules={"acme_sink": SINK})
    path = (folder.folder, again.folder, folder.folder)
    assert build({"plugins": {"acme_sink": {}}}, *path) == [["acme_sink", "acme-sink 1.4"]]


def test_of_two_versions_the_one_that_python_imports_is_taken(folder: Site, tmp_path: Path) -> None:
    older = Site(tmp_path / "older")
    older.folder.mkdir()
    folder.install("acme-sink", "1.4", offers={"acme_sink": "acme_sink:Sink"}, modules={"acme_sink": SINK})
    older.install("acme-sink", "1.3", offers={"acme_sink": "acme_sink:Sink"}, modules={"acme_sink": SINK})
    config = {"plugins": {"acme_sink": {}}}
    assert build(config, folder.folder, older.folder) == [["acme_sink", "acme-sink 1.4"]]
    assert build(config, older.folder, folder.folder) == [["acme_sink", "acme-sink 1.3"]]


def test_two_distributions_with_one_name_are_both_named(site: Site, report: Reporter) -> None:
    site.install("acme-other", "1.2", offers={"echo": Echo})
    text = report("[plugins.echo]\n[plugins.copy]\nuse = 'quiet'")
    assert text.startswith("1:10 plugins.echo: acme-")
    assert text.endswith(' offer the same plugin "echo"; uninstall all but one')
    assert "acme-plugins 2.1" in text
    assert "acme-other 1.2" in text


def test_two_distributions_with_one_name_that_nobody_uses_are_no_mistake(site: Site) -> None:
    site.install("acme-other", "1.2", offers={"echo": Echo})
    Router({"plugins": {"quiet": {}}})


def test_the_name_of_a_built_in_plugin_belongs_to_pointsman(site: Site, report: Reporter) -> None:
    site.install("acme-other", "1.2", offers={"fallback": Quiet})
    assert report("[plugins.fallback]") == (
        '1:10 plugins.fallback: pointsman itself and acme-other 1.2 offer the same plugin "fallback"; '
        "uninstall all but one"
    )
    Router({})


# Not there


def test_a_missing_plugin_is_told_the_nearest_installed_one_and_what_to_install(report: Reporter) -> None:
    remedies = 'install what offers it, by convention pointsman-ecko, or remove the table; did you mean "echo"?'
    assert report("[plugins.ecko]") == f'1:10 plugins.ecko: no plugin "ecko" is installed; {remedies}'
    assert report("[plugins.a]\nuse = 'ecko'") == f'2:1 plugins.a.use: no plugin "ecko" is installed; {remedies}'


def test_a_missing_plugin_that_is_near_to_none_is_told_what_to_install(report: Reporter) -> None:
    text = report("[plugins.wide_area_pager]")
    assert text.startswith(
        '1:10 plugins.wide_area_pager: no plugin "wide_area_pager" is installed; install what offers it, '
        "by convention pointsman-wide-area-pager, or remove the table; allowed: "
    )
    assert {"echo", "quiet", "tasks"} <= set(text.partition("allowed: ")[2].split(", "))


# Broken

BROKEN = {
    "acme_raises": (
        "raise RuntimeError('no licence\\nask for one')",
        "cannot be imported: RuntimeError: no licence; reinstall or upgrade it",
    ),
    "acme_imports": (
        "import a_module_that_nobody_has",
        "cannot be imported: ModuleNotFoundError: No module named 'a_module_that_nobody_has'; reinstall or upgrade it",
    ),
    "acme_exits": ("raise SystemExit('bye')", "cannot be imported: SystemExit: bye; reinstall or upgrade it"),
    "acme_syntax": (
        "def",
        "cannot be imported: SyntaxError: invalid syntax; reinstall or upgrade it",
    ),
    "acme_empty": (
        "",
        "cannot be imported: AttributeError: module 'acme_empty' has no attribute 'Plugin'; reinstall or upgrade it",
    ),
    "acme_function": ("def Plugin(): ...", "is not an attrs class; its author can say @define(eq=False)"),
    "acme_plain": ("class Plugin: ...", "is not an attrs class; its author can say @define(eq=False)"),
}


@pytest.mark.parametrize("module", BROKEN)
def test_a_broken_plugin_is_named_with_distribution_version_cause_and_remedy(
    site: Site, report: Reporter, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    source, cause = BROKEN[module]
    site.install("acme-broken", "0.9", offers={"broken": f"{module}:Plugin"}, modules={module: source})
    try:
        assert (
            report("""
            [plugins.broken]
            [models.small]
            on = { broken = "s" }
        """)
            == f"1:10 plugins.broken: acme-broken 0.9 is broken: {module}:Plugin {cause}"
        )
    finally:
        sys.modules.pop(module, None)


@define(eq=False)
class Unreadable(Quiet):
    """A plugin with a setting whose type does not exist."""

    session: "Sesion | None" = None  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


def test_settings_that_cannot_be_read_are_the_plugins_fault(site: Site, report: Reporter) -> None:
    site.install("acme-sessions", "0.3", offers={"sessions": Unreadable})
    assert report("[plugins.sessions]") == (
        "1:10 plugins.sessions: acme-sessions 0.3 is broken: it cannot be made from its settings: "
        "NameError: name 'Sesion' is not defined; reinstall or upgrade it"
    )


FATAL = {"runtime": RuntimeError("no licence\nask for one"), "key": KeyError("licence"), "exit": SystemExit("bye")}


def explode(how: str) -> str:
    if how == "value":
        raise ValueError("give one, not both")
    if how:
        raise FATAL[how]
    return how


@define(eq=False)
class Fragile(Quiet):
    """A plugin that cannot be made: its converter raises, or its last step."""

    converted: str = field(default="", converter=explode)
    made: str = ""

    def __attrs_post_init__(self) -> None:
        explode(self.made)


@pytest.mark.parametrize("error", FATAL)
@pytest.mark.parametrize("where", ["converted", "made"])
def test_a_plugin_that_cannot_be_made_is_named_with_distribution_version_cause_and_remedy(
    site: Site, report: Reporter, where: str, error: str
) -> None:
    site.install("acme-fragile", "0.4", offers={"fragile": Fragile})
    causes = {"runtime": "RuntimeError: no licence", "key": "KeyError: licence", "exit": "SystemExit: bye"}
    assert report(f"[plugins.fragile]\n{where} = '{error}'") == (
        "1:10 plugins.fragile: acme-fragile 0.4 is broken: it cannot be made from its settings: "
        f"{causes[error]}; reinstall or upgrade it"
    )


@pytest.mark.parametrize("where", ["converted", "made"])
def test_what_a_plugin_says_of_no_setting_in_particular_comes_with_its_distribution_and_version(
    site: Site, report: Reporter, where: str
) -> None:
    site.install("acme-fragile", "0.4", offers={"fragile": Fragile})
    assert report(f"[plugins.fragile]\n{where} = 'value'") == (
        "1:10 plugins.fragile: acme-fragile 0.4 refuses these settings: give one, not both"
    )


def test_a_broken_plugin_that_nobody_names_breaks_nothing(folder: Site) -> None:
    folder.install("acme-broken", offers={"broken": "acme_broken:X"}, modules={"acme_broken": "raise SystemExit(1)"})
    folder.install("acme-sink", offers={"acme_sink": "acme_sink:Sink"}, modules={"acme_sink": SINK})
    assert build({"plugins": {"acme_sink": {}}}, folder.folder) == [["acme_sink", "acme-sink 1.0"]]


def test_a_broken_plugin_that_is_switched_off_breaks_nothing(folder: Site) -> None:
    folder.install("acme-broken", offers={"broken": "acme_broken:X"}, modules={"acme_broken": "raise SystemExit(1)"})
    assert build({"plugins": {"broken": {"enabled": False, "nonsense": 3}}}, folder.folder) == []


# Not imported


def test_the_code_of_a_plugin_that_nobody_names_is_not_imported(folder: Site, tmp_path: Path) -> None:
    traces = {name: tmp_path / name for name in ("named", "unnamed")}
    for name, trace in traces.items():
        source = f"open({str(trace)!r}, 'w').close()\n{SINK}"
        folder.install(f"acme-{name}", offers={f"acme_{name}": f"acme_{name}:Sink"}, modules={f"acme_{name}": source})
    listing = "from pointsman.plugins import installed\nout = [out, sorted(n for n in installed() if 'acme' in n)]"
    assert build({"plugins": {"acme_named": {}}}, folder.folder, then=listing) == [
        [["acme_named", "acme-named 1.0"]],
        ["acme_named", "acme_unnamed"],
    ]
    assert {name: trace.exists() for name, trace in traces.items()} == {"named": True, "unnamed": False}


def test_nothing_is_looked_for_where_no_plugin_is_named() -> None:
    loaded = "out = 'importlib.metadata' in sys.modules"
    assert build({"plugins": {"fallback": {"enabled": False}}}, then=loaded) is False
