"""What is the user's stays the user's: no key, prompt or completion in anything that is shown, logged or sent on."""

import asyncio
import copy
import logging
import pickle
from contextlib import suppress
from typing import Any

import attrs
import pytest
from attrs import define, field

from pointsman import Router
from pointsman.chat import Chunk, Completion, Request, ToolCall
from pointsman.errors import (
    AllTargetsFailed,
    AttemptFailed,
    BadRequest,
    ConfigError,
    ContentPolicy,
    ContextLength,
    DeadlineExceeded,
    NoTarget,
    PluginError,
    PointsmanError,
    Problem,
    RecordsUnavailable,
    RouteError,
    RouterClosed,
    StreamInterrupted,
    UsageError,
)
from pointsman.hookspecs import (
    BackendInvocation,
    FallbackDecision,
    Gate,
    MetricEmission,
    ModelSelection,
    hookimpl,
)
from pointsman.settings import Secret
from pointsman.verdicts import Permit
from tests.core.support import Collecting, Scripted, answer, decided, drive, ending, failure, table
from tests.faults.table import proves
from tests.support.canaries import COMPLETION, KEY, PROMPT, TOOL, assert_clean, everything_shown


def message():
    return {"role": "user", "content": f"what is {PROMPT}?"}


def secret_answer():
    return Completion(
        text=COMPLETION,
        finish_reason="stop",
        reasoning=COMPLETION,
        refusal=COMPLETION,
        tool_calls=(ToolCall(id="call_1", name="look_up", arguments=COMPLETION),),
        message={"role": "assistant", "content": COMPLETION},
        raw={"choices": [COMPLETION]},
    )


@define(eq=False)
class Leaky(BackendInvocation, ModelSelection, FallbackDecision, Gate, MetricEmission):
    """Knows a key and sees prompts, and shouts both when it breaks, at the place where it is told to."""

    breaks_at: str
    api_key: Secret = field(factory=lambda: Secret(KEY))
    seen: list = field(factory=list)

    def _break(self, where, *seen):
        self.seen.append(where)
        if where == self.breaks_at:
            cause = KeyError(f"{self.api_key.reveal()} and {seen}")
            raise ValueError(f"{self.api_key.reveal()} and {PROMPT} and {COMPLETION}") from cause

    @hookimpl
    async def start_backend(self, name):
        self._break("start_backend")

    @hookimpl
    async def complete(self, target, request, ctx):
        self._break("complete", request.messages)
        return secret_answer()

    @hookimpl
    async def close_backend(self):
        self._break("close_backend")

    @hookimpl
    def select_model(self, request, candidates, ctx):
        self._break("select_model", request.messages)

    @hookimpl
    def decide_fallback(self, request, failure, state):
        self._break("decide_fallback", request.messages)

    @hookimpl
    def admit(self, target, ctx):
        self._break("admit")
        return Permit(target)

    @hookimpl
    def settle(self, permit, outcome, failure, ctx):
        self._break("settle")

    @hookimpl
    def start_sink(self):
        self._break("start_sink")

    @hookimpl
    def emit_metric(self, event):
        self._break("emit_metric", event)

    @hookimpl
    def flush_sink(self):
        self._break("flush_sink")

    @hookimpl
    def close_sink(self):
        self._break("close_sink")


HOOKS = [
    *("start_backend", "complete", "close_backend", "select_model", "decide_fallback", "admit", "settle"),
    *("start_sink", "emit_metric", "flush_sink", "close_sink"),
]


