"""Servers that say no: what they blame decides who is asked next."""

from email.utils import formatdate
from time import time

import pytest

from pointsman.errors import AllTargetsFailed, BadRequest, ContentPolicy, ContextLength
from pointsman.testing import Reply, ScriptedServer, openrouter_error, provider_rate_limit
from tests.core.support import failed
from tests.faults.scene import in_every_face, over_tls, well
from tests.faults.table import row
from tests.support.canaries import KEY, PROMPT
from tests.support.sockets import closed_port, deaf


def saying(status: int, message: str = "", type: str | None = None, code: object = None, **more: object) -> Reply:  # noqa: A002
    """An error that quotes what must not be shown."""
    error = {"message": f"{message} (you asked '{PROMPT}' with {KEY})", "type": type, "param": None, "code": code}
    return Reply(status, {"error": error | more})


def page(status: int) -> Reply:
    """An error of something that stands before the server."""
    return Reply(status, body=b"<html>Sorry</html>", headers={"content-type": "text/html"})


# Row 26: rate limits

BUSY = ("rate_limit", "quota", "opens", "answered")

LATER = {
    "seconds": lambda: {"retry-after": "30"},
    "a date": lambda: {"retry-after": formatdate(time() + 30, usegmt=True)},
    "a date beside the server's clock": lambda: {
        "retry-after": formatdate(1_000_030, usegmt=True),
        "date": formatdate(1_000_000, usegmt=True),
    },
}


@row(26)
@in_every_face
@pytest.mark.parametrize("headers", LATER.values(), ids=LATER)
def test_a_rate_limit_moves_on_and_says_when_to_come_back(scene, face, headers):
    scene.faulty.play(Reply(429, {"error": {"message": "Slow down"}}, headers=headers()))
    told = scene.ask(face)
    told.moved_on(BUSY)
    assert told.failure.retry_after == pytest.approx(30, abs=2)
    assert told.decision.duration < 1, "while another is left, nobody waits"


@row(26)
@in_every_face
@pytest.mark.parametrize("headers", LATER.values(), ids=LATER)
def test_a_wait_that_does_not_fit_the_deadline_is_not_waited(scene, face, headers):
    scene.router["deadline"] = 5
    busy = Reply(429, {"error": {"message": "Slow down"}}, headers=headers())
    scene.faulty.play(busy)
    scene.good.play(busy)
    told = scene.ask(face)
    assert type(told.error) is AllTargetsFailed
    assert told.error.retry_after == pytest.approx(30, abs=2)
    assert told.decision.duration < 1
    assert [one.failure.kind for one in told.decision.attempts] == ["rate_limit"] * 2


@row(26)
@in_every_face
def test_a_rate_limit_of_the_provider_behind_blames_only_the_model(scene, face):
    scene.settings["use"] = "openrouter_direct"
    scene.faulty.play(provider_rate_limit("vendor/small", retry_after=30))
    scene.ask(face).moved_on(("rate_limit", "model", "opens", "answered"))


# Row 27: the server failed


@row(27)
@in_every_face
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408])
def test_a_server_that_failed_is_passed_by(scene, face, status):
    scene.faulty.play(saying(status, "Oh"))
    scene.ask(face).moved_on(("server", "model", "counts", "answered"))


@row(27)
@in_every_face
def test_when_every_server_failed_the_error_has_all_of_it_and_quotes_nothing(scene, face):
    scene.router["max_attempts"] = 2
    scene.faulty.play(saying(500, "Oh"))
    scene.good.play(saying(503, "No"))
    told = scene.ask(face)
    assert type(told.error) is AllTargetsFailed
    failures = [failed(one) for one in told.error.attempts]
    assert [(one.kind, one.status) for one in failures] == [("server", 500), ("server", 503)]
    assert all(one.detail for one in failures), "what they said is there, but for what must not be shown"


@row(27)
@in_every_face
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408])
def test_a_page_of_a_load_balancer_blames_the_whole_backend(scene, face, status):
    scene.faulty.play(page(status))
    scene.ask(face).moved_on(("server", "backend", "counts", "answered"))


# Rows 28 to 31: told apart

AUTH = ("auth", "backend", "opens", "answered")
PAYMENT = ("payment", "backend", "opens", "answered")
UNKNOWN = ("not_found", "model", "opens", "answered")
REJECTED = ("bad_request", "request", "neutral", "answered")
POLICY = ("content_policy", "request", "neutral", "answered")
TOO_LONG = ("context_length", "request", "neutral", "answered")

PLAIN, OPENROUTER, LITELLM = "openai_compatible", "openrouter_direct", "litellm_backend"

REFUSED = {
    "a wrong key": (PLAIN, saying(401, "Incorrect API key", code="invalid_api_key"), AUTH),
    "a key that may not": (PLAIN, saying(403, "Country not supported", "permission_error"), AUTH),
    "a spent budget": (PLAIN, saying(402, "Pay first"), PAYMENT),
    "a spent quota": (PLAIN, saying(429, "Check your plan", "insufficient_quota", "insufficient_quota"), PAYMENT),
    "a spent budget of a key": (OPENROUTER, openrouter_error(403, "Key limit exceeded (total limit)."), PAYMENT),
    "an unknown model": (PLAIN, saying(404, "No such model", code="model_not_found"), UNKNOWN),
    "a wrong address": (PLAIN, page(404), ("not_found", "backend", "opens", "answered")),
    "a proxy without a database": (LITELLM, saying(400, "No connected db.", "no_db_connection"), AUTH),
    "credit that does not cover this model": (
        OPENROUTER,
        openrouter_error(402, "This request requires more credits"),
        ("payment", "model", "opens", "answered"),
    ),
    "a key of the provider behind": (
        LITELLM,
        saying(401, "litellm.AuthenticationError: no", "authentication_error"),
        ("auth", "model", "opens", "answered"),
    ),
    "nobody who serves these constraints": (
        OPENROUTER,
        openrouter_error(404, "No endpoints found that support tool use."),
        ("not_found", "model", "neutral", "answered"),
    ),
}


