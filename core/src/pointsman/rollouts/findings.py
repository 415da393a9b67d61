"""What a comparison proves of each measure, held against a margin, and how people are told."""

from math import isinf
from typing import Literal, TypeAlias

from attrs import frozen

from .comparison import Comparison
from .observed import Estimate, Observed, excess
from .settings import RATES, Measure

Standing: TypeAlias = Literal["fine", "worse", "open", "nothing"]
"""Of a measure: proved to be within its margin, proved to be above it, neither, or that neither path has any of it."""

FARTHEST = 32.0
"""How many times as many requests are looked ahead; an estimate beyond that is worth nothing."""

NAMES: dict[Measure, str] = {
    "failures": "failures",
    "fallbacks": "fallbacks",
    "duration": "p95 duration",
    "first_token": "p95 time to first token",
    "cost": "median cost",
}


@frozen(kw_only=True)
class Finding:
    """What is known of one measure."""

    measure: Measure
    standing: Standing
    margin: float
    """What is tolerated: of rates a difference, of anything else a ratio."""
    excess: Estimate
    """Of the path over control, as in `Comparison`."""
    path: float | None
    """What was seen of the path: a rate, seconds or US dollars."""
    control: float | None
    """What was seen of control."""
    more: int | None = None
    """About how many more requests of the path it takes until an open measure is fine, if everything goes on as it has.

    None where that is farther than can be looked ahead, or never.
    """

    def __str__(self) -> str:
        """In words: what was seen, what is proved, and what is tolerated."""
        name = NAMES[self.measure]
        if self.standing == "nothing":
            return f"{name}: nothing was recorded"
        said = f"{name} {self._seen(self.path)} against {self._seen(self.control)}"
        if self.excess.seen is None:
            return f"{said}, which cannot be compared"
        low, high = self.excess.interval
        unit = "points" if self.measure in RATES else "times"
        match self.standing:
            case "fine":
                proved = f"at most {self._excess(high)} {unit}"
            case "worse":
                proved = f"at least {self._excess(low)} {unit}"
            case _ if isinf(high):
                proved = f"at least {self._excess(low)} {unit} and with no upper end yet"
            case _:
                proved = f"between {self._excess(low)} and {self._excess(high)} {unit}"
        return f"{said}, {proved}, {self._excess(self.margin)} tolerated{self._ahead()}"

    def _ahead(self) -> str:
        return "" if self.more is None else f" (about {self.more:,} more requests of the path, if this goes on)"

    def _seen(self, value: float | None) -> str:
        if value is None:
            return "unknown"
        if self.measure in RATES:
            return f"{value * 100:.1f} %"
        return f"${value:.3g}" if self.measure == "cost" else f"{value:.3g} s"

    def _excess(self, value: float) -> str:
        return f"{value * 100:+.1f}" if self.measure in RATES else f"{value:.2f}"


def find(measure: Measure, compared: Comparison, margin: float) -> Finding:
    """What a comparison says of one measure."""
    one, other = compared.observed
    found = compared.excess[measure]
    more = None
    if measure not in RATES and not (one.values(measure) or other.values(measure)):
        standing: Standing = "nothing"
    elif found.interval.low > margin:
        standing = "worse"
    elif found.interval.high <= margin:
        standing = "fine"
    else:
        standing, more = "open", _more(measure, one, other, compared.alpha, margin)
    return Finding(
        measure=measure,
        standing=standing,
        margin=margin,
        excess=found,
        path=one.seen(measure),
        control=other.seen(measure),
        more=more,
    )


def _more(measure: Measure, one: Observed, other: Observed, alpha: float, margin: float) -> int | None:
    def fine(times: float) -> bool:
        return excess(measure, one, other, alpha, times).interval.high <= margin

    low, high = 1.0, FARTHEST
    if not fine(high):
        return None
    while high / low > 1.02:  # noqa: PLR2004 - two per cent are near enough for "about"
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fine(middle) else (middle, high)
    return int(float(f"{max(one.requests * (high - 1), 1):.1e}"))  # of which two digits mean something
