"""The settings of the built-in rules: what they are when nobody sets them, and what they may not be."""

import pytest
from attrs import fields

from pointsman.errors import ConfigError
from pointsman.policy.breaker import Breaker
from pointsman.policy.fallback import Fallback
from pointsman.policy.guard import Guard
from pointsman.policy.limits import Limits
from pointsman.policy.retries import Retries
from pointsman.router import Router
from tests.core.support import Scripted, table

DEFAULTS: dict[type, dict[str, object]] = {
    Breaker: {
        "failures_in_a_row": 5,
        "failure_share": 0.5,
        "of_at_least": 20,
        "window": 30,
        "open_for": 5,
        "open_at_most": 120,
        "opens_at_once_for": 60,
        "probe_lease": 60,
    },
    Retries: {"pause": 0.5, "pause_at_most": 8, "budget": 10, "refill": 0.1},
    Limits: {"concurrency": {}, "per_minute": {}, "max_wait": 10},
    Fallback: {"skip_backend_after": 2},
    Guard: {"margin": 0.02, "false_alarms": 0.001, "window": 2000, "at_least": 50, "file": None},
}

LEAST = [
    ("breaker", "failures_in_a_row", 1, 0),
    ("breaker", "failure_share", 0.001, 0.0),
    ("breaker", "of_at_least", 1, 0),
    ("breaker", "window", 0.001, 0.0),
    ("breaker", "open_for", 0.001, 0.0),
    ("breaker", "open_at_most", 0.001, 0.0),
    ("breaker", "opens_at_once_for", 0.001, 0.0),
    ("breaker", "probe_lease", 0.001, 0.0),
    ("retries", "pause", 0.001, 0.0),
    ("retries", "pause_at_most", 0.001, 0.0),
    ("retries", "budget", 0.0, -0.1),
    ("retries", "refill", 0.0, -0.1),
    ("limits", "max_wait", 0.0, -0.1),
    ("fallback", "skip_backend_after", 1, 0),
    ("guard", "margin", 0.0, -0.1),
    ("guard", "false_alarms", 1e-9, 0.0),
    ("guard", "window", 100, 99),
    ("guard", "at_least", 20, 19),
]
MOST = [
    ("breaker", "failure_share", 1.0, 1.001),
    ("retries", "refill", 1.0, 1.001),
    ("guard", "margin", 0.999, 1.0),
    ("guard", "false_alarms", 0.999, 1.0),
]


@pytest.mark.parametrize("plugin", DEFAULTS)
def test_what_nobody_sets_is_what_the_documentation_says(plugin):
    assert {setting.name for setting in fields(plugin) if setting.init} == DEFAULTS[plugin].keys()
    made = plugin()
    assert {name: getattr(made, name) for name in DEFAULTS[plugin]} == DEFAULTS[plugin]


@pytest.mark.parametrize(("plugin", "setting", "allowed", "refused"), [*LEAST, *MOST])
def test_a_setting_may_be_its_least_or_most_and_nothing_beyond(plugin, setting, allowed, refused):
    Router({"plugins": {plugin: {setting: allowed}}})
    with pytest.raises(ConfigError, match=rf"plugins\.{plugin}"):
        Router({"plugins": {plugin: {setting: refused}}})


@pytest.mark.parametrize(("plugins", "active"), [({}, False), ({"limits": {}}, True)])
def test_limits_stand_at_the_gate_when_the_configuration_names_them(plugins, active):
    steps = Router({"plugins": plugins}).snapshot.hooks.admit
    assert ("limits" in [step.plugin for step in steps]) == active


@pytest.mark.parametrize("setting", ["concurrency", "per_minute"])
def test_a_limit_is_of_a_backend_a_quota_or_a_target_that_exists(setting):
    def limited(name):
        known = table(["small"], {"proxy": Scripted()}, plugins={"limits": {setting: {name: 1}}})
        known["models"]["small"]["quota"] = "free"
        return known

    for name in ("proxy", "free", "proxy/small"):
        Router(limited(name))
    with pytest.raises(ConfigError) as caught:
        Router(limited("proxi/small"))
    (problem,) = caught.value.problems
    assert problem.key == f'plugins.limits.{setting}."proxi/small"'
    assert problem.message == (
        'no backend, quota or "backend/model" is called "proxi/small"; did you mean "proxy/small"?'
    )
