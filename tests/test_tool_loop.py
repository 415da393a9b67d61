"""A tool loop, streamed: the model calls, the program answers, the model concludes. Through both backends."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pointsman import Completion, Message, Router
from pointsman.testing import SSE, Drop, ReceivedRequest, ScriptedServer
from pointsman.testing.litellm_proxy import litellm_headers
from pointsman.testing.openrouter import openrouter_usage
from tests.support.command import Ran, run
from tests.support.wires import ALIAS, SLUG, event

EXAMPLE = Path(__file__).parents[1] / "examples" / "tool_loop.py"

CONCLUSION = ["Vi kan komme ", "fredag kl. 9 ", "eller kl. 13."]
ARGUMENTS = ['{"week', 'day": "fre', 'dag"}']
RESULT = "kl. 9 og kl. 13"

TOOL = {
    "type": "function",
    "function": {"name": "free_slots", "parameters": {"type": "object", "properties": {"weekday": {"type": "string"}}}},
}
ASKED: list[Message] = [{"role": "user", "content": "Hvornår på fredag?"}]

CALLED = {
    "role": "assistant",
    "content": "Jeg spørger kalenderen.",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "free_slots", "arguments": "".join(ARGUMENTS)}}
    ],
}


def tool_delta(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0} | fields]}


def calling(deltas: Sequence[dict[str, Any]], finish: str | None = "tool_calls", **stream: Any) -> SSE:
    """A stream whose model speaks, and then calls the tool piece by piece."""
    spoken = [event("Jeg spørger "), event("kalenderen.")]
    called = [event() | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return SSE([*spoken, *called, *([event(None, finish)] if finish else [])], **stream)


PIECES = [
    tool_delta(id="call_1", type="function", function={"name": "free_slots", "arguments": ""}),
    *(tool_delta(function={"arguments": piece}) for piece in ARGUMENTS),
]


CONCLUDING = SSE([*map(event, CONCLUSION), event(None, "stop", usage=openrouter_usage("".join(CONCLUSION)))])


def model(request: ReceivedRequest) -> SSE:
    """Calls the tool when it is asked, and concludes when it has the result."""
    assert request.streamed
    if request.json["messages"][-1]["role"] == "user":
        return calling(PIECES, headers=litellm_headers(ALIAS))
    return CONCLUDING


@pytest.fixture(params=["litellm_backend", "openrouter_direct"])
def config(request: pytest.FixtureRequest, server: ScriptedServer, tmp_path: Path) -> Path:
    """A configuration with one backend, in front of a model that calls a tool."""
    server.play(model)
    file = tmp_path / "pointsman.toml"
    file.write_text(
        f"""
        [plugins.{request.param}]
        base_url = "{server.url}/api/v1"

        [models.glm]
        on = {{ {request.param} = "{ALIAS if request.param == "litellm_backend" else SLUG}" }}

        [tasks.chat]
        models = ["glm"]

        [paths]
        only = ["{request.param}"]
        """,
        "utf-8",
    )
    return file


def run_example(config: Path) -> Ran:
    return run(EXAMPLE, config)


def test_the_example_concludes(config: Path, server: ScriptedServer) -> None:
    done = run_example(config)
    assert done.out == "Jeg spørger kalenderen." + "".join(CONCLUSION) + "\n"
    assert done.err == '[free_slots {"weekday": "fredag"} -> kl. 9 og kl. 13]\n'
    assert done.status == 0
    first, second = (request.json for request in server.requests)
    assert first["tools"] == second["tools"]
    question = first["messages"]
    result = {"role": "tool", "tool_call_id": "call_1", "content": RESULT}
    assert second["messages"] == [*question, CALLED, result]


def test_the_example_tells_the_model_of_arguments_that_were_cut(config: Path, server: ScriptedServer) -> None:
    scripts = iter([calling(PIECES[:-1], "length"), CONCLUDING])
    server.play(lambda _: next(scripts))
    done = run_example(config)
    assert done.status == 0
    assert "cut off" in server.requests[1].json["messages"][-1]["content"]


def test_the_example_says_that_a_stream_broke_and_calls_no_tool(config: Path, server: ScriptedServer) -> None:
    server.play(calling(PIECES[:-1], None, done=False, then=Drop()))
    done = run_example(config)
    assert done.status == 1
    assert done.out == "Jeg spørger kalenderen."
    assert "the stream broke after it had begun" in done.err
    assert "free_slots" not in done.err
    assert len(server.requests) == 1


def test_the_example_does_not_let_a_model_call_tools_for_ever(config: Path, server: ScriptedServer) -> None:
    server.play(lambda _: calling(PIECES))
    done = run_example(config)
    assert done.status == 1
    assert "no conclusion after 5 rounds" in done.err
    assert len(server.requests) == 5


# The same with each face


def converse(router: Router, messages: list[Message]) -> Completion:
    return router.stream(messages, tools=[TOOL]).collect()


def converse_in_a_loop(router: Router, messages: list[Message]) -> Completion:
    async def main() -> Completion:
        return await router.astream(messages, tools=[TOOL]).collect()

    return asyncio.run(main())


@pytest.mark.parametrize("say", [converse, converse_in_a_loop], ids=["stream", "astream"])
def test_a_tool_loop_in_both_faces(
    config: Path, server: ScriptedServer, say: Callable[[Router, list[Message]], Completion]
) -> None:
    messages = list(ASKED)
    with Router.from_toml(config) as router:
        reply = say(router, messages)
        (call,) = reply.tool_calls
        assert (call.id, call.name, json.loads(call.arguments)) == ("call_1", "free_slots", {"weekday": "fredag"})
        assert (call.is_finished, reply.finish_reason) == (True, "tool_calls")
        assert reply.message == CALLED
        messages += [reply.message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
        conclusion = say(router, messages)
    assert conclusion.text == "".join(CONCLUSION)
    assert server.requests[1].json["messages"] == messages


def test_the_pieces_of_a_call_are_there_as_they_come(config: Path) -> None:
    with Router.from_toml(config) as router:
        deltas = [delta for chunk in router.stream(ASKED, tools=[TOOL]) for delta in chunk.tool_calls]
    assert [delta.name for delta in deltas] == ["free_slots", None, None, None]
    assert [delta.arguments for delta in deltas] == ["", *ARGUMENTS]
