"""The reference system in a test: the Friday configuration between the real proxy and a scripted OpenRouter."""

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from attrs import define, field, frozen

from pointsman import Completion, Router
from pointsman.decision import AttemptRecord, Decision
from pointsman.events import Event
from pointsman.hookspecs import MetricEmission, hookimpl
from pointsman.settings import Secret
from pointsman.targets import Target
from pointsman.testing import Script, ScriptedServer
from tests.acceptance.calls import CALLS, HALF_WAY, PATHS, Call
from tests.acceptance.openrouter import said
from tests.support.litellm_proxy import LiteLLMProxy

CONFIG = Path(__file__).parents[2] / "examples" / "friday" / "pointsman.toml"

PROXY, DIRECT = "litellm_backend", "openrouter_direct"
BACKENDS = {"proxied": PROXY, "direct": DIRECT}

FIRST_CHOICE = {
    "lead-analysis": "claude-3-haiku",
    "email-draft": "glm-4.5-air-free",
    "complex-reasoning": "glm-4.5-air-free",
}

DEADLINE, GRACE = 20.0, 0.05
"""Seconds for one call, unless a test gives fewer, and how late its answer may be."""


@define(eq=False)
class Watcher(MetricEmission):
    """A sink that keeps what it is told."""

    events: list[Event] = field(factory=list[Event], init=False)

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        self.events.append(event)


@frozen
class Friday:
    """The proxy, OpenRouter as the direct path reaches it, and routers between them."""

    proxy: LiteLLMProxy
    openrouter: ScriptedServer
    watcher: Watcher = field(factory=Watcher)

    def play(self, account: Script) -> None:
        """Both ways to OpenRouter lead to the same account."""
        self.proxy.upstream.play(account)
        self.openrouter.play(account)

    @contextmanager
    def router(
        self,
        *,
        proxy_url: str | None = None,
        proxy_key: str | None = None,
        rollout: Mapping[str, object] | None = None,
        inner_fallbacks: bool = False,
        **limits: float,
    ) -> Iterator[Router]:
        """The example's own configuration; only addresses, keys, limits and what a test is about are other ones."""
        table = tomllib.loads(CONFIG.read_text("utf-8"))
        table["router"] |= {"deadline": DEADLINE} | limits
        table["rollout"] |= rollout or {}
        plugins = table["plugins"]
        plugins[PROXY] |= {
            "base_url": proxy_url or self.proxy.url,
            "api_key": Secret(proxy_key or self.proxy.master_key),
            "inner_fallbacks": inner_fallbacks,
        }
        plugins[DIRECT] |= {"base_url": f"{self.openrouter.url}/api/v1", "api_key": Secret("sk-or-direct")}
        plugins["watcher"] = self.watcher
        with Router(table) as router:
            yield router

    def answer_all(self, router: Router, half_way: Callable[[], None] = lambda: None) -> list[Completion]:
        """The answers to the twelve calls, each of them in time. `half_way` is called after the sixth."""
        deadline = router.snapshot.config.router.deadline
        replies: list[Completion] = []
        for call in CALLS:
            began = monotonic()
            replies.append(router.complete(call.prompt, task=call.task, unit=call.unit))
            assert monotonic() - began <= deadline + GRACE
            if call.number == HALF_WAY:
                half_way()
        return replies

    def check(
        self, replies: Sequence[Completion], *, unrelayed: Collection[str] = (), paths: Mapping[int, str] = PATHS
    ) -> None:
        """What the decisions say is what happened: path, model, attempts, answer.

        `unrelayed` are the kinds of failure with which a request goes no further than the proxy.
        """
        for call, reply in zip(CALLS, replies, strict=True):
            decision = decision_of(reply)
            assert decision.path == paths[call.unit]
            assert decision.served == decision.attempts[-1].target
            assert reply.text == said(slug(decision.served), call.prompt)
        self.check_wire(replies, unrelayed=unrelayed)

    def check_wire(self, replies: Sequence[Completion], *, unrelayed: Collection[str] = ()) -> None:
        """Both ways carried exactly the attempts on record, each with the model that it is recorded for."""
        attempts = [attempt for reply in replies for attempt in decision_of(reply).attempts]
        assert self.openrouter.models == [slug(one.target) for one in attempts if one.target.backend == DIRECT]
        assert self.proxy.upstream.models == [
            slug(one.target) for one in attempts if one.target.backend == PROXY and how(one) not in unrelayed
        ]


def decision_of(reply: Completion) -> Decision:
    assert reply.decision
    return reply.decision


def slug(target: Target | None) -> str:
    """What OpenRouter calls the model, whichever way leads to it."""
    assert target
    return target.name.removeprefix("openrouter/")


def how(attempt: AttemptRecord) -> str:
    """How an attempt ended, in one word."""
    return attempt.failure.kind if attempt.failure else attempt.outcome


def story(decision: Decision) -> list[str]:
    """What was tried and what came of it: `litellm_backend/glm-4.5-air-free: rate_limit`, ..."""
    return [f"{attempt.target}: {how(attempt)}" for attempt in decision.attempts]


def stories(replies: Sequence[Completion]) -> dict[int, list[str]]:
    """The story of each of the twelve calls, by its number."""
    return {call.number: story(decision_of(reply)) for call, reply in zip(CALLS, replies, strict=True)}


def untroubled(call: Call, path: str | None = None) -> list[str]:
    """The story of a call that the first choice answers, on the user's path unless another is given."""
    return [f"{BACKENDS[path or PATHS[call.unit]]}/{FIRST_CHOICE[call.task]}: answered"]


def all_untroubled_but(troubles: Mapping[int, list[str]]) -> dict[int, list[str]]:
    """The stories of the twelve calls, where only these met with trouble."""
    return {call.number: untroubled(call) for call in CALLS} | dict(troubles)
