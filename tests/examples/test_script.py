"""A script as a host: it ends by itself, by SIGTERM and by Ctrl-C, and in each case loses nothing."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.testing import Hang, ScriptedServer, openrouter_answer
from tests.examples.hosts import Host, example


@pytest.fixture
def script(tmp_path: Path, server: ScriptedServer) -> Iterator[Host]:
    server.play(lambda request: openrouter_answer(str(request.model), "På fredag."))
    with Host.running("script.py", cwd=example(tmp_path / "hosts", server)) as host:
        yield host


def test_it_answers_and_ends(script: Host) -> None:
    script.ask("Hvornår?", "Og ellers?")
    assert script.answers(2) == ["På fredag."] * 2
    assert script.finish() == 0
    script.told.assert_whole()
    assert script.told.outcomes() == {"answered": 2}
    assert script.told.words == []


@pytest.mark.parametrize(
    ("number", "status", "last_word"),
    [(signal.SIGTERM, 128 + signal.SIGTERM, None), (signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt")],
)
def test_a_signal_ends_it_in_the_middle_of_a_request(
    script: Host, server: ScriptedServer, number: signal.Signals, status: int, last_word: str | None
) -> None:
    script.ask("Hvornår?")
    script.answers(1)
    server.play(Hang())
    script.ask("Og ellers?")
    assert server.wait_for(lambda: len(server.requests) == 1)
    assert script.signalled(number) == status
    script.told.assert_whole()
    assert script.told.outcomes() == {"answered": 1, "cancelled": 1}
    assert script.told.words[-1:] == ([last_word] if last_word else [])
    assert server.wait_for(lambda: not server.connected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_between_requests(script: Host, number: signal.Signals) -> None:
    script.ask("Hvornår?")
    script.answers(1)
    script.signalled(number)
    assert script.told.outcomes() == {"answered": 1}
