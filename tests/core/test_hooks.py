"""Hooks are called in the order that the user chose, and a plugin whose hooks are wrong is told so at the start."""

import asyncio
import tomllib
from typing import Any

import pytest
from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from pointsman import (
    BackendInvocation,
    ConfigError,
    FallbackDecision,
    Gate,
    MetricEmission,
    ModelSelection,
    Permit,
    Router,
    Selection,
    Stop,
    Streaming,
    hookimpl,
)
from pointsman.hooks import CALLING, ORDERED, Step, spec_names
from pointsman.hookspecs import CONCERNS
from tests.support.acme import Echo, Quiet
from tests.support.reports import Reporter
from tests.support.site import Site

BUILT_IN = ["tasks", "rollout"]
LAST = ["fallback", "retries"]
GATES = ["breaker", "retries"]


@define(eq=False)
class Rule(ModelSelection, FallbackDecision):
    """Has an opinion on models and on fallbacks."""

    @hookimpl
    def select_model(self, request, candidates, ctx):
        return Selection(candidates, why="a rule")

    @hookimpl
    def decide_fallback(self, request, failure, state):
        return Stop("a rule")


@define(eq=False)
class First(ModelSelection, FallbackDecision):
    @hookimpl(tryfirst=True)
    def select_model(self, request, candidates, ctx): ...

    @hookimpl(tryfirst=True)
    def decide_fallback(self, request, failure, state): ...


@define(eq=False)
class Last(ModelSelection, FallbackDecision):
    @hookimpl(trylast=True)
    def select_model(self, request, candidates, ctx): ...

    @hookimpl(trylast=True)
    def decide_fallback(self, request, failure, state): ...


def order_of(plugins: dict[str, object], hook: str = "select_model", **order: list[str]) -> list[str]:
    hooks = Router({"plugins": plugins, "order": order}).snapshot.hooks
    return [step.plugin for step in getattr(hooks, hook)]


# The default order


def test_in_a_pipeline_users_plugins_come_after_the_built_in_ones_and_so_have_the_last_word() -> None:
    assert order_of({"b": Rule(), "a": Rule()}) == [*BUILT_IN, "b", "a"]


def test_where_the_first_answer_wins_users_plugins_come_before_the_built_in_ones() -> None:
    assert order_of({"b": Rule(), "a": Rule()}, "decide_fallback") == ["b", "a", *LAST]


def test_plugins_of_one_file_keep_its_order_whatever_is_between_them(site: Site) -> None:
    site.install("acme-rules", offers={"rule": Rule})
    table = tomllib.loads("""
        [plugins.z]
        use = "rule"
        [plugins.fallback]
        skip_backend_after = 3
        [plugins.rule]
        [plugins.quiet]
        [plugins.a]
        use = "rule"
    """)
    hooks = Router(table).snapshot.hooks
    assert [step.plugin for step in hooks.select_model] == [*BUILT_IN, "z", "rule", "a"]
    assert [step.plugin for step in hooks.decide_fallback] == ["z", "rule", "a", *LAST]


def test_tryfirst_and_trylast_outrank_the_default() -> None:
    plugins = {"last": Last(), "plain": Rule(), "first": First()}
    assert order_of(plugins) == ["first", *BUILT_IN, "plain", "last"]
    assert order_of(plugins, "decide_fallback") == ["first", "plain", *LAST, "last"]


def test_the_configurations_order_outranks_tryfirst_and_trylast() -> None:
    plugins = {"last": Last(), "first": First()}
    wanted = ["last", "rollout", "first", "tasks"]
    assert order_of(plugins, select_model=wanted) == wanted
    assert order_of(plugins, "decide_fallback", select_model=wanted) == ["first", *LAST, "last"]


def test_a_step_knows_what_placed_it() -> None:
    plugins = {"last": Last(), "plain": Rule(), "first": First()}
    default = Router({"plugins": plugins}).snapshot.hooks.select_model
    assert [step.placed_by for step in default] == ["tryfirst", "default", "default", "default", "trylast"]
    plugins = {"last": Last(), "first": First()}
    order = {"select_model": [*BUILT_IN, "last", "first"]}
    ordered = Router({"plugins": plugins, "order": order}).snapshot.hooks
    assert {step.placed_by for step in ordered.select_model} == {"order"}
    assert [step.placed_by for step in ordered.decide_fallback] == ["tryfirst", "default", "default", "trylast"]


MARKS = {"plain": Rule, "first": First, "last": Last}


