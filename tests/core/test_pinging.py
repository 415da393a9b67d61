"""Backends are pinged all at once, each opened and closed around it, and none keeps the others."""

import asyncio
from typing import Any

from attrs import define, field

from pointsman import BackendInvocation, Router, hookimpl
from pointsman.errors import Failure
from pointsman.pinging import ping


@define(eq=False)
class Station(BackendInvocation):
    """Answers a ping after so many seconds, and remembers what was called."""

    seconds: float = 0.0
    stubborn: bool = False
    refuses: bool = False
    calls: list[str] = field(factory=list[str])

    @hookimpl
    async def start_backend(self, name):
        self.calls.append(f"start {name}")
        if self.refuses:
            raise ValueError("closed today")

    @hookimpl
    async def complete(self, target, request, ctx) -> Any:
        raise AssertionError("a ping asks no model")

    @hookimpl
    async def ping_backend(self):
        self.calls.append("ping")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
        return "here"

    @hookimpl
    async def close_backend(self):
        self.calls.append("close")


def pinged(time_limit: float = 5.0, **stations: Station) -> dict[str, str | Failure]:
    backends = Router({"plugins": stations}).snapshot.hooks.backends
    return asyncio.run(ping(backends, time_limit))


def test_each_is_opened_asked_and_closed() -> None:
    first, second = Station(), Station()
    assert pinged(first=first, second=second) == {"first": "here", "second": "here"}
    assert (first.calls, second.calls) == (["start first", "ping", "close"], ["start second", "ping", "close"])


def test_one_that_does_not_answer_keeps_nobody_and_is_closed() -> None:
    for slow in (Station(seconds=60), Station(seconds=60, stubborn=True)):
        found = pinged(0.05, slow=slow, quick=Station())
        assert found["quick"] == "here"
        failure = found["slow"]
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.message) == ("timeout", "no answer within 0.05 s")
        assert slow.calls[-1] == "close"


def test_one_that_does_not_open_is_not_asked() -> None:
    station = Station(refuses=True)
    failure = pinged(station=station)["station"]
    assert isinstance(failure, Failure)
    assert failure.kind == "plugin"
    assert failure.message.startswith("plugin station: start_backend raised ValueError")
    assert station.calls == ["start station"]


def test_where_there_is_nobody_to_ask_nothing_is_said() -> None:
    assert pinged() == {}
