"""Several rollouts at once, units with a path of their own, shares from the environment."""

from collections import Counter
from itertools import pairwise

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from pointsman import (
    Assignment,
    ConfigError,
    ModelSelection,
    PluginError,
    RolloutSettings,
    Router,
    Selection,
    hookimpl,
)
from pointsman.loading import from_config
from pointsman.policy.rollout import bucket_in, path_of
from tests.core.support import Scripted, chat, drive, table

DRAFTS = {"tasks": ["drafts"], "control": "direct", "shares": {"proxied": 50}}
PATHS = {"proxied": ("proxy", "direct"), "direct": ("direct",), "beta": ("other", "direct")}


def config(*, plugins=None, order=None, rollouts=None, **rollout):
    return table(
        backends={"proxy": Scripted(), "direct": Scripted(), "other": Scripted()},
        paths=PATHS,
        tasks={name: {"models": ["small", "large"]} for name in ("chat", "drafts", "leads")},
        router={"default_task": "chat"},
        rollout={"control": "direct", "salt": "s", "shares": {"proxied": 50}} | rollout,
        rollouts=rollouts or {},
        plugins=plugins,
        **({"order": order} if order else {}),
    )


def problems(given):
    with pytest.raises(ConfigError) as caught:
        Router(given)
    return [f"{one.key}: {one.message}" for one in caught.value.problems]


# Several at once


def test_a_task_takes_part_in_its_own_rollout_and_all_others_in_the_one_without_a_name():
    with Router(config(shares={"proxied": 0}, rollouts={"drafts": DRAFTS | {"shares": {"proxied": 100}}})) as router:
        assigned = {task: router.explain(task=task, unit=7).assignment for task in ("chat", "drafts", "leads")}
    assert {task: (one.rollout, one.path) for task, one in assigned.items() if one} == {
        "chat": ("default", "direct"),
        "drafts": ("drafts", "proxied"),
        "leads": ("default", "direct"),
    }


def test_no_rollout_without_a_name_is_needed_where_every_task_has_its_own():
    made = config(rollouts={"all": DRAFTS | {"tasks": ["chat", "drafts", "leads"]}})
    del made["rollout"]
    with Router(made) as router:
        assert router.explain(task="leads", unit=1).assignment is not None
    made["rollouts"]["all"]["tasks"].remove("leads")
    assert problems(made) == ['paths: more than one path needs a rollout that chooses: [rollout] control = "proxied"']


def test_the_off_switch_of_one_rollout_leaves_the_others_alone():
    off = config(shares={"proxied": 100}, rollouts={"drafts": DRAFTS | {"off": True}})
    with Router(off) as router:
        assert [router.explain(task=task, unit=7).path for task in ("chat", "drafts")] == ["proxied", "direct"]


