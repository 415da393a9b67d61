"""A model calls a tool, the program answers, the model concludes; all of it streamed.

python tool_loop.py pointsman.toml [TASK]
"""

import json
import sys

from pointsman import Message, RouteError, Router, ToolCall

QUESTION = "Hvornår kan I komme på fredag og gøre rent efter Mette Hansens flytning? Spørg kalenderen."

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "free_slots",
            "description": "The times at which a cleaning team is free on a weekday.",
            "parameters": {
                "type": "object",
                "properties": {"weekday": {"type": "string", "description": "In Danish, such as »fredag«."}},
                "required": ["weekday"],
            },
        },
    }
]

MOST_ROUNDS = 5
"""A model that keeps calling tools is not let go on for ever."""


def free_slots(weekday: str) -> str:
    """What a calendar would say."""
    return {"fredag": "kl. 9 og kl. 13"}.get(weekday.lower(), "ingen ledige tider")


def answer(call: ToolCall) -> str:
    """What the model is told: the tool's result, or what was wrong with the call."""
    if call.name != "free_slots":
        return f"There is no tool {call.name}."
    if not call.is_finished:
        return "The arguments were cut off; call the tool again."
    try:
        return free_slots(**json.loads(call.arguments or "{}"))
    except TypeError as error:
        return f"Wrong arguments: {error}"


def main(config: str, task: str | None = None) -> int:
    """Print the answers as they come; 1 if nobody answered, a stream broke, or the model never concluded."""
    messages: list[Message] = [{"role": "user", "content": QUESTION}]
    with Router.from_toml(config) as router:
        for _ in range(MOST_ROUNDS):
            stream = router.stream(messages, task=task, tools=TOOLS)
            try:
                for chunk in stream:
                    print(chunk.text, end="", flush=True)
            except RouteError as error:
                print(f"\n[{error}]", file=sys.stderr)
                return 1
            reply = stream.completion
            if not reply.tool_calls:
                print()
                return 0
            messages.append(reply.message)
            for call in reply.tool_calls:
                result = answer(call)
                print(f"[{call.name} {call.arguments} -> {result}]", file=sys.stderr)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    print(f"[no conclusion after {MOST_ROUNDS} rounds]", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
