"""Answers and errors of every shape, invented: what each of the three backends makes of them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Router
from pointsman.chat import Completion, InnerAttempts, ToolCall, Usage
from pointsman.context import DecisionContext
from pointsman.errors import ConfigError, Failure
from pointsman.settings import Secret
from pointsman.targets import Target
from pointsman_litellm_backend import LiteLLMBackend
from pointsman_openai_compatible import OpenAICompatible
from pointsman_openrouter_direct import OpenRouterDirect
from tests.wire.loopback import a_request, call, started

PLAIN, LITELLM, OPENROUTER = OpenAICompatible, LiteLLMBackend, OpenRouterDirect
JSON_TYPE = {"content-type": "application/json"}

AUTH = ("auth", "backend", "opens")
AUTH_BEHIND = ("auth", "model", "opens")
PAYMENT = ("payment", "backend", "opens")
PAYMENT_BEHIND = ("payment", "model", "opens")
QUOTA = ("rate_limit", "quota", "opens")
BUSY = ("rate_limit", "model", "opens")
UNKNOWN = ("not_found", "model", "opens")
UNSERVED = ("not_found", "model", "neutral")
NO_SUCH_PATH = ("not_found", "backend", "opens")
SERVER = ("server", "model", "counts")
IN_FRONT = ("server", "backend", "counts")
REJECTED = ("bad_request", "request", "neutral")
REJECTED_BEHIND = ("bad_request", "model", "neutral")
TOO_LONG = ("context_length", "request", "neutral")
POLICY = ("content_policy", "request", "neutral")
UNUSABLE = ("bad_response", "model", "counts")
OUR_LIMIT = ("timeout", "model", "neutral")


def got(
    cls: type[OpenAICompatible],
    status: int,
    body: object,
    headers: dict[str, str] | None = None,
    **request: Any,
) -> Completion | Failure:
    """What the backend makes of one response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=JSON_TYPE | (headers or {}), content=content)

    async def run() -> Completion | Failure:
        backend = cls(
            base_url="http://unused.invalid",
            api_key=Secret("sk-mine-123"),
            headers={"x-gateway-key": Secret("hunter2")},
            transport=lambda: httpx.MockTransport(answer),
        )
        async with started(backend):
            return await call(backend, a_request(**request))

    return asyncio.run(run())


def blame(found: Completion | Failure) -> tuple[str, str, str]:
    assert isinstance(found, Failure), found
    return found.kind, found.blames, found.breaker


def openai(message: str = "", type: str | None = None, code: object = None, **more: object) -> dict[str, object]:  # noqa: A002
    return {"error": {"message": message, "type": type, "param": None, "code": code} | more}


def litellm(message: str, status: int, type: str | None = "invalid_request_error") -> dict[str, object]:  # noqa: A002
    return {"error": {"message": message, "type": type, "param": None, "code": str(status)}}


def behind(cls: str, text: str = "OpenAIException - no") -> str:
    return f"litellm.{cls}: {text}\n\nLiteLLM: model group 'a' failed. Fallbacks are configured for: b, c."


def openrouter(message: str, code: int, **metadata: object) -> dict[str, object]:
    return {"error": {"message": message, "code": code} | ({"metadata": metadata} if metadata else {}), "user_id": "u"}


def provider(code: int, raw: object = "busy", name: str = "Fireworks") -> dict[str, object]:
    return openrouter("Provider returned error", code, provider_name=name, raw=raw)


