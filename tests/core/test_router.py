"""The router in its two faces: what callers pass, get and see, and what misbehaving backends cannot do."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from types import MappingProxyType

import attrs
import pytest
from attrs import evolve

from pointsman import Router
from pointsman.chat import Usage
from pointsman.errors import (
    AllTargetsFailed,
    AttemptFailed,
    BadRequest,
    DeadlineExceeded,
    Failure,
    NoTarget,
    PluginError,
    RouteError,
    UsageError,
)
from pointsman.events import AttemptFinished, RequestStarted
from pointsman.hookspecs import hookimpl
from pointsman.verdicts import Selection
from tests.core.support import (
    Collecting,
    Gatekeeper,
    Scripted,
    Selecting,
    answer,
    decided,
    ending,
    failed,
    failure,
    for_ever,
    outcomes,
    stories,
    story,
    swallowing_cancellation,
    table,
    usage,
)
from tests.faults.table import proves, row

FACES = ["complete", "acomplete"]
PROMPT = "a promise: 50 ms"
LATE = 0.05
"""Seconds after the deadline by which the answer or the error is there."""


def ask(face, router, *arguments, **known):
    """The same call through either face."""
    if face == "complete":
        return router.complete(*arguments, **known)
    return asyncio.run(router.acomplete(*arguments, **known))


def config(proxy=(), direct=(), **sections):
    return table(backends={"proxy": Scripted(proxy), "direct": Scripted(direct)}, **sections)


def with_sink(proxy=(), direct=(), **sections):
    sink = Collecting()
    return sink, config(proxy, direct, plugins={"sink": sink}, **sections)


# What callers pass


@pytest.mark.parametrize(
    "messages",
    [
        "hello",
        [{"role": "user", "content": "hello"}],
        ({"role": "user", "content": "hello"},),
        MappingProxyType({"only": {"role": "user", "content": "hello"}}).values(),
        [MappingProxyType({"role": "user", "content": "hello"})],
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_messages_are_text_or_any_iterable_of_mappings(messages, face):
    backend = Scripted()
    with Router(table(backends={"only": backend})) as router:
        ask(face, router, messages)
    ((_, request, _),) = backend.calls
    assert [dict(message) for message in request.messages] == [{"role": "user", "content": "hello"}]


def test_messages_can_come_from_a_generator_which_is_read_once():
    backend = Scripted([failure("not_found")])
    with Router(table(backends={"only": backend})) as router:
        router.complete({"role": role, "content": "hello"} for role in ("system", "user"))
    assert [[message["role"] for message in request.messages] for _, request, _ in backend.calls] == [
        ["system", "user"],
        ["system", "user"],
    ]


BAD_CALLS = {
    "no message": ([], {}, "messages: the list is empty"),
    "an exhausted generator": (iter(()), {}, "messages: the list is empty"),
    "one message on its own": ({"role": "user", "content": "hello"}, {}, "messages: one message .* put it into a list"),
    "a message that is text": (["hello"], {}, r"messages\[0\]: not a message"),
    "a message without a role": ([{"role": "user"}, {"content": "hello"}], {}, r"messages\[1\]: not a message"),
    "messages that are None": (None, {}, "messages: .*NoneType"),
    "messages that are a number": (7, {}, "messages: .*int"),
    "messages that are bytes": (b"hello", {}, r"messages\[0\]: not a message"),
    "stream": ("hello", {"stream": True}, "stream: "),
    "stream=False": ("hello", {"stream": False}, "stream: "),
    "a unit that is a bool": ("hello", {"unit": True}, "unit: .*bool"),
    "a unit that is a float": ("hello", {"unit": 1.0}, "unit: .*float"),
    "a unit that has no text": ("hello", {"unit": 10**5000}, "unit: .*2048 bits"),
    "a task that is no text": ("hello", {"task": 7}, "task: .*int"),
    "a model that is no text": ("hello", {"model": ["small"]}, "model: .*list"),
    "no time at all": ("hello", {"deadline": 0}, "deadline: "),
    "less than no time": ("hello", {"deadline": -1}, "deadline: "),
    "for ever": ("hello", {"deadline": float("inf")}, "deadline: "),
    "NaN seconds": ("hello", {"deadline": float("nan")}, "deadline: "),
    "more seconds than a float has": ("hello", {"deadline": 10**400}, "deadline: "),
    "a deadline that is text": ("hello", {"deadline": "5s"}, "deadline: "),
    "a deadline that is a bool": ("hello", {"deadline": True}, "deadline: "),
    "labels that are no mapping": ("hello", {"labels": "blue"}, "labels: .*str"),
    "an extra body that is no mapping": ("hello", {"extra_body": [1]}, "extra_body: .*list"),
    "another model in the body": ("hello", {"extra_body": {"model": "m"}}, "extra_body: leave out model: .*`model=`"),
    "other messages in the body": ("hello", {"extra_body": {"messages": []}}, "extra_body: leave out messages: "),
    "a stream by the body": ("hello", {"extra_body": {"stream": True}}, "extra_body: leave out stream: .*`router.str"),
}


@pytest.mark.parametrize(("messages", "known", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
@pytest.mark.parametrize("face", FACES)
def test_a_call_that_cannot_be_used_is_refused_before_anything_happens(messages, known, message, face):
    sink, made = with_sink()
    with Router(made) as router:
        if isinstance(messages, Iterator):
            messages = iter(())
        with pytest.raises(BadRequest, match=f"^{message}") as refused:
            ask(face, router, messages, **known)
        assert refused.value.__context__ is None
        assert router.sink_reports()[0].emitted == 0
    assert sink.events == []


def test_an_unknown_task_is_refused_with_a_suggestion():
    with Router(config()) as router, pytest.raises(BadRequest, match='unknown task "chatt"; did you mean "chat"'):
        router.complete("hello", task="chatt")


def test_with_several_tasks_and_no_default_the_task_must_be_named():
    made = config(tasks={"one": {"models": ["small"]}, "two": {"models": ["large"]}})
    with Router(made) as router, pytest.raises(BadRequest, match="task: pass one of one, two"):
        router.complete("hello")
    with Router(made | {"router": {"default_task": "two"}}) as router:
        assert router.explain().task == "two"


def test_parameters_reach_the_backend_by_their_own_names_and_labels_do_not():
    sink = Collecting()
    backend = Scripted()
    with Router(table(backends={"only": backend}, plugins={"sink": sink})) as router:
        router.complete(
            "hello",
            temperature=0.3,
            user="mette",
            top_k=5,
            extra_body={"provider": {"sort": "price"}},
            labels={"team": "blue"},
        )
    ((_, request, _),) = backend.calls
    assert request.parameters == {"temperature": 0.3, "user": "mette", "top_k": 5}
    assert request.extra_body == {"provider": {"sort": "price"}}
    assert [event.labels for event in sink.events] == [{"team": "blue"}] * 4


def deeply_frozen(value):
    """A copy of plain data that compares as the original did."""
    if isinstance(value, Mapping):
        return {key: deeply_frozen(one) for key, one in value.items()}
    return [deeply_frozen(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("face", FACES)
def test_the_callers_own_objects_are_never_changed(face):
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    body, labels, made = {"provider": {"order": ["a"]}}, {"team": "blue"}, config([failure("connect")])
    plugins = dict(made["plugins"])
    before = deeply_frozen([messages, tools, body, labels, {k: v for k, v in made.items() if k != "plugins"}])
    with Router(made) as router:
        ask(face, router, messages, tools=tools, extra_body=body, labels=labels)
    assert [messages, tools, body, labels, {k: v for k, v in made.items() if k != "plugins"}] == before
    assert made["plugins"] == plugins


def test_what_the_caller_changes_afterwards_changes_no_event():
    labels = {"team": "blue"}
    sink, made = with_sink()
    with Router(made) as router:
        router.complete("hello", labels=labels)
        labels["team"] = "red"
    assert {event.labels["team"] for event in sink.events} == {"blue"}


def test_nobody_can_change_a_request():
    seen = []

    async def try_to(target, request, ctx):
        for change in (
            lambda: setattr(request, "task", "other"),
            lambda: request.parameters.update(temperature=2),
            lambda: request.extra_body.update(a=1),
            lambda: request.labels.update(a="b"),
        ):
            with pytest.raises((AttributeError, TypeError)):
                change()
        seen.append(request)
        return answer()

    with Router(config([try_to])) as router:
        router.complete("hello", temperature=1, extra_body={"b": 1}, labels={"c": "d"})
    assert seen


# What callers get


@pytest.mark.parametrize("face", FACES)
def test_the_answer_comes_with_the_whole_decision(face):
    given = answer("the answer", usage=usage(), id="gen-1", provider="Chutes", served_model="vendor/small-1")
    sink, made = with_sink([failure("connect")], [given])
    with Router(made) as router:
        reply = ask(face, router, "hello", unit="u-17")
    decision = reply.decision
    assert decision is not None
    assert evolve(reply, decision=None) == given
    assert (decision.task, decision.unit, decision.path, decision.outcome) == ("chat", "u-17", "only", "answered")
    assert str(decision.served) == "direct/small"
    assert [step.plugin for step in decision.steps] == ["tasks", "rollout"]
    first, second = decision.attempts
    assert (first.outcome, failed(first).kind) == ("failed", "connect")
    assert first.usage is None
    assert (second.outcome, second.usage, second.id, second.provider) == ("answered", usage(), "gen-1", "Chutes")
    assert second.served_model == "vendor/small-1"
    assert second.started >= first.started + first.duration
    assert decision.duration is not None
    assert decision.duration >= second.started + second.duration
    assert ending(sink.events).decision is decision


@proves(11)
def test_both_faces_give_the_same_decision_for_the_same_script():
    script = [failure("server"), failure("rate_limit", retry_after=3.0)], [failure("bad_response"), answer("late")]

    def records(face):
        sink, made = with_sink(*script, models=("small", "large", "huge"))
        with Router(made) as router:
            decision = ask(face, router, "hello", unit=5, labels={"a": "b"}).decision
        return comparable(decision), [comparable(event) for event in sink.events]

    assert records("complete") == records("acomplete")


TIMES = {"request_id", "seed", "time", "started", "duration", "time_limit", "context", "decision"}


def comparable(record):
    """A record without its ids and times."""
    if isinstance(record, tuple):
        return tuple(comparable(one) for one in record)
    if attrs.has(type(record)):
        return {a.name: comparable(getattr(record, a.name)) for a in attrs.fields(type(record)) if a.name not in TIMES}
    return record


def test_explain_gives_the_same_decision_without_calling_anyone():
    backends = {"proxy": Scripted(), "direct": Scripted()}
    sink, gate = Collecting(), Gatekeeper()
    with Router(table(backends=backends, plugins={"sink": sink, "gate": gate})) as router:
        explained = router.explain("hello", unit=7)
        assert gate.given == []
        asked = router.complete("hello", unit=7).decision
    assert len(backends["proxy"].calls) == 1
    assert len(stories(sink.events)) == 1
    assert asked is not None
    assert (explained.candidates, explained.assignment, explained.steps) == (
        *(asked.candidates, asked.assignment, asked.steps),
    )
    assert explained.attempts == ()
    assert explained.outcome is None


def test_explain_takes_what_complete_takes():
    def by_label(request, candidates, ctx):
        assert not request.parameters
        return Selection(candidates[-1:], why=f"{request.labels['tenant']} {request.extra_body['a']}")

    asked = {"labels": {"tenant": "acme"}, "extra_body": {"a": 1}, "deadline": 5}
    with Router(config(plugins={"tenants": Selecting(by_label)})) as router:
        assert router.explain(**asked).steps == decided(router.complete("hello", **asked)).steps
        for messages, known, message in BAD_CALLS.values():
            with pytest.raises(BadRequest, match=f"^{message}"):
                router.explain(messages, **known)


def test_explain_raises_what_selection_raises_with_the_decision_so_far():
    nobody = Selecting(lambda *_: Selection((), why="not today"))
    with Router(config(plugins={"nobody": nobody})) as router:
        with pytest.raises(NoTarget, match="nobody left no target: not today") as raised:
            router.explain()
        with pytest.raises(BadRequest, match="unknown model"):
            router.explain(model="none")
    assert raised.value.decision is not None
    assert [step.plugin for step in raised.value.decision.steps] == ["tasks", "rollout", "nobody"]


@pytest.mark.parametrize("face", FACES)
def test_an_error_carries_decision_attempts_and_the_last_failure(face):
    last = failure("server", status=503)
    with Router(config([failure("connect")], [last, last])) as router, pytest.raises(AllTargetsFailed) as raised:
        ask(face, router, "hello")
    error = raised.value
    assert error.decision is not None
    assert error.decision.outcome == "failed"
    assert error.decision.why == str(error)
    assert [str(attempt.target) for attempt in error.attempts] == ["proxy/small", "direct/small", "direct/large"]
    assert isinstance(error.__cause__, AttemptFailed)
    assert error.__cause__.failure == last


# What sinks see


@pytest.mark.parametrize("face", FACES)
def test_every_ending_yields_one_event_for_each_beginning(face):
    endings = {
        "answered": ([], []),
        "answered after a failure": ([failure("connect")], []),
        "failed": ([failure("connect")], [failure("connect")]),
        "refused": ([failure("bad_request")], []),
        "broken": ([ValueError()], [ValueError()]),
    }
    for script in endings.values():
        sink, made = with_sink(*script)
        with Router(made) as router:
            try:
                ask(face, router, "hello")
            except RouteError as error:
                assert error.decision is not None  # noqa: PT017 - either end is fine here
        story(sink.events)


def test_events_are_frozen_and_what_is_unknown_is_none():
    sink, made = with_sink([failure("connect")], [answer()])
    with Router(made) as router:
        router.complete("hello")
    _, _, broken, _, answered, _ = story(sink.events)
    assert isinstance(broken, AttemptFinished)
    assert isinstance(answered, AttemptFinished)
    for event in sink.events:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(event, "task", "other")  # noqa: B010 - a type checker would refuse it too
        assert event.unit is None
    assert broken.usage is None
    assert answered.usage == Usage(input_tokens=None, output_tokens=None, cost=None, cost_source=None)
    assert (answered.time_to_first_token, answered.provider, answered.served_model, answered.inner) == (None,) * 4
    assert answered.failure is None


def test_a_refusal_in_selection_is_a_request_that_began_and_ended():
    sink, made = with_sink(models=("small",))
    with Router(made) as router, pytest.raises(BadRequest):
        router.complete("hello", model="unknown")
    started, _ = story(sink.events)
    assert isinstance(started, RequestStarted)
    assert started.path is None
    assert outcomes(sink.events) == ["failed"]


TENANT = ContextVar("TENANT", default="nobody")


@pytest.mark.parametrize("face", FACES)
def test_the_callers_context_variables_reach_events_and_the_backend(face):
    seen = []

    async def look(target, request, ctx):
        seen.append(TENANT.get())
        TENANT.set("changed by the backend")
        return answer()

    sink, made = with_sink([look, look])
    with Router(made) as router:
        for tenant in ("blue", "red"):
            token = TENANT.set(tenant)
            ask(face, router, "hello")
            assert TENANT.get() == tenant
            TENANT.reset(token)
    assert seen == ["blue", "red"]
    assert [event.context[TENANT] for event in sink.events] == ["blue"] * 4 + ["red"] * 4


# The faces


def test_the_synchronous_face_refuses_to_block_a_running_loop():
    sink, made = with_sink()

    async def main():
        with pytest.raises(UsageError, match=r"running event loop.*acomplete"):
            router.complete("hello")
        with pytest.raises(UsageError, match=r"running event loop.*aclose"):
            router.close()
        with pytest.raises(UsageError, match=r"running event loop.*async with"), Router(made):
            raise AssertionError("the block was entered")
        return await router.acomplete("hello")

    with Router(made) as router:
        assert asyncio.run(main()).text == "fine"
    assert len(stories(sink.events)) == 1


def test_a_coroutine_that_is_never_awaited_is_no_request():
    sink, made = with_sink()
    with Router(made) as router:
        router.acomplete("hello").close()
        assert router.sink_reports()[0].emitted == 0
    assert sink.events == []


def test_one_router_serves_many_threads_and_loops_at_once():
    sink, made = with_sink()
    ready = threading.Barrier(8)

    def work(number):
        ready.wait(10)
        if number % 2:
            return [decided(router.complete("hello", unit=number)) for _ in range(10)]

        async def main():
            return await asyncio.gather(*[router.acomplete("hello", unit=number) for _ in range(2)])

        return [decided(reply) for _ in range(5) for reply in asyncio.run(main())]

    with Router(made) as router, ThreadPoolExecutor(8) as pool:
        decisions = [decision for found in pool.map(work, range(8)) for decision in found]
    assert len({decision.request_id for decision in decisions}) == 80
    assert {request_id: events[-1].unit for request_id, events in stories(sink.events).items()} == {
        decision.request_id: decision.unit for decision in decisions
    }


def test_many_requests_run_at_once_in_the_synchronous_face():
    together = threading.Barrier(6)

    async def meet(*_):
        await asyncio.to_thread(together.wait, 10)
        return answer()

    made = table(backends={"only": Scripted([meet] * 6)})
    with Router(made) as router, ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(router.complete, ["hello"] * 6))
    assert [reply.text for reply in replies] == ["fine"] * 6


def test_two_routers_in_one_process_know_nothing_of_each_other():
    one_sink, one = with_sink([answer("one")])
    two_sink, two = with_sink([answer("two")])
    with Router(one) as first, Router(two) as second:
        assert first.complete("hello").text == "one"
        assert second.complete("hello").text == "two"
        first.close()
        assert second.complete("hello").text == "fine"
    assert len(stories(one_sink.events)) == 1
    assert len(stories(two_sink.events)) == 2


# One deadline, on the real clock


async def returning_late(target, request, ctx):
    """Takes its cancellation, and then all the time it wants."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await swallowing_cancellation()
        return answer("too late")


