"""How a call can end badly: the failure of one attempt, and the errors that callers catch.

A backend classifies every failure once, as a `Failure`. The policy reads only that.
`DEFAULTS` is the failure table: what each kind blames and what it means for a breaker
unless the backend knows better.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from .chat import Completion
    from .decision import AttemptRecord, Decision

Kind: TypeAlias = Literal[
    "connect",
    "auth",
    "payment",
    "rate_limit",
    "not_found",
    "server",
    "timeout",
    "bad_response",
    "bad_request",
    "context_length",
    "content_policy",
    "interrupted",
    "local_limit",
    "plugin",
]
"""What a failure is. `plugin`: the backend plugin itself raised something that it should not have."""

Blame: TypeAlias = Literal["request", "model", "quota", "backend", "nobody"]
"""What a failure is the fault of: the request, the model on that backend, an allowance, the backend, nobody."""

BreakerEffect: TypeAlias = Literal["counts", "opens", "neutral"]
"""What a failure means for a breaker: one strike, open at once, nothing."""

Delivery: TypeAlias = Literal["not_sent", "possibly_billed", "answered"]
"""How far the request got: never left, may have been worked on, or the server answered."""

LONGEST = 10.0**9
"""Seconds that something may be shut: more is no number that a server means."""

DEFAULTS: Mapping[Kind, tuple[Blame, BreakerEffect]] = {
    "connect": ("backend", "counts"),
    "auth": ("backend", "opens"),
    "payment": ("backend", "opens"),
    "rate_limit": ("quota", "opens"),
    "not_found": ("model", "opens"),
    "server": ("model", "counts"),
    "timeout": ("model", "counts"),
    "bad_response": ("model", "counts"),
    "bad_request": ("request", "neutral"),
    "context_length": ("request", "neutral"),
    "content_policy": ("request", "neutral"),
    "interrupted": ("model", "counts"),
    "local_limit": ("nobody", "neutral"),
    "plugin": ("backend", "neutral"),
}


def _seconds(failure: object, attribute: object, value: object) -> None:  # noqa: ARG001 - attrs's signature
    """Refuses what no breaker could wait for, at the place where a backend writes it."""
    if value is not None and not (isinstance(value, (int, float)) and 0 <= value < LONGEST):
        raise ValueError(f"retry_after: a number of seconds, 0 or more, not {value!r}")


@frozen(kw_only=True)
class Failure:
    """Why one attempt failed. Holds no key, no prompt and no completion."""

    kind: Kind
    blames: Blame
    breaker: BreakerEffect
    message: str
    """One sentence in our words, safe to show and to log."""
    detail: str | None = None
    """The server's own words, bounded, without anything that stands in the request or is a key."""
    status: int | None = None
    """The HTTP status, where there was an answer."""
    code: str | None = None
    """The error's own code or type, where it is a plain word or number."""
    retry_after: float | None = field(default=None, validator=_seconds)
    """Seconds that the server asks us to stay away, already clamped."""
    delivery: Delivery = "answered"
    provider: str | None = None
    """Who failed behind the backend, where the backend says so."""

    @classmethod
    def of(
        cls,
        kind: Kind,
        message: str,
        *,
        blames: Blame | None = None,
        breaker: BreakerEffect | None = None,
        **known: Any,  # the remaining fields, checked by the constructor
    ) -> "Failure":
        """A failure with the table's blame and breaker effect, unless given."""
        default_blame, default_effect = DEFAULTS[kind]
        return cls(
            kind=kind,
            message=message,
            blames=blames or default_blame,
            breaker=breaker or default_effect,
            **known,
        )

    @classmethod
    def of_plugin(cls, plugin: str, hook: str, what: str) -> "Failure":
        """A backend plugin itself is at fault; no provider is blamed."""
        delivery: Delivery = "not_sent" if hook == "start_backend" else "possibly_billed"
        return cls.of("plugin", f"plugin {plugin}: {hook} {what}", code=hook, delivery=delivery)

    def __str__(self) -> str:
        return f"{self.message} [{self.detail}]" if self.detail else self.message


class PointsmanError(Exception):
    """Everything that pointsman raises on purpose. Every one of them pickles, cause included."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.args, self.__dict__ | {"__cause__": self.__cause__}))


def _restore(cls: type[PointsmanError], args: tuple[Any, ...], state: dict[str, Any]) -> PointsmanError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__cause__ = state.pop("__cause__")
    error.__dict__.update(state)
    return error


class AttemptFailed(PointsmanError):
    """Raised by a backend when one attempt failed; the `__cause__` of what the caller catches."""

    def __init__(self, failure: Failure, partial: "Completion | None" = None) -> None:
        if not isinstance(failure, Failure):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
            raise TypeError(f"AttemptFailed takes a Failure, not {type(failure).__name__}; Failure.of makes one")
        super().__init__(str(failure))
        self.failure = failure
        self.partial = partial
        """What had arrived of a stream, where something had."""


class UsageError(PointsmanError, RuntimeError):
    """The program calls the router in a way that cannot work; the message says what to call instead."""


class RecordsUnavailable(PointsmanError):
    """A sink has no records that could be read; the message says what to do about it."""


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong with a configuration."""

    key: str
    """Dotted, quoted where a name needs it: `models."glm-4.5-air".on`."""
    message: str
    """What is wrong, and what to write instead."""
    file: str | None = None
    line: int | None = field(default=None)
    """1-based; None where the configuration came from Python objects."""
    column: int | None = field(default=None)
    """1-based, counted in characters."""

    def __str__(self) -> str:
        place = self.file or "configuration"
        if self.line is not None:
            place += f":{self.line}" + (f":{self.column}" if self.column is not None else "")
        return f"{place} {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(PointsmanError, ValueError):
    """The configuration cannot be used. `problems` has every reason, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__("\n".join(lines if len(lines) == 1 else [f"{len(lines)} problems", *lines]))


class RouteError(PointsmanError):
    """A request ended without an answer. Callers catch this, or one of its subclasses."""

    def __init__(self, message: str, *, decision: "Decision | None" = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.decision = decision
        """The whole record of the request."""
        self.retry_after = retry_after
        """Seconds after which trying again may help, or None where nobody said."""

    @property
    def attempts(self) -> "tuple[AttemptRecord, ...]":
        """What was tried, in order."""
        return self.decision.attempts if self.decision else ()


class AllTargetsFailed(RouteError):
    """Every target that could be tried was, or the budget is spent."""


class NoTarget(RouteError):
    """Selection left nothing to try; the message names the step that removed the last target."""


class DeadlineExceeded(RouteError, TimeoutError):
    """The request's deadline passed before an answer was there."""


class BadRequest(RouteError, ValueError):
    """The request itself is at fault, so no target was or would be able to serve it."""


class ContextLength(BadRequest):
    """The prompt is longer than any eligible target's context window."""


class ContentPolicy(BadRequest):
    """A moderation or guardrail refused the request."""


class StreamInterrupted(RouteError):
    """A stream broke after its first content. `partial` has what had arrived."""

    def __init__(
        self,
        message: str,
        *,
        decision: "Decision | None" = None,
        retry_after: float | None = None,
        partial: "Completion | None" = None,
    ) -> None:
        super().__init__(message, decision=decision, retry_after=retry_after)
        self.partial = partial


class PluginError(RouteError):
    """A plugin raised or returned something that its hook does not allow; the message names both."""

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        hook: str,
        decision: "Decision | None" = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, decision=decision, retry_after=retry_after)
        self.plugin = plugin
        self.hook = hook


class RouterClosed(UsageError):
    """The router was closed before or during this call."""
