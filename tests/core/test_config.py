"""A file, a table and Python objects that say the same make the same router."""

import copy
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman import Config, ModelSettings, RolloutSettings, Router, RouterSettings, Seconds, Secret, TaskSettings
from pointsman.policy import BUILT_IN, ON_DEMAND
from pointsman.snapshot import Snapshot
from pointsman.targets import Catalog
from tests.support.acme import Echo, Quiet
from tests.support.site import Site

TOML = """
[router]
deadline = "90s"
attempt_timeout = 20
reserve = "500ms"
max_attempts = 3
default_task = "chat"
event_queue = 50

[plugins.echo]
api_key = { env = "ACME_KEY" }
timeout = "2s"
tags = ["a", "b"]

[plugins.second]
use = "echo"
base_url = "http://second"

[plugins.quiet]

[models."glm-4.5-air-free"]
on = { echo = "wire/glm", second = "glm:free" }
context = 131072
quota = "free"

[models.claude-3-haiku]
on = { echo = "wire/claude" }

[tasks.chat]
models = ["glm-4.5-air-free", "claude-3-haiku"]
why = "best in our test"

[tasks.draft]
models = ["glm-4.5-air-free"]

[paths]
both = ["second", "echo"]
one = ["echo"]

[rollout]
salt = "2025-11"
control = "one"
shares = { both = 12.5 }
algorithm = "modulo100"
without_unit = "draw"

[order]
select_model = ["rollout", "tasks"]
"""


def as_objects() -> Config:
    return Config(
        router=RouterSettings(
            deadline=Seconds(90.0),
            attempt_timeout=Seconds(20.0),
            reserve=Seconds(0.5),
            max_attempts=3,
            default_task="chat",
            event_queue=50,
        ),
        plugins={
            "echo": Echo(api_key=Secret("k"), timeout=Seconds(2.0), tags=["a", "b"]),
            "second": Echo(base_url="http://second"),
            "quiet": Quiet(),
        },
        models={
            "glm-4.5-air-free": ModelSettings(
                on={"echo": "wire/glm", "second": "glm:free"}, context=131072, quota="free"
            ),
            "claude-3-haiku": ModelSettings(on={"echo": "wire/claude"}),
        },
        tasks={
            "chat": TaskSettings(models=("glm-4.5-air-free", "claude-3-haiku"), why="best in our test"),
            "draft": TaskSettings(models=("glm-4.5-air-free",)),
        },
        paths={"both": ("second", "echo"), "one": ("echo",)},
        rollout=RolloutSettings(
            salt="2025-11", control="one", shares={"both": 12.5}, algorithm="modulo100", without_unit="draw"
        ),
        order={"select_model": ("rollout", "tasks")},
    )


def as_table() -> dict[str, Any]:
    return tomllib.loads(TOML)


def as_mixture() -> dict[str, object]:
    """A table with objects wherever there can be some."""
    objects = as_objects()
    return {
        **as_table(),
        "router": objects.router,
        "plugins": {**as_table()["plugins"], "second": objects.plugins["second"]},
        "models": {**as_table()["models"], "claude-3-haiku": objects.models["claude-3-haiku"]},
        "tasks": objects.tasks,
        "rollout": objects.rollout,
    }


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "k")


def snapshot_of_file(tmp_path: Path, text: str = TOML) -> Snapshot:
    file = tmp_path / "pointsman.toml"
    file.write_text(text, "utf-8")
    return Router.from_toml(file).snapshot


def whole(catalog: Catalog) -> list[object]:
    """Everything in a catalog; targets are equal by their names alone."""
    targets = [*catalog.targets, *(t for some in catalog.by_task.values() for t in some)]
    return [catalog, [(t.model, t.backend, t.name, t.context, t.quota) for t in targets]]


