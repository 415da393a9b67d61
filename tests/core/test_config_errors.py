"""A mistake in a configuration is reported once: where it is, what is wrong, and what to write instead.

Mistakes in plugins are in `test_discovery`, in hooks in `test_hooks`, in secrets in `test_secrets_settings`.
"""

import asyncio
import enum
import os
import pickle
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, validators
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pointsman import Config, ConfigError, ModelSettings, RolloutSettings, Router, RouterSettings, TaskSettings
from tests.support.acme import Echo, Quiet
from tests.support.reports import Reporter
from tests.support.site import Site

ROOT = Path(__file__).parents[2]

WHOLE = """\
[router]
default_task = "chat"
[plugins.echo]
[plugins.second]
use = "echo"
[models.small]
on = { echo = "wire/small", second = "small" }
[models.large]
on = { echo = "wire/large" }
[tasks.chat]
models = ["small", "large"]
[paths]
both = ["echo", "second"]
one = ["second"]
[rollout]
control = "one"
shares = { both = 10 }
"""


def whole(changes: Mapping[str, str]) -> str:
    """The whole configuration, with something in it changed."""
    text = WHOLE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_configuration_that_these_tests_break_is_right(site: Site) -> None:
    assert len(Router(tomllib.loads(WHOLE)).snapshot.catalog.targets) == 3


# Names


def test_an_unknown_key_is_told_the_nearest_one(report: Reporter) -> None:
    assert (
        report("""
        [router]
        dedline = "3s"
    """)
        == '2:1 router.dedline: unknown key; did you mean "deadline"?'
    )


def test_an_unknown_key_that_is_near_to_none_is_told_all(report: Reporter) -> None:
    assert (
        report("""
        [plugins.echo]
        [models.small]
        on = { echo = "s" }
        pricing = 3
    """)
        == "4:1 models.small.pricing: unknown key; allowed: context, on, quota"
    )


def test_an_unknown_key_of_a_plugin_is_told_its_settings_and_the_switches_of_every_plugin(report: Reporter) -> None:
    assert report("""
        [plugins.echo]
        apikey = { env = "HOME" }
        [plugins.quiet]
        enable = false
        [plugins.tasks]
        zz = 1
    """).splitlines() == [
        '2:1 plugins.echo.apikey: unknown key; did you mean "api_key"?',
        '4:1 plugins.quiet.enable: unknown key; did you mean "enabled"?',
        "6:1 plugins.tasks.zz: unknown key; allowed: enabled, use",
    ]


def test_an_unknown_section_is_told_the_nearest_one(report: Reporter) -> None:
    assert report("[paht]\none = ['echo']") == '1:2 paht: unknown section; did you mean "paths"?'


def test_a_misspelt_section_is_not_reported_again_where_it_is_missed(report: Reporter) -> None:
    assert report(whole({"[tasks.chat]": "[taks.chat]"})) == '10:2 taks: unknown section; did you mean "tasks"?'
    assert report(whole({"[plugins.": "[plugin."})) == '3:2 plugin: unknown section; did you mean "plugins"?'
    assert report(whole({"[rollout]": "[rolout]"})) == '15:2 rolout: unknown section; did you mean "rollout"?'
    order = "[order]\nselect_model = ['tasks', 'rollout', 'pin']"
    assert report(f"[plugin.pin]\n{order}") == '1:2 plugin: unknown section; did you mean "plugins"?'


def test_an_unknown_default_task_is_told_the_nearest_one(report: Reporter) -> None:
    assert report(whole({'"chat"': '"caht"'})) == '2:1 router.default_task: no task "caht"; did you mean "chat"?'


def test_a_default_task_without_any_task_is_told_where_to_add_it(report: Reporter) -> None:
    assert report("[router]\ndefault_task = 'chat'") == '2:1 router.default_task: no task "chat"; add it to [tasks]'


