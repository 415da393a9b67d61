"""One request through a real router and real backends, and what must be true whatever the first server does."""

import asyncio
import logging
import pickle
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from attrs import define, field, frozen

from pointsman import Router
from pointsman.chat import Completion
from pointsman.decision import Decision
from pointsman.errors import Failure, RouteError
from pointsman.events import AttemptFinished
from pointsman.settings import Secret
from pointsman.testing import ReceivedRequest, Reply, ScriptedServer
from pointsman.testing.replies import SSE, head
from tests.core.support import Collecting, RequestEvent, decided, failed, stories
from tests.support.canaries import KEY, PROMPT, assert_clean, everything_shown
from tests.support.streaming import nothing_left
from tests.support.wires import WITHIN, event

LIMIT = 0.25
"""Seconds for connecting, or for an attempt, in the tests that wait for them."""

LATE = 0.5
"""Seconds that a busy machine may add."""

FACES = ["complete", "acomplete", "stream", "astream"]
WHOLE = ["complete", "acomplete"]

in_every_face = pytest.mark.parametrize("face", FACES)
in_both_faces = pytest.mark.parametrize("face", WHOLE)
"""Of whole answers."""

ANSWER = "Kære Mette, fredag passer fint."
"""Of the good backend."""

BODY = b'{"id": "gen-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hej"}}]}'
"""A whole answer, for the faulty one to break."""

JSON_TYPE = {"content-type": "application/json"}
JSON_HEAD = head(200, JSON_TYPE | {"transfer-encoding": "chunked"})

Way = tuple[str, str, str, str]
"""A failure's kind, blame, breaker effect and delivery."""


@frozen(kw_only=True)
class Told:
    """What a caller, and the sinks, were told of one request."""

    completion: Completion | None
    error: RouteError | None
    events: list[RequestEvent]

    @property
    def decision(self) -> Decision:
        return decided(self.completion or self.error)

    @property
    def failure(self) -> Failure:
        """Why the first attempt failed."""
        return failed(self.decision.attempts[0])

    @property
    def way(self) -> Way:
        return self.failure.kind, self.failure.blames, self.failure.breaker, self.failure.delivery

    @property
    def took(self) -> float:
        """Seconds of the first attempt."""
        return self.decision.attempts[0].duration

    def moved_on(self, *ways: Way) -> None:
        """The faulty backend failed in one of these ways, and the good one answered."""
        assert self.completion is not None, self.error
        assert self.completion.text == ANSWER
        assert self.way in ways
        assert [(one.target.backend, one.outcome) for one in self.decision.attempts] == [
            ("faulty", "failed"),
            ("good", "answered"),
        ]

    def raised(self, cls: type[RouteError], *ways: Way) -> None:
        """The caller got exactly this error, and only the faulty backend was asked."""
        assert type(self.error) is cls, self.error or self.completion
        assert self.way in ways
        assert [one.target.backend for one in self.decision.attempts] == ["faulty"]