@proves(9)
@pytest.mark.parametrize("place", [*HOOKS, "nowhere"])
@pytest.mark.parametrize("face", ["complete", "acomplete"])
def test_no_key_prompt_or_completion_shows_wherever_a_plugin_breaks(place, face, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    leaky, sink = Leaky(place), Collecting()
    failing = {"failing": Scripted([failure("not_found")])} if place == "decide_fallback" else {}
    made = table(("small",), {**failing, "leaky": leaky, "other": Leaky("nowhere")}, plugins={"sink": sink})
    error = reply = None
    with Router(made) as router:
        known = {
            "unit": "u-17",
            "temperature": 0.5,
            "user": PROMPT,
            "extra_body": {"note": PROMPT},
            "labels": {"a": "b"},
        }
        try:
            if face == "complete":
                reply = router.complete([message()], **known)
            else:
                reply = asyncio.run(router.acomplete([message()], **known))
        except RouteError as raised:
            error = raised
        assert_clean(repr(router), repr(router.snapshot.plugins), repr(router.snapshot.config))
    if place != "nowhere":
        assert place in leaky.seen
    events = sink.events
    assert_clean(
        caplog.text, *capfd.readouterr(), *(repr(event) for event in events), *(str(event) for event in events)
    )
    assert_clean(pickle.dumps(ending(events).decision).decode("latin-1"))
    for event in events:
        assert_clean(repr(attrs.asdict(event, filter=lambda a, _: a.name != "context")))
    if error is not None:
        assert_clean(*everything_shown(error), pickle.dumps(error).decode("latin-1"))
    else:
        assert reply is not None
        assert reply.text == COMPLETION
        assert_clean(repr(reply), str(reply), pickle.dumps(reply.decision).decode("latin-1"))


def test_a_log_line_about_a_broken_plugin_says_where_it_broke(caplog):
    with Router(table(("small",), {"leaky": Leaky("settle")})) as router:
        router.complete([message()])
    (line,) = [record.getMessage() for record in caplog.records if "settle" in record.getMessage()]
    assert line.startswith("plugin leaky: settle raised ValueError at test_privacy.py:")


def test_the_values_that_hold_a_users_words_do_not_show_them():
    request = Request(messages=(message(),), task="chat", parameters={"user": PROMPT}, extra_body={"a": PROMPT})
    tool = ToolCall(id="1", name="look_up", arguments=TOOL)
    chunk = Chunk(text=COMPLETION, reasoning=COMPLETION, refusal=COMPLETION, raw={"a": COMPLETION})
    for value in (request, tool, chunk, secret_answer(), Secret(KEY), AttemptFailed(failure(), secret_answer())):
        assert_clean(repr(value), str(value))


def test_no_repr_of_a_snapshot_shows_what_a_plugin_was_set_to(site):
    by_hand, by_table = Leaky("nowhere", seen=[KEY]), {"use": "echo", "headers": {"X-Team": KEY}}
    router = Router(table(("small",), {"by_hand": by_hand, "by_table": by_table}))
    assert KEY in repr(by_hand)
    assert_clean(repr(router.snapshot), repr(router.snapshot.hooks), repr(router.snapshot.config))


def test_a_broken_configuration_never_shows_what_stood_in_the_place_of_a_key():
    with pytest.raises(ConfigError) as raised:
        Router({"models": {"small": {"on": 7, "context": KEY, "quota": [KEY]}}, "router": {"deadline": KEY}})
    assert_clean(*everything_shown(raised.value))


def test_a_bad_call_does_not_quote_the_prompt():
    bad: list[dict[str, Any]] = [
        *({"messages": messages} for messages in ([PROMPT], {"content": PROMPT}, [{"content": PROMPT}], [[PROMPT]])),
        *({"unit": [PROMPT]}, {"deadline": PROMPT}, {"labels": PROMPT}, {"task": [PROMPT]}, {"model": [PROMPT]}),
    ]
    with Router(table()) as router:
        for known in bad:
            with pytest.raises(BadRequest) as raised:
                router.complete(**{"messages": "hello", **known})
            assert_clean(*everything_shown(raised.value))


# Errors travel between processes whole


def ended_badly(script, **known):
    run = drive(table(("small", "large"), {"proxy": Scripted()}, **known), script)
    assert run.error is not None
    return run.error


def interrupted():
    error = StreamInterrupted("broke", decision=decided(ended_badly([failure()] * 2)), partial=answer("half"))
    error.__cause__ = AttemptFailed(failure("interrupted"), answer("half"))
    return error


ERRORS = {
    AllTargetsFailed: lambda: ended_badly([failure(retry_after=3.0)] * 2),
    DeadlineExceeded: lambda: ended_badly([(100.0, failure())], router={"attempt_timeout": 99, "reserve": 0}),
    BadRequest: lambda: ended_badly([failure("bad_request", detail="max_tokens", status=400)]),
    ContextLength: lambda: ended_badly([failure("context_length")]),
    ContentPolicy: lambda: ended_badly([failure("content_policy")]),
    PluginError: lambda: ended_badly([failure("plugin", code="complete")]),
    NoTarget: lambda: NoTarget("nothing is left", retry_after=None),
    StreamInterrupted: interrupted,
    UsageError: lambda: UsageError("not here"),
    RecordsUnavailable: lambda: RecordsUnavailable("no file"),
    RouterClosed: lambda: RouterClosed("closed"),
    ConfigError: lambda: ConfigError(
        [Problem(key="a.b", message="wrong", file="f.toml", line=3), Problem(key="", message="x")]
    ),
    AttemptFailed: lambda: AttemptFailed(failure("server", status=503), answer("half")),
    RouteError: lambda: RouteError("it ended", retry_after=1.5),
    PointsmanError: lambda: PointsmanError("something"),
}


def test_every_error_of_ours_is_among_those_that_must_pickle():
    def below(cls):
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__() if sub.__module__.startswith("pointsman")))

    assert below(PointsmanError) == set(ERRORS)


def same(error, twin):
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert {k: v for k, v in vars(twin).items() if k != "__notes__"} == vars(error)
    if error.__cause__ is None:
        assert twin.__cause__ is None
    else:
        same(error.__cause__, twin.__cause__)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_pickles_whole_with_its_decision_attempts_and_cause(cls, protocol):
    error = ERRORS[cls]()
    assert type(error) is cls
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        same(error, twin)
        if isinstance(error, RouteError):
            assert twin.attempts == error.attempts
            assert twin.retry_after == error.retry_after


def test_an_answer_with_its_decision_pickles_and_copies():
    with Router(table()) as router:
        reply = router.complete("hello")
    assert pickle.loads(pickle.dumps(reply)) == reply
    assert copy.deepcopy(reply) == reply


def test_an_error_that_a_thread_raised_is_the_callers_to_raise_again():
    with Router(table(("small",), {"only": Scripted([failure()])})) as router:
        with pytest.raises(AllTargetsFailed) as raised:
            router.complete("hello")
        with suppress(AllTargetsFailed):
            raise raised.value
    assert isinstance(raised.value.__cause__, AttemptFailed)
