"""Whether a path of a rollout should have a greater share, the same, or a smaller one, and why.

Each measure of the path is held against control's and a margin that is tolerated. The path steps back when any
measure is proved to be above its margin, and advances when all that are required are proved not to be. Otherwise it
stays where it is.

`error_rate` of the settings is the probability, at most, that anything is ever said to be proved that is not so, during
one period of unchanged shares and however often one looks (`sequential`; the measures have equal parts of it,
Bonferroni). What has to hold for that stands in `docs/verdict.md`.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from ..records import RecordedRequest
from .comparison import Comparison, compare
from .findings import Finding, find
from .settings import MEASURES, VerdictSettings

Action: TypeAlias = Literal["advance", "hold", "step_back", "done"]

EVERYONE = 100.0
"""Per cent."""

MOSTLY = 0.5
"""Of requests: where fewer are answered on both paths, neither is one to move anybody to."""


@frozen(kw_only=True)
class Verdict:
    """What to do with the share of a path, and why."""

    action: Action
    share: float
    """The path's now, in per cent."""
    next_share: float
    """What to set it to; the same for `hold` and `done`."""
    reason: str
    findings: tuple[Finding, ...]
    comparison: Comparison


def judge(
    records: Iterable[RecordedRequest],
    *,
    rollout: str,
    path: str,
    control: str,
    share: float,
    others: float = 0.0,
    steps: Sequence[float] = (10.0, 50.0, 100.0),
    settings: VerdictSettings | None = None,
) -> Verdict:
    """The verdict on a path that has `share` per cent now, from recorded requests in any order.

    `others` is what further paths of the rollout have, which no step can take. `steps` are the planned shares.
    """
    settings = settings or VerdictSettings()
    compared = compare(
        records,
        rollout=rollout,
        path=path,
        control=control,
        share=share,
        one_per_unit=settings.one_per_unit,
        alpha=settings.alpha,
    )
    findings = tuple(find(measure, compared, settings.margin(measure)) for measure in MEASURES)
    action, next_share, why = _decide(compared, findings, share, others, steps, settings)
    heads: dict[Action, str] = {
        "advance": f"advance to {next_share:g} %",
        "hold": f"hold at {share:g} %",
        "step_back": f"step back to {next_share:g} %",
        "done": f"done, remove the old path {control}",
    }
    return Verdict(
        action=action,
        share=share,
        next_share=next_share,
        reason=f"{heads[action]}: {why}",
        findings=findings,
        comparison=compared,
    )


def _decide(  # noqa: PLR0917 - it is one half of `judge`
    compared: Comparison,
    findings: Sequence[Finding],
    share: float,
    others: float,
    steps: Sequence[float],
    settings: VerdictSettings,
) -> tuple[Action, float, str]:
    path, control = compared.path, compared.control
    before = max((step for step in steps if step < share), default=0.0)
    after = min((step for step in steps if step > share), default=None)
    if share == 0:
        planned = "" if after is None else f"; the first planned step is {after:g} %"
        return "hold", share, f"chance puts nobody on {path.path}, so there is nothing to judge{planned}"
    if share + others >= EVERYONE:
        why = f"chance puts nobody on {control.path}, so there is nothing to compare {path.path} with"
        return ("done" if share >= EVERYONE else "hold"), share, why
    for one in (path, control):
        if one.requests == 0:
            left = f", but for {one.left_out:,} requests that their callers ended" if one.left_out else ""
            return "hold", share, f"nothing of {one.path} was recorded since the shares are what they are{left}"
    of_both = f"in {path.requests:,} requests of {path.path} and {control.requests:,} of {control.path}"
    worse = [one for one in findings if one.standing == "worse"]
    if worse:
        return "step_back", before, f"{path.path} is proved worse, {of_both}: {_joined(worse)}"
    few = [one for one in (path, control) if one.requests < settings.at_least]
    if few:
        counts = " and ".join(f"{one.requests} of {one.path}" for one in few)
        return "hold", share, f"{settings.at_least} requests of each path are the least, and there are {counts}"
    if path.success.interval.high < MOSTLY and control.success.interval.high < MOSTLY:
        return "hold", share, f"most requests fail on both paths, {of_both}: put that right first"
    required = [one for one in findings if one.measure in settings.required and one.standing != "nothing"]
    unsettled = [one for one in required if one.standing == "open"]
    if unsettled or not required:
        what = _joined(unsettled) or "nothing that is required was recorded"
        return "hold", share, f"not proved yet, {of_both}: {what}"
    fine = f"{path.path} is proved not worse than is tolerated, {of_both}: {_joined(required)}"
    if after is None:
        return "hold", share, f"the last of the planned steps is reached; plan another one to go on; {fine}"
    if after + others > EVERYONE:
        return "hold", share, f"other paths have {others:g} % and leave no room for {after:g} %; {fine}"
    return "advance", after, fine


def _joined(findings: Iterable[Finding]) -> str:
    return "; ".join(map(str, findings))
