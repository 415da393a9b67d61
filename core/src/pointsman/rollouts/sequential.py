"""Inference that may be looked at as often as one likes, for streams of yes and no.

One stream with `s` yes and `f` no has, for each rate `p` that it may have, the mixture

    M(p) = B(a + s, b + f) / B(a, b) / (p^s (1 - p)^f)

At the true rate it is a nonnegative martingale that begins with 1, so by Ville's inequality it ever reaches `1 / alpha`
with a probability of at most `alpha` (Ville, *Étude critique de la notion de collectif*, 1939; Robbins, *Statistical
methods related to the law of the iterated logarithm*, 1970; Howard, Ramdas, McAuliffe and Sekhon, *Time-uniform,
nonparametric, nonasymptotic confidence sequences*, 2021). So the rates where it is below that are a confidence
sequence: it holds the true rate at all times at once, with a probability of `1 - alpha` at least. It is exact for any
number of observations; what it asks is that each of them has the same rate whatever came before.

Two streams have the product of both mixtures, which is a martingale at the two true rates in whatever order the
observations come. Its least value over all pairs of rates that a hypothesis allows is evidence against that
hypothesis: `evidence` of at least `log(1 / alpha)` comes with a probability of at most `alpha` where it is true.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from math import inf, lgamma, log
from typing import NamedTuple, Protocol

PRIOR = 0.5
"""Both parameters of the mixture's beta distribution (Jeffreys'): tight also for rates that are near 0 or 1."""

PRECISION = 1e-9
"""Of a rate that is searched for."""


class Counts(NamedTuple):
    """What was seen of a stream."""

    successes: int
    failures: int

    @property
    def total(self) -> int:
        """Observations."""
        return self.successes + self.failures


class Ordered(Protocol):
    """Values in order, the smallest first; a sorted list is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> float: ...


class Interval(NamedTuple):
    """Everything from `low` to `high`."""

    low: float
    high: float


@lru_cache(maxsize=4096)
def _log_mixture(successes: int, failures: int) -> float:
    """The logarithm of the likelihood of a stream, mixed over all rates."""
    return (
        lgamma(PRIOR + successes)
        + lgamma(PRIOR + failures)
        - lgamma(2 * PRIOR + successes + failures)
        - (2 * lgamma(PRIOR) - lgamma(2 * PRIOR))
    )


def _log_likelihood(counts: Counts, rate: float) -> float:
    """The logarithm of the likelihood of a stream, in one order, at a rate of successes."""
    some = counts.successes * log(rate) if rate > 0 else (-inf if counts.successes else 0.0)
    none = counts.failures * log(1 - rate) if rate < 1 else (-inf if counts.failures else 0.0)
    return some + none


def against(counts: Counts, rate: float) -> float:
    """The evidence against this rate of successes, as a natural logarithm."""
    return _log_mixture(*counts) - _log_likelihood(counts, rate)


def proportion(counts: Counts, alpha: float) -> Interval:
    """The rate of successes, at all times at once with a probability of `1 - alpha` at least."""
    if counts.total == 0:
        return Interval(0.0, 1.0)
    enough = log(1 / alpha)
    seen = counts.successes / counts.total
    low, _ = _turn(lambda p: against(counts, p) < enough, 0.0, seen)
    _, high = _turn(lambda p: against(counts, p) >= enough, seen, 1.0)
    return Interval(low, high)


def evidence(one: Counts, other: Counts, margin: float) -> float:
    """The evidence that `one` fails more often than `other` by more than `margin`, as a natural logarithm.

    Where it does not, a value of `log(1 / alpha)` is ever reached with a probability of at most `alpha`. Negative and
    small values mean nothing.
    """
    # In rates of failures, so that more is worse.
    a, b = Counts(one.failures, one.successes), Counts(other.failures, other.successes)
    return _log_mixture(*a) + _log_mixture(*b) - _most_likely(a, b, margin)


def difference(one: Counts, other: Counts, alpha: float) -> Interval:
    """How much higher the rate of failures of `one` is than that of `other`, as `proportion` has a rate."""
    enough = log(1 / alpha)
    a, b = Counts(one.failures, one.successes), Counts(other.failures, other.successes)
    if not (a.total and b.total):
        return Interval(-1.0, 1.0)
    mixed = _log_mixture(*a) + _log_mixture(*b)
    seen = a.successes / a.total - b.successes / b.total
    # Above what was seen the hypothesis "not more than this" is true of it, so each side is looked at from its own.
    low, _ = _turn(lambda delta: mixed - _most_likely(a, b, delta) < enough, -1.0, seen)
    high, _ = _turn(lambda delta: mixed - _most_likely(b, a, delta) < enough, -1.0, -seen)
    return Interval(low, -high)


def quantile(ordered: Ordered, q: float, alpha: float) -> Interval:
    """The `q` quantile of what `ordered` values, the smallest first, were drawn from, as `proportion` has a rate.

    Whether a value is at most the true quantile is a stream of yes and no with a rate of `q`, whatever the values
    are distributed like. The quantile is one fixed number, so the values at which that stream would be evidence
    against `q` can be ruled out at all times at once.
    """
    n = len(ordered)
    enough = log(1 / alpha)

    def fits(below: int) -> bool:
        return against(Counts(below, n - below), q) < enough

    middle = round(q * n)
    least = bisect_left(range(middle), True, key=fits)
    most = middle + bisect_left(range(middle + 1, n + 1), True, key=lambda below: not fits(below))
    return Interval(-inf if least == 0 else ordered[least - 1], inf if most == n else ordered[most])


def _most_likely(a: Counts, b: Counts, margin: float) -> float:
    """The log-likelihood of both at the most likely rates that are allowed: `a`'s not above `b`'s plus `margin`."""
    if a.total == 0 or b.total == 0:
        # The stream that is there can have its own best rate, and the other one any.
        return sum(_log_likelihood(one, one.successes / one.total) for one in (a, b) if one.total)
    at_a, at_b = a.successes / a.total, b.successes / b.total
    if at_a - at_b <= margin:
        return _log_likelihood(a, at_a) + _log_likelihood(b, at_b)
    # Then the best pair lies on the border, where the slope of the sum changes its sign once.
    low, high = max(at_b, -margin, 0.0), min(at_a - margin, 1.0 - margin, 1.0)
    if low >= high:
        low = high = min(max(low, 0.0), 1.0)

    def falls(p: float) -> bool:
        return _slope(a, p + margin) + _slope(b, p) <= 0

    p, _ = _turn(falls, low, high)
    return _log_likelihood(a, min(max(p + margin, 0.0), 1.0)) + _log_likelihood(b, min(max(p, 0.0), 1.0))


def _slope(counts: Counts, rate: float) -> float:
    """Of the logarithm of the likelihood, by the rate."""
    some = counts.successes / rate if rate > 0 else (inf if counts.successes else 0.0)
    none = counts.failures / (1 - rate) if rate < 1 else (inf if counts.failures else 0.0)
    return some - none


def _turn(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Where something begins to hold that does not hold at `low`: the last place before, and the first one after.

    Where it holds at `low` already, both are `low`; where it does not at `high`, both are `high`.
    """
    if holds(low):
        return low, low
    if not holds(high):
        return high, high
    while high - low > PRECISION:
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return low, high
