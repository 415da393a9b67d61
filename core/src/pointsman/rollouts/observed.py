"""What was seen of one path, and how far two may be apart, for each measure."""

from collections.abc import Iterable, Sequence
from math import inf

from attrs import field, frozen

from ..records import RecordedRequest
from .sequential import Counts, Interval, Ordered, difference, proportion, quantile
from .settings import Measure

TAIL = 0.95
"""The quantile in which durations and times to first token are compared: what the slow ones take."""

MIDDLE = 0.5


@frozen
class Estimate:
    """What was seen, and where the truth lies. None where nothing was seen; `inf` where an end is not known yet."""

    seen: float | None
    interval: Interval


@frozen(kw_only=True)
class Observed:
    """What was seen of one path, to be judged. Everything sorted, the smallest first."""

    path: str
    left_out: int
    """Cancelled or abandoned. A caller who leaves says nothing certain about the path, and cuts the times short."""
    failures: Counts
    """A success is an answer; a last resort is none."""
    fallbacks: Counts
    """A success is an answer by the first candidate."""
    durations: Sequence[float] = field(repr=False)
    """Of answered requests, in seconds: a failure can be quick or slow, and is counted already."""
    first_tokens: Sequence[float] = field(repr=False)
    """Of answered streams, in seconds since the request began."""
    costs: Sequence[float] = field(repr=False)
    """In US dollars, of every request whose cost is known."""

    @property
    def requests(self) -> int:
        """How many count."""
        return self.failures.total

    def rate(self, measure: Measure) -> Counts | None:
        """What a measure that is a rate is taken from; None of the others."""
        return {"failures": self.failures, "fallbacks": self.fallbacks}.get(measure)

    def values(self, measure: Measure) -> Sequence[float]:
        """What a measure that is no rate is taken from."""
        return {"duration": self.durations, "first_token": self.first_tokens, "cost": self.costs}.get(measure, ())

    def seen(self, measure: Measure) -> float | None:
        """The rate, or the quantile that is compared; None where there is nothing to take it from."""
        rate = self.rate(measure)
        if rate is None:
            return _at(self.values(measure), _compared_at(measure))
        return rate.failures / rate.total if rate.total else None


def observe(path: str, records: Iterable[RecordedRequest]) -> Observed:
    """What the requests of one path show."""
    everything = list(records)
    kept = [one for one in everything if one.outcome not in ("cancelled", "abandoned")]
    answered = [one for one in kept if one.outcome == "answered"]
    return Observed(
        path=path,
        left_out=len(everything) - len(kept),
        failures=Counts(len(answered), len(kept) - len(answered)),
        fallbacks=_counted(not one.fell_back for one in kept),
        durations=sorted(one.duration for one in answered),
        first_tokens=_known(one.time_to_first_token for one in answered),
        costs=_known(one.cost for one in kept),
    )


def excess(measure: Measure, one: Observed, other: Observed, alpha: float, times: float = 1.0) -> Estimate:
    """How much more `one` has of a measure than `other`: the difference of rates, the ratio of anything else.

    A ratio is taken from an interval for each of both quantiles, of which either is wrong with `alpha / 2` at most.
    `times` as many requests, of which all went as these have, would show what is returned then.
    """
    a, b = one.seen(measure), other.seen(measure)
    rate, other_rate = one.rate(measure), other.rate(measure)
    if rate is not None and other_rate is not None:
        seen = None if a is None or b is None else a - b
        return Estimate(seen, difference(_counts_again(rate, times), _counts_again(other_rate, times), alpha))
    q = _compared_at(measure)
    of_one, of_other = (
        quantile_of(_ValuesAgain(each.values(measure), times), q, alpha / 2).interval for each in (one, other)
    )
    seen = None if a is None or b is None else _ratio(a, b)
    return Estimate(seen, Interval(_ratio(of_one.low, of_other.high), _ratio(of_one.high, of_other.low)))


def rate_of(counts: Counts, alpha: float) -> Estimate:
    """Of successes."""
    return Estimate(counts.successes / counts.total if counts.total else None, proportion(counts, alpha))


def quantile_of(ordered: Ordered, q: float, alpha: float) -> Estimate:
    """Of times or costs, which are never below 0."""
    low, high = quantile(ordered, q, alpha)
    return Estimate(_at(ordered, q), Interval(max(low, 0.0), high))


def _at(ordered: Ordered, q: float) -> float | None:
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if len(ordered) else None


def _compared_at(measure: Measure) -> float:
    return MIDDLE if measure == "cost" else TAIL


def _ratio(one: float, other: float) -> float:
    """Two that cost nothing cost the same."""
    if other == 0:
        return inf if one else 1.0
    return one / other


def _counted(successes: Iterable[bool]) -> Counts:
    each = list(successes)
    return Counts(sum(each), len(each) - sum(each))


def _known(values: Iterable[float | None]) -> list[float]:
    return sorted(value for value in values if value is not None)


def _counts_again(counts: Counts, times: float) -> Counts:
    return Counts(round(counts.successes * times), round(counts.failures * times))


@frozen
class _ValuesAgain:
    """The same values again and again, still in order."""

    values: Sequence[float]
    times: float

    def __len__(self) -> int:
        return round(len(self.values) * self.times)

    def __getitem__(self, at: int) -> float:
        return self.values[min(int(at / self.times), len(self.values) - 1)]