ERRORS: list[tuple[type[OpenAICompatible], int, object, tuple[str, str, str]]] = [
    # Any OpenAI-style server.
    (PLAIN, 401, openai("Incorrect API key", "invalid_request_error", "invalid_api_key"), AUTH),
    (PLAIN, 403, openai("Country not supported", "permission_error"), AUTH),
    (PLAIN, 402, openai("Pay first"), PAYMENT),
    (PLAIN, 429, openai("Slow down", "requests", "rate_limit_exceeded"), QUOTA),
    (PLAIN, 429, openai("Check your plan", "insufficient_quota", "insufficient_quota"), PAYMENT),
    (PLAIN, 404, openai("The model `x` does not exist", None, "model_not_found"), UNKNOWN),
    (PLAIN, 404, {"detail": "Not Found"}, NO_SUCH_PATH),
    (PLAIN, 404, b"<html>nginx</html>", NO_SUCH_PATH),
    (PLAIN, 410, openai("Gone"), UNKNOWN),
    (PLAIN, 400, openai("Unknown parameter: 'x'.", "invalid_request_error", "unknown_parameter"), REJECTED),
    (PLAIN, 400, openai("This model's maximum context length is 8192 tokens."), TOO_LONG),
    (PLAIN, 400, openai("Long", None, "context_length_exceeded"), TOO_LONG),
    (PLAIN, 400, openai("No", None, "content_policy_violation"), POLICY),
    (PLAIN, 422, {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, REJECTED),
    (PLAIN, 413, b"<html>too large</html>", REJECTED),
    (PLAIN, 400, {"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, REJECTED),
    (PLAIN, 400, {"error": "does not understand"}, REJECTED),
    (PLAIN, 400, [{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], REJECTED),
    (PLAIN, 408, openai("Timed out"), SERVER),
    (PLAIN, 409, openai("Conflict"), SERVER),
    (PLAIN, 418, openai("Teapot"), REJECTED_BEHIND),
    *((PLAIN, status, openai("Oh"), SERVER) for status in (500, 502, 503, 504, 524, 529)),
    *((PLAIN, status, b"<html>Bad Gateway</html>", IN_FRONT) for status in (408, 500, 502, 503, 504, 529)),
    (PLAIN, 500, {"message": "Internal server error"}, IN_FRONT),
    (PLAIN, 500, b"\xff\xfe\x00", IN_FRONT),
    (PLAIN, 302, b"", ("bad_response", "backend", "counts")),
    # The LiteLLM proxy itself.
    (LITELLM, 400, litellm("No connected db.", 400, "no_db_connection"), AUTH),
    (LITELLM, 401, litellm("Authentication Error, No api key passed in.", 401, "auth_error"), AUTH),
    (LITELLM, 401, litellm("key not allowed to access model", 401, "key_model_access_denied"), AUTH_BEHIND),
    (LITELLM, 400, litellm("Budget has been exceeded! Current cost: 2", 400, "budget_exceeded"), PAYMENT),
    (LITELLM, 422, litellm("Budget has been exceeded! Current cost: 2", 422, "budget_exceeded"), PAYMENT),
    (LITELLM, 429, litellm("Budget has been exceeded! Current cost: 2", 429, "budget_exceeded"), PAYMENT),
    (LITELLM, 400, litellm("/chat/completions: Invalid model name passed in model=x. Call `/v1/models`", 400), UNKNOWN),
    (LITELLM, 400, litellm("Missing required parameter: 'messages'.", 400), REJECTED),
    (LITELLM, 429, litellm("No deployments available for selected model, Try again in 7 seconds.", 429, "None"), BUSY),
    (LITELLM, 429, litellm("All cooled", 429, "all_deployments_in_cooldown"), BUSY),
    (
        LITELLM,
        429,
        litellm("Rate limit exceeded for api_key: 1. Limit type: requests.", 429, "throttling_error"),
        QUOTA,
    ),
    (LITELLM, 500, litellm("Internal Server Error", 500, "None"), SERVER),
    (LITELLM, 500, {"detail": "Internal Server Error"}, SERVER),
    (LITELLM, 500, b"Internal Server Error", IN_FRONT),
    (LITELLM, 404, {"detail": "Not Found"}, NO_SUCH_PATH),
    # The model behind the proxy.
    (LITELLM, 401, litellm(behind("AuthenticationError"), 401, "authentication_error"), AUTH_BEHIND),
    (LITELLM, 403, litellm(behind("APIError"), 403, "permission_error"), AUTH_BEHIND),
    (LITELLM, 402, litellm(behind("APIError"), 402, None), PAYMENT_BEHIND),
    (LITELLM, 404, litellm(behind("NotFoundError"), 404), UNKNOWN),
    (LITELLM, 404, litellm(behind("NotFoundError", "No endpoints found that support tool use"), 404), UNSERVED),
    (LITELLM, 429, litellm(behind("RateLimitError"), 429, "throttling_error"), BUSY),
    (LITELLM, 429, litellm(behind("RateLimitError", "Rate limit exceeded: free-models-per-day"), 429), QUOTA),
    (LITELLM, 400, litellm(behind("BadRequestError"), 400), REJECTED_BEHIND),
    (LITELLM, 422, litellm(behind("UnprocessableEntityError"), 422), REJECTED_BEHIND),
    (LITELLM, 400, litellm(behind("ContextWindowExceededError", "litellm.BadRequestError: x"), 400), TOO_LONG),
    (LITELLM, 400, litellm(behind("BadRequestError", "litellm.ContentPolicyViolationError: x"), 400), POLICY),
    (LITELLM, 400, litellm(behind("BadRequestError", "x - rejected by our safety system."), 400), POLICY),
    (LITELLM, 408, litellm(behind("Timeout"), 408), SERVER),
    (LITELLM, 503, litellm(behind("ServiceUnavailableError"), 503), SERVER),
    (
        LITELLM,
        500,
        litellm(behind("InternalServerError") + " Fallback also failed: litellm.ContextWindowExceededError: x", 500),
        SERVER,
    ),
    (
        LITELLM,
        400,
        litellm(behind("BadRequestError") + " Fallback also failed: litellm.ContextWindowExceededError: x", 400),
        REJECTED_BEHIND,
    ),
    # OpenRouter itself.
    (OPENROUTER, 401, openrouter("No cookie auth credentials found", 401), AUTH),
    (OPENROUTER, 403, openrouter("Only management keys can do this", 403), AUTH),
    (OPENROUTER, 403, openrouter("Key limit exceeded (total limit).", 403), PAYMENT),
    (OPENROUTER, 403, openrouter("Workspace budget exceeded", 403, limit_source="openrouter_budget"), PAYMENT),
    (
        OPENROUTER,
        403,
        openrouter("Flagged", 403, reasons=["violence"], flagged_input="x", provider_name="OpenAI"),
        POLICY,
    ),
    (OPENROUTER, 403, openrouter("Blocked by guardrail", 403, patterns=["secret"]), POLICY),
    (OPENROUTER, 402, openrouter("This request requires more credits", 402, provider_name=None), PAYMENT_BEHIND),
    (OPENROUTER, 400, openrouter("vendor/x is not a valid model ID", 400), UNKNOWN),
    (OPENROUTER, 400, openrouter("Expected temperature to be at most 2", 400, provider_name=None), REJECTED),
    (OPENROUTER, 400, openrouter("This endpoint's maximum context length is 4096 tokens.", 400), TOO_LONG),
    (
        OPENROUTER,
        400,
        openrouter(
            "No endpoint took it", 400, previous_errors=[{"code": 400, "message": "maximum context length is 5"}]
        ),
        TOO_LONG,
    ),
    (OPENROUTER, 400, openrouter("No", 400, error_type="context_length_exceeded"), TOO_LONG),
    (OPENROUTER, 400, openrouter("No", 400, error_type="refusal"), POLICY),
    (OPENROUTER, 404, openrouter("No endpoints found for vendor/x.", 404), UNKNOWN),
    (OPENROUTER, 404, openrouter("No endpoints found that support tool use.", 404), UNSERVED),
    (OPENROUTER, 404, openrouter("No endpoints found matching your data policy.", 404), UNSERVED),
    (OPENROUTER, 404, openrouter("No endpoints available matching your guardrail restrictions", 404), UNSERVED),
    (OPENROUTER, 404, openrouter("No allowed providers are available for the selected model.", 404), UNSERVED),
    (OPENROUTER, 429, openrouter("Rate limit exceeded: free-models-per-day.", 429, headers={}), QUOTA),
    (OPENROUTER, 429, openrouter("Later", 429, limit_source="openrouter_free_tier_daily", provider_name="X"), QUOTA),
    (OPENROUTER, 500, openrouter("Internal Server Error", 500), SERVER),
    (OPENROUTER, 529, openrouter("Overloaded", 529), SERVER),
    (OPENROUTER, 502, b"<html>cloudflare</html>", IN_FRONT),
    (OPENROUTER, 503, {"error": {"message": "No", "error_type": "provider_unavailable", "http_status": 503}}, SERVER),
    # The providers behind OpenRouter.
    (OPENROUTER, 429, provider(429), BUSY),
    (OPENROUTER, 429, openrouter("Busy", 429, limit_source="upstream_provider_shared_pool", provider_name="X"), BUSY),
    (OPENROUTER, 400, provider(400, '{"error": {"message": "bad schema"}}'), REJECTED_BEHIND),
    (OPENROUTER, 422, provider(422, {"error": {"message": "bad schema"}}), REJECTED_BEHIND),
    (OPENROUTER, 400, provider(400, '{"error": "maximum context length is 4096"}'), TOO_LONG),
    (OPENROUTER, 400, provider(400, {"code": "content_policy_violation"}), POLICY),
    (OPENROUTER, 401, provider(401), AUTH_BEHIND),
    (OPENROUTER, 403, provider(403), AUTH_BEHIND),
    (OPENROUTER, 502, provider(502), SERVER),
]


@pytest.mark.parametrize(("cls", "status", "body", "expected"), ERRORS)
def test_every_error_is_classified(
    cls: type[OpenAICompatible], status: int, body: object, expected: tuple[str, str, str]
) -> None:
    found = got(cls, status, body)
    assert blame(found) == expected
    assert isinstance(found, Failure)
    assert found.status == status
    assert found.delivery == "answered"
    assert found.retry_after == (7 if "7 seconds" in str(body) else None)


def test_a_limit_that_we_sent_the_proxy_is_no_strike_against_the_model() -> None:
    body = litellm(behind("Timeout", "APITimeoutError - Request timed out."), 408)
    assert blame(got(LITELLM, 408, body, parameters={"timeout": 0.5})) == OUR_LIMIT


def test_a_field_that_the_key_may_not_use_is_the_requests_fault() -> None:
    body = openai("You may not use logprobs", "permission_error", param="logprobs")
    assert blame(got(PLAIN, 403, body, parameters={"logprobs": True})) == REJECTED
    assert blame(got(PLAIN, 403, body)) == AUTH


@pytest.mark.parametrize(
    ("cls", "status", "body", "headers", "seconds"),
    [
        (PLAIN, 429, openai(), {"retry-after-ms": "1500"}, 1.5),
        (PLAIN, 503, openai(), {"retry-after": "3"}, 3),
        (PLAIN, 503, b"<html>", {"retry-after": "3"}, 3),
        (LITELLM, 429, litellm(behind("RateLimitError"), 429), {"llm_provider-retry-after": "7"}, 7),
        (
            OPENROUTER,
            402,
            openrouter("In flight", 402, limit_source="openrouter_in_flight_budget"),
            {"retry-after": "2"},
            2,
        ),
        (OPENROUTER, 429, {"error": {"message": "x", "availability": {"retry_after": 12}}}, {}, 12),
        (OPENROUTER, 429, openrouter("free-models-per-day", 429, headers={"X-RateLimit-Reset": "45"}), {}, 45),
        (OPENROUTER, 429, openrouter("Later", 429), {"x-ratelimit-reset": "45"}, 45),
        (OPENROUTER, 429, provider(429), {"x-ratelimit-reset": "45"}, None),
    ],
)
def test_the_wait_is_read_wherever_it_stands(
    cls: type[OpenAICompatible], status: int, body: object, headers: dict[str, str], seconds: float | None
) -> None:
    found = got(cls, status, body, headers)
    assert isinstance(found, Failure)
    assert found.retry_after == seconds


def test_a_failure_tells_code_provider_and_the_servers_words() -> None:
    found = got(OPENROUTER, 429, provider(429))
    assert isinstance(found, Failure)
    assert found.message == "rate limit (HTTP 429, provider Fireworks)"
    assert (found.code, found.provider, found.detail) == ("429", "Fireworks", "Provider returned error")
    found = got(PLAIN, 404, openai("The model `x` is gone", None, "model_not_found"))
    assert isinstance(found, Failure)
    assert (found.code, found.detail) == ("model_not_found", "The model `x` is gone")


def test_the_proxys_own_additions_are_not_passed_on() -> None:
    found = got(LITELLM, 500, litellm(behind("InternalServerError", "The server had an error"), 500))
    assert isinstance(found, Failure)
    assert found.detail == "litellm.InternalServerError: The server had an error"


def test_neither_key_nor_prompt_is_in_a_failure() -> None:
    prompt, key = "Svar Mette Hansen på mandag", "sk-mine-123"
    error = {"message": f"bad: {prompt} {key}", "code": prompt, "type": key, "metadata": {"provider_name": prompt}}
    for status in (200, 400, 500):
        found = got(OPENROUTER, status, {"error": error}, messages=({"role": "user", "content": prompt},))
        assert isinstance(found, Failure)
        for canary in ("Mette", "Hansen", key):
            assert canary not in repr(found)


# Answers.


def choice(content: object = "Hej", finish: object = "stop", **message: object) -> dict[str, object]:
    return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content} | message}


def answer(*choices: object, **more: object) -> dict[str, object]:
    return {"id": "gen-1", "object": "chat.completion", "model": "vendor/model-1", "choices": list(choices)} | more


def completion(cls: type[OpenAICompatible], body: object, headers: dict[str, str] | None = None) -> Completion:
    found = got(cls, 200, body, headers)
    assert isinstance(found, Completion), found
    return found


def test_an_answer_is_read_whole() -> None:
    call_ = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 3,
        "completion_tokens_details": {"reasoning_tokens": 2},
        "prompt_tokens_details": {"cached_tokens": 0},
        "cost": 0.25,
    }
    one = choice("Hej", "tool_calls", reasoning="hm", refusal="no", tool_calls=[call_])
    body = answer(one, usage=usage, provider="Chutes")
    found = completion(OPENROUTER, body)
    assert (found.text, found.finish_reason, found.reasoning, found.refusal) == ("Hej", "tool_calls", "hm", "no")
    assert found.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a":1}'),)
    assert found.usage == Usage(
        input_tokens=11, output_tokens=3, reasoning_tokens=2, cached_tokens=0, cost=0.25, cost_source="usage.cost"
    )
    assert (found.id, found.served_model, found.provider) == ("gen-1", "vendor/model-1", "Chutes")
    assert found.message == one["message"]
    assert found.raw == body


def test_what_is_not_said_is_none() -> None:
    found = completion(PLAIN, {"choices": [choice()]})
    assert found.usage == Usage()
    assert (found.id, found.call_id, found.served_model, found.provider, found.inner) == (None,) * 5
    assert found.refusal is None


def test_content_in_parts_is_one_text() -> None:
    parts = [
        {"type": "text", "text": "He"},
        {"type": "reasoning", "text": "x"},
        {"type": "output_text", "text": "j"},
        3,
    ]
    assert completion(PLAIN, answer(choice(parts))).text == "Hej"


def test_reasoning_has_two_names() -> None:
    assert completion(PLAIN, answer(choice(reasoning_content="hm"))).reasoning == "hm"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [({"name": "f"}, ""), ({"name": "f", "arguments": {"a": 1}}, '{"a": 1}'), ({"name": "f", "arguments": None}, "")],
)
def test_arguments_of_any_shape_are_text(function: object, arguments: str) -> None:
    found = completion(PLAIN, answer(choice(None, "tool_calls", tool_calls=[{"function": function}, None, {}])))
    assert [call.arguments for call in found.tool_calls] == [arguments]