@given(st.lists(st.sampled_from(sorted(MARKS)), max_size=6), st.randoms())
def test_any_order_of_all_plugins_is_accepted_and_kept(marks: list[str], random: Any) -> None:
    plugins = {f"p{number}": MARKS[mark]() for number, mark in enumerate(marks)}
    wanted = [*BUILT_IN, *plugins]
    random.shuffle(wanted)
    assert order_of(dict(plugins), select_model=wanted) == wanted


@given(st.lists(st.sampled_from(sorted(MARKS)), max_size=6))
def test_without_an_order_marks_then_origin_then_the_files_order_decide(marks: list[str]) -> None:
    plugins = {f"p{number}": MARKS[mark]() for number, mark in enumerate(marks)}
    by_mark = {mark: [f"p{number}" for number, own in enumerate(marks) if own == mark] for mark in MARKS}
    expected = [*by_mark["first"], *BUILT_IN, *by_mark["plain"], *by_mark["last"]]
    assert order_of(dict(plugins)) == expected


# What is called


@define(eq=False)
class Recording:
    name: str
    calls: list[str]

    @hookimpl
    def select_model(self, candidates):
        self.calls.append(self.name)
        return Selection(candidates[1:], why=self.name)


def table(plugins: dict[str, object], **sections: object) -> dict[str, object]:
    models = {name: {"on": {"echo": name}} for name in ("a", "b", "c", "d")}
    tasks = {"chat": {"models": list(models)}}
    return {"plugins": {"echo": Echo(), **plugins}, "models": models, "tasks": tasks, **sections}


def test_the_steps_are_called_in_their_order_each_on_what_the_last_one_left() -> None:
    calls: list[str] = []
    plugins: dict[str, object] = {name: Recording(name, calls) for name in ("x", "y")}
    order = {"select_model": ["y", "tasks", "x", "rollout"]}
    decision = Router(table(plugins, order=order)).explain("hello", task="chat")
    assert calls == ["y", "x"]
    assert [(step.plugin, len(step.targets)) for step in decision.steps] == [("y", 3), ("tasks", 3), ("x", 2)]


def test_an_implementation_is_given_the_arguments_that_it_names_in_any_order() -> None:
    seen: dict[str, tuple[Any, ...]] = {}

    @define(eq=False)
    class Few:
        @hookimpl
        def select_model(self, ctx, request):
            seen["few"] = (request.task, ctx.now > 0)

    @define(eq=False)
    class Nothing:
        @hookimpl
        def select_model(self):
            seen["none"] = ()

    @define(eq=False)
    class WithDefault:
        @hookimpl
        def select_model(self, candidates, own="mine"):
            seen["default"] = (len(candidates), own)

    @define(eq=False)
    class Static:
        @hookimpl
        @staticmethod
        def select_model(candidates):
            seen["static"] = (len(candidates),)

    Router(table({"few": Few(), "none": Nothing(), "default": WithDefault(), "static": Static()})).explain(
        "hello", task="chat"
    )
    assert seen == {"few": ("chat", True), "none": (), "default": (4, "mine"), "static": (4,)}


def test_an_implementation_may_have_a_name_of_its_own() -> None:
    @define(eq=False)
    class Named:
        @hookimpl(specname="select_model")
        def keep_one(self, candidates):
            return Selection(candidates[:1], why="one is enough")

    decision = Router(table({"named": Named()})).explain("hello", task="chat")
    assert [target.model for target in decision.candidates] == ["a"]


@define(eq=False)
class Everything(ModelSelection, BackendInvocation, FallbackDecision, Gate, MetricEmission):
    """One plugin for all concerns."""

    events: list[object] = field(factory=list)
    settled: list[object] = field(factory=list)

    @hookimpl
    def select_model(self, request, candidates, ctx):
        return Selection([target for target in candidates if target.backend == "all"], why="my own")

    @hookimpl
    async def complete(self, target, request, ctx):
        return await Echo().complete(target, request, ctx)

    @hookimpl
    def decide_fallback(self, request, failure, state): ...

    @hookimpl
    def admit(self, target, ctx):
        return Permit(target)

    @hookimpl
    def settle(self, permit, outcome, failure, ctx):
        self.settled.append(outcome)

    @hookimpl
    def emit_metric(self, event):
        self.events.append(event)


def test_one_plugin_can_serve_several_concerns() -> None:
    everything = Everything()
    with Router(table({"all": everything}, models={"a": {"on": {"echo": "a", "all": "a"}}}, tasks={})) as router:
        hooks = router.snapshot.hooks
        reply = router.complete("hello", task="any")
    assert reply.text == "hello"
    assert str(reply.decision.served if reply.decision else None) == "all/a"
    assert everything.settled == ["answered"]
    assert len(everything.events) == 4
    assert [step.plugin for step in hooks.admit] == ["all", *GATES]
    assert set(hooks.settle) == {*GATES, "all"}
    assert hooks.backends.keys() == {"echo", "all"}
    assert [sink.name for sink in hooks.sinks] == ["all"]