def test_rollouts_are_independent_of_each_other():
    with Router(config(rollouts={"drafts": DRAFTS})) as router:
        both = Counter(
            tuple(router.explain(task=task, unit=unit).path for task in ("chat", "drafts")) for unit in range(4000)
        )
    # Each of the four combinations is a quarter of the units, within five sigma.
    assert all(abs(count - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5 for count in both.values())
    assert len(both) == 4


def test_a_rollout_without_a_salt_is_salted_with_its_name():
    named = from_config(config(rollouts={"drafts": DRAFTS})).config.rollouts["drafts"]
    assert named.salt == "drafts"
    with Router(config(rollouts={"drafts": DRAFTS})) as router:
        assigned = router.explain(task="drafts", unit="u").assignment
    assert assigned is not None
    assert assigned.bucket == bucket_in(RolloutSettings(control="direct", salt="drafts"), "u") / 100_000


@pytest.mark.parametrize(
    ("rollouts", "problem"),
    [
        (
            {"a": DRAFTS, "b": DRAFTS},
            'rollouts.b.tasks[0]: the task "drafts" takes part in [rollouts.a] already; remove it from one',
        ),
        ({"a": DRAFTS | {"tasks": []}}, "rollouts.a.tasks: name the tasks that take part in this rollout"),
        (
            {"a": DRAFTS | {"tasks": ["draft"]}},
            'rollouts.a.tasks[0]: no task "draft"; did you mean "drafts"?',
        ),
        (
            {"a": DRAFTS | {"salt": "s"}},
            "rollouts.a.salt: the salt is that of [rollout], so both would move the same units; change it",
        ),
        ({"default": DRAFTS}, 'rollouts.default: "default" is what [rollout] is called; rename this'),
        ({"a": DRAFTS | {"control": "dirct"}}, 'rollouts.a.control: no path "dirct"; did you mean "direct"?'),
        (
            {"a": DRAFTS | {"shares": {"proxied": 101}}},
            "rollouts.a.shares.proxied: a share is 0 to 100 per cent, not 101",
        ),
        (
            {"a": DRAFTS | {"steps": [50, 10]}},
            "rollouts.a.steps: steps are shares that grow, above 0 to 100 per cent, such as [10, 50, 100]",
        ),
    ],
)
def test_rollouts_that_do_not_fit_together_are_refused_with_the_place(rollouts, problem):
    assert problem in problems(config(rollouts=rollouts))


def test_tasks_belong_to_a_rollout_with_a_name():
    assert problems(config(tasks=["chat"])) == [
        "rollout.tasks: [rollout] is for all tasks without a rollout of their own; name one for these: [rollouts.NAME]"
    ]


# Named units


@pytest.mark.parametrize("unit", [42, "42"])
@pytest.mark.parametrize("written", [42, "42"])
def test_a_named_unit_takes_its_path_whatever_the_shares(unit, written):
    with Router(config(shares={"proxied": 0}, units={"beta": [written]})) as router:
        decision = router.explain(unit=unit)
        assert router.explain(unit=43).path == "direct"
    assert decision.path == "beta"
    assert decision.steps[-1].why == "the unit is named for beta"
    assert decision.assignment is not None
    assert (decision.assignment.bucket, decision.assignment.share) == (None, None)


def test_a_unit_can_be_kept_on_the_control_path():
    with Router(config(shares={"proxied": 100}, units={"direct": ["chief"]})) as router:
        assert [router.explain(unit=unit).path for unit in ("chief", "other")] == ["direct", "proxied"]


def test_off_holds_for_named_units_too():
    with Router(config(units={"proxied": [1]}, off=True)) as router:
        assert router.explain(unit=1).path == "direct"


def test_a_unit_that_is_named_for_two_paths_is_refused():
    assert problems(config(units={"proxied": [1], "beta": ["1"]})) == [
        'rollout.units.beta[0]: the unit "1" is named for proxied too, and takes one path; remove one'
    ]


# Assigned by a plugin


@define(eq=False)
class Staff(ModelSelection):
    """Employees first."""

    path: str = "beta"

    @hookimpl(tryfirst=True)
    def select_model(self, request, candidates, ctx):
        if not str(request.unit).endswith("@acme"):
            return None
        return Selection(candidates, why="an employee", assignment=Assignment(path=self.path))


def test_a_plugin_before_the_rollout_assigns_and_the_rollout_fills_in_the_rest():
    with Router(config(plugins={"staff": Staff()})) as router:
        decision = router.explain(unit="mette@acme")
        assert router.explain(unit="mette").path in ("proxied", "direct")
    assert decision.assignment == Assignment(path="beta", backends=("other", "direct"), salt="s", rollout="default")
    assert [target.backend for target in decision.candidates] == ["other", "other", "direct", "direct"]
    assert [step.why for step in decision.steps if step.plugin in ("staff", "rollout")] == [
        "an employee",
        "beta, as assigned before",
    ]


def test_off_holds_for_what_a_plugin_assigned_too():
    with Router(config(plugins={"staff": Staff()}, off=True)) as router:
        assert router.explain(unit="mette@acme").path == "direct"


def test_a_plugin_that_assigns_a_path_which_does_not_exist_is_named():
    wrong = r'plugin staff: select_model assigned a path .*did you mean "beta"\?'
    with Router(config(plugins={"staff": Staff("betta")})) as router, pytest.raises(PluginError, match=wrong):
        router.explain(unit="mette@acme")


@define(eq=False)
class Late(ModelSelection):
    """Employees, after everyone else has had their say."""

    @hookimpl
    def select_model(self, request, candidates, ctx):
        return Selection(candidates, why="an employee", assignment=Assignment(path="beta"))


def test_of_two_plugins_before_the_rollout_the_later_one_has_the_last_word():
    both = {"staff": Staff("beta"), "chiefs": Staff("direct")}
    for order, path in ((["staff", "chiefs"], "direct"), (["chiefs", "staff"], "beta")):
        made = config(plugins=both, order={"select_model": ["tasks", *order, "rollout"]})
        with Router(made) as router:
            assert router.explain(unit="mette@acme").path == path


@define(eq=False)
class Afterwards(ModelSelection):
    """Sends everyone elsewhere when all else is decided, and says whereto."""

    @hookimpl
    def select_model(self, request, candidates, ctx):
        left = [target for target in ctx.snapshot.catalog.targets if target.backend == "other"]
        return Selection(left, why="all else is shut", assignment=Assignment(path="beta", backends=("other",)))


def test_a_plugin_after_the_rollout_may_assign_when_it_puts_the_backends_in_order_itself():
    with Router(config(plugins={"afterwards": Afterwards()})) as router:
        decision = router.explain(unit=1)
    assert (decision.path, {target.backend for target in decision.candidates}) == ("beta", {"other"})


def test_without_paths_a_plugin_may_call_its_own_what_it_likes():
    made = config(plugins={"staff": Staff("betta")})
    del made["paths"], made["rollout"]
    with Router(made) as router:
        assert router.explain(unit="mette@acme").path == "betta"


def test_a_plugin_that_assigns_after_the_rollout_is_told_where_to_stand():
    wrong = r"plugin staff: select_model assigned a path after the rollout .*; mark it tryfirst=True"
    with Router(config(plugins={"staff": Late()})) as router, pytest.raises(PluginError, match=wrong):
        router.explain(unit="mette@acme")


def test_events_say_which_rollout_and_which_share_it_was():
    run = drive(
        config(rollouts={"drafts": DRAFTS | {"shares": {"proxied": 30, "beta": 20}}}),
        request=chat(task="drafts", unit=1),
    )
    assigned = run.decision.assignment
    assert assigned is not None
    assert assigned.rollout == "drafts"
    assert assigned.share == {"proxied": 30, "beta": 20, "direct": 50}[assigned.path]


# From the environment


@pytest.mark.parametrize(
    ("text", "share"), [("25", 25), (" 25 ", 25), ("12.5", 12.5), ("25%", 25), ("", 10), (None, 10)]
)
def test_a_share_can_stand_in_the_environment(monkeypatch, text, share):
    monkeypatch.delenv("PROXIED_PERCENT", raising=False)
    if text is not None:
        monkeypatch.setenv("PROXIED_PERCENT", text)
    snapshot = from_config(config(shares={"proxied": {"env": "PROXIED_PERCENT", "default": 10}}))
    assert snapshot.config.rollout is not None
    assert snapshot.config.rollout.shares == {"proxied": share}


@pytest.mark.parametrize(
    ("text", "off"), [("true", True), ("1", True), ("ON", True), ("no", False), ("0", False), (None, False)]
)
def test_the_off_switch_can_stand_in_the_environment(monkeypatch, text, off):
    monkeypatch.delenv("ROLLOUT_OFF", raising=False)
    if text is not None:
        monkeypatch.setenv("ROLLOUT_OFF", text)
    with Router(config(shares={"proxied": 100}, off={"env": "ROLLOUT_OFF", "default": False})) as router:
        assert router.explain(unit=1).path == ("direct" if off else "proxied")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("much", "environment variable PROXIED_PERCENT is no number of per cent; set it to 0 to 100"),
        ("nan", "environment variable PROXIED_PERCENT is no number of per cent; set it to 0 to 100"),
        ("101", "a share is 0 to 100 per cent, not 101.0"),
        ("", "environment variable PROXIED_PERCENT is not set, or empty; set it, or add a default"),
    ],
)
def test_a_variable_that_says_no_share_is_refused(monkeypatch, said, problem):
    monkeypatch.setenv("PROXIED_PERCENT", said)
    assert problems(config(shares={"proxied": {"env": "PROXIED_PERCENT"}})) == [f"rollout.shares.proxied: {problem}"]


