"""What a verdict on a path is to be like."""

from typing import Literal, TypeAlias

from attrs import field, frozen, validators

Measure: TypeAlias = Literal["failures", "fallbacks", "duration", "first_token", "cost"]
RATES: tuple[Measure, ...] = ("failures", "fallbacks")
MEASURES: tuple[Measure, ...] = (*RATES, "duration", "first_token", "cost")

_RATE = [validators.ge(0.0), validators.lt(1.0)]
_RATIO = validators.ge(1.0)


@frozen(kw_only=True)
class VerdictSettings:
    """`[rollout.verdict]`: how much worse than control a path may be, and how sure one has to be."""

    failures: float = field(default=0.02, validator=_RATE)
    """How much higher its rate of requests without an answer may be: 0.02 is two in a hundred."""
    fallbacks: float = field(default=0.05, validator=_RATE)
    """How much higher its rate of requests that the first candidate did not answer may be."""
    duration: float = field(default=1.25, validator=_RATIO)
    """How many times as long its answers may take, at the 95th percentile."""
    first_token: float = field(default=1.25, validator=_RATIO)
    """How many times as long its streams may take to their first token, at the 95th percentile."""
    cost: float = field(default=1.25, validator=_RATIO)
    """How many times as much a request may cost, at the median."""
    required: tuple[Measure, ...] = MEASURES
    """What has to be proved to be within its margin before the share grows; what neither path has any of does not.

    The others can still be proved worse.
    """
    error_rate: float = field(default=0.05, validator=[validators.gt(0.0), validators.le(0.5)])
    """The probability, at most, of a wrong proof in a period of unchanged shares, all measures and looks together."""
    at_least: int = field(default=100, validator=validators.ge(1))
    """Requests of the path, and of control, before the share grows."""
    one_per_unit: bool = False
    """Counts the first request of each unit alone, for units that make many requests and differ from one another."""

    @property
    def alpha(self) -> float:
        """The part of `error_rate` that each measure has."""
        return self.error_rate / len(MEASURES)

    def margin(self, measure: Measure) -> float:
        """What is tolerated: of rates a difference, of anything else a ratio."""
        return getattr(self, measure)