def test_an_unknown_model_of_a_task_is_told_the_nearest_one(report: Reporter) -> None:
    assert report(whole({'["small"': '["smal"'})) == (
        '11:11 tasks.chat.models[0]: no model "smal"; did you mean "small"?'
    )


def test_an_unknown_path_of_the_rollout_is_told_the_others(report: Reporter) -> None:
    assert report(whole({'control = "one"': 'control = "two"', "{ both": "{ bth"})).splitlines() == [
        '16:1 rollout.control: no path "two"; allowed: both, one',
        '17:12 rollout.shares.bth: no path "bth"; did you mean "both"?',
    ]


def test_a_model_on_an_inactive_backend_is_told_how_to_make_it_active(report: Reporter) -> None:
    assert report(whole({"{ echo": '{ direct = "d", echo'})) == (
        '7:8 models.small.on.direct: no backend "direct"; add a table [plugins.direct]; allowed: echo, second '
        "(named at 1 more place)"
    )


def test_a_backend_that_is_missed_at_many_places_is_reported_at_the_first(report: Reporter) -> None:
    assert report(whole({"[plugins.second]": "[plugins.secnd]"})) == (
        '7:29 models.small.on.second: no backend "second"; did you mean "secnd"? (named at 2 more places)'
    )


def test_a_task_on_a_backend_that_is_missing_is_not_a_second_mistake(report: Reporter) -> None:
    assert (
        report("""
        [plugins.echo]
        [models.small]
        on = { ecko = "s" }
        [tasks.chat]
        models = ["small"]
        [paths]
        one = ["echo"]
    """)
        == '3:8 models.small.on.ecko: no backend "ecko"; did you mean "echo"?'
    )


def test_a_backend_that_is_switched_off_is_not_taken_for_a_missing_one(report: Reporter) -> None:
    assert report(whole({'use = "echo"': "enabled = false"})) == (
        '7:29 models.small.on.second: "second" is switched off by enabled = false in [plugins.second]; '
        "remove that, or name another backend (named at 2 more places)"
    )


def test_a_plugin_that_is_no_backend_cannot_have_models(report: Reporter) -> None:
    assert (
        report("""
        [plugins.quiet]
        [models.small]
        on = { quiet = "s" }
    """)
        == '3:8 models.small.on.quiet: "quiet" is no backend'
    )


# Names with a dot


def test_a_model_whose_name_lacks_its_quotes_is_one_mistake(report: Reporter) -> None:
    more = '[models.glm-4.5-air-free]\non = { second = "z" }\n'
    assert report(whole({'"small", "large"': '"small", "glm-4.5-air-free"'}) + more) == (
        '18:15 models.glm-4.5-air-free: a name with a dot needs quotes; write "glm-4.5-air-free"'
    )


@pytest.mark.parametrize(
    ("text", "place", "name"),
    [
        ("[models.v1]\non = { echo = 'a' }\n[models.v1.2]\non = { echo = 'b' }", "3:12 models.v1.2", "v1.2"),
        ("[models.a.b.c.d]\non = { echo = 'b' }", "1:15 models.a.b.c.d", "a.b.c.d"),
        ("[tasks.v1.2]\nmodels = ['small']", "1:11 tasks.v1.2", "v1.2"),
        ("[paths]\nv1.2 = ['echo']", "2:4 paths.v1.2", "v1.2"),
        ("[paths]\np = ['echo']\n[rollout]\ncontrol = 'p'\nshares.v1.2 = 10", "5:11 rollout.shares.v1.2", "v1.2"),
        ("[models.small]\non = { eu.echo = 'a' }", "2:11 models.small.on.eu.echo", "eu.echo"),
        ("[plugins.proxy.eu]\nuse = 'echo'", "1:16 plugins.proxy.eu", "proxy.eu"),
    ],
)
def test_every_kind_of_name_that_lacks_its_quotes_is_one_mistake(
    report: Reporter, text: str, place: str, name: str
) -> None:
    assert report(f"{text}\n[plugins.echo]") == f'{place}: a name with a dot needs quotes; write "{name}"'


