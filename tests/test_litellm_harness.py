"""The real LiteLLM proxy stands between a raw HTTP call and a scripted OpenRouter."""

import http.client
import json
import os

import pytest

from pointsman.testing import (
    all_cooled,
    free_tier_rate_limit,
    litellm_answer,
    openrouter_answer,
    openrouter_error,
    openrouter_usage,
    provider_rate_limit,
    relayed,
)

pytestmark = pytest.mark.litellm

ALIAS = "openrouter/z-ai/glm-4.5-air:free"
SLUG = "z-ai/glm-4.5-air:free"
OTHER = "openrouter/openai/gpt-oss-20b:free"
TEXT = "Kære Mette, vi kan tage flytterengøringen i Aarhus C på torsdag."


def ask(proxy, model=ALIAS, key=None):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    try:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Svar Mette"}]})
        headers = {"Authorization": f"Bearer {key or proxy.master_key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


def test_an_answer_passes_through_the_proxy(litellm):
    litellm.upstream.play([openrouter_answer(SLUG, TEXT)])
    status, headers, body = ask(litellm)
    assert status == 200
    assert body["choices"][0]["message"]["content"] == TEXT
    assert body["model"] == ALIAS
    assert headers["x-litellm-attempted-retries"] == "0"
    assert litellm.upstream.models == [SLUG]


def test_a_rate_limited_provider_is_relayed_after_exactly_one_request(litellm):
    litellm.upstream.play([provider_rate_limit(SLUG, retry_after=7)])
    status, headers, body = ask(litellm)
    assert status == 429
    assert body["error"]["message"].startswith("litellm.RateLimitError:")
    assert headers["llm_provider-retry-after"] == "7"
    assert len(litellm.upstream.requests) == 1


SAID = {
    "free": openrouter_answer(SLUG, TEXT, reasoning="kort"),
    "priced": openrouter_answer(SLUG, TEXT, usage=openrouter_usage(TEXT, cost=0.0012)),
    "provider busy": provider_rate_limit(SLUG, retry_after=7),
    "free tier spent": free_tier_rate_limit(),
    "hidden error": openrouter_error(502, "Provider returned error", http_status=200),
} | {str(status): openrouter_error(status, "Det gik galt") for status in (400, 401, 402, 403, 404, 500, 502, 503, 529)}


@pytest.mark.parametrize("upstream", SAID.values(), ids=SAID)
def test_the_scripted_proxy_says_what_the_real_one_says(litellm, upstream):
    litellm.upstream.play([upstream])
    status, headers, body = ask(litellm)
    scripted = relayed(ALIAS, upstream)
    assert status == scripted.status
    assert shape(scripted.json) <= shape(body)
    assert set(scripted.headers) <= {name.lower() for name in headers}
    assert ("x-litellm-response-cost" in headers) == ("x-litellm-response-cost" in scripted.headers)
    if "error" in body:
        assert body["error"]["type"] == scripted.json["error"]["type"]
        assert body["error"]["message"].split(":")[0] == scripted.json["error"]["message"].split(":")[0]
    else:
        assert body["model"] == scripted.json["model"]


def test_the_scripted_answer_is_the_relayed_one():
    assert litellm_answer(ALIAS, TEXT) == relayed(ALIAS, openrouter_answer(SLUG, TEXT))


def test_a_killed_proxy_refuses_connections(start_litellm):
    proxy = start_litellm()
    proxy.kill()
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)


def test_a_proxy_that_ended_by_itself_says_so_with_its_log(start_litellm):
    proxy = start_litellm()
    proxy.check()
    proxy.terminate()
    with pytest.raises(RuntimeError, match=r"(?s)ended with status .*; its log ends:.*Shutting down"):
        proxy.check()


def test_the_tests_of_the_proxy_share_it_however_many_processes_test(request):
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith("@litellm")


def test_a_proxy_with_cooldowns_says_when_all_deployments_rest(start_litellm):
    proxy = start_litellm(disable_cooldowns=False, router_settings={"allowed_fails": 0})
    proxy.upstream.play(provider_rate_limit(SLUG, retry_after=7))
    answers = [ask(proxy) for _ in range(3)]
    status, headers, body = answers[-1]
    assert status == 429, proxy.log
    assert body["error"]["type"] == all_cooled(ALIAS).json["error"]["type"]
    assert headers["retry-after"]


def test_a_proxy_with_fallbacks_says_who_served(start_litellm):
    proxy = start_litellm(fallbacks={ALIAS: [OTHER]})
    upstream = openrouter_answer("openai/gpt-oss-20b:free", TEXT)
    proxy.upstream.play([provider_rate_limit(SLUG), upstream])
    status, headers, body = ask(proxy)
    scripted = relayed(ALIAS, upstream, served_by=OTHER)
    assert (status, body["model"]) == (scripted.status, scripted.json["model"])
    for name in ("x-litellm-attempted-fallbacks", "x-litellm-model-group"):
        assert headers[name] == scripted.headers[name]


def shape(value, path=""):
    """The set of paths in a JSON value, list items counted as one."""
    if isinstance(value, dict):
        return {path} | {inner for key, item in value.items() for inner in shape(item, f"{path}.{key}")}
    if isinstance(value, list):
        return {path} | {inner for item in value for inner in shape(item, f"{path}[]")}
    return {path}
