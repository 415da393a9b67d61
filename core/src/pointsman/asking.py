"""Asks the decision hooks, and holds them to what they may answer.

A plugin that raises, or answers with the wrong type, becomes a `PluginError` that names it. A plugin
may raise a `RouteError` of its own to end the request.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from .chat import Request
from .context import DecisionContext, RouteState
from .decision import AttemptOutcome
from .errors import Failure, PluginError, RouteError
from .hooks import Step
from .targets import Target
from .verdicts import Next, Permit, Selection, SkipTarget, Stop, WaitUntil

logger = logging.getLogger(__name__)

R = TypeVar("R")

Admission: TypeAlias = tuple[tuple[str, Permit], ...]
"""The permits of everyone at the gate, with the plugins that gave them."""


@frozen(kw_only=True)
class Refusal:
    """Somebody at the gate said no."""

    plugin: str
    why: str
    until: float | None = None
    """When the gate opens, on the context's clock; None where it is not a matter of waiting."""
    retry_after: float | None = None


def select(request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Iterator[tuple[str, Selection]]:
    """Each selection that changed something, with its plugin; every step sees what the last one left."""
    for step in ctx.snapshot.hooks.select_model:
        selection = _ask(step, "select_model", (Selection,), request, candidates, ctx)
        if selection is not None:
            candidates = selection.targets
            yield step.plugin, selection


def decide_fallback(request: Request, failure: Failure, state: RouteState) -> tuple[str, Next | Stop]:
    """The first verdict, and the plugin that gave it."""
    for step in state.ctx.snapshot.hooks.decide_fallback:
        verdict = _ask(step, "decide_fallback", (Next, Stop), request, failure, state)
        if verdict is not None:
            return step.plugin, verdict
    return "", Stop("no fallback plugin had an answer")


def admit(target: Target, ctx: DecisionContext) -> Admission | Refusal:
    """Everyone's permits, or the first refusal; permits that were given before it are settled unused."""
    permits: list[tuple[str, Permit]] = []
    try:
        for step in ctx.snapshot.hooks.admit:
            answer = _ask(step, "admit", (Permit, SkipTarget, WaitUntil), target, ctx)
            if isinstance(answer, Permit):
                permits.append((step.plugin, answer))
            elif answer is not None:
                settle(tuple(permits), None, None, ctx)
                return _refusal(step.plugin, answer)
    except PluginError:
        settle(tuple(permits), None, None, ctx)
        raise
    return tuple(permits)


def settle(admission: Admission, outcome: AttemptOutcome | None, failure: Failure | None, ctx: DecisionContext) -> None:
    """Tells everyone who gave a permit how the attempt ended. Nobody's mistake keeps another from hearing it.

    The attempt is over and its answer may be there, so a plugin that raises is logged, not raised.
    """
    for plugin, permit in admission:
        tell = ctx.snapshot.hooks.settle.get(plugin)
        if tell is None:
            continue
        try:
            tell(permit, outcome, failure)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            logger.error("plugin %s: settle %s; its gate may now be wrong", plugin, raised(error))  # noqa: TRY400 - a traceback quotes


def raised(error: BaseException) -> str:
    """What a plugin raised and where, without its message, which may quote a prompt or a key."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return f"raised {type(error).__name__}"
    file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
    return f"raised {type(error).__name__} at {file}:{trace.tb_lineno}"


def _refusal(plugin: str, answer: SkipTarget | WaitUntil) -> Refusal:
    if isinstance(answer, WaitUntil):
        return Refusal(plugin=plugin, why=answer.why, until=answer.time)
    return Refusal(plugin=plugin, why=answer.why, retry_after=answer.retry_after)


def _ask(step: Step[Callable[..., R | None]], hook: str, allowed: tuple[type, ...], *arguments: Any) -> R | None:
    try:
        answer = step.call(*arguments)
    except RouteError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises
        message = f"plugin {step.plugin}: {hook} {raised(error)}"
        raise PluginError(message, plugin=step.plugin, hook=hook) from None
    if answer is not None and not isinstance(answer, allowed):
        names = ", ".join(cls.__name__ for cls in allowed)
        message = f"plugin {step.plugin}: {hook} returned {type(answer).__name__}; it may return {names} or None"
        raise PluginError(message, plugin=step.plugin, hook=hook)
    return answer