def test_an_old_style_function_call_is_a_tool_call() -> None:
    found = completion(PLAIN, answer(choice(None, "function_call", function_call={"name": "f", "arguments": "{}"})))
    assert found.tool_calls == (ToolCall(id=None, name="f", arguments="{}"),)


def test_a_vendors_own_finish_reason_is_kept_where_the_normal_one_is_missing() -> None:
    assert completion(OPENROUTER, answer(choice("x", None) | {"native_finish_reason": "STOP"})).finish_reason == "STOP"


def test_a_completion_inside_provider_is_found() -> None:
    found = completion(OPENROUTER, {"provider": answer(choice(), provider="Chutes")})
    assert (found.text, found.provider) == ("Hej", "Chutes")


def test_the_generation_id_can_stand_in_a_header() -> None:
    body = answer(choice())
    del body["id"]
    assert completion(OPENROUTER, body, {"x-generation-id": "gen-2"}).id == "gen-2"


PROXY_HEADERS = {
    "x-litellm-call-id": "c-1",
    "x-litellm-response-cost": "1.7e-05",
    "x-litellm-attempted-retries": "0",
    "x-litellm-attempted-fallbacks": "1",
    "x-litellm-model-group": "other",
}


def test_the_proxys_headers_say_cost_call_and_inner_attempts() -> None:
    found = completion(LITELLM, answer(choice()), PROXY_HEADERS)
    assert found.call_id == "c-1"
    assert found.inner == InnerAttempts(retries=0, fallbacks=1, model_group="other")
    assert (found.usage.cost, found.usage.cost_source) == (1.7e-05, "x-litellm-response-cost")


