"""The demo's two servers: one speaks as OpenRouter does, one as the LiteLLM proxy in front of it."""

from collections.abc import Callable
from threading import Lock

from pointsman.testing import (
    Answer,
    Hang,
    ReceivedRequest,
    Reply,
    ScriptedServer,
    free_tier_rate_limit,
    openrouter_answer,
    openrouter_usage,
    relayed,
)

FREE_REQUESTS = 6
"""What the account's free tier allows the demo. The real one allows 20 a minute."""

PRICES = {"anthropic/claude-3-haiku": (0.25, 1.25), "meta-llama/llama-3.1-70b-instruct": (0.40, 0.40)}
"""US dollars for a million tokens in and out."""

SECONDS = {"anthropic/claude-3-haiku": 0.15, "z-ai/glm-4.5-air:free": 0.25, "openai/gpt-oss-20b:free": 0.12}
"""How long a model takes at pace 1."""


class OpenRouterStandIn:
    """OpenRouter's side of the story: one account, whose free tier runs out."""

    def __init__(self, answer_to: Callable[[str], str], pace: float) -> None:
        self._answer_to = answer_to
        self._pace = pace
        self._lock = Lock()
        self._free_left = FREE_REQUESTS

    def reply(self, model: str, prompt: str) -> Reply:
        """The answer of `model`, or the refusal of the free tier."""
        if model.endswith(":free"):
            with self._lock:
                self._free_left -= 1
                if self._free_left < 0:
                    return free_tier_rate_limit()
        text = self._answer_to(prompt)
        usage = openrouter_usage(text)
        price_in, price_out = PRICES.get(model, (0.0, 0.0))
        usage["cost"] = (usage["prompt_tokens"] * price_in + usage["completion_tokens"] * price_out) / 1e6
        return openrouter_answer(model, text, usage=usage, delay=SECONDS.get(model, 0.2) * self._pace)

    def direct(self, request: ReceivedRequest) -> Answer:
        """A request that came straight here."""
        return self.reply(str(request.model), prompt_of(request))


class ProxyStandIn:
    """The proxy's side: relays to OpenRouter, until what the demo was told befalls it."""

    def __init__(self, upstream: OpenRouterStandIn, fate: str) -> None:
        self._upstream = upstream
        self._fate = fate
        self.half_way = False
        """Set by the show when the fate is to strike."""

    def answer(self, request: ReceivedRequest) -> Answer:
        """What the proxy makes of a request now."""
        if self.half_way and self._fate == "502":
            return Reply(502, body=b"<html><h1>502 Bad Gateway</h1></html>", headers={"content-type": "text/html"})
        if self.half_way and self._fate == "hangs":
            return Hang()
        alias = str(request.model)
        upstream = self._upstream.reply(alias.removeprefix("openrouter/"), prompt_of(request))
        reply = relayed(alias, upstream)
        return Reply(reply.status, reply.json, headers=reply.headers, delay=upstream.delay)


def prompt_of(request: ReceivedRequest) -> str:
    """What the user said in a chat request."""
    return request.json["messages"][-1]["content"]


def strike(proxy: ProxyStandIn, server: ScriptedServer, fate: str) -> None:
    """Half-way: lets the proxy's fate come about."""
    proxy.half_way = True
    if fate == "dies":
        server.stop()
