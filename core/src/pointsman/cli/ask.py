"""`pointsman ask`: one request against real backends."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import click

from pointsman.chat import Completion, Message
from pointsman.decision import Decision
from pointsman.errors import RouteError
from pointsman.router import Router

from .output import attempt_words, path_words, plain, print_json, reported


def run(
    config: str,
    messages: Sequence[Message],
    *,
    task: str | None,
    unit: str | None,
    model: str | None,
    deadline: float | None,
    parameters: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Prints the answer on stdout, and on stderr how it came about."""
    with reported():
        try:
            # A sink of the configuration may print too, and on stdout it would print into the answer.
            with redirect_stdout(sys.stderr), Router.from_toml(config) as router:
                reply = router.complete(messages, task=task, unit=unit, model=model, deadline=deadline, **parameters)
        except RouteError as error:
            if as_json:
                print_json({"error": type(error).__name__, "message": str(error), "decision": error.decision})
            elif error.decision:
                _tell_story(error.decision)
            raise
        if as_json:
            print_json(_document(reply))
            return
        click.echo(reply.text)
        if reply.decision:
            _tell_story(reply.decision)
        click.echo(click.style(_footer(reply), dim=True), err=True)


def _document(reply: Completion) -> dict[str, Any]:
    """An answer without what would say the same twice."""
    whole: dict[str, Any] = plain(reply)
    return {name: value for name, value in whole.items() if name not in {"raw", "message"}}


def _tell_story(decision: Decision) -> None:
    click.echo(click.style(f"\n{decision.task}: {path_words(decision)}", dim=True), err=True)
    for attempt in decision.attempts:
        line = f"  {attempt.number}. {attempt_words(attempt)} in {attempt.duration:.2f} s ({attempt.why})"
        click.echo(click.style(line, dim=True), err=True)


def _footer(reply: Completion) -> str:
    usage, decision = reply.usage, reply.decision
    served = f"served by {decision.served}" if decision and decision.served else "served"
    if reply.served_model:
        served += f" as {reply.served_model}"
    if reply.provider:
        served += f" ({reply.provider})"
    parts = [served]
    if usage.input_tokens is not None or usage.output_tokens is not None:
        parts.append(f"{_number(usage.input_tokens)} + {_number(usage.output_tokens)} tokens")
    parts.append(f"${usage.cost:.6f}" if usage.cost is not None else "cost unknown")
    return ", ".join(parts)


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)
