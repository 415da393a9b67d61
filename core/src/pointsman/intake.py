"""What a caller passes, checked and turned into a `Request`. The caller's own objects are never changed."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import cast

from attrs import frozen

from .chat import JSON, NOTHING, Message, Request
from .errors import BadRequest
from .snapshot import Snapshot

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@frozen(kw_only=True)
class Call:
    """A request, the configuration that it started with, and its time in seconds."""

    request: Request
    snapshot: Snapshot
    time_allowed: float

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        messages: str | Iterable[Message],
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        parameters: Mapping[str, JSON] = NOTHING,
    ) -> "Call":
        """Raises `BadRequest`, naming the argument, where one cannot be used."""
        if "stream" in parameters:
            raise BadRequest("stream: this call gives the whole answer; leave `stream` out")
        if unit is not None and (not isinstance(cast("object", unit), (str, int)) or isinstance(unit, bool)):
            raise BadRequest(f"unit: a string or an integer, not {type(unit).__name__}")
        request = Request(
            messages=_messages(messages),
            task=task if task is not None else _default_task(snapshot),
            unit=unit,
            model=model,
            parameters=MappingProxyType(dict(parameters)) if parameters else NOTHING,
            extra_body=MappingProxyType(dict(extra_body)) if extra_body else NOTHING,
            labels=MappingProxyType(dict(labels)) if labels else NO_LABELS,
        )
        return cls(request=request, snapshot=snapshot, time_allowed=_seconds(deadline, snapshot))


def _messages(messages: str | Iterable[Message]) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if isinstance(messages, Mapping):
        raise BadRequest("messages: one message was passed on its own; put it into a list")
    found = tuple(messages)
    if not found:
        raise BadRequest("messages: the list is empty; pass a string, or at least one message")
    for place, message in enumerate(found):
        if not isinstance(cast("object", message), Mapping) or "role" not in message:
            raise BadRequest(
                f'messages[{place}]: not a message; pass mappings such as {{"role": "user", "content": ...}}'
            )
    return found


def _default_task(snapshot: Snapshot) -> str:
    default = snapshot.config.router.default_task
    if default is not None:
        return default
    tasks = list(snapshot.config.tasks)
    if not tasks:
        return "default"
    if len(tasks) == 1:
        return tasks[0]
    raise BadRequest(f"task: pass one of {', '.join(tasks)}, or set [router] default_task")


def _seconds(deadline: float | None, snapshot: Snapshot) -> float:
    if deadline is None:
        return snapshot.config.router.deadline
    if not isinstance(cast("object", deadline), int | float) or not 0 < deadline < float("inf"):
        raise BadRequest("deadline: a number of seconds, more than 0")
    return float(deadline)
