"""How an answer came about, told on stderr: before it who answers, after it what that took."""

from collections.abc import Mapping

from pointsman.chat import Completion
from pointsman.decision import AttemptRecord, Decision
from pointsman.errors import RouteError
from pointsman.hooks import Backend

from .output import attempt_words, path_words, say

INDENT = "  "

AT_ONE_MOMENT = 0.05
"""Seconds. Content that came within them was written before it was sent, and says nothing of the model's speed."""


class Story:
    """Tells each part once, where it is not to be silent."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._told = False
        self._thinking = False

    def answers(self, decision: Decision | None) -> None:
        """The answer begins: its path, what was tried before, and who gives it, or why nobody does."""
        if self._told or self._silent or decision is None:
            return
        self._told = True
        if decision.outcome == "last_resort":
            _tell(decision, decision.attempts)
            say(f"-  the last resort of {decision.task}, because nobody answered: {decision.why}", indent=INDENT)
            say("")
            return
        # A short answer has ended before it is read; then its own attempt is on record.
        before = decision.attempts if decision.outcome is None else decision.attempts[:-1]
        target = decision.served or decision.attempts[-1].target
        _tell(decision, before)
        say(f"{len(before) + 1}. {target.model} via {target.backend}", indent=INDENT)
        say("")

    def thinks(self, reasoning: str) -> None:
        """A piece of reasoning."""
        self._thinking = True
        say(reasoning, end="")

    def speaks(self) -> None:
        """The answer's first word."""
        if self._thinking:
            say("", end="\n\n")

    def failed(self, error: RouteError, backends: Mapping[str, Backend], *, streamed: bool) -> None:
        """There is no answer, or only a part of one."""
        if self._silent:
            return
        decision = error.decision
        if self._told or decision is None:
            say("")
        elif decision.attempts or decision.skipped:
            _tell(decision, decision.attempts)
            mute = dict.fromkeys(t.backend for t in decision.candidates if backends[t.backend].stream is None)
            if streamed and mute:
                say(f"{', '.join(mute)} cannot stream; --no-stream asks for the whole answer", indent=INDENT)
            say("")


def _tell(decision: Decision, attempts: tuple[AttemptRecord, ...]) -> None:
    say(", ".join(filter(None, (decision.task, path_words(decision)))))
    for skipped in decision.skipped:
        say(f"-  {skipped.target.model} via {skipped.target.backend}: skipped, {skipped.why}", indent=INDENT)
    for attempt in attempts:
        say(f"{attempt.number}. {attempt_words(attempt)}, {attempt.duration:.2f} s", indent=INDENT)
        if attempt.failure:
            say(str(attempt.failure), indent=INDENT + "   ")


def summary(reply: Completion) -> str:
    """What an answer took: attempts, time, tokens and their speed, cost; and who ran the model."""
    decision, usage = reply.decision, reply.usage
    if decision and not decision.attempts:
        return "nothing was tried"
    lines = [f"calls {call.name} {call.arguments}" for call in reply.tool_calls]
    if decision:
        lines.append(_pace(decision, decision.attempts[-1]))
    took: list[str] = []
    if usage.input_tokens is not None or usage.output_tokens is not None:
        took.append(f"{_number(usage.input_tokens)} tokens in, {_number(usage.output_tokens)} out")
    took.append("cost unknown" if usage.cost is None else f"${usage.cost:.6f}" if usage.cost else "free")
    if served := " at ".join(filter(None, (reply.served_model, reply.provider))):
        took.append(f"served as {served}")
    lines.append(", ".join(took))
    if reply.finish_reason != "stop":
        lines.append(f"ended with {reply.finish_reason}")
    return "\n".join(lines)


def _pace(decision: Decision, last: AttemptRecord) -> str:
    count = len(decision.attempts)
    pace = f"{count} attempt{'s' if count > 1 else ''} in {decision.duration or 0:.2f} s"
    first = last.time_to_first_token
    if first is not None:
        pace += f", first token after {last.started + first:.2f} s"
        written = last.usage.output_tokens if last.usage else None
        if written and last.duration - first > AT_ONE_MOMENT:
            pace += f", then {written / (last.duration - first):.0f} tokens/s"
    return pace


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)