def test_a_table_inside_a_model_is_not_taken_for_a_name(report: Reporter) -> None:
    assert (
        report("""
        [plugins.echo]
        [models.small]
        on = { echo = "s" }
        [models.small.pricing]
        input = 3
    """)
        == "4:15 models.small.pricing: unknown key; allowed: context, on, quota"
    )


# Tasks and paths


def test_an_empty_path_is_reported(report: Reporter) -> None:
    assert report(whole({'one = ["second"]': "one = []"})) == (
        "14:1 paths.one: the path is empty; name at least one backend"
    )


def test_a_task_without_models_is_reported(report: Reporter) -> None:
    assert report(whole({'["small", "large"]': "[]"})) == "11:1 tasks.chat.models: name at least one model"


def test_a_model_without_backends_is_reported_once(report: Reporter) -> None:
    assert report(whole({'{ echo = "wire/large" }': "{}"})) == (
        "9:1 models.large.on: name at least one backend, and what it calls this model"
    )


def test_a_model_without_a_name_on_a_backend_is_reported(report: Reporter) -> None:
    for nothing in ("", " "):
        assert report(whole({"wire/large": nothing})) == (
            "9:8 models.large.on.echo: write what this backend calls the model"
        )


def test_what_stands_twice_is_reported_where_it_stands_again(report: Reporter) -> None:
    assert report(whole({'"large"]': '"small"]', '["echo", "second"]': '["echo", "echo"]'})).splitlines() == [
        '11:20 tasks.chat.models[1]: "small" stands in this task twice; remove one',
        '13:17 paths.both[1]: "echo" stands on this path twice; remove one',
    ]


def test_more_than_one_path_needs_a_rollout(report: Reporter) -> None:
    assert report(WHOLE[: WHOLE.index("[rollout]")]) == (
        '12:2 paths: more than one path needs a rollout that chooses: [rollout] control = "both"'
    )


def test_a_task_that_a_path_cannot_serve_is_reported(report: Reporter) -> None:
    assert report(whole({', second = "small"': ""})) == (
        '11:1 tasks.chat.models: no model of this task is on a backend of the path "one"; add one to its `on`'
    )


def test_a_task_that_no_path_can_serve_is_reported_once(report: Reporter) -> None:
    assert report(whole({', second = "small"': "", '["echo", "second"]': '["second"]'})) == (
        '11:1 tasks.chat.models: no model of this task is on a backend of the path "both" or "one"; add one to its `on`'
    )


# Shares


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ("100.001", "a share is 0 to 100 per cent, not 100.001"),
        ("-1", "a share is 0 to 100 per cent, not -1"),
        ("nan", "a share is 0 to 100 per cent, not nan"),
        ("inf", "a share is 0 to 100 per cent, not inf"),
        ("0.0005", "a share goes in steps of 0.001 per cent, and 0.0005 is finer; round it"),
        ("true", 'expected a number, or { env = "NAME", default = 10 }, got a boolean'),
        ("'10'", 'expected a number, or { env = "NAME", default = 10 }, got text'),
    ],
)
def test_a_share_that_cannot_be_is_reported(report: Reporter, share: str, message: str) -> None:
    assert report(whole({"both = 10": f"both = {share}"})) == f"17:12 rollout.shares.both: {message}"


def test_shares_over_a_hundred_per_cent_are_reported(report: Reporter) -> None:
    assert report(whole({"both = 10": "both = 60, third = 40.001", "[rollout]": 'third = ["second"]\n[rollout]'})) == (
        "18:1 rollout.shares: the shares add up to 100.001 per cent, and 100 is all there is"
    )