@pytest.mark.parametrize("cost", ["None", "nan", "-1", "", "inf"])
def test_a_cost_that_is_none_is_none(cost: str) -> None:
    found = completion(LITELLM, answer(choice(), usage={"cost": float("nan")}), {"x-litellm-response-cost": cost})
    assert (found.usage.cost, found.usage.cost_source, found.inner) == (None, None, None)


def test_the_cost_in_the_body_prevails() -> None:
    found = completion(LITELLM, answer(choice(), usage={"cost": 2}), PROXY_HEADERS)
    assert (found.usage.cost, found.usage.cost_source) == (2, "usage.cost")


def test_a_tool_call_that_was_cut_before_its_first_argument_is_not_finished() -> None:
    calls = [{"id": "a", "function": {"name": "look", "arguments": ""}}]
    for finish, finished in {"length": False, "tool_calls": True}.items():
        (call,) = completion(PLAIN, answer(choice(None, finish, tool_calls=calls))).tool_calls
        assert call.is_finished is finished


@pytest.mark.parametrize("finish", ["length", "max_output_tokens"])
def test_an_empty_answer_that_was_cut_by_length_is_an_answer(finish: str) -> None:
    assert completion(PLAIN, answer(choice(None, finish))).text == ""


def test_a_refusal_is_something_said() -> None:
    assert completion(PLAIN, answer(choice(None, "content_filter", refusal="I cannot"))).refusal == "I cannot"


