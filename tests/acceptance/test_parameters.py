"""What a caller asks of a model reaches it unchanged on both paths; what is only ours reaches nobody."""

from typing import Any

import pytest

from pointsman.testing import ReceivedRequest
from tests.acceptance.friday import Friday
from tests.acceptance.openrouter import account

pytestmark = pytest.mark.litellm

MESSAGES = [
    {"role": "system", "content": "Du er assistent i et dansk rengøringsfirma."},
    {"role": "user", "content": "Hvornår kan vi komme til Mette Hansen?"},
    {
        "role": "assistant",
        "content": "Jeg ser efter.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "ledige_tider", "arguments": '{"dag": "fredag"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "kl. 9 og kl. 13"},
]

TOOL = {
    "type": "function",
    "function": {
        "name": "ledige_tider",
        "description": "Ledige tider på en ugedag",
        "parameters": {"type": "object", "properties": {"dag": {"type": "string"}}, "required": ["dag"]},
    },
}

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "aftale",
        "strict": True,
        "schema": {"type": "object", "properties": {"tid": {"type": "string"}}, "required": ["tid"]},
    },
}

BY_OPENAIS_NAMES: dict[str, Any] = {
    "temperature": 0.3,
    "top_p": 0.9,
    "max_tokens": 300,
    "stop": ["Venlig hilsen"],
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": SCHEMA,
}

BY_OPENROUTERS_NAMES: dict[str, Any] = {
    "provider": {"order": ["Nordlys"], "allow_fallbacks": False, "data_collection": "deny"},
    "reasoning": {"effort": "low"},
    "top_k": 40,
    "min_p": 0.05,
    "session_id": "samtale-1",
}

EXTRA_BODY = {"cache_control": {"type": "ephemeral"}, "plugins": [{"id": "response-healing"}]}

KEPT_BY_LITELLM: dict[str, Any] = {"user": "kunde-9", "metadata": {"kilde": "rengøring.nu"}}
"""The proxy takes these two for its own accounts. Directly they go through like all others."""

UNIT, LABEL = {"proxied": "enhed-0", "direct": "enhed-1"}, "mærkat-17"


def ask(friday: Friday, path: str, **parameters: Any) -> ReceivedRequest:
    """The request that OpenRouter gets for the unit of that path."""
    friday.play(account())
    with friday.router() as router:
        reply = router.complete(
            MESSAGES,
            task="lead-analysis",
            unit=UNIT[path],
            labels={"kilde": LABEL},
            extra_body=EXTRA_BODY,
            **(BY_OPENAIS_NAMES | BY_OPENROUTERS_NAMES | parameters),
        )
    assert reply.decision
    assert reply.decision.path == path
    receiver = friday.proxy.upstream if path == "proxied" else friday.openrouter
    (request,) = receiver.requests
    return request


def test_a_direct_request_is_the_callers_own_to_the_last_field(friday: Friday) -> None:
    body = ask(friday, "direct", **KEPT_BY_LITELLM).json
    assert body == {
        "model": "anthropic/claude-3-haiku",
        "messages": MESSAGES,
        **BY_OPENAIS_NAMES,
        **BY_OPENROUTERS_NAMES,
        **EXTRA_BODY,
        **KEPT_BY_LITELLM,
    }


def test_through_the_proxy_every_parameter_reaches_openrouter_unchanged(friday: Friday) -> None:
    body = ask(friday, "proxied", **KEPT_BY_LITELLM).json
    added_by_litellm = {"stream": False, "usage": {"include": True}}
    assert body == {
        "model": "anthropic/claude-3-haiku",
        "messages": MESSAGES,
        **BY_OPENAIS_NAMES,
        **BY_OPENROUTERS_NAMES,
        **EXTRA_BODY,
        **added_by_litellm,
    }


@pytest.mark.parametrize("path", UNIT)
def test_neither_unit_nor_labels_leave_the_program(friday: Friday, path: str) -> None:
    request = ask(friday, path)
    sent = request.body.decode() + "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    assert "Mette Hansen" in sent
    assert UNIT[path] not in sent
    assert LABEL not in sent
    assert "kilde" not in sent
