"""What a sink that keeps the events can be asked for: finished requests, one flat record each."""

from attrs import frozen

from .decision import RequestOutcome


@frozen(kw_only=True, slots=False)
class RecordedRequest:
    """One finished request. Times are in seconds, `cost` in US dollars; unknown is None."""

    request_id: str
    time: float
    """When it ended: wall clock, seconds since the epoch."""
    task: str
    unit: str | int | None
    rollout: str | None
    path: str | None
    """The assigned one, whatever served."""
    bucket: float | None
    """As in `Assignment`: None where the unit was not assigned by chance, so that it proves nothing about a path."""
    share: float | None
    """As in `Assignment`."""
    outcome: RequestOutcome
    why: str
    """Why it ended without an answer."""
    model: str | None
    """Who answered: the model's short name."""
    backend: str | None
    """Who answered."""
    fell_back: bool
    """Whether something else than the first candidate answered, or nothing did."""
    attempts: int
    duration: float
    time_to_first_token: float | None
    """Since the request began; None for whole answers."""
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    """Of all its attempts."""
    decision: str
    """The whole record as JSON, as `pointsman explain --json` prints it."""


@frozen(kw_only=True)
class RecordQuery:
    """Which finished requests are wanted. None asks for all; what is given has to fit, all of it."""

    since: float | None = None
    """Seconds since the epoch, this moment included."""
    until: float | None = None
    """This moment not included."""
    task: str | None = None
    model: str | None = None
    path: str | None = None
    rollout: str | None = None
    outcome: RequestOutcome | None = None
    unit: str | None = None
    """As text, also for a unit that is a number."""
    request_id: str | None = None
    limit: int | None = None
    """The newest so many."""