def test_an_image_is_something_said() -> None:
    assert completion(OPENROUTER, answer(choice(None, images=[{"type": "image_url"}]))).finish_reason == "stop"


NO_ANSWERS: list[tuple[type[OpenAICompatible], object, tuple[str, str, str]]] = [
    (PLAIN, b"", UNUSABLE),
    (PLAIN, b"<html>login</html>", UNUSABLE),
    (PLAIN, b'{"choices": [', UNUSABLE),
    (PLAIN, b"[" * 100_000, UNUSABLE),
    (PLAIN, b"\xff\xfe", UNUSABLE),
    (PLAIN, [], UNUSABLE),
    (PLAIN, None, UNUSABLE),
    (PLAIN, {}, UNUSABLE),
    (PLAIN, answer(), UNUSABLE),
    (PLAIN, {"choices": None}, UNUSABLE),
    (PLAIN, {"choices": {"0": choice()}}, UNUSABLE),
    (PLAIN, answer(None), UNUSABLE),
    (PLAIN, answer({"message": None, "finish_reason": "stop"}), UNUSABLE),
    (PLAIN, answer(choice(None)), UNUSABLE),
    (PLAIN, answer(choice("")), UNUSABLE),
    (PLAIN, answer(choice(None, reasoning="hm")), UNUSABLE),
    (PLAIN, answer(choice(None, "tool_calls", tool_calls=[])), UNUSABLE),
    (PLAIN, answer(choice(None, None)), UNUSABLE),
    (PLAIN, answer(choice(None, "content_filter")), POLICY),
    (PLAIN, openai("Oh", code=500), SERVER),
    (PLAIN, openai("Oh", "server_error"), SERVER),
    (PLAIN, openai("Oh", code="no_such_word"), SERVER),
    (PLAIN, {"error": "Oh"}, SERVER),
    (PLAIN, answer(choice(), error={"code": 429, "message": "x"}), QUOTA),
    (PLAIN, answer(choice("partial", "error")), SERVER),
    (OPENROUTER, openrouter("Oh", 429), BUSY),
    (OPENROUTER, openrouter("Oh", 401), AUTH_BEHIND),
    (OPENROUTER, {"error": {"code": "429", "message": "x"}}, BUSY),
    (OPENROUTER, {"error": {"code": "rate_limit_exceeded"}}, BUSY),
    (OPENROUTER, {"error": {"metadata": {"error_type": "provider_overloaded"}}}, SERVER),
    (OPENROUTER, {"error": {"code": 400, "message": "maximum context length is 3"}}, TOO_LONG),
    (OPENROUTER, {"error": {"code": 400, "message": "bad"}}, REJECTED_BEHIND),
    (OPENROUTER, answer(choice() | {"error": {"code": 502, "message": "x"}}), SERVER),
    (OPENROUTER, answer(choice(None) | {"native_finish_reason": "network_error"}), SERVER),
    (LITELLM, answer(choice("partial") | {"provider_specific_fields": {"error": {"code": 502}}}), SERVER),
]