@pytest.mark.parametrize("make", [as_objects, as_table, as_mixture])
def test_what_says_the_same_makes_the_same_router(site: Site, tmp_path: Path, make: Callable[[], Any]) -> None:
    from_file = snapshot_of_file(tmp_path)
    other = Router(make()).snapshot
    assert whole(other.catalog) == whole(from_file.catalog)
    for section in ("router", "models", "tasks", "paths", "rollout", "order"):
        assert getattr(other.config, section) == getattr(from_file.config, section)
    assert [(plugin.name, type(plugin.instance)) for plugin in other.plugins] == [
        (plugin.name, type(plugin.instance)) for plugin in from_file.plugins
    ]
    for mine, theirs in zip(other.plugins, from_file.plugins, strict=True):
        if isinstance(mine.instance, Echo) and isinstance(theirs.instance, Echo):
            assert settings_of(mine.instance) == settings_of(theirs.instance)
    for chain in ("select_model", "decide_fallback", "admit"):
        assert [(step.plugin, step.placed_by) for step in getattr(other.hooks, chain)] == [
            (step.plugin, step.placed_by) for step in getattr(from_file.hooks, chain)
        ]
    assert other.hooks.backends.keys() == from_file.hooks.backends.keys()


def settings_of(echo: Echo) -> tuple[object, ...]:
    return (echo.base_url, echo.api_key, echo.timeout, echo.tags, echo.region, dict(echo.headers))


def test_the_catalog_has_every_model_on_every_backend_that_it_names(site: Site, tmp_path: Path) -> None:
    catalog = snapshot_of_file(tmp_path).catalog
    assert [(t.model, t.backend, t.name, t.context, t.quota) for t in catalog.targets] == [
        ("glm-4.5-air-free", "echo", "wire/glm", 131072, "free"),
        ("glm-4.5-air-free", "second", "glm:free", 131072, "free"),
        ("claude-3-haiku", "echo", "wire/claude", None, None),
    ]
    assert {task: [str(t) for t in targets] for task, targets in catalog.by_task.items()} == {
        "chat": ["echo/glm-4.5-air-free", "second/glm-4.5-air-free", "echo/claude-3-haiku"],
        "draft": ["echo/glm-4.5-air-free", "second/glm-4.5-air-free"],
    }
    assert {model: len(targets) for model, targets in catalog.by_model.items()} == {
        "glm-4.5-air-free": 2,
        "claude-3-haiku": 1,
    }


