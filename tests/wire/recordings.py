"""The recorded traffic of OpenRouter and of LiteLLM proxies: what was asked, what came, what it is expected to mean.

The recordings are not part of this project; a test module that needs them asks `are_here` first.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from pointsman.chat import Completion
from pointsman.errors import Failure

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "wire"
MISSING = "the recorded traffic (../shared/wire) is not here"

_HOP_BY_HOP = {"content-encoding", "content-length", "transfer-encoding", "connection"}
_EMPTY = hashlib.sha256(b"").hexdigest()


def are_here() -> bool:
    return (RECORDINGS / "EXPECTED.json").is_file()


@cache
def expectations(*, stream: bool) -> dict[str, dict[str, Any]]:
    """What each whole answer, or each streamed one, is expected to mean."""
    if not are_here():
        return {}
    everything = json.loads((RECORDINGS / "EXPECTED.json").read_text())
    return {name: one for name, one in everything.items() if not name.startswith("_") and one["stream"] == stream}


@frozen(kw_only=True)
class Recording:
    """One exchange."""

    backend: str
    """The plugin that speaks with the server."""
    asked: dict[str, Any]
    """The body of the request; empty where it was none."""
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@cache
def recording(name: str) -> Recording:
    exchange = json.loads((RECORDINGS / name).read_text())
    asked, told = exchange["request"].get("body"), exchange["response"]
    headers = told["headers"].items() if isinstance(told["headers"], dict) else told["headers"]
    return Recording(
        backend="litellm_backend" if name.startswith("litellm_proxy/") else "openrouter_direct",
        asked=asked if isinstance(asked, dict) else {},
        status=told["status"],
        headers=[(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP],
        body=_body(told),
    )


def _body(told: dict[str, Any]) -> bytes:
    if "sse_lines" in told:
        return "\n".join(told["sse_lines"]).encode()
    text = told["body_text"] if "body" not in told else told["body"]
    # A stream's body is recorded as the text that it is, any other as the JSON that it holds.
    return text.encode() if isinstance(text, str) else json.dumps(text).encode()


def check_failure(got: Failure, expected: dict[str, Any], asked: dict[str, Any]) -> None:
    """The failure is what it is expected to be."""
    told = {key: getattr(got, key) for key in ("kind", "blames", "breaker", "status", "retry_after")}
    wanted = {key: expected[key] for key in told}
    if expected["outcome"] == "failure" and expected["status"] == 408 and "timeout" in asked:
        # The failure table says more than the expectation: a limit that we sent ourselves is nobody's strike.
        wanted |= {"kind": "timeout", "breaker": "neutral"}
    assert told == wanted


def check_answer(got: Completion, expected: dict[str, Any]) -> None:
    """The answer, whole or what had arrived of it, is what it is expected to be."""
    assert sha256(got.text) == (expected["text_sha256"] or _EMPTY)
    assert len(got.text) == expected["text_chars"]
    assert got.text.startswith(expected["text_head"])
    assert len(got.reasoning) == (expected["reasoning_chars"] or 0)
    assert len(got.tool_calls) == len(expected["tool_calls"])
    for call, wanted_call in zip(got.tool_calls, expected["tool_calls"], strict=True):
        assert call.name == wanted_call["name"]
        if wanted_call["arguments_sha256"] is not None:
            assert sha256(call.arguments) == wanted_call["arguments_sha256"]
            assert call.is_finished == wanted_call["arguments_valid_json"]
    for key in ("finish_reason", "id", "provider", "served_model"):
        if expected[key] is not None:
            assert getattr(got, key) == expected[key], key
    ambiguous = expected.get("why", "").startswith("ambiguous:")
    for key in ("input_tokens", "output_tokens", *(() if ambiguous else ("cost", "cost_source"))):
        assert getattr(got.usage, key) == expected[key], key


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
