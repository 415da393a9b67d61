"""A pool of forked workers as a host: one router made before the fork, which each worker closes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.testing import ScriptedServer, openrouter_answer
from tests.examples.hosts import Host, example


@pytest.fixture
def workers(tmp_path: Path, server: ScriptedServer) -> Iterator[Host]:
    server.play(lambda request: openrouter_answer(str(request.model), "På fredag.", delay=0.2))
    with Host.running("workers.py", cwd=example(tmp_path / "hosts", server)) as host:
        yield host


def test_every_worker_answers_and_nothing_is_lost(workers: Host, server: ScriptedServer) -> None:
    workers.ask(*["Hvornår?"] * 8)
    assert workers.answers(8) == ["På fredag."] * 8
    assert workers.finish() == 0
    workers.told.assert_whole()
    assert workers.told.outcomes() == {"answered": 8}
    assert workers.told.words == []
    assert len({request.connection for request in server.requests}) == 2, "each worker keeps a connection"


@pytest.mark.parametrize(
    ("number", "everyone", "status"),
    [(signal.SIGTERM, False, 128 + signal.SIGTERM), (signal.SIGINT, True, -signal.SIGINT)],
    ids=["by a manager", "by a terminal"],
)
def test_what_was_taken_is_finished_when_it_is_told_to_stop(
    workers: Host, server: ScriptedServer, number: signal.Signals, status: int, *, everyone: bool
) -> None:
    workers.ask(*["Hvornår?"] * 4)
    assert server.wait_for(lambda: len(server.requests) == 2)
    assert workers.signalled(number, everyone=everyone) == status
    assert workers.out == ["På fredag."] * 4
    workers.told.assert_whole()
    assert workers.told.outcomes() == {"answered": 4}
    assert not server.connected