def test_three_shares_are_too_many(report: Reporter) -> None:
    paths = "".join(f'{path} = ["second"]\n' for path in ("c", "d"))
    assert report(whole({"both = 10": "both = 1, c = 1, d = 1", "[rollout]": f"{paths}[rollout]"})) == (
        "19:1 rollout.shares: beside the control path at most two paths can have a share, one from each end; "
        "remove the others"
    )


def test_a_share_for_the_control_path_is_reported(report: Reporter) -> None:
    assert report(whole({"both = 10": "both = 10, one = 10"})) == (
        "17:23 rollout.shares.one: the control path has what the other shares leave; remove this"
    )


@given(st.integers(0, 100_000), st.integers(0, 100_000))
@example(99_999, 1)
@example(33_333, 66_667)
@example(100_000, 1)
def test_two_shares_in_thousandths_are_accepted_exactly_when_they_fit(a: int, b: int) -> None:
    config = Config(
        plugins={"echo": Echo()},
        models={"small": ModelSettings(on={"echo": "s"})},
        tasks={"chat": TaskSettings(models=("small",))},
        paths={"one": ("echo",), "two": ("echo",), "three": ("echo",)},
        rollout=RolloutSettings(control="one", shares={"two": a / 1000, "three": b / 1000}),
    )
    if a + b <= 100_000:
        Router(config)
    else:
        with pytest.raises(ConfigError, match="add up to"):
            Router(config)


# Kinds of values


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('retries = "4"', "expected a whole number, got text"),
        ("retries = true", "expected a whole number, got a boolean"),
        ("retries = 4.5", "expected a whole number, got a decimal number"),
        ("retries = 2025-11-03", "expected a whole number, got a date"),
        ('weight = "heavy"', "expected a number, got text"),
        ("weight = false", "expected a number, got a boolean"),
        ("base_url = 4", "expected text, got a number"),
        ("loud = 1", "expected true or false, got a number"),
        ('loud = "no"', "expected true or false, got text"),
        ('tags = "abc"', "expected an array, got text"),
        ("tags = { a = 1 }", "expected an array, got a table"),
        ("headers = ['a']", "expected a table, got an array"),
        ('region = "eu "', 'not one of the allowed values; did you mean "eu"?'),
        ("region = 4", "not one of the allowed values; allowed: eu, us"),
        ("cache = 4", "expected text, got a number"),
        ("limit = true", "expected a whole number, got a boolean, or expected text, got a boolean"),
        ('on_answer = "print"', "this setting can only be given from Python"),
        ('timeout = "5 s e c"', 'expected a duration: 0 or more seconds, or text such as "500ms", "60s", "2m"'),
        ("timeout = -1", 'expected a duration: 0 or more seconds, or text such as "500ms", "60s", "2m"'),
    ],
)
def test_a_value_of_a_wrong_kind_is_told_the_right_one(report: Reporter, setting: str, message: str) -> None:
    key = setting.partition(" ")[0]
    assert report(f"[plugins.echo]\n{setting}") == f"2:1 plugins.echo.{key}: {message}"


def test_an_element_of_a_wrong_kind_is_reported_at_its_own_place(report: Reporter) -> None:
    assert report("""
        [plugins.echo]
        tags = [
          "a",
          4,
        ]
        headers = { accept = 1 }
    """).splitlines() == [
        "4:3 plugins.echo.tags[1]: expected text, got a number",
        "6:13 plugins.echo.headers.accept: expected text, got a number",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("router = 3", "1:1 router: expected a table, got a number"),
        ("plugins = 3", "1:1 plugins: expected a table, got a number"),
        ("plugins.quiet = true", "1:9 plugins.quiet: expected a table of settings, which may be empty, got a boolean"),
        ("plugins.quiet.use = 3", "1:15 plugins.quiet.use: expected the name of an installed plugin, got a number"),
        ("plugins.quiet.enabled = 0", "1:15 plugins.quiet.enabled: expected true or false, got a number"),
        ("models.small = 'wire'", "1:8 models.small: expected a table, got text"),
        ("[models.small]", "1:9 models.small.on: this key is required"),
        ("[tasks.chat]\nmodels = 'small'", "2:1 tasks.chat.models: expected an array, got text"),
        ("rollout.control = 3", "1:9 rollout.control: expected text, got a number"),
        ("router.max_attempts = 0", "1:8 router.max_attempts: must be at least 1"),
        ("router.event_queue = 0", "1:8 router.event_queue: must be at least 1"),
        ("router.deadline = 0", "1:8 router.deadline: must be more than 0 seconds"),
        ("router.attempt_timeout = 0", "1:8 router.attempt_timeout: must be more than 0 seconds"),
    ],
)
def test_a_section_of_a_wrong_shape_is_reported(report: Reporter, text: str, expected: str) -> None:
    assert report(text) == expected


