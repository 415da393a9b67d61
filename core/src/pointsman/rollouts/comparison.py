"""What was recorded of one path of a rollout beside what was recorded of its control path.

Only what chance has put on a path says anything about the path: testers who were named for it may be other people
than the rest. And only requests of one period are compared, in which the shares were the same. Otherwise a path whose
share grew would have more of its requests in the later, perhaps better, hours than control has (Simpson's paradox).
"""

from collections.abc import Iterable, Iterator
from math import inf
from statistics import fmean

from attrs import field, frozen

from ..records import RecordedRequest
from .observed import MIDDLE, TAIL, Estimate, Observed, excess, observe, quantile_of, rate_of
from .sequential import Counts
from .settings import MEASURES, Measure


@frozen(kw_only=True)
class PathFigures:
    """One path in numbers. Each interval holds at all times at once with a probability of `1 - alpha / 2` at least."""

    path: str
    requests: int
    """How many count."""
    left_out: int
    """Cancelled or abandoned, and not counted."""
    success: Estimate
    fallback: Estimate
    streams: int
    """Answered ones."""
    duration_p50: Estimate
    duration_p95: Estimate
    first_token_p50: Estimate
    first_token_p95: Estimate
    cost_p50: Estimate
    cost_mean: float | None
    """Without an interval: a mean has none as long as nobody knows the highest cost that is possible."""
    cost_unknown: int
    """Requests whose cost is not known."""


@frozen(kw_only=True)
class Comparison:
    """A path against control over the same period."""

    rollout: str
    share: float | None
    """Of the path, in per cent; None where nothing of it was recorded."""
    since: float | None
    """When the first request that counts ended, in seconds since the epoch."""
    until: float | None
    """When the last one did."""
    alpha: float
    path: PathFigures
    control: PathFigures
    excess: dict[Measure, Estimate]
    """Of the path over control: of rates the difference, of p95 times and of the median cost the ratio.

    Each interval holds at all times at once with a probability of `1 - alpha` at least.
    """
    observed: tuple[Observed, Observed] = field(repr=False)
    """Of the path and of control."""


def compare(
    records: Iterable[RecordedRequest],
    *,
    rollout: str,
    path: str,
    control: str,
    share: float | None = None,
    since: float | None = None,
    one_per_unit: bool = False,
    alpha: float = 0.01,
) -> Comparison:
    """A path against the control path of one rollout, from recorded requests in any order.

    Counted is what was assigned by chance since the shares of both are what they are: `share`, in per cent, is that of
    the path now, by default that of its newest request. `since`, in seconds since the epoch, says otherwise: everything
    from then on, under whatever shares. With `one_per_unit` only the first request counts that each unit made in that
    time. `alpha` is the probability, for each measure, that its interval is ever wrong.
    """
    by_chance = sorted(
        (one for one in records if one.rollout == rollout and one.path in (path, control) and one.bucket is not None),
        key=lambda one: one.time,
    )
    if since is None:
        now = {one.path: one.share for one in by_chance}
        if share is not None:
            now[path] = share
        # A request that was under way at the change ends after it; what ended before that is left out on both sides.
        changed = max((one.time for one in by_chance if one.share != now[one.path]), default=-inf)
        period = [one for one in by_chance if one.time > changed]
    else:
        period = [one for one in by_chance if one.time >= since]
    if one_per_unit:
        period = list(_first_of_each_unit(period))
    on_path = [one for one in period if one.path == path]
    one, other = observe(path, on_path), observe(control, [one for one in period if one.path == control])
    return Comparison(
        rollout=rollout,
        share=on_path[-1].share if on_path else share,
        since=period[0].time if period else None,
        until=period[-1].time if period else None,
        alpha=alpha,
        path=_figures(one, alpha / 2),
        control=_figures(other, alpha / 2),
        excess={measure: excess(measure, one, other, alpha) for measure in MEASURES},
        observed=(one, other),
    )


def _first_of_each_unit(records: Iterable[RecordedRequest]) -> Iterator[RecordedRequest]:
    """A request without a unit was drawn by itself, as if it were a unit of its own."""
    known: set[str] = set()
    for one in records:
        unit = None if one.unit is None else str(one.unit)
        if unit not in known:
            yield one
        if unit is not None:
            known.add(unit)


def _figures(seen: Observed, alpha: float) -> PathFigures:
    return PathFigures(
        path=seen.path,
        requests=seen.requests,
        left_out=seen.left_out,
        success=rate_of(seen.failures, alpha),
        fallback=rate_of(Counts(seen.fallbacks.failures, seen.fallbacks.successes), alpha),
        streams=len(seen.first_tokens),
        duration_p50=quantile_of(seen.durations, MIDDLE, alpha),
        duration_p95=quantile_of(seen.durations, TAIL, alpha),
        first_token_p50=quantile_of(seen.first_tokens, MIDDLE, alpha),
        first_token_p95=quantile_of(seen.first_tokens, TAIL, alpha),
        cost_p50=quantile_of(seen.costs, MIDDLE, alpha),
        cost_mean=fmean(seen.costs) if seen.costs else None,
        cost_unknown=seen.requests - len(seen.costs),
    )
