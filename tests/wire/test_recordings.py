"""Recorded traffic of OpenRouter and of LiteLLM proxies, replayed over loopback through the real backends.

The recordings are not part of this project; without them the module is skipped.
"""

import pytest

from pointsman.chat import Completion, Request
from pointsman.errors import Failure
from pointsman.settings import Secret
from pointsman_litellm_backend import LiteLLMBackend
from pointsman_openrouter_direct import OpenRouterDirect
from tests.wire.loopback import Server, answer_to
from tests.wire.recordings import MISSING, Recording, are_here, check_answer, check_failure, expectations, recording

if not are_here():
    pytest.skip(MISSING, allow_module_level=True)

BACKENDS = {"litellm_backend": LiteLLMBackend, "openrouter_direct": OpenRouterDirect}


def replay(recorded: Recording) -> Completion | Failure:
    server = Server(status=recorded.status, headers=recorded.headers, body=recorded.body)
    asked = dict(recorded.asked)
    model = asked.pop("model", "model")
    request = Request(messages=tuple(asked.pop("messages", ())), task="chat", parameters=asked)
    backend = BACKENDS[recorded.backend]
    return answer_to(lambda url: backend(base_url=url, api_key=Secret("sk-test-key-000")), server, request, model=model)


@pytest.mark.parametrize("name", expectations(stream=False))
def test_a_recording_means_what_it_is_expected_to_mean(name: str) -> None:
    expected, recorded = expectations(stream=False)[name], recording(name)
    got = replay(recorded)
    if expected["outcome"] == "failure":
        assert isinstance(got, Failure), got
        check_failure(got, expected, recorded.asked)
    else:
        assert isinstance(got, Completion), got
        check_answer(got, expected)