@attrs.define(eq=False)
class StartsForEver(Scripted):
    @hookimpl
    async def start_backend(self, name):
        await for_ever()


@proves(3)
@pytest.mark.parametrize("hang", [for_ever, swallowing_cancellation, returning_late, "in start_backend"])
@pytest.mark.parametrize("face", FACES)
def test_the_error_is_there_by_the_deadline_whatever_the_backend_does(hang, face, caplog):
    sink = Collecting()
    hanging = StartsForEver() if isinstance(hang, str) else Scripted([hang] * 4)
    router = Router(table(("small",), {"only": hanging}, plugins={"sink": sink}))

    async def timed():
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as raised:
            await router.acomplete("hello", deadline=0.1)
        return time.monotonic() - began, raised.value

    if face == "complete":
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as raised:
            router.complete("hello", deadline=0.1)
        took, error = time.monotonic() - began, raised.value
    else:
        took, error = asyncio.run(timed())
    router.close()
    assert 0.1 <= took <= 0.1 + LATE
    assert error.decision is not None
    (attempt,) = error.attempts
    assert attempt.failure is not None
    assert (attempt.failure.kind, attempt.failure.breaker) == ("timeout", "neutral")
    story(sink.events)


@pytest.mark.parametrize("face", FACES)
def test_a_hanging_backend_leaves_time_for_the_next(face):
    made = table(
        ("small",),
        {"hanging": Scripted([for_ever]), "direct": Scripted([answer("saved")])},
        router={"attempt_timeout": 0.05},
    )
    with Router(made) as router:
        reply = ask(face, router, "hello")
    assert reply.text == "saved"
    came = failed(decided(reply).attempts[0])
    assert (came.kind, came.breaker) == ("timeout", "counts")