def test_a_context_window_has_at_least_one_token(report: Reporter) -> None:
    assert report(whole({"[models.large]": "[models.large]\ncontext = 0"})) == (
        "9:1 models.large.context: must be at least 1 token"
    )


def test_what_cannot_be_read_is_not_reported_again_where_it_is_named(report: Reporter) -> None:
    changes = {'{ echo = "wire/large" }': "3", 'use = "echo"': 'use = "ehco"', '["echo", "second"]': "3"}
    remedies = 'install what offers it, by convention pointsman-ehco, or remove the table; did you mean "echo"?'
    assert report(whole(changes)).splitlines() == [
        f'5:1 plugins.second.use: no plugin "ehco" is installed; {remedies}',
        "9:1 models.large.on: expected a table, got a number",
        "13:1 paths.both: expected an array, got a number",
    ]


def test_one_wrong_key_of_a_section_hides_no_mistake_in_its_others(report: Reporter) -> None:
    changes = {'default_task = "chat"': 'max_attempts = "4"\ndefault_task = "caht"', '"one"\n': '"two"\nsalt = 3\n'}
    assert report(whole(changes)).splitlines() == [
        "2:1 router.max_attempts: expected a whole number, got text",
        '3:1 router.default_task: no task "caht"; did you mean "chat"?',
        '17:1 rollout.control: no path "two"; allowed: both, one',
        "18:1 rollout.salt: expected text, got a number",
    ]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


def _starts_with_http(_: object, __: object, value: str) -> None:
    if not value.startswith("http"):
        raise ValueError("url: write an address that starts with http")


@define(eq=False)
class Particular(Quiet):
    """A plugin with opinions of its own on its settings."""

    size: Size = Size.SMALL
    port: int = field(default=1, validator=validators.in_([1, 2]))
    url: str = field(default="http://a", validator=_starts_with_http)
    since: date | None = None


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("url = 'ftp://a'", "2:1 plugins.particular.url: write an address that starts with http"),
        ("port = 3", "2:1 plugins.particular.port: must be in [1, 2] (got 3)"),
        ("size = 'larg'", '2:1 plugins.particular.size: not one of the allowed values; did you mean "large"?'),
        ("since = 'today'", "2:1 plugins.particular.since: this setting can only be given from Python"),
    ],
)
def test_what_a_plugins_class_says_is_reported_at_the_setting(
    site: Site, report: Reporter, setting: str, expected: str
) -> None:
    site.install("acme-particular", offers={"particular": Particular})
    assert report(f"[plugins.particular]\n{setting}") == expected


@pytest.mark.parametrize("also", ["", "size = 'huge'\nsine = 1"])
def test_a_setting_that_a_plugins_class_refuses_hides_no_mistake_in_its_others(
    site: Site, report: Reporter, also: str
) -> None:
    site.install("acme-particular", offers={"particular": Particular})
    assert report(f"[plugins.particular]\nport = 3\nurl = 'ftp://a'\n{also}").splitlines()[:2] == [
        "2:1 plugins.particular.port: must be in [1, 2] (got 3)",
        "3:1 plugins.particular.url: write an address that starts with http",
    ]
    assert len(report(f"[plugins.particular]\nport = 3\nurl = 'ftp://a'\n{also}").splitlines()) == (4 if also else 2)