@define(eq=False)
class WithLifecycle(Echo):
    log: list[str] = field(factory=list)

    @hookimpl
    async def start_backend(self, name):
        self.log.append(f"start {name}")

    @hookimpl
    async def complete(self, target, request, ctx):
        self.log.append(f"complete {target.backend}")
        return await super().complete(target, request, ctx)

    @hookimpl
    async def close_backend(self):
        self.log.append("close")


def test_addressed_hooks_reach_only_the_plugin_that_the_target_names() -> None:
    one, two = WithLifecycle(), WithLifecycle()
    models = {"a": {"on": {"one": "a", "two": "a"}}}

    async def use() -> None:
        async with Router(table({"one": one, "two": two}, models=models, tasks={})) as router:
            await router.acomplete("hello", task="any")

    asyncio.run(use())
    assert (one.log, two.log) == (["start one", "complete one", "close"], [])


def test_plugins_that_the_order_leaves_out_come_after_it_in_the_default_order() -> None:
    table_ = table({"mine": Rule(), "other": Rule()}, order={"select_model": ["mine"]})
    steps = Router(table_).snapshot.hooks.select_model
    assert [(step.plugin, step.placed_by) for step in steps] == [
        ("mine", "order"),
        ("tasks", "default"),
        ("rollout", "default"),
        ("other", "default"),
    ]


# Built-ins


def test_a_built_in_plugin_can_be_switched_off() -> None:
    assert order_of({"tasks": {"enabled": False}}) == ["rollout"]
    assert order_of({"fallback": {"enabled": False}}, "decide_fallback") == ["retries"]
    assert order_of({"rollout": {"enabled": True}}) == BUILT_IN


def test_a_built_in_plugin_can_be_configured() -> None:
    fallback, _ = Router({"plugins": {"fallback": {"skip_backend_after": 5}}}).snapshot.hooks.decide_fallback
    assert fallback.call.__self__.skip_backend_after == 5  # pyright: ignore[reportFunctionMemberAccess]


def test_a_built_in_plugin_can_be_replaced_in_its_place(site: Site) -> None:
    site.install("acme-rules", offers={"rule": Rule})
    snapshot = Router({"plugins": {"later": Rule(), "tasks": {"use": "rule"}}}).snapshot
    assert [step.plugin for step in snapshot.hooks.select_model] == ["tasks", "rollout", "later"]
    (tasks,) = [plugin for plugin in snapshot.plugins if plugin.name == "tasks"]
    assert (type(tasks.instance), tasks.distribution) == (Rule, "acme-rules 1.0")


def test_a_built_in_plugin_can_be_replaced_by_an_object() -> None:
    mine = Rule()
    snapshot = Router({"plugins": {"fallback": mine}}).snapshot
    assert snapshot.hooks.decide_fallback[0] == Step("fallback", mine.decide_fallback)


def test_a_built_in_plugin_that_is_switched_off_cannot_be_ordered(report: Reporter) -> None:
    assert (
        report("""
        [plugins.rollout]
        enabled = false
        [order]
        select_model = ["tasks", "rollout"]
    """)
        == '4:26 order.select_model[1]: "rollout" is switched off by enabled = false in [plugins.rollout]; '
        "remove it here too"
    )


# An order that cannot be


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ('select_modle = ["tasks"]', '2:1 order.select_modle: is no hook; did you mean "select_model"?'),
        (
            'emit_metric = ["quiet"]',
            "2:1 order.emit_metric: its order means nothing; allowed: admit, decide_fallback, select_model",
        ),
        (
            'select_model = ["tasks", "rolout"]',
            '2:26 order.select_model[1]: no active plugin "rolout" has this hook; did you mean "rollout"?',
        ),
        (
            'select_model = ["tasks", "rollout", "tenant_pin"]',
            '2:37 order.select_model[2]: no active plugin "tenant_pin" has this hook; allowed: rollout, tasks',
        ),
        (
            'select_model = ["tasks", "rollout", "tasks"]',
            '2:37 order.select_model[2]: "tasks" stands here twice; remove one',
        ),
        ('select_model = "tasks"', "2:1 order.select_model: expected an array, got text"),
        ("select_model = ['tasks', 3]", "2:26 order.select_model[1]: expected text, got a number"),
    ],
)
def test_an_order_that_cannot_be_is_reported(report: Reporter, order: str, expected: str) -> None:
    assert report(f"[order]\n{order}") == expected


