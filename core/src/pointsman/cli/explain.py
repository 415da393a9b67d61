"""`pointsman explain`: what would be decided for a request, step by step. Nobody is called, no key is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pointsman.decision import Decision
from pointsman.errors import RouteError
from pointsman.intake import Call
from pointsman.loading import from_toml
from pointsman.plan import explain
from pointsman.recorder import Recorder
from pointsman.targets import Target

from .columns import fits, heading, line, table
from .output import FAILED, path_words, print_json


def run(
    config: str,
    prompt: str,
    *,
    task: str | None,
    unit: str | None,
    model: str | None,
    parameters: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Prints the decision: the candidates after every step, and why."""
    snapshot = from_toml(Path(config), read_secrets=False)
    call = Call.of(snapshot, prompt, task=task, unit=unit, model=model, parameters=parameters)
    try:
        # What `Router.explain` does, without what a router has for calling anyone: that takes time to import.
        decision = explain(Recorder.of(call.request, snapshot))
    except RouteError as error:
        if error.decision is None or not error.decision.steps:
            raise
        _show(error.decision, snapshot.catalog.targets, error, as_json=as_json)
        raise SystemExit(FAILED) from None
    _show(decision, snapshot.catalog.targets, None, as_json=as_json)


def _show(decision: Decision, configured: tuple[Target, ...], error: RouteError | None, *, as_json: bool) -> None:
    if as_json:
        ended = None if error is None else {"error": type(error).__name__, "message": str(error)}
        print_json({"decision": decision, "failed": ended})
        return
    asked = [decision.task]
    asked += [f"model {decision.model}"] if decision.model is not None else []
    asked += [f"unit {decision.unit}"] if decision.unit is not None else []
    heading(": ".join(filter(None, (", ".join(asked), path_words(decision)))))
    click.echo(f"{len(configured)} target{'s'[: len(configured) != 1]} configured")
    left, narrow = configured, False
    for number, step in enumerate(decision.steps, start=1):
        click.echo()
        line(f"{number}. {step.plugin} {_what_came(left, step.targets)}: {step.why}", hanging=3)
        rows = [_row(target, place) for place, target in enumerate(step.targets, start=1)]
        whole = fits(rows, indent=3)
        table(rows if whole else [row[:-1] for row in rows], indent=3)
        narrow = narrow or not whole
        left = step.targets
    click.echo()
    if narrow:
        line("A wider terminal shows what each backend calls its models, too.", dim=True)
    if error is not None:
        line(f"{type(error).__name__}: {error}")
        return
    rest = len(decision.candidates) - 1
    then = f"; {rest} more to fall back to" if rest else "; there is nothing to fall back to"
    line(f"First to be tried: {decision.candidates[0].model} via {decision.candidates[0].backend}{then}.")
    line("Nobody was called. What a breaker has shut, router.health() says in the running program.", dim=True)


def _row(target: Target, place: int) -> tuple[str, ...]:
    return (f"{place:2}", f"{target.model} via {target.backend}", target.name)


def _what_came(before: tuple[Target, ...], after: tuple[Target, ...]) -> str:
    if len(after) != len(before):
        return f"leaves {len(after)} of {len(before)}"
    return f"leaves all {len(after)}" if after == before else f"reorders all {len(after)}"