NAMES = st.text("abc.-_ é", min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        NAMES,
        st.dictionaries(st.sampled_from(["x", "y", "z"]), NAMES.filter(str.strip), min_size=1),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_a_table_and_its_objects_have_one_catalog(
    site: Site, models: dict[str, dict[str, str]], data: st.DataObject
) -> None:
    some_models = st.lists(st.sampled_from(sorted(models)), min_size=1, unique=True)
    tasks = data.draw(st.dictionaries(NAMES, some_models, max_size=3))
    plugins = {name: {"use": "echo"} for name in ("x", "y", "z")}
    from_table = Router(
        {
            "plugins": plugins,
            "models": {name: {"on": on} for name, on in models.items()},
            "tasks": {name: {"models": own} for name, own in tasks.items()},
        }
    ).snapshot
    from_objects = Router(
        Config(
            plugins={name: Echo() for name in plugins},
            models={name: ModelSettings(on=on) for name, on in models.items()},
            tasks={name: TaskSettings(models=tuple(own)) for name, own in tasks.items()},
        )
    ).snapshot
    assert from_table.catalog == from_objects.catalog
    assert [(t.model, t.backend, t.name) for t in from_table.catalog.targets] == [
        (model, backend, name) for model, on in models.items() for backend, name in on.items()
    ]


# What is not said


@pytest.mark.parametrize("empty", [Config(), {}, Config(plugins={}), {"router": {}, "models": {}}])
def test_an_empty_configuration_has_the_defaults(empty: Config | Mapping[str, object]) -> None:
    snapshot = Router(empty).snapshot
    assert snapshot.config.router == RouterSettings()
    assert snapshot.catalog.targets == ()
    assert snapshot.config.rollout is None
    assert [plugin.name for plugin in snapshot.plugins] == [name for name in BUILT_IN if name not in ON_DEMAND]


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert snapshot_of_file(tmp_path, "").config.router == RouterSettings()


def test_a_plugin_is_active_when_an_empty_table_names_it_and_not_when_it_is_switched_off(
    site: Site, tmp_path: Path
) -> None:
    text = "[plugins.quiet]\n[plugins.echo]\nenabled = false\nretries = 'not even read'"
    assert [plugin.name for plugin in snapshot_of_file(tmp_path, text).plugins if not plugin.built_in] == ["quiet"]


def test_a_whole_number_will_do_where_a_number_is_expected(site: Site) -> None:
    echo = Router({"plugins": {"echo": {"weight": 2, "timeout": 3}}}).snapshot.plugins[-1].instance
    assert isinstance(echo, Echo)
    assert (echo.weight, echo.timeout) == (2, 3.0)


# Whose it is


def test_building_changes_nothing_of_the_callers(site: Site) -> None:
    table = as_table()
    before = copy.deepcopy(table)
    Router(table)
    assert table == before


def test_the_caller_may_give_what_nobody_can_change(site: Site) -> None:
    def frozen(value: Any) -> Any:
        if isinstance(value, dict):
            return MappingProxyType({key: frozen(inner) for key, inner in value.items()})
        return tuple(frozen(inner) for inner in value) if isinstance(value, list) else value

    assert whole(Router(frozen(as_table())).snapshot.catalog) == whole(Router(as_table()).snapshot.catalog)


def test_what_the_caller_changes_later_changes_no_router(site: Site) -> None:
    table = as_table()
    snapshot = Router(table).snapshot
    before = (whole(snapshot.catalog), repr(snapshot.config.tasks), repr(snapshot.config.rollout))
    table["models"]["glm-4.5-air-free"]["on"]["echo"] = "changed"
    table["tasks"]["chat"]["models"].append("changed")
    table["rollout"]["shares"]["both"] = 99
    del table["paths"]["both"]
    assert (whole(snapshot.catalog), repr(snapshot.config.tasks), repr(snapshot.config.rollout)) == before


def test_a_configuration_that_was_read_cannot_be_changed(site: Site) -> None:
    config: Any = Router(as_table()).snapshot.config
    for change in (
        lambda: setattr(config, "paths", {}),
        lambda: setattr(config.router, "deadline", 1),
        lambda: config.tasks.update({}),
        lambda: config.models["claude-3-haiku"].on.update(echo="changed"),
        lambda: config.rollout.shares.update(both=99),
        lambda: config.tasks["chat"].models.append("changed"),
    ):
        with pytest.raises((FrozenInstanceError, AttributeError)):
            change()


def test_a_finished_object_is_used_as_it_is() -> None:
    quiet = Quiet()
    (plugin,) = [one for one in Router({"plugins": {"mine": quiet}}).snapshot.plugins if not one.built_in]
    assert plugin.instance is quiet
    assert plugin.distribution is None


def test_one_configuration_makes_any_number_of_routers(site: Site) -> None:
    table = as_table()
    first, second = Router(table).snapshot, Router(table).snapshot
    assert first.catalog == second.catalog
    assert all(mine.instance is not theirs.instance for mine, theirs in zip(first.plugins, second.plugins, strict=True))


def test_a_snapshot_is_a_configuration_too(site: Site) -> None:
    snapshot = Router(as_table()).snapshot
    assert Router(snapshot).snapshot is snapshot


def test_the_path_of_a_file_may_be_text(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pointsman.toml").write_text(TOML, "utf-8")
    assert len(Router.from_toml(str(tmp_path / "pointsman.toml")).snapshot.catalog.targets) == 3