@define(eq=False)
class Bounded(Quiet):
    """A plugin one of whose settings is bounded by another."""

    low: int = field(default=0, validator=validators.ge(0))
    high: int = field(default=9, validator=lambda plugin, _, value: _no_less(plugin.low, value))


def _no_less(low: int, high: int) -> None:
    if high < low:
        raise ValueError("high: write a number that is not below low")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("low = 5\nhigh = 4", ["3:1 plugins.bounded.high: write a number that is not below low"]),
        ("low = -5\nhigh = -6", ["2:1 plugins.bounded.low: must be >= 0: -5"]),
    ],
)
def test_a_validator_may_look_at_another_setting(
    site: Site, report: Reporter, settings: str, expected: list[str]
) -> None:
    site.install("acme-bounded", offers={"bounded": Bounded})
    assert report(f"[plugins.bounded]\n{settings}").splitlines() == expected


def test_a_date_in_the_file_is_a_date_and_an_enumerations_value_its_member(site: Site) -> None:
    site.install("acme-particular", offers={"particular": Particular})
    table = tomllib.loads("[plugins.particular]\nsince = 2025-11-03\nsize = 'large'")
    particular = Router(table).snapshot.plugins[-1].instance
    assert isinstance(particular, Particular)
    assert (particular.since, particular.size) == (date(2025, 11, 3), Size.LARGE)


# Files