def test_an_order_that_names_a_plugin_that_failed_is_not_a_second_mistake(report: Reporter) -> None:
    assert report("""
        [plugins.pin]
        use = "tenant_pin_of_ours"
        [order]
        select_model = ["tasks", "rollout", "pin"]
        decide_fallback = ["fallbck"]
    """).splitlines()[1:] == [
        '5:20 order.decide_fallback[0]: no active plugin "fallbck" has this hook; did you mean "fallback"?'
    ]


# Hooks that are wrong


@define(eq=False)
class Misspelt(ModelSelection):
    @hookimpl
    def select_modell(self, request, candidates, ctx): ...


@define(eq=False)
class WrongArgument(ModelSelection):
    @hookimpl
    def select_model(self, request, targets): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class NearArgument(ModelSelection):
    @hookimpl
    def select_model(self, request, candidate, ctx): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class ArgumentWhereNoneIs(Quiet):
    @hookimpl
    def flush_sink(self, timeout): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class KeywordOnly(ModelSelection):
    @hookimpl
    def select_model(self, request, candidates, *, ctx): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class Forgotten(ModelSelection):
    def select_model(self, request, candidates, ctx): ...


@define(eq=False)
class ForgottenInASubclass(Echo):
    async def complete(self, target, request, ctx):
        return await super().complete(target, request, ctx)


@define(eq=False)
class AsyncDecision(ModelSelection):
    @hookimpl
    async def select_model(self, request, candidates, ctx): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class AsyncUnderAnotherName(ModelSelection):
    @hookimpl(specname="select_model")
    async def pick(self, request): ...