@row(28)
@in_every_face
@pytest.mark.parametrize(("use", "reply", "way"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_that_is_not_the_requests_fault_is_passed_by(scene, face, use, reply, way):
    scene.settings["use"] = use
    scene.faulty.play(reply)
    scene.ask(face).moved_on(way)


PASSED_BY = {
    "400 relayed": (OPENROUTER, openrouter_error(400, "Provider returned error", {"provider_name": "Nordlys"})),
    "422 relayed": (OPENROUTER, openrouter_error(422, "Provider returned error", {"provider_name": "Nordlys"})),
    "400 relayed by the proxy": (LITELLM, saying(400, "litellm.BadRequestError: no")),
    "422 relayed by the proxy": (LITELLM, saying(422, "litellm.UnprocessableEntityError: no")),
}


@row(29)
@in_every_face
@pytest.mark.parametrize(("use", "reply"), PASSED_BY.values(), ids=PASSED_BY)
def test_a_bad_request_by_a_providers_lights_may_be_a_good_one_elsewhere(scene, face, use, reply):
    scene.settings["use"] = use
    scene.faulty.play(reply)
    scene.ask(face).moved_on(("bad_request", "model", "neutral", "answered"))


@row(29)
@in_every_face
@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_model_may_be_known_elsewhere(scene, face, status):
    scene.faulty.play(saying(status, "No such model", code="model_not_found"))
    scene.ask(face).moved_on(UNKNOWN)


@row(29)
@in_every_face
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_request_is_raised(scene, face, status):
    scene.faulty.play(saying(status, "Unknown parameter", "invalid_request_error"))
    scene.ask(face).raised(BadRequest, REJECTED)


LONG = {
    "a code": (PLAIN, saying(400, "Long", code="context_length_exceeded")),
    "words": (PLAIN, saying(400, "This model's maximum context length is 8192 tokens.")),
    "the proxy's words": (LITELLM, saying(400, "litellm.ContextWindowExceededError: litellm.BadRequestError: x")),
    "OpenRouter's words": (OPENROUTER, openrouter_error(400, "The maximum context length is 4096 tokens.")),
}

too_long = pytest.mark.parametrize(("use", "reply"), LONG.values(), ids=LONG)


@row(30)
@in_every_face
@too_long
def test_a_prompt_that_is_too_long_goes_to_a_larger_context(scene, face, use, reply):
    scene.settings["use"] = use
    scene.contexts = (8192, 131072)
    scene.faulty.play(reply)
    scene.ask(face).moved_on(TOO_LONG)


@row(30)
@in_every_face
@too_long
@pytest.mark.parametrize("contexts", [(8192, 8192), (131072, 8192), (None, 8192), (8192, None), (None, None)])
def test_a_prompt_that_is_too_long_goes_nowhere_else(scene, face, use, reply, contexts):
    scene.settings["use"] = use
    scene.contexts = contexts
    scene.faulty.play(reply)
    scene.ask(face).raised(ContextLength, TOO_LONG)


REFUSALS = {
    "a content policy": (PLAIN, saying(400, "No", code="content_policy_violation")),
    "a safety system": (LITELLM, saying(400, "litellm.BadRequestError: x - rejected by our safety system.")),
    "a policy behind the proxy": (LITELLM, saying(400, "litellm.ContentPolicyViolationError: x")),
    "moderation": (OPENROUTER, openrouter_error(403, "Flagged", {"reasons": ["violence"], "flagged_input": PROMPT})),
    "a guardrail": (OPENROUTER, openrouter_error(403, "Blocked by guardrail", {"patterns": ["secret"]})),
}


@row(28, 31)
@in_every_face
@pytest.mark.parametrize(("use", "reply"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_policy_refuses_is_raised(scene, face, use, reply):
    scene.settings["use"] = use
    scene.faulty.play(reply)
    scene.ask(face).raised(ContentPolicy, POLICY)


# Rows 33 and 34: neither key nor prompt goes elsewhere


@row(33)
@in_every_face
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(scene, face, status):
    with ScriptedServer(well) as elsewhere:
        location = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/chat/completions"
        scene.faulty.play(Reply(status, body=b"", headers={"location": location}))
        scene.ask(face).moved_on(("bad_response", "backend", "counts", "answered"))
        assert (elsewhere.requests, elsewhere.connected) == ([], 0)


@row(34)
@in_every_face
def test_a_proxy_in_the_environment_is_ignored(scene, face, monkeypatch):
    with deaf() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        scene.faulty.play(page(503))
        scene.ask(face).moved_on(("server", "backend", "counts", "answered"))
        assert proxy.received() == b""


@row(34)
@in_every_face
def test_an_encrypted_connection_ignores_the_environment_too(scene, face, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with over_tls(scene, scene.ca.issue_cert("127.0.0.1")):
        assert scene.ask(face).decision.served.backend == "faulty"