def test_a_variable_that_says_neither_on_nor_off_is_refused(monkeypatch):
    monkeypatch.setenv("ROLLOUT_OFF", "perhaps")
    assert problems(config(off={"env": "ROLLOUT_OFF"})) == [
        "rollout.off: environment variable ROLLOUT_OFF says neither; set it to true or false"
    ]


# All the way up and back


@pytest.mark.parametrize("parts", [{"proxied": 1.0}, {"proxied": 0.7, "beta": 0.3}], ids=["one path", "two paths"])
def test_nobody_ever_moves_the_wrong_way_from_0_to_100_and_back(parts):
    """100,000 units in 20 steps, and what each takes at each of them.

    More steps would find no more: a unit that moves the wrong way does so at the step over its own bucket, of which
    each step passes thousands.
    """
    rollout = RolloutSettings(control="direct", salt="story")
    buckets = Counter(bucket_in(rollout, unit) for unit in range(100_000))
    at = [{path: round(part * step * 5, 3) for path, part in parts.items()} for step in range(21)]
    taken = [[path_of(bucket, "direct", shares) for bucket in buckets] for shares in at]
    for before, after in pairwise(taken):
        moved = {(old, new) for old, new in set(zip(before, after, strict=True)) if old != new}
        assert moved  # at each step somebody does
        assert all(old == "direct" for old, _ in moved)
    # The way back is the same in reverse: a path is a function of bucket and shares, and of nothing else.
    assert [path_of(bucket, "direct", at[10]) for bucket in buckets] == taken[10]
    for shares, paths in zip(at, taken, strict=True):
        counts: Counter[str] = Counter()
        for path, units in zip(paths, buckets.values(), strict=True):
            counts[path] += units
        for path, share in shares.items():
            part = share / 100
            assert abs(counts[path] - 100_000 * part) <= 3 * (100_000 * part * (1 - part)) ** 0.5 + 1e-9


@given(st.text() | st.integers())
def test_a_bucket_does_not_depend_on_the_shares(unit):
    one, other = (RolloutSettings(control="c", salt="s", shares={"p": share}) for share in (0, 100))
    assert bucket_in(one, unit) == bucket_in(other, unit)
