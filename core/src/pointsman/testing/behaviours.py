"""What the backends of a simulation do: a script is asked at each attempt, and answers with a behaviour."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeAlias

from attrs import define, field, frozen, validators

from pointsman.chat import Completion, Usage
from pointsman.decision import AttemptRecord, Decision
from pointsman.errors import Failure, Kind
from pointsman.targets import Target

_seconds = validators.ge(0.0)


@frozen
class Answers:
    """The attempt is answered after so many seconds."""

    after: float = field(default=0.1, validator=_seconds)
    text: str | Completion = "an answer"
    """What it says, or all that comes back."""
    first_content: float | None = field(default=None, validator=validators.optional(_seconds), kw_only=True)
    """Of a stream: seconds until its first content, from which on it flows. None: all of it comes at once."""


@frozen
class Fails:
    """The attempt fails after so many seconds: with a kind by its defaults, or with a whole `Failure`."""

    failure: Failure | Kind = "server"
    after: float = field(default=0.1, validator=_seconds)
    partial: Completion | None = field(default=None, kw_only=True)
    """Of a stream: what had come that is no content, such as an id."""


@frozen
class Hangs:
    """Nothing ever comes."""


@frozen
class Breaks:
    """A stream has its first content after so many seconds, and breaks so many later.

    Whole answers just fail then. Where it breaks after `math.inf` seconds it stalls for ever.
    """

    first_content: float = field(default=0.1, validator=_seconds)
    after: float = field(default=1.0, validator=_seconds)
    failure: Failure | Kind = "server"
    text: str | Completion = "an ans"
    """What had arrived."""
    silent: bool = True
    """Whether nothing comes in between, so that the idle limit may end it sooner."""


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


@define
class Recorded:
    """A script: every attempt comes to what it came to in a record. `decisions` are those of the requests, in order.

    A request that is given the seed of its record as well goes the same way again, as long as the configuration and
    the requests before it are the same. Where it goes another way, what would have come of that is in no record:
    the script raises `LookupError`.
    """

    decisions: Sequence[Decision]

    def __call__(self, attempt: SimulatedAttempt) -> Behaviour:
        records = self.decisions[attempt.request].attempts
        record = records[attempt.number - 1] if attempt.number <= len(records) else None
        if record is None or record.target != attempt.target:
            raise LookupError(
                f"attempt {attempt.number} of request {attempt.request} goes to {attempt.target}, "
                f"and in the record to {record.target if record else 'nobody'}"
            )
        return _as_recorded(record)


def _as_recorded(record: AttemptRecord) -> Behaviour:
    first = record.time_to_first_token
    if record.outcome == "answered":
        return Answers(record.duration, _said(record), first_content=first)
    if record.failure is None:  # cut off by its caller
        return Hangs() if first is None else Answers(float("inf"), _said(record), first_content=first)
    if first is None:
        return Fails(record.failure, record.duration, partial=_said(record) if record.usage else None)
    return Breaks(first, record.duration - first, record.failure, _said(record), silent=False)


def _said(record: AttemptRecord) -> Completion:
    return Completion(
        text="",
        finish_reason="stop",
        usage=record.usage or Usage(),
        id=record.id,
        call_id=record.call_id,
        served_model=record.served_model,
        provider=record.provider,
        inner=record.inner,
    )
