"""Recorded traffic of OpenRouter and of LiteLLM proxies, replayed over loopback through the real backends.

The recordings are not part of this project; without them the module is skipped.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pointsman.chat import Completion, Request
from pointsman.errors import Failure
from pointsman.settings import Secret
from pointsman_litellm_backend import LiteLLMBackend
from pointsman_openrouter_direct import OpenRouterDirect
from tests.wire.loopback import Server, answer_to

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "wire"
HOP_BY_HOP = {"content-encoding", "content-length", "transfer-encoding", "connection"}
EMPTY = hashlib.sha256(b"").hexdigest()

if not (RECORDINGS / "EXPECTED.json").is_file():
    pytest.skip("the recorded traffic (../shared/wire) is not here", allow_module_level=True)


@cache
def expectations() -> dict[str, dict[str, Any]]:
    everything = json.loads((RECORDINGS / "EXPECTED.json").read_text())
    return {name: one for name, one in everything.items() if not name.startswith("_") and not one["stream"]}


def replay(name: str) -> Completion | Failure:
    recording = json.loads((RECORDINGS / name).read_text())
    told = recording["response"]
    body = told["body_text"].encode() if "body" not in told else json.dumps(told["body"]).encode()
    headers = told["headers"].items() if isinstance(told["headers"], dict) else told["headers"]
    server = Server(
        status=told["status"], headers=[(n, v) for n, v in headers if n.lower() not in HOP_BY_HOP], body=body
    )
    asked = recording["request"].get("body")
    asked = dict(asked) if isinstance(asked, dict) else {}
    model = asked.pop("model", "model")
    request = Request(messages=tuple(asked.pop("messages", ())), task="chat", parameters=asked)
    backend = LiteLLMBackend if name.startswith("litellm_proxy/") else OpenRouterDirect
    return answer_to(lambda url: backend(base_url=url, api_key=Secret("sk-test-key-000")), server, request, model=model)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def valid_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", expectations())
def test_a_recording_means_what_it_is_expected_to_mean(name: str) -> None:
    expected, got = expectations()[name], replay(name)
    if expected["outcome"] == "failure":
        assert isinstance(got, Failure), got
        told = {key: getattr(got, key) for key in ("kind", "blames", "breaker", "status", "retry_after")}
        wanted = {key: expected[key] for key in told}
        if expected["status"] == 408 and "timeout" in sent_parameters(name):
            # The failure table says more than the expectation: a limit that we sent ourselves is nobody's strike.
            wanted |= {"kind": "timeout", "breaker": "neutral"}
        assert told == wanted
        return
    assert isinstance(got, Completion), got
    assert sha256(got.text) == (expected["text_sha256"] or EMPTY)
    assert len(got.text) == expected["text_chars"]
    assert got.text.startswith(expected["text_head"])
    assert len(got.reasoning) == (expected["reasoning_chars"] or 0)
    assert len(got.tool_calls) == len(expected["tool_calls"])
    for call, wanted_call in zip(got.tool_calls, expected["tool_calls"], strict=True):
        assert call.name == wanted_call["name"]
        if wanted_call["arguments_sha256"] is not None:
            assert sha256(call.arguments) == wanted_call["arguments_sha256"]
            assert valid_json(call.arguments) == wanted_call["arguments_valid_json"]
    for key in ("finish_reason", "id", "provider", "served_model"):
        if expected[key] is not None:
            assert getattr(got, key) == expected[key], key
    ambiguous = expected.get("why", "").startswith("ambiguous:")
    for key in ("input_tokens", "output_tokens", *(() if ambiguous else ("cost", "cost_source"))):
        assert getattr(got.usage, key) == expected[key], key


def sent_parameters(name: str) -> dict[str, Any]:
    body = json.loads((RECORDINGS / name).read_text())["request"].get("body")
    return body if isinstance(body, dict) else {}
