"""Asks the decision hooks, and holds them to what they may answer.

A plugin that raises, or answers with the wrong type, becomes a `PluginError` that names it. A plugin
may raise a `RouteError` of its own to end the request.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from sys import float_info
from typing import Any, TypeAlias, TypeVar

from attrs import evolve, frozen

from .chat import Request
from .complaints import suggest
from .context import DecisionContext, RouteState
from .decision import Assignment, AttemptOutcome
from .errors import Failure, PluginError, RouteError
from .hooks import Select, Step
from .targets import Target
from .verdicts import GateStatus, Next, Permit, Selection, SkipTarget, Stop, WaitUntil

logger = logging.getLogger(__name__)

R = TypeVar("R")

SELECTIONS = (Selection,)
ADMISSIONS = (Permit, SkipTarget, WaitUntil)

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


def select(
    step: Step[Select], request: Request, candidates: tuple[Target, ...], ctx: DecisionContext
) -> Selection | None:
    """What one step of the pipeline leaves of the candidates; None leaves them alone."""
    selection = _ask(step, "select_model", SELECTIONS, request, candidates, ctx)
    if selection is not None:
        for target in selection.targets:
            if type(target) is not Target:
                raise _at_fault(step.plugin, "select_model", "selected something that is no Target")
        if (assignment := selection.assignment) is not None:
            if type(assignment) is not Assignment:
                raise _at_fault(step.plugin, "select_model", "assigned something that is no Assignment")
            paths = ctx.snapshot.config.paths
            if paths and assignment.path not in paths:
                raise _at_fault(
                    step.plugin,
                    "select_model",
                    f"assigned a path that is not in [paths]; {suggest(assignment.path, paths)}",
                )
            if ctx.assignment is not None and ctx.assignment.backends and not assignment.backends:
                # It would be recorded, and the backends of another path asked.
                raise _at_fault(
                    step.plugin,
                    "select_model",
                    "assigned a path after the rollout had put the backends of one in order; "
                    "mark it tryfirst=True, or name it before rollout in [order]",
                )
    return selection


def decide_fallback(request: Request, failure: Failure, state: RouteState) -> Next | Stop:
    """The first verdict; a target that it names is a candidate that the gate did not refuse."""
    for step in state.ctx.snapshot.hooks.decide_fallback:
        verdict = _ask(step, "decide_fallback", (Next, Stop), request, failure, state)
        if verdict is None:
            continue
        if isinstance(verdict, Next):
            if verdict.target not in state.candidates:
                raise _at_fault(step.plugin, "decide_fallback", "chose a target that is no candidate")
            if any(skip.target == verdict.target for skip in state.skipped):
                raise _at_fault(step.plugin, "decide_fallback", f"chose {verdict.target}, which the gate had refused")
            if not _is_number(verdict.after):
                raise _at_fault(step.plugin, "decide_fallback", "set a pause that is no number of seconds")
        return verdict
    return Stop("no other target could serve this")


def admit(target: Target, ctx: DecisionContext) -> Admission | Refusal:
    """Everyone's permits, or the first refusal; permits that were given before it are settled unused."""
    permits: Admission = ()
    try:
        for step in ctx.snapshot.hooks.admit:
            answer = _ask(step, "admit", ADMISSIONS, target, ctx)
            if isinstance(answer, Permit):
                permits += ((step.plugin, answer),)
            elif answer is not None:
                refusal = _refusal(step.plugin, answer)
                settle(permits, None, None, ctx)
                return refusal
    except BaseException:
        settle(permits, None, None, ctx)
        raise
    return permits


def settle(admission: Admission, outcome: AttemptOutcome | None, failure: Failure | None, ctx: DecisionContext) -> None:
    """Tells everyone who gave a permit how the attempt ended. Nobody's mistake keeps another from hearing it.

    The attempt is over and its answer may be there, so a plugin that raises is logged, not raised.
    """
    for plugin, permit in admission:
        tell = ctx.snapshot.hooks.settle.get(plugin)
        if tell is None:
            continue
        try:
            tell(permit, outcome, failure, ctx)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            logger.error("plugin %s: settle %s; its gate may now be wrong", plugin, raised(error))  # noqa: TRY400 - a traceback quotes


def report_gate(ctx: DecisionContext) -> tuple[GateStatus, ...]:
    """What every gate holds, with whose gate it is."""
    return tuple(
        evolve(status, plugin=step.plugin)
        for step in ctx.snapshot.hooks.report_gate
        for status in _ask(step, "report_gate", (Sequence,), ctx) or ()
    )


def raised(error: BaseException) -> str:
    """What a plugin raised and where, without its message, which may quote a prompt or a key."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return f"raised {type(error).__name__}"
    file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
    return f"raised {type(error).__name__} at {file}:{trace.tb_lineno}"


def is_ctrl_c(error: BaseException) -> bool:
    """Whether somebody pressed Ctrl-C. Only the main thread hears it; elsewhere a plugin has raised it itself."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _refusal(plugin: str, answer: SkipTarget | WaitUntil) -> Refusal:
    if isinstance(answer, WaitUntil):
        if not _is_number(answer.time):
            raise _at_fault(plugin, "admit", "returned a WaitUntil whose time is no number")
        return Refusal(plugin=plugin, why=answer.why, until=answer.time)
    if answer.retry_after is not None and not _is_number(answer.retry_after):
        raise _at_fault(plugin, "admit", "returned a SkipTarget whose retry_after is no number")
    return Refusal(plugin=plugin, why=answer.why, retry_after=answer.retry_after)


def _is_number(value: object) -> bool:
    """NaN is none: it compares with nothing, so no wait for it would end. Nor is an integer beyond any float."""
    return (isinstance(value, float) and value == value) or (isinstance(value, int) and abs(value) <= float_info.max)  # noqa: PLR0124 - NaN is not itself


def _ask(step: Step[Callable[..., R | None]], hook: str, allowed: tuple[type, ...], *arguments: Any) -> R | None:
    try:
        answer = step.call(*arguments)
        if answer is None or isinstance(answer, allowed):
            return answer
    except RouteError:
        raise
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        fault = raised(error)
    else:
        names = ", ".join(cls.__name__ for cls in allowed)
        fault = f"returned {type(answer).__name__}; it may return {names} or None"
    # Outside the `except`: what the plugin raised may quote a prompt, and does not hang on this.
    raise _at_fault(step.plugin, hook, fault)


def _at_fault(plugin: str, hook: str, fault: str) -> PluginError:
    return PluginError(f"plugin {plugin}: {hook} {fault}", plugin=plugin, hook=hook)
