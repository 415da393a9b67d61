"""What holds for callers of a real router: what is theirs stays as it is, and what they see hangs together."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman import Router
from pointsman.errors import AttemptFailed, RouteError
from pointsman.hookspecs import BackendInvocation, FallbackDecision, Gate, ModelSelection, hookimpl
from pointsman.loading import from_config
from pointsman.snapshot import Snapshot
from pointsman.testing import SSE, Drop, ReceivedRequest, Reply, ScriptedServer
from tests.core.scenarios import scenarios
from tests.core.support import Collecting, answer, decided, failure, stories, table
from tests.faults.table import proves
from tests.support.wires import event

several = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The server is shared: each example begins with a new script."""


# A real server

MESSAGE = {"role": "assistant", "content": "Hej"}
WELL = Reply(200, {"id": "gen-1", "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}]})

REPLIES = {
    "well": WELL,
    "server": Reply(500, {"error": {"message": "no", "code": 500}}),
    "gone": Reply(404, {"error": {"message": "no such model", "code": 404}}),
    "later": Reply(429, {"error": {"message": "slow down", "code": 429}}, headers={"retry-after": "30"}),
    "key": Reply(401, {"error": {"message": "no key", "code": 401}}),
    "wrong": Reply(400, {"error": {"message": "wrong", "code": 400}}),
    "page": Reply(502, body=b"<html>"),
    "garbage": Reply(200, body=b"{"),
    "drop": Drop(),
    "reset": Drop(reset=True),
}
"""What a server does, in words."""


def streamed(reply: Any) -> Any:
    """The same for a stream."""
    return SSE([event("Hej"), event(None, "stop")]) if reply is WELL else reply


def router_to(server: ScriptedServer, sink: Collecting, **settings: Any) -> Router:
    backend = {"use": "openai_compatible", "base_url": server.url, "connect_timeout": 5}
    plugins = {"sink": sink, "retries": {"pause": 0.001}, "breaker": {}}
    return Router(table(backends={"proxy": backend, "direct": backend}, plugins=plugins, router=settings))


def ask(router: Router, face: str, *arguments: Any, **known: Any) -> object:
    """A completion or an error, however it is asked for."""

    async def gather() -> object:
        async with router.astream(*arguments, **known) as stream:
            async for _ in stream:
                pass
            return stream.completion

    try:
        if face == "complete":
            return router.complete(*arguments, **known)
        if face == "acomplete":
            return asyncio.run(router.acomplete(*arguments, **known))
        if face == "astream":
            return asyncio.run(gather())
        with router.stream(*arguments, **known) as stream:
            list(stream)
            return stream.completion
    except RouteError as error:
        return error


FACES = st.sampled_from(["complete", "acomplete", "stream", "astream"])


@proves(1, 2)
@several
@given(
    words=st.lists(st.sampled_from(sorted(REPLIES)), max_size=8),
    faces=st.lists(FACES, min_size=1, max_size=3),
    budget=st.integers(1, 5),
)
def test_a_server_counts_as_many_requests_as_are_recorded(server, words, faces, budget):
    """Property 2: requests that the server counted = attempts recorded <= the attempt budget. On a real one."""
    left, sink = iter(words), Collecting()

    def play(request: ReceivedRequest) -> Any:
        reply = REPLIES[next(left, "well")]
        return streamed(reply) if request.streamed else reply

    server.play(play)
    with router_to(server, sink, max_attempts=budget, deadline=5) as router:
        ends = [ask(router, face, "Hej") for face in faces]
    attempts = [decided(end).attempts for end in ends]  # pyright: ignore[reportArgumentType] - one or the other
    assert len(stories(sink.events)) == len(faces)
    assert sum(len(one) for one in attempts) == len(server.requests)
    assert all(len(one) <= budget for one in attempts)
    assert [one.target.name for many in attempts for one in many] == server.models


# What the caller passed

texts = st.text("aæ\U0001f682 \n", max_size=5)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json, max_size=3)
parts = st.fixed_dictionaries({"type": st.just("text"), "text": texts}, optional={"cache_control": objects})
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": texts | st.lists(parts, max_size=2)},
        optional={"name": texts, "provider": objects, "reasoning_details": st.lists(objects, max_size=2)},
    ),
    min_size=1,
    max_size=4,
)
tools = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("function"), "function": st.fixed_dictionaries({"name": texts, "parameters": objects})}
    ),
    min_size=1,
    max_size=2,
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "tools": tools,
        "stop": st.lists(texts, max_size=2),
        "response_format": objects,
        "stream_options": st.dictionaries(st.sampled_from(["include_usage", "x"]), st.booleans()),
        "metadata": objects,
        "extra_body": st.dictionaries(st.sampled_from(["provider", "usage", "stream_options", "x"]), objects),
        "labels": st.dictionaries(texts, texts, max_size=2),
    },
)