def test_a_missing_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        Router.from_toml(tmp_path / "no.toml")
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        Router.from_toml("no.toml")
    assert str(caught.value) == (
        f"no.toml: cannot be read: No such file or directory; a relative path begins at {tmp_path}"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        Router.from_toml(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[router]\nmax_attempts = = 3\n", "2:16: is not TOML: Invalid value; a text stands in quotes"),
        (
            b"[router]\na = 1\n[router]\n",
            "3:8: is not TOML: [router] stands here a second time; put its keys into the first",
        ),
        (b"[router]\ndeadline = ", "2:12: is not TOML: Invalid value; a text stands in quotes"),
        ("[router]\n# æ\nwhy = '".encode() + b"\xff'\n", "3:8: is not UTF-8 text; save it in that encoding"),
        ("[router]\n".encode("utf-16"), "1:1: is not UTF-8 text; save it in that encoding"),
    ],
)
def test_a_file_that_is_not_toml_is_reported_where_reading_stopped(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "pointsman.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Router.from_toml(file)
    assert str(caught.value) == f"{file}:{message}"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "pointsman.toml"
    file.write_text("[router]\nmax_attempts = 3\n", "utf-8-sig")
    assert Router.from_toml(file).snapshot.config.router.max_attempts == 3


# Configurations from Python


@pytest.mark.parametrize(("given", "kind"), [("pointsman.toml", "text"), (None, "nothing"), (3, "a number")])
def test_what_is_no_configuration_is_told_what_is_one(given: Any, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Router(given)
    assert str(caught.value) == (
        f"configuration: expected a Config or a table of sections, got {kind}; Router.from_toml reads a file"
    )


def test_settings_objects_are_held_to_the_same_types_as_a_file() -> None:
    wrong: Any = {"max_attempts": "4"}, {"on": {"echo": 3}}, {"models": "small"}
    config = Config(
        router=RouterSettings(**wrong[0]),
        models={"small": ModelSettings(**wrong[1])},
        tasks={"chat": TaskSettings(**wrong[2])},
    )
    with pytest.raises(ConfigError) as caught:
        Router(config)
    assert [str(one) for one in caught.value.problems] == [
        "configuration router.max_attempts: expected a whole number, got text",
        "configuration models.small.on.echo: expected text, got a number",
        "configuration tasks.chat.models: expected an array, got text",
    ]


# Several mistakes


FIVE = """\
[router]
deadline = "soon"
[plugins.echo]
retries = "four"
[models.small]
on = { ehco = "s" }
[tasks.chat]
models = ["large"]
[paths]
p = []
"""


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_lines(report: Reporter) -> None:
    assert report(FIVE).splitlines() == [
        '2:1 router.deadline: expected a duration: 0 or more seconds, or text such as "500ms", "60s", "2m"',
        "4:1 plugins.echo.retries: expected a whole number, got text",
        '6:8 models.small.on.ehco: no backend "ehco"; add a table [plugins.ehco]',
        '8:11 tasks.chat.models[0]: no model "large"; allowed: small',
        "10:1 paths.p: the path is empty; name at least one backend",
    ]


@pytest.fixture
def five(tmp_path: Path, site: Site) -> ConfigError:
    file = tmp_path / "pointsman.toml"
    file.write_text(FIVE, "utf-8")
    with pytest.raises(ConfigError) as caught:
        Router.from_toml(file)
    return caught.value


def test_the_error_reads_as_a_list_from_which_editors_can_jump(five: ConfigError, tmp_path: Path) -> None:
    count, *lines = str(five).splitlines()
    assert count == "5 problems"
    assert lines == [str(problem) for problem in five.problems]
    assert lines[0].startswith(f"{tmp_path / 'pointsman.toml'}:2:1 router.deadline: ")


def test_the_error_pickles_whole(five: ConfigError) -> None:
    again = pickle.loads(pickle.dumps(five))
    assert (str(again), again.problems) == (str(five), five.problems)


def test_the_error_is_a_value_error_without_the_machinery_behind_it(five: ConfigError) -> None:
    assert isinstance(five, ValueError)
    assert five.__cause__ is None
    assert five.__context__ is None


def test_a_key_that_needs_quotes_has_them_in_the_message(report: Reporter) -> None:
    assert (
        report(r"""
        [models."a \"b\"\n.c"]
        on = 3
    """)
        == r'2:1 models."a \"b\"\n.c".on: expected a table, got a number'
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in paths_in(child, (*path, key)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_anywhere_comes_to_a_router_or_to_printable_lines(site: Site, data: st.DataObject) -> None:
    table = tomllib.loads(WHOLE + "[order]\nselect_model = ['tasks', 'rollout']\n")
    *parents, last = data.draw(st.sampled_from(paths_in(table)[1:]))
    holder: Any = table
    for key in parents:
        holder = holder[key]
    if isinstance(holder, dict) and data.draw(st.booleans()):
        last = data.draw(st.text(max_size=5))
    holder[last] = data.draw(JUNK)
    try:
        Router(table)
    except ConfigError as error:
        lines = [str(problem) for problem in error.problems]
    else:
        lines = ["none"]
    assert lines
    assert all(line.isprintable() for line in lines)


# Nothing half-started


def test_a_failed_build_starts_no_thread_and_opens_no_socket(five: ConfigError, site: Site, tmp_path: Path) -> None:
    code = f"""
import sys, threading
from pointsman import ConfigError, Router
import tests.support.acme  # so that only building is watched
seen = []
sys.addaudithook(lambda event, args: seen.append(event))
try:
    Router.from_toml({str(tmp_path / "pointsman.toml")!r})
except ConfigError as error:
    problems = len(error.problems)
watched = ("socket.", "_thread.start", "subprocess.", "os.fork")
print(problems, threading.active_count(), [event for event in seen if event.startswith(watched)])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(site.folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "5 1 []\n", done.stderr


def test_a_failed_build_inside_an_event_loop_leaves_no_task(site: Site) -> None:
    async def build() -> int:
        with pytest.raises(ConfigError):
            Router(tomllib.loads(FIVE))
        return len(asyncio.all_tasks())

    before = set(threading.enumerate())
    assert asyncio.run(build()) == 1
    assert not set(threading.enumerate()) - before