def well(request: ReceivedRequest) -> Reply | SSE:
    """The good answer, streamed if so asked for."""
    common = {"id": "gen-1", "model": "vendor/model"}
    if request.streamed:
        return SSE([event(ANSWER[:9]), event(ANSWER[9:]), event(None, "stop")])
    message = {"role": "assistant", "content": ANSWER}
    return Reply(200, common | {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


@define(eq=False, kw_only=True)
class Scene:
    """A faulty backend before a good one, each with a model of its own, and a caller with secrets."""

    faulty: ScriptedServer
    good: ScriptedServer
    ca: trustme.CA
    ca_file: Path
    log: pytest.LogCaptureFixture
    url: str = field(default=attrs.Factory(lambda self: self.faulty.url, takes_self=True))
    """Where the faulty backend's server is."""
    requests: Callable[[], int] = field(
        default=attrs.Factory(lambda self: lambda: len(self.faulty.requests), takes_self=True)
    )
    """How many requests that server saw."""
    settings: dict[str, Any] = field(factory=dict)
    """Of the faulty backend."""
    contexts: tuple[int | None, int | None] = (None, None)
    """Tokens that the faulty and the good model take."""
    router: dict[str, Any] = field(factory=dict)
    plugins: dict[str, object] = field(factory=dict)
    sink: Collecting = field(factory=Collecting)
    prompt: str = PROMPT
    patience: float = 0.0
    """Seconds that a thread which cannot be interrupted keeps its task waiting."""

    def __attrs_post_init__(self) -> None:
        self.faulty.play(())
        self.good.play(well)

    def new_router(self) -> Router:
        common = {"ca_file": str(self.ca_file), "connect_timeout": 5, "api_key": Secret(KEY)}
        limits = {"attempt_timeout": 5, "first_token_timeout": 5, "idle_timeout": 5, "deadline": 20}
        faulty = {"use": "openai_compatible", "base_url": self.url, **common, **self.settings}
        good = {"use": "openai_compatible", "base_url": self.good.url, **common}
        contexts = [{} if tokens is None else {"context": tokens} for tokens in self.contexts]
        return Router(
            {
                "router": limits | self.router,
                "plugins": {"faulty": faulty, "good": good, "sink": self.sink, **self.plugins},
                "models": {
                    "small": {"on": {"faulty": "vendor/small"}, **contexts[0]},
                    "large": {"on": {"good": "vendor/large"}, **contexts[1]},
                },
                "tasks": {"chat": {"models": ["small", "large"]}},
                "paths": {"only": ["faulty", "good"]},
            }
        )

    def ask(self, face: str) -> Told:
        """One request in this face."""
        (told,) = self.ask_again(face, 1)
        return told

    def ask_again(self, face: str, times: int) -> list[Told]:
        """So many requests one after the other, to one router."""
        self.log.set_level(logging.DEBUG)
        messages: list[Mapping[str, Any]] = [{"role": "user", "content": self.prompt}]
        ends: list[Completion | RouteError] = []

        def in_this_thread() -> None:
            with self.new_router() as router:
                for _ in range(times):
                    try:
                        if face == "complete":
                            ends.append(router.complete(messages))
                        else:
                            with router.stream(messages) as stream:
                                ends.append(stream.collect())
                    except RouteError as error:
                        ends.append(error)
                self._released(ends)

        async def in_a_loop() -> None:
            async with self.new_router() as router:
                for _ in range(times):
                    try:
                        if face == "acomplete":
                            ends.append(await router.acomplete(messages))
                        else:
                            async with router.astream(messages) as stream:
                                ends.append(await stream.collect())
                    except RouteError as error:
                        ends.append(error)
                await nothing_left(self.patience)
                await asyncio.to_thread(self._released, ends)

        if face.startswith("a"):
            asyncio.run(in_a_loop())
        else:
            in_this_thread()
        return self._told(ends)

    def _released(self, ends: list[Completion | RouteError]) -> None:
        """While the router is still open, only who answered has a connection left, for the next request."""
        answered = {
            one.target.backend
            for end in ends
            for one in decided(end).attempts
            if one.failure is None or one.failure.delivery == "answered"
        }
        for name, server in {"faulty": self.faulty, "good": self.good}.items():
            kept = int(name in answered)
            assert server.wait_for(lambda server=server, kept=kept: server.connected <= kept, WITHIN)

    def _told(self, ends: list[Completion | RouteError]) -> list[Told]:
        """Each request's end with its events, once all of it is whole and clean."""
        told: list[Told] = []
        by_request = stories(self.sink.events)
        assert set(by_request) == {decided(end).request_id for end in ends}
        for end in ends:
            events = by_request[decided(end).request_id]
            error = end if isinstance(end, RouteError) else None
            told.append(Told(completion=None if isinstance(end, RouteError) else end, error=error, events=events))
            assert events[-1].decision == decided(end)  # pyright: ignore[reportAttributeAccessIssue] - a RequestFinished
        sent = [e for e in self.sink.events if isinstance(e, AttemptFinished) and not _unsent(e)]
        assert self.requests() == sum(one.target.backend == "faulty" for one in sent)
        assert len(self.good.requests) == sum(one.target.backend == "good" for one in sent)
        self._clean(ends)
        return told

    def _clean(self, ends: list[Completion | RouteError]) -> None:
        """Neither key nor prompt stands in anything that is shown, logged or passed on."""
        assert_clean(self.log.text, *self.sink.events)
        for one in self.sink.events:
            assert_clean(attrs.asdict(one, filter=lambda attribute, _: attribute.name != "context"))
        for end in ends:
            if isinstance(end, RouteError):
                assert_clean(*everything_shown(end), pickle.dumps(end).decode("latin-1"))
            assert_clean(pickle.dumps(decided(end)).decode("latin-1"))


def _unsent(finished: AttemptFinished) -> bool:
    return finished.failure is not None and finished.failure.delivery == "not_sent"


@contextmanager
def over_tls(scene: Scene, certificate: trustme.LeafCert) -> Iterator[ScriptedServer]:
    """The faulty backend's server shows this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with ScriptedServer(well, ssl_context=context) as server:
        scene.url = server.url
        scene.requests = lambda: len(server.requests)
        yield server