@proves(14)
@several
@given(messages=messages, known=parameters, face=FACES, first=st.sampled_from(sorted(REPLIES)))
def test_what_a_caller_passes_is_never_changed(server, messages, known, face, first):
    """Property 14: the caller's own objects are never changed: messages, parameters, labels, bodies."""
    left = iter([first])

    def play(request: ReceivedRequest) -> Any:
        reply = REPLIES[next(left, "well")]
        return streamed(reply) if request.streamed else reply

    server.play(play)
    before = deepcopy((messages, known))
    with router_to(server, Collecting(), deadline=5) as router:
        ask(router, face, messages, **known)
    assert server.requests
    assert repr((messages, known)) == repr(before)


@proves(14)
@settings(max_examples=40, deadline=None)
@given(scenarios())
def test_a_configuration_is_never_changed(scenario):
    """Property 14: the caller's own objects are never changed: the table of a configuration."""
    before = deepcopy(scenario.config)
    scenario.run()
    assert repr(scenario.config) == repr(before)


# The configuration that a request began with


@define(eq=False)
class Watching(BackendInvocation, ModelSelection, FallbackDecision, Gate):
    """Notes which snapshot each of its hooks is shown, and for which request; then changes the router's."""

    name: str
    told: "Told"

    @hookimpl
    def select_model(self, request, candidates, ctx):
        self.told.saw(request, ctx.snapshot)

    @hookimpl
    def decide_fallback(self, request, failure, state):
        self.told.saw(request, state.ctx.snapshot)

    @hookimpl
    async def complete(self, target, request, ctx):
        self.told.served(request, self)
        await asyncio.sleep(0)
        self.told.reload()
        if self.told.fails():
            raise AttemptFailed(failure("server"))
        return answer()


@define(eq=False)
class Told:
    """Snapshots in turn, one for each reload, and what requests saw of them."""

    ends: Iterator[bool]
    reloads: Iterator[bool]
    snapshots: list[Snapshot] = field(factory=list, init=False)
    seen: dict[object, set[Snapshot]] = field(factory=lambda: defaultdict(set), init=False)
    router: Router = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.router = Router(self.new())

    def new(self) -> Snapshot:
        backends = {name: Watching(name, self) for name in ("proxy", "direct")}
        snapshot = from_config(table(backends=backends))
        self.snapshots.append(snapshot)
        return snapshot

    def saw(self, request: Any, snapshot: Snapshot) -> None:
        self.seen[request.unit].add(snapshot)

    def served(self, request: Any, backend: Watching) -> None:
        (owner,) = [one for one in self.snapshots if any(plugin.instance is backend for plugin in one.plugins)]
        self.saw(request, owner)

    def fails(self) -> bool:
        return next(self.ends, False)

    def reload(self) -> None:
        """As a changed file does it: the new snapshot takes the place of the old one in one step."""
        if next(self.reloads, False):
            self.router._engine.use(self.new())


@proves(10)
@settings(max_examples=40, deadline=None)
@given(
    ends=st.lists(st.booleans(), max_size=12),
    reloads=st.lists(st.booleans(), max_size=6),
    callers=st.integers(1, 6),
)
def test_each_request_sees_the_configuration_that_it_began_with(ends, reloads, callers):
    """Property 10: each request sees one configuration snapshot: in every hook, and in who is called."""
    told = Told(iter(ends), iter(reloads))

    async def main() -> None:
        async with told.router as router:
            for number in range(3):
                current = router.snapshot
                asking = [router.acomplete("?", unit=f"{number}/{caller}") for caller in range(callers)]
                await asyncio.gather(*asking, return_exceptions=True)
                assert [told.seen.pop(f"{number}/{caller}") for caller in range(callers)] == [{current}] * callers

    asyncio.run(main())
    assert not told.seen
