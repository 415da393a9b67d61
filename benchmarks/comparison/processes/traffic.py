"""The request that every contestant sends, and the answers that it gets. Standard library only."""

import json

loads = json.loads
"""How clients that parse by themselves read JSON."""

MODEL = "small"
PROMPT = "Write one friendly line to the customer."
MESSAGES = [{"role": "user", "content": PROMPT}]
KEY = "sk-nobody"

TEXT = "Thank you for writing to us. We come on Tuesday at ten, as we agreed, and bring everything we need."
USAGE = {"prompt_tokens": 42, "completion_tokens": 24, "total_tokens": 66}

CHUNKS = 400
WORDS = [f" word{number}" for number in range(CHUNKS)]
STREAMED = "".join(WORDS)


def whole_body(*, stream: bool = False) -> dict[str, object]:
    """What those contestants send that write the body themselves."""
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": MODEL, "messages": MESSAGES} | streamed


def whole() -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop", "logprobs": None}
    head = {"id": "gen-1790000000-abcdefghijklmnopqrst", "provider": "Nordlys", "model": MODEL}
    body = head | {"object": "chat.completion", "created": 1790000000, "choices": [choice], "usage": USAGE}
    return json.dumps(body, separators=(",", ":")).encode()


def failed() -> bytes:
    """What stands in a 503."""
    return json.dumps({"error": {"message": "The service is overloaded.", "code": 503, "type": "server"}}).encode()


def events() -> list[bytes]:
    """A streamed answer: as many events with content, then the end, the usage and the mark after the last one."""

    def event(choices: list[object], **more: object) -> bytes:
        head = {"id": "gen-1790000000-abcdefghijklmnopqrst", "provider": "Nordlys", "model": MODEL}
        body = head | {"object": "chat.completion.chunk", "created": 1790000000, "choices": choices} | more
        return b"data: %b\n\n" % json.dumps(body, separators=(",", ":")).encode()

    def choice(content: str, finish: str | None = None) -> object:
        delta = {"role": "assistant", "content": content}
        return {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}

    answer = [event([choice(word)]) for word in WORDS]
    return [*answer, event([choice("", "stop")]), event([], usage=USAGE), b"data: [DONE]\n\n"]


class Parsed:
    """Reads a stream with what nobody can do without: split at the empty lines, and JSON read of each event."""

    def __init__(self) -> None:
        self._rest = b""
        self.words: list[str] = []

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        for event in whole:
            if event.startswith(b"data: {"):
                choices = loads(event[6:])["choices"]
                if choices and (text := choices[0]["delta"]["content"]):
                    self.words.append(text)
