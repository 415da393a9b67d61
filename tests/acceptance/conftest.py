"""The worlds that the acceptance workload runs in."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from pointsman.testing import ScriptedServer
from tests.acceptance.friday import Friday
from tests.acceptance.openrouter import account
from tests.support.litellm_proxy import LiteLLMProxy, free_port
from tests.support.reference import LITELLM_MODELS

GLM, LLAMA = "openrouter/z-ai/glm-4.5-air:free", "openrouter/meta-llama/llama-3.1-70b-instruct"
REMOVED = "openrouter/anthropic/claude-3-haiku"


@pytest.fixture(scope="session")
def warm_litellm(shared_litellm: LiteLLMProxy) -> LiteLLMProxy:
    warm_up(shared_litellm)
    return shared_litellm


@pytest.fixture
def friday(warm_litellm: LiteLLMProxy, litellm: LiteLLMProxy, server: ScriptedServer) -> Friday:
    """The proxy that all tests share, which retries nothing and falls back to nothing."""
    return Friday(litellm, server)


@pytest.fixture(scope="session")
def own_ways_litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    models = {alias: name for alias, name in LITELLM_MODELS.items() if alias != REMOVED}
    with (
        ScriptedServer() as upstream,
        LiteLLMProxy(
            models, upstream, tmp_path_factory.mktemp("litellm"), num_retries=2, fallbacks={GLM: [LLAMA]}
        ) as proxy,
    ):
        warm_up(proxy)
        yield proxy


@pytest.fixture
def own_ways(own_ways_litellm: LiteLLMProxy, server: ScriptedServer) -> Iterator[Friday]:
    """A proxy that retries, falls back from glm to llama, and has claude-3-haiku no more."""
    yield Friday(own_ways_litellm, server)
    own_ways_litellm.upstream.check()


@pytest.fixture
def dead_address() -> str:
    """Where a proxy was once: the port refuses connections."""
    return f"http://127.0.0.1:{free_port()}"


def warm_up(proxy: LiteLLMProxy) -> None:
    """The first call loads half of the proxy's code; no test with short limits should pay for it."""
    proxy.upstream.play(account())
    body = json.dumps({"model": GLM, "messages": [{"role": "user", "content": "Hej"}]}).encode()
    headers = {"authorization": f"Bearer {proxy.master_key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{proxy.url}/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