@pytest.mark.parametrize(("cls", "body", "expected"), NO_ANSWERS)
def test_a_200_that_is_no_answer_is_a_failure(
    cls: type[OpenAICompatible], body: object, expected: tuple[str, str, str]
) -> None:
    found = got(cls, 200, body)
    assert blame(found) == expected
    assert isinstance(found, Failure)
    assert found.status == 200


@pytest.mark.parametrize(
    ("kind", "accepted"), [("text/plain", True), ("text/html", False), ("text/event-stream", True)]
)
def test_the_content_type_decides_only_where_it_is_clearly_something_else(kind: str, *, accepted: bool) -> None:
    found = got(PLAIN, 200, answer(choice()), {"content-type": kind})
    assert isinstance(found, Completion) is accepted


def test_204_is_no_answer() -> None:
    assert blame(got(PLAIN, 204, b"")) == UNUSABLE


# Whatever comes.

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["choices", "message", "error", "code", "metadata", "content", "finish_reason", "usage", "provider", "detail"]
KEYS += ["tool_calls", "function", "availability", "headers", "previous_errors", "raw", "provider_name", "cost", "id"]
SHAPED = st.recursive(
    ANY_JSON | st.sampled_from(["stop", "error", "429", 429, 200, "Provider returned error"]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@settings(max_examples=75, deadline=None)
@given(
    st.sampled_from([PLAIN, LITELLM, OPENROUTER]),
    st.sampled_from(
        [200, 201, 204, 299, 300, 304, 400, 401, 402, 403, 404, 408, 413, 422, 429, 451, 500, 503, 529, 599]
    ),
    st.binary(max_size=40) | ANY_JSON | SHAPED,
)
def test_whatever_comes_is_an_answer_or_a_failure(cls: type[OpenAICompatible], status: int, body: object) -> None:
    found = got(cls, status, body)
    assert isinstance(found, Completion | Failure)
    if isinstance(found, Failure):
        assert len(found.detail or "") <= 300


# What is sent.


def sent_by(backend: OpenAICompatible, **request: Any) -> httpx.Request:
    """The request that a call makes."""
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers=JSON_TYPE, content=json.dumps(answer(choice())).encode())

    backend.transport = lambda: httpx.MockTransport(take)

    async def run() -> None:
        async with started(backend):
            await call(backend, a_request(**request))

    asyncio.run(run())
    return seen[0]


def body_of(request: httpx.Request) -> dict[str, Any]:
    return json.loads(request.content)


def test_the_last_word_about_a_field_is_the_requests_extra_body() -> None:
    backend = PLAIN(base_url="http://unused.invalid/v1/", extra_body={"a": 2, "b": 2})
    parameters, extra = {"a": 1, "temperature": 0.3}, {"b": 3, "model": "forced"}
    request = sent_by(backend, parameters=parameters, extra_body=extra)
    assert str(request.url) == "http://unused.invalid/v1/chat/completions"
    assert body_of(request) == {
        "model": "forced",
        "messages": [{"role": "user", "content": "hi"}],
        "a": 2,
        "b": 3,
        "temperature": 0.3,
    }
    assert (parameters, extra) == ({"a": 1, "temperature": 0.3}, {"b": 3, "model": "forced"})


def test_text_is_sent_as_utf_8() -> None:
    request = sent_by(PLAIN(base_url="http://unused.invalid"), messages=({"role": "user", "content": "æøå"},))
    assert "æøå".encode() in request.content


def test_the_key_is_sent_as_a_bearer_and_headers_prevail() -> None:
    backend = PLAIN(
        base_url="http://unused.invalid", api_key=Secret("sk-1"), headers={"X-Team": "a", "User-Agent": "b"}
    )
    headers = sent_by(backend).headers
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["accept-encoding"] == "identity"
    assert (headers["x-team"], headers["user-agent"]) == ("a", "b")


@pytest.mark.parametrize("backend", ["openai_compatible", "litellm_backend", "openrouter_direct"])
def test_a_header_can_hold_a_key_from_elsewhere_that_nothing_shows(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pointsman.toml").write_text(
        f'[plugins.{backend}]\nbase_url = "http://unused.invalid"\n'
        'headers = { "x-team" = "a", "X-Api-Key" = { env = "GATEWAY_KEY" } }\n'
        f'[models.m]\non = {{ {backend} = "m" }}\n'
    )
    monkeypatch.setenv("GATEWAY_KEY", "hunter2-hunter2")
    with Router.from_toml(tmp_path / "pointsman.toml") as router:
        (plugin,) = (one.instance for one in router.snapshot.plugins if one.name == backend)
        assert isinstance(plugin, OpenAICompatible)
        assert "hunter2" not in repr(router.snapshot) + repr(plugin) + repr(plugin.headers)
        headers = sent_by(plugin).headers
    assert (headers["x-team"], headers["x-api-key"]) == ("a", "hunter2-hunter2")
    monkeypatch.delenv("GATEWAY_KEY")
    with pytest.raises(ConfigError, match=r"headers.X-Api-Key: environment variable GATEWAY_KEY is not set"):
        Router.from_toml(tmp_path / "pointsman.toml")


def test_a_key_in_a_header_that_the_server_repeats_is_taken_out() -> None:
    found = got(PLAIN, 401, {"error": {"message": "no such key: hunter2 hunter3"}})
    assert isinstance(found, Failure)
    assert "hunter3" in str(found.detail)
    assert "hunter2" not in str(found.detail)


def test_without_a_key_there_is_no_authorization() -> None:
    assert "authorization" not in sent_by(PLAIN(base_url="http://unused.invalid")).headers


def test_openrouter_is_told_the_application() -> None:
    headers = sent_by(OPENROUTER(app_url="https://app.example", app_title="Friday")).headers
    assert (headers["http-referer"], headers["x-openrouter-title"]) == ("https://app.example", "Friday")


def test_the_proxy_is_told_to_leave_retries_and_fallbacks_to_us() -> None:
    body = body_of(sent_by(LITELLM()))
    assert (body["num_retries"], body["disable_fallbacks"]) == (0, True)


def test_inner_fallbacks_leave_the_proxys_fallbacks_on() -> None:
    body = body_of(sent_by(LITELLM(inner_fallbacks=True)))
    assert body["num_retries"] == 0
    assert "disable_fallbacks" not in body


def test_a_keyword_does_not_bring_the_proxys_own_retries_and_fallbacks_back() -> None:
    body = body_of(sent_by(LITELLM(), parameters={"num_retries": 5, "disable_fallbacks": False}))
    assert (body["num_retries"], body["disable_fallbacks"]) == (0, True)


def test_extra_body_has_the_last_word_over_the_proxys_switches() -> None:
    assert body_of(sent_by(LITELLM(extra_body={"num_retries": 2})))["num_retries"] == 2
    assert body_of(sent_by(LITELLM(), extra_body={"num_retries": 2}))["num_retries"] == 2


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"tools": [{"function": {"f": object()}}]}, "tools[0].function.f"),
        ({"temperature": float("nan")}, "temperature"),
        ({"stop": [b"secret"]}, "stop[0]"),
        ({"user": "\ud800"}, "user"),
        ({"x": {(1, 2): 3}}, "x."),
        ({"x": CIRCLE}, "nested too deeply"),
    ],
)
def test_a_value_that_json_cannot_carry_is_named_by_its_key(parameters: dict[str, object], named: str) -> None:
    found = got(PLAIN, 200, answer(choice()), parameters=parameters)
    assert blame(found) == REJECTED
    assert isinstance(found, Failure)
    assert named in found.message
    assert "secret" not in found.message
    assert found.delivery == "not_sent"


