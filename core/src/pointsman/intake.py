"""What a caller passes, checked and turned into a `Request`. The caller's own objects are never changed."""

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from attrs import define, evolve

from .chat import JSON, NOTHING, Message, Request
from .errors import BadRequest
from .snapshot import Snapshot

NO_LABELS: Mapping[str, str] = MappingProxyType({})

NOT_IN_EXTRA_BODY: Mapping[str, str] = MappingProxyType(
    {
        "model": "the router chooses it; `model=` forces a short name",
        "messages": "they are the first argument",
        "stream": "`router.stream` and `router.astream` stream, `complete` does not",
    }
)
"""What `extra_body`, which is laid over the body, would change without anyone's noticing."""

MOST_BITS = 2048
"""Of a unit. That many always have a decimal text; of longer ones Python's own limit can refuse it."""

LONGEST = sys.float_info.max
"""Seconds. An integer can be more than any float, and less than infinity all the same."""


@define(eq=False)
class Call:
    """A request, the configuration that it was checked by, and its time in seconds."""

    request: Request
    snapshot: Snapshot
    time_allowed: float
    task: str | None
    deadline: object
    """These two as the caller gave them, or None."""

    def by(self, snapshot: Snapshot) -> "Call":
        """The same call by another configuration, whose defaults are its own."""
        task = self.task if self.task is not None else _default_task(snapshot)
        return evolve(
            self,
            request=evolve(self.request, task=task),
            snapshot=snapshot,
            time_allowed=_seconds(self.deadline, snapshot),
        )

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        messages: object,
        *,
        task: object = None,
        unit: object = None,
        model: object = None,
        deadline: object = None,
        labels: object = None,
        extra_body: object = None,
        parameters: Mapping[str, JSON] = NOTHING,
        stream: bool = False,
    ) -> "Call":
        """Raises `BadRequest`, naming the argument, where one cannot be used."""
        if "stream" in parameters:
            raise BadRequest("stream: leave it out; `router.stream` and `router.astream` stream, `complete` does not")
        if not (unit is None or isinstance(unit, (str, int))) or isinstance(unit, bool):
            raise _wrong("unit", unit, "a string or an integer")
        if isinstance(unit, int) and unit.bit_length() > MOST_BITS:
            raise BadRequest(f"unit: an integer of at most {MOST_BITS} bits; pass a longer one as text")
        if not (task is None or isinstance(task, str)):
            raise _wrong("task", task, "the name of a task")
        if not (model is None or isinstance(model, str)):
            raise _wrong("model", model, "the short name of a model")
        request = Request(
            _messages(messages),
            task if task is not None else _default_task(snapshot),
            unit,
            model,
            stream,
            MappingProxyType(dict(parameters)) if parameters else NOTHING,
            NOTHING if extra_body is None else _extra_body(extra_body),
            NO_LABELS if labels is None else _copied("labels", labels),
        )
        return cls(request, snapshot, _seconds(deadline, snapshot), task, deadline)


def _wrong(argument: str, value: object, wanted: str) -> BadRequest:
    return BadRequest(f"{argument}: {wanted}, not {type(value).__name__}")


def _copied(argument: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(argument, value, "a mapping")
    return MappingProxyType(dict(cast("Mapping[str, Any]", value)))


def _extra_body(value: object) -> Mapping[str, Any]:
    body = _copied("extra_body", value)
    for key, instead in NOT_IN_EXTRA_BODY.items():
        if key in body:
            raise BadRequest(f"extra_body: leave out {key}: {instead}")
    return body


def _messages(messages: object) -> tuple[Message, ...]:
    if isinstance(messages, str):
        return ({"role": "user", "content": messages},)
    if isinstance(messages, Mapping):
        raise BadRequest("messages: one message was passed on its own; put it into a list")
    if not isinstance(messages, Iterable):
        raise _wrong("messages", messages, "a string or a list of messages")
    found = tuple(cast("Iterable[Message]", messages))
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


def _seconds(deadline: object, snapshot: Snapshot) -> float:
    if deadline is None:
        return snapshot.config.router.deadline
    if not isinstance(deadline, (int, float)) or isinstance(deadline, bool) or not 0 < deadline <= LONGEST:
        raise BadRequest("deadline: a number of seconds, more than 0")
    return float(deadline)