@define(eq=False)
class AsyncSink(MetricEmission):
    @hookimpl
    async def emit_metric(self, event): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class YieldingDecision(ModelSelection):
    @hookimpl
    def select_model(self, request, candidates, ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield


@define(eq=False)
class YieldingSink(MetricEmission):
    @hookimpl
    def emit_metric(self, event):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield


@define(eq=False)
class SyncComplete(BackendInvocation):
    @hookimpl
    def complete(self, target, request, ctx): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class YieldingComplete(BackendInvocation):
    @hookimpl
    async def complete(self, target, request, ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield


@define(eq=False)
class CoroutineStream(Echo, Streaming):
    @hookimpl
    async def stream(self, target, request, ctx): ...  # pyright: ignore[reportIncompatibleMethodOverride]


@define(eq=False)
class SyncStream(Echo, Streaming):
    @hookimpl
    def stream(self, target, request, ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield


@define(eq=False)
class Wrapper(ModelSelection):
    @hookimpl(wrapper=True)
    def select_model(self, request, candidates, ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        return (yield)


@define(eq=False)
class OldWrapper(ModelSelection):
    @hookimpl(hookwrapper=True)
    def select_model(self, request, candidates, ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        yield


@define
class ComparedByValue(MetricEmission):
    @hookimpl
    def emit_metric(self, event): ...


@frozen
class FrozenAndComparedByValue(MetricEmission):
    @hookimpl
    def emit_metric(self, event): ...


@define(eq=False)
class WithoutHooks(ModelSelection):
    """Implements nothing of what it inherits."""


@define(eq=False)
class WithoutTheHookThatMatters(MetricEmission):
    @hookimpl
    def start_sink(self): ...


MUST_BE_SYNCHRONOUS = "must not be `async def`: decisions and sinks are synchronous; a backend or a sink does the I/O"
MUST_NOT_YIELD = "must not `yield`: called, it would only make a generator, and none of it would run; use return"
MUST_BE_A_COROUTINE = "must be `async def`, without `yield`: it does I/O; run a blocking SDK in asyncio.to_thread"
MUST_BE_A_GENERATOR = "must be an asynchronous generator: `async def` with `yield`"
NEVER_CALLED = "overrides a hook without @hookimpl, so it would never be called; decorate it"
NO_WRAPPER = "is a wrapper; write a plain implementation: a pipeline step, or a sink that watches events"
NOT_BY_VALUE = "it compares by value, so two alike would be taken for one; decorate it with @define(eq=False)"

FAULTS: dict[type, str] = {
    Misspelt: '@hookimpl select_modell is no hook; did you mean "select_model"?',
    WrongArgument: "select_model has no argument targets; allowed: candidates, ctx, request",
    NearArgument: 'select_model has no argument candidate; did you mean "candidates"?',
    ArgumentWhereNoneIs: "flush_sink has no argument timeout; it takes none",
    KeywordOnly: "select_model would never be given ctx; write it without a default, before any *",
    Forgotten: f"select_model {NEVER_CALLED}",
    ForgottenInASubclass: f"complete {NEVER_CALLED}",
    AsyncDecision: f"select_model {MUST_BE_SYNCHRONOUS}",
    AsyncUnderAnotherName: f"select_model {MUST_BE_SYNCHRONOUS}",
    AsyncSink: f"emit_metric {MUST_BE_SYNCHRONOUS}",
    YieldingDecision: f"select_model {MUST_NOT_YIELD}",
    YieldingSink: f"emit_metric {MUST_NOT_YIELD}",
    SyncComplete: f"complete {MUST_BE_A_COROUTINE}",
    YieldingComplete: f"complete {MUST_BE_A_COROUTINE}",
    CoroutineStream: f"stream {MUST_BE_A_GENERATOR}",
    SyncStream: f"stream {MUST_BE_A_GENERATOR}",
    Wrapper: f"select_model {NO_WRAPPER}",
    OldWrapper: f"select_model {NO_WRAPPER}",
    ComparedByValue: NOT_BY_VALUE,
    FrozenAndComparedByValue: NOT_BY_VALUE,
    WithoutHooks: "it implements no hook; decorate at least one method with @hookimpl",
    WithoutTheHookThatMatters: "start_sink would never be called, for it goes with emit_metric; implement that too",
}


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_a_plugin_whose_hooks_are_wrong_is_one_problem_that_names_it(site: Site, report: Reporter, cls: type) -> None:
    site.install("acme-faulty", "3.0", offers={"faulty": cls})
    assert (
        report("""
        [plugins.faulty]
        [models.small]
        on = { faulty = "s" }
        [order]
        select_model = ["tasks", "rollout", "faulty"]
    """)
        == f"1:10 plugins.faulty: {__name__}.{cls.__name__} (acme-faulty 3.0): {FAULTS[cls]}"
    )


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_an_object_whose_hooks_are_wrong_is_one_problem_that_names_its_class(cls: type) -> None:
    assert problems_of(cls()) == [f"configuration plugins.mine: {__name__}.{cls.__name__}: {FAULTS[cls]}"]


def problems_of(plugin: object, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Router({"plugins": {"mine": plugin, **more}})
    return [str(problem) for problem in caught.value.problems]


def test_every_fault_of_a_plugin_is_reported() -> None:
    @define
    class Faulty(ModelSelection):
        @hookimpl
        async def select_model(self, request, candidates=(), ctx=None): ...  # pyright: ignore[reportIncompatibleMethodOverride]

    assert [problem.partition("Faulty: ")[2] for problem in problems_of(Faulty())] == [
        NOT_BY_VALUE,
        f"select_model {MUST_BE_SYNCHRONOUS}",
        "select_model would never be given candidates; write it without a default, before any *",
        "select_model would never be given ctx; write it without a default, before any *",
    ]


def test_a_setting_or_a_property_may_have_the_name_of_a_hook() -> None:
    @define(eq=False)
    class Sink(MetricEmission):
        stream: str = "stdout"
        settle: int = 3

        @property
        def complete(self) -> None:
            raise AssertionError("properties are not read to find hooks")

        @hookimpl
        def emit_metric(self, event): ...

    Router({"plugins": {"mine": Sink()}})


def test_one_object_cannot_be_two_plugins() -> None:
    sink = Quiet()
    (problem,) = problems_of(sink, other=sink)
    assert problem == (
        'configuration plugins.other: tests.support.acme.Quiet: the same object is plugin "mine" already; '
        "make one for each name"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Quiet, "expected an object, got the class Quiet; write Quiet(...)"),
        (None, "expected a table of settings, which may be empty, got nothing"),
        ("quiet", "expected a table of settings, which may be empty, got text"),
    ],
)
def test_what_is_no_plugin_object_is_reported(given: object, message: str) -> None:
    assert problems_of(given) == [f"configuration plugins.mine: {message}"]


# The specs


def test_every_hook_says_how_it_is_called() -> None:
    assert spec_names().keys() == CALLING.keys()
    for concern in CONCERNS:
        for name in vars(concern).keys() & CALLING.keys():
            doc = getattr(concern, name).__doc__
            assert f" *{CALLING[name].capitalize()}" in doc, name


def test_exactly_the_hooks_whose_order_matters_can_be_ordered() -> None:
    assert set(ORDERED) == {hook for hook, calling in CALLING.items() if calling in ("pipeline", "asked")}