def test_a_backend_that_ignores_its_cancellation_is_closed_with_a_word(caplog):
    made = table(("small",), {"deaf": Scripted([swallowing_cancellation])}, router={"attempt_timeout": 0.05})
    with Router(made) as router, pytest.raises(AllTargetsFailed):
        router.complete("hello")
    assert "plugin deaf" in caplog.text
    assert "closed where it stood" in caplog.text


# Backends that misbehave


class Impatient(BaseException):
    """What no `except Exception` catches."""


async def cancelling_itself(*_):
    raise asyncio.CancelledError("secret prompt")


async def returning_text(*_):
    return "secret prompt"


async def returning_nothing(*_):
    return None


MISBEHAVIOUR = {
    "raises": ValueError("secret prompt"),
    "exits": SystemExit("secret prompt"),
    "raises what is no Exception": Impatient("secret prompt"),
    "raises an error of ours": BadRequest("secret prompt"),
    "cancels itself": cancelling_itself,
    "returns text": returning_text,
    "returns nothing": returning_nothing,
}


@row(41)
@pytest.mark.parametrize("misbehave", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
@pytest.mark.parametrize("face", FACES)
def test_a_backend_plugin_that_misbehaves_is_left_for_another_and_no_provider_is_blamed(misbehave, face, caplog):
    sink, made = with_sink([misbehave], [answer("saved")])
    with Router(made) as router:
        reply = ask(face, router, "hello")
        assert ask(face, router, "hello").text == "fine"
    assert reply.text == "saved"
    assert reply.decision is not None
    came = reply.decision.attempts[0].failure
    assert came is not None
    assert (came.kind, came.blames, came.breaker) == ("plugin", "backend", "neutral")
    assert "plugin proxy: complete" in came.message
    assert "secret prompt" not in str(sink.events) + caplog.text
    assert len(stories(sink.events)) == 2


@row(41)
@pytest.mark.parametrize("misbehave", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_a_backend_plugin_that_misbehaves_where_there_is_no_other_is_named(misbehave):
    with Router(table(backends={"only": Scripted([misbehave])})) as router, pytest.raises(PluginError) as raised:
        router.complete("hello")
    assert (raised.value.plugin, raised.value.hook) == ("only", "complete")
    assert "secret prompt" not in str(raised.value)


@attrs.define(eq=False)
class FailsToStart(Scripted):
    error: BaseException = attrs.Factory(lambda: ValueError("secret prompt"))
    starts: int = 0

    @hookimpl
    async def start_backend(self, name):
        self.starts += 1
        if self.starts == 1:
            raise self.error


@row(41)
@pytest.mark.parametrize("error", [ValueError("secret prompt"), SystemExit("secret prompt"), Impatient()])
@pytest.mark.parametrize("face", FACES)
def test_a_backend_that_cannot_start_is_left_for_another_and_started_again_next_time(error, face):
    broken = FailsToStart(error=error)

    async def twice():
        return [await router.acomplete("hello") for _ in range(2)]

    with Router(table(("small",), {"broken": broken, "direct": Scripted()})) as router:
        if face == "complete":
            first, second = (router.complete("hello") for _ in range(2))
        else:
            first, second = asyncio.run(twice())
    assert str(decided(first).served) == "direct/small"
    came = failed(decided(first).attempts[0])
    assert (came.kind, came.delivery) == ("plugin", "not_sent")
    assert "start_backend" in came.message
    assert str(decided(second).served) == "broken/small"
    assert broken.starts == 2


def test_the_only_backend_that_cannot_start_is_named_with_its_hook():
    with Router(table(("small",), {"broken": FailsToStart()})) as router, pytest.raises(PluginError) as raised:
        router.complete("hello")
    assert (raised.value.plugin, raised.value.hook) == ("broken", "start_backend")


def test_a_backend_that_cannot_start_may_say_why():
    broken = FailsToStart(error=AttemptFailed(failure("connect")))
    with Router(table(("small",), {"broken": broken, "direct": Scripted()})) as router:
        attempts = decided(router.complete("hello")).attempts
    assert [a.failure.kind if a.failure else None for a in attempts] == ["connect", None]


@row(41)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("hook", ["select_model", "admit"])
def test_a_decision_plugin_that_exits_ends_one_request_and_not_the_router(face, hook):
    def leave(*_):
        raise SystemExit(3)

    leaving = {"select_model": Selecting, "admit": Gatekeeper}[hook](leave)
    sink, made = with_sink()
    made["plugins"]["leaving"] = leaving
    with Router(made) as router:
        for _ in range(2):
            with pytest.raises(PluginError, match=f"plugin leaving: {hook} raised SystemExit"):
                ask(face, router, "hello")
    assert len(stories(sink.events)) == 2


# Cancellation


async def several_steps(*_):
    for _ in range(3):
        await asyncio.sleep(0)
    return answer()


@attrs.define(eq=False)
class SlowToStart(Scripted):
    @hookimpl
    async def start_backend(self, name):
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@row(36)
@pytest.mark.parametrize("script", [[several_steps], [failure("not_found"), several_steps]])
def test_cancelling_at_any_await_gives_cancellederror_and_whole_records(script):
    ends: list[str | None] = []
    while "answered" not in ends:
        iterations = len(ends)
        assert iterations < 40
        sink, gate = Collecting(), Gatekeeper()
        made = table(backends={"only": SlowToStart(script)}, plugins={"sink": sink, "gate": gate})

        async def main(iterations=iterations, made=made):
            async with Router(made) as router:
                request = asyncio.create_task(router.acomplete("hello"))
                for _ in range(iterations):
                    await asyncio.sleep(0)
                request.cancel()
                try:
                    return decided(await request).outcome
                except asyncio.CancelledError:
                    assert request.cancelled()
                    return "cancelled"
                finally:
                    for _ in range(3):
                        await asyncio.sleep(0)  # a backend that is being opened is not the request's alone
                    assert len(asyncio.all_tasks()) == 1, "nothing of the request is left"

        end = asyncio.run(main())
        ends.append(end)
        gate.check()
        if sink.events:
            assert ending(sink.events).outcome == end
            assert [outcome for outcome in gate.outcomes if outcome][-1:] == ([end] if gate.given else [])
            failures = [event.failure for event in sink.events if isinstance(event, AttemptFinished) and event.failure]
            assert {one.kind for one in failures} <= {"not_found"}, "a cancellation is no failure of anyone"
        else:
            assert iterations == 0
    assert ends.count("cancelled") > 4


async def clumsy(*_):
    try:
        await for_ever()
    finally:
        raise OSError("while it was released")


@row(36)
def test_a_backend_that_fails_while_it_is_cancelled_is_not_followed_by_another():
    sink, made = with_sink([clumsy, answer()])

    async def main():
        async with Router(made) as router:
            request = asyncio.create_task(router.acomplete("hello"))
            await asyncio.sleep(0.01)
            request.cancel()
            await asyncio.wait([request])
            assert request.cancelled()

    asyncio.run(main())
    story(sink.events)
    assert outcomes(sink.events) == ["cancelled", "cancelled"]


def test_a_backend_that_fails_when_its_time_is_up_has_timed_out():
    made = table(backends={"one": Scripted([clumsy]), "two": Scripted()}, router={"attempt_timeout": 0.02})
    with Router(made) as router:
        first, second = decided(router.complete("hello")).attempts
    assert (failed(first).kind, second.outcome) == ("timeout", "answered")


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_a_backend_that_raises_what_would_end_it_is_at_fault_itself(error):
    made = table(backends={"one": Scripted([error()]), "two": Scripted()})
    with Router(made) as router:
        first, second = decided(router.complete("hello")).attempts
    assert (failed(first).kind, second.outcome) == ("plugin", "answered")


def test_a_router_inside_a_backend_of_another_tries_no_more_when_that_is_to_end():
    inner = Router(table(backends={"first": Scripted([for_ever]), "second": (second := Scripted())}))

    async def by_another(*_):
        return await inner.acomplete("hello")

    outer = table(backends={"outer": Scripted([by_another])}, router={"attempt_timeout": 0.02, "max_attempts": 1})
    with Router(outer) as router, pytest.raises(AllTargetsFailed) as caught:
        router.complete("hello")
    assert failed(caught.value.attempts[0]).kind == "timeout"
    assert second.calls == []
    inner.close()


def test_a_caller_that_times_out_cancels_the_request():
    sink, made = with_sink([for_ever])

    async def main():
        async with Router(made) as router:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await router.acomplete("hello")

    asyncio.run(main())
    story(sink.events)
    assert outcomes(sink.events) == ["cancelled", "cancelled"]


def test_a_request_whose_coroutine_is_dropped_is_recorded_as_abandoned():
    sink, made = with_sink([for_ever])
    gate = Gatekeeper()
    made["plugins"]["gate"] = gate

    async def main(router):
        request = router.acomplete("hello")
        request.send(None)
        request.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing of the request is left"

    with Router(made) as router:
        asyncio.run(main(router))
    story(sink.events)
    assert outcomes(sink.events) == ["abandoned", "abandoned"]
    assert gate.outcomes == ["abandoned"]


def test_a_request_whose_loop_is_gone_is_recorded_as_abandoned():
    sink, made = with_sink([for_ever])
    with Router(made) as router:
        loop = asyncio.new_event_loop()

        async def begin():
            request = router.acomplete("hello")
            request.send(None)
            return request

        request = loop.run_until_complete(begin())
        loop.close()
        request.close()
        del request
        gc.collect()
    story(sink.events)
    assert outcomes(sink.events) == ["abandoned", "abandoned"]


# Failures that are none


@pytest.mark.parametrize("wrong", ["boom", None, 7])
def test_what_is_no_failure_is_the_backends_own_fault(wrong):
    async def fails(*_):
        raise AttemptFailed(wrong)

    config = table(["small"], {"proxy": Scripted([fails]), "direct": Scripted()})
    with Router(config) as router:
        decision = decided(router.complete("hello"))
    assert [str(attempt.target) for attempt in decision.attempts] == ["proxy/small", "direct/small"]
    assert failed(decision.attempts[0]).kind == "plugin"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "soon", 10**400])
def test_a_failure_asks_for_a_wait_that_there_can_be(seconds):
    with pytest.raises(ValueError, match="retry_after: a number of seconds"):
        Failure.of("rate_limit", "slow down", retry_after=seconds)