# Settings.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"base_url": "localhost:4000"}, "base_url: .*http://"),
        ({"base_url": "ftp://x.example"}, "http://"),
        ({"base_url": "http://"}, "base_url: .*no host"),
        ({"base_url": "http://:4000/v1"}, "base_url: .*no host"),
        ({"base_url": " http://x.example"}, "base_url: .*such as"),
        ({"base_url": "http://my server:4000"}, "base_url: .*space"),
        ({"base_url": "http://my%20server"}, "base_url: .*space"),
        ({"base_url": "http://my\\server"}, "base_url: .*no host has"),
        ({"base_url": "http://my..server"}, "base_url: .*two dots"),
        ({"base_url": "http://.server:4000"}, "base_url: .*dots"),
        ({"base_url": "http://x.example:0/v1"}, "base_url: .*port.*65535"),
        ({"base_url": "http://x.example:65536/v1"}, "base_url: .*port.*65535"),
        ({"base_url": "http://x.example:http/v1"}, "base_url: .*such as"),
        ({"base_url": "https://user:hunter2@x.example"}, "api_key"),
        ({"base_url": "https://x.example/v1?key=hunter2"}, r"\?"),
        ({"base_url": "https://x.example/v1/chat/completions"}, "added"),
        ({"api_key": Secret("sk-hunter2\n")}, "api_key: .*line break"),
        ({"api_key": Secret("")}, "empty"),
        ({"headers": {"Content-Length": "5"}}, "headers: leave Content-Length out"),
        ({"headers": {"transfer-encoding": "chunked"}}, "headers: leave transfer-encoding out"),
        ({"headers": {"x": "hunter2\r\ny: z"}}, "headers: .*ASCII"),
        ({"headers": {"x": Secret("hunter2\n")}}, "headers: .*ASCII"),
        ({"extra_body": {"model": "hunter2"}}, "extra_body: leave model out"),
        ({"extra_body": {"messages": []}}, "extra_body: leave messages out"),
        ({"extra_body": {"stream": True}}, "extra_body: leave stream out"),
        ({"connect_timeout": 0.0}, "connect_timeout: .*greater"),
        ({"max_body": 0}, "max_body: .*greater"),
    ],
)
def test_a_wrong_setting_says_what_to_write(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        PLAIN(**{"base_url": "http://x.example", **wrong})
    assert "hunter2" not in str(raised.value)


def test_no_repr_shows_a_key() -> None:
    assert "sk-1" not in repr(PLAIN(base_url="http://x.example", api_key=Secret("sk-1"), headers={"x": "sk-1"}))


# Inner fallbacks.


def targets(*names: str) -> tuple[Target, ...]:
    return tuple(
        Target(model=model, backend=backend, name=model) for backend, _, model in (n.partition("/") for n in names)
    )


CTX = DecisionContext(snapshot=None, seed=1, clock=lambda: 0.0)  # pyright: ignore[reportArgumentType] - nobody looks at it


def test_a_proxy_that_falls_back_by_itself_is_offered_one_target() -> None:
    backend = LITELLM(inner_fallbacks=True)
    found = backend.select_model(
        a_request(), targets("litellm_backend/a", "direct/a", "litellm_backend/b", "direct/b"), CTX
    )
    assert found is not None
    assert found.targets == targets("litellm_backend/a", "direct/a", "direct/b")


@pytest.mark.parametrize("inner", [True, False])
def test_nothing_changes_where_there_is_nothing_to_leave_out(*, inner: bool) -> None:
    backend = LITELLM(inner_fallbacks=inner)
    offered = targets("litellm_backend/a", "direct/a") if inner else targets("litellm_backend/a", "litellm_backend/b")
    assert backend.select_model(a_request(), offered, CTX) is None
