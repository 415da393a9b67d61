"""What the statsd sink sends, and what becomes of what it cannot send."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from attrs import define

from pointsman import (
    AllTargetsFailed,
    AttemptFailed,
    BackendInvocation,
    Completion,
    Failure,
    Router,
    hookimpl,
)
from pointsman.errors import Kind

pytestmark = pytest.mark.usefixtures("examples")


@define(eq=False)
class Office(BackendInvocation):
    """Answers, or fails in one way."""

    failure: Kind | None = None

    @hookimpl
    async def complete(self, target, request, ctx):
        if self.failure:
            raise AttemptFailed(Failure.of(self.failure, "as the test says"))
        return Completion.of_text("Hej")


@pytest.fixture
def receiving() -> Iterator[socket.socket]:
    """A UDP port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.settimeout(0.2)
        yield port


def packets(receiving: socket.socket) -> list[str]:
    """What has arrived, every duration as `#`."""
    arrived: list[str] = []
    with suppress(TimeoutError):
        while True:
            arrived.append(re.sub(r":\d+\|ms$", ":#|ms", receiving.recv(1500).decode()))
    return arrived


def router(statsd: dict[str, object], failure: Kind | None = None, task: str = "chat") -> Router:
    return Router(
        {
            "plugins": {"office": Office(failure), "statsd": statsd},
            "models": {"glm-4.5-air": {"on": {"office": "glm"}}},
            "tasks": {task: {"models": ["glm-4.5-air"]}},
        }
    )


def test_an_answer_is_two_timings(receiving: socket.socket) -> None:
    with router({"port": receiving.getsockname()[1], "prefix": "friday"}) as routing:
        routing.complete("Hej", task="chat")
    attempt, request = packets(receiving)
    assert attempt == "friday.attempt.office.glm-4_5-air.answered:#|ms"
    assert request == "friday.request.chat.answered:#|ms"


def test_a_refused_key_is_a_failure_and_a_circuit_that_opens(receiving: socket.socket) -> None:
    with router({"port": receiving.getsockname()[1]}, "auth") as routing, pytest.raises(AllTargetsFailed):
        routing.complete("Hej", task="chat")
    assert sorted(packets(receiving)) == [
        "llm.attempt.office.glm-4_5-air.failed:#|ms",
        "llm.circuit.backend.office.open:1|c",
        "llm.request.chat.failed:#|ms",
    ]


def test_what_statsd_reads_as_its_own_is_no_part_of_a_name(receiving: socket.socket) -> None:
    with router({"port": receiving.getsockname()[1]}, task="a:1|c.b@0.1\n") as routing:
        routing.complete("Hej", task="a:1|c.b@0.1\n")
    assert packets(receiving)[1] == "llm.request.a_1_c_b_0_1_.answered:#|ms"


def test_where_nobody_listens_nothing_is_slower_and_nothing_is_lost_on_the_way(receiving: socket.socket) -> None:
    port = receiving.getsockname()[1]
    receiving.close()
    with router({"port": port}) as routing:
        for _ in range(3):
            routing.complete("Hej", task="chat")
        (report,) = routing.close()
    assert (report.emitted, report.delivered) == (12, 12)


def test_a_host_that_does_not_exist_is_one_line_in_the_log_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with router({"host": "statsd.invalid"}) as routing:
        assert routing.complete("Hej", task="chat").text == "Hej"
        (report,) = routing.close()
    assert (report.emitted, report.lost) == (4, 4)
    assert [record.message for record in caplog.records if "start_sink" in record.message] == [
        caplog.records[0].message
    ]
