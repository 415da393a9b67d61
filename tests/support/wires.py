"""The real backends between a router and two scripted servers, and streams as servers write and break them."""

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from pointsman import Router
from pointsman.decision import Decision
from pointsman.events import AttemptFinished
from pointsman.settings import Secret
from pointsman.testing import ScriptedServer
from pointsman.testing.replies import chunk, head, sse_event
from tests.support.canaries import KEY, PROMPT, assert_clean
from tests.support.streaming import World

SLUG = "z-ai/glm-4.5-air:free"
ALIAS = f"openrouter/{SLUG}"

WITHIN = 1.0
"""Seconds within which a server sees that nobody listens any more."""

STREAM = {"content-type": "text/event-stream"}
CHUNKED = head(200, STREAM | {"transfer-encoding": "chunked"})


@define(eq=False)
class Wires(World):
    """One model on the LiteLLM backend and, behind that, on OpenRouter's: each in front of a server of its own."""

    backends: Mapping[str, Any] = field(factory=dict[str, Any], init=False)
    litellm: ScriptedServer = field(factory=ScriptedServer)
    openrouter: ScriptedServer = field(factory=ScriptedServer)
    settings: dict[str, object] = field(factory=dict[str, object])
    """Of both backends."""
    prompt: str = PROMPT
    failures_are_whole: bool = False
    """Whether what fails is a whole response, so that its connection can be used again."""

    def new_router(self) -> Router:
        settings = {"api_key": Secret(KEY), **self.settings}
        return Router(
            {
                "router": dict(self.router),
                "plugins": {
                    "litellm_backend": {"base_url": self.litellm.url, **settings},
                    "openrouter_direct": {"base_url": f"{self.openrouter.url}/api/v1", **settings},
                    "sink": self.sink,
                    **self.plugins,
                },
                "models": {"glm": {"on": {"litellm_backend": ALIAS, "openrouter_direct": SLUG}}},
                "paths": {"proxied": ["litellm_backend", "openrouter_direct"]},
            }
        )

    def settled(self, decision: Decision) -> None:
        """Who did not answer is hung up on while the router is still open; who did is kept for the next request."""
        answered = {
            one.target.backend for one in decision.attempts if one.outcome == "answered" or self.failures_are_whole
        }
        for name, server in self.servers.items():
            kept = int(name in answered)
            assert server.wait_for(lambda server=server, kept=kept: server.connected <= kept, WITHIN)

    @property
    def servers(self) -> dict[str, ScriptedServer]:
        return {"litellm_backend": self.litellm, "openrouter_direct": self.openrouter}

    def check(self):
        events = super().check()
        assert_clean(*events)
        attempts = [event.target.backend for event in events if isinstance(event, AttemptFinished)]
        for name, server in self.servers.items():
            recorded = attempts.count(name)
            # A server reads what its clients left behind a moment after they did.
            server.wait_for(lambda server=server, recorded=recorded: len(server.requests) >= recorded, WITHIN)
            assert server.wait_for(lambda server=server: server.connected == 0, WITHIN)
            assert len(server.requests) == recorded, "every request is on record, and nothing else is"
        return events


def left_open() -> tuple[int, int]:
    """Threads, and descriptors where the system tells."""
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir()) if sys.platform == "linux" else 0
    return threading.active_count(), descriptors


def more_is_open(before: tuple[int, int]) -> bool:
    """Whether something is left that was not there before. What an earlier test left may have gone meanwhile."""
    return any(now > then for now, then in zip(left_open(), before, strict=True))


def event(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event of an answer, of OpenRouter or of a proxy before it."""
    # Behind a proxy a second role beside content would be another answer's.
    delta = {"role": "assistant", "content": ""} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": finish}
    common = {"id": "gen-1", "model": SLUG, "object": "chat.completion.chunk", "created": 1790000000}
    return common | {"choices": [choice]} | more


def error_event(code: object = 502, message: str = "Provider returned error", **more: Any) -> dict[str, Any]:
    """An error in the middle of a stream."""
    return event(None, "error") | {"error": {"code": code, "message": message}} | more


def chunked(*events: Any, closed: bool = True) -> bytes:
    """A response as bytes: these events, each in a chunk of its own, and the last chunk unless it is left open."""
    return CHUNKED + b"".join(chunk(sse_event(one)) for one in events) + (chunk(b"") if closed else b"")


DONE = b"data: [DONE]\n\n"
