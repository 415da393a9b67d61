"""What the backends of a simulation do: a script is asked at each attempt, and answers with a behaviour."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeAlias

from attrs import define, field, frozen

from pointsman.errors import Failure, Kind
from pointsman.targets import Target


@frozen
class Answers:
    """The attempt is answered after so many seconds."""

    after: float = 0.1
    text: str = "an answer"


@frozen
class Fails:
    """The attempt fails after so many seconds: with a kind by its defaults, or with a whole `Failure`."""

    failure: Failure | Kind = "server"
    after: float = 0.1


@frozen
class Hangs:
    """Nothing ever comes."""


@frozen
class Breaks:
    """A stream has its first content after so many seconds, and breaks so many later. Whole answers just fail then."""

    first_content: float = 0.1
    after: float = 1.0
    failure: Failure | Kind = "server"


Behaviour: TypeAlias = Answers | Fails | Hangs | Breaks


@frozen
class SimulatedAttempt:
    """What a script is asked about."""

    target: Target
    time: float
    """Seconds since the simulation began."""
    request: int
    """Which of the simulation's requests makes it, from 0."""
    number: int
    """1 for the first attempt of a request."""
    random: Random
    """For scripts that leave something to chance; seeded by the simulation."""


Script: TypeAlias = Callable[[SimulatedAttempt], Behaviour]


@define
class Outages:
    """A script: these backends refuse connections in these spans of seconds; otherwise everything is answered."""

    spans: Mapping[str, Sequence[tuple[float, float]]]
    answer: Answers = Answers()
    failure: Fails = field(factory=lambda: Fails("connect", after=0.01))

    def __call__(self, attempt: SimulatedAttempt) -> Behaviour:
        spans = self.spans.get(attempt.target.backend, ())
        return self.failure if any(begin <= attempt.time < end for begin, end in spans) else self.answer
