"""`pointsman ask`: one request against real backends, the answer as it is written."""

import io
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from pointsman.chat import Completion, Message
from pointsman.errors import RouteError
from pointsman.router import Router
from pointsman.streams import Stream

from .output import plain, print_json, say, shown
from .story import Story, summary


def run(
    config: str,
    messages: Sequence[Message],
    *,
    task: str | None,
    unit: str | None,
    model: str | None,
    deadline: float | None,
    parameters: Mapping[str, Any],
    stream: bool,
    as_json: bool,
) -> None:
    """Prints the answer on stdout, and on stderr how it came about."""
    story = Story(silent=as_json)
    answer = sys.stdout
    with _sinks_held(), Router.from_toml(config) as router:
        ask = router.stream if stream else router.complete
        try:
            asked = ask(messages, task=task, unit=unit, model=model, deadline=deadline, **parameters)
            if isinstance(asked, Completion):
                reply = asked
            else:
                reply = asked.collect() if as_json else _relay(asked, story, answer)
        except RouteError as error:
            if as_json:
                with redirect_stdout(answer):
                    print_json(_failure(error))
            story.failed(error, router.snapshot.hooks.backends, streamed=stream)
            raise
        if not stream and not as_json:
            story.answers(reply.decision)
            if said := reply.text or reply.refusal:
                answer.write(f"{shown(said, answer)}\n")
                answer.flush()
        if not as_json:
            say("")
    if as_json:
        print_json(_document(reply))
    else:
        say(summary(reply))


def _relay(stream: Stream, story: Story, answer: TextIO) -> Completion:
    """Writes a stream out as it comes."""
    written = False
    with stream:
        try:
            for chunk in stream:
                story.answers(stream.decision)
                if chunk.reasoning:
                    story.thinks(chunk.reasoning)
                if said := chunk.text or chunk.refusal:
                    if not written:
                        story.speaks()
                    answer.write(shown(said, answer))
                    answer.flush()
                    written = True
        finally:
            if written:
                answer.write("\n")
                answer.flush()
        return stream.completion


@contextmanager
def _sinks_held() -> Generator[None]:
    """Keeps what sinks print until the answer is out, and then prints it on stderr: stdout is the answer's."""
    held = _Held()
    try:
        with redirect_stdout(held):
            yield
    finally:
        sys.stderr.write(held.getvalue())
        sys.stderr.flush()


class _Held(io.StringIO):
    """Looks to a sink like the stream that it will be printed on."""

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - typeshed has it as a field
        return sys.stderr.encoding

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def _document(reply: Completion) -> dict[str, Any]:
    """An answer without what would say the same twice."""
    whole: dict[str, Any] = plain(reply)
    return {name: value for name, value in whole.items() if name not in {"raw", "message"}}


def _failure(error: RouteError) -> dict[str, Any]:
    """An error, and what had arrived of a stream."""
    partial: Completion | None = getattr(error, "partial", None)
    return {
        "error": type(error).__name__,
        "message": str(error),
        "retry_after": error.retry_after,
        "partial": _document(partial) if partial else None,
        "decision": error.decision,
    }
