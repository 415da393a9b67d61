"""A FastAPI application as a host, under uvicorn."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen

from pointsman.testing import (
    Hang,
    ReceivedRequest,
    ScriptedServer,
    free_tier_rate_limit,
    openrouter_answer,
    openrouter_stream,
)
from tests.examples.hosts import Host, example
from tests.examples.web import Visitors

PIECES = ["På ", "fredag ", "kl. 9."]
TEXT = "".join(PIECES)
UVICORN = ("-m", "uvicorn", "fastapi_app:app", "--port", "0", "--timeout-graceful-shutdown", "1")


def slow(request: ReceivedRequest):
    """A model that takes its time."""
    if request.streamed:
        return openrouter_stream(str(request.model), PIECES, delay=0.05)
    return openrouter_answer(str(request.model), TEXT, delay=0.3)


@frozen
class App:
    """An application that is up, and who visits it."""

    host: Host
    visitors: Visitors


@pytest.fixture
def app(tmp_path: Path, server: ScriptedServer) -> Iterator[App]:
    server.play(slow)
    with Host.running(*UVICORN, cwd=example(tmp_path / "hosts", server)) as host:
        address = host.says(r"running on (http://[\d.:]+)")[1]
        yield App(host, Visitors(address, as_json=True))


def test_it_answers_many_at_once_in_both_forms_and_stops_when_told(app: App, server: ScriptedServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        whole = app.visitors.ask_at_once("/answer", 8, pool)
        streamed = app.visitors.ask_at_once("/stream", 8, pool)
    assert [one.result().json() for one in whole] == [{"text": TEXT, "model": "glm-air-free"}] * 8
    assert [one.result().text for one in streamed] == [TEXT] * 8
    assert len({request.connection for request in server.requests}) > 4, "they were asked one after the other"
    app.host.signalled(signal.SIGTERM)
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"answered": 16}


# After a Ctrl-C uvicorn calls it a day well done; a SIGTERM it passes on.
@pytest.mark.parametrize(("number", "ends_with"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_what_is_in_flight_when_it_is_told_to_stop_is_answered(
    app: App, server: ScriptedServer, number: signal.Signals, ends_with: int
) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = app.visitors.ask_at_once("/answer", 2, pool) + app.visitors.ask_at_once("/stream", 2, pool)
        assert server.wait_for(lambda: len(server.requests) == 4)
        status = app.host.signalled(number)
        assert [one.result().status_code for one in asked] == [200] * 4
    assert status == ends_with
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"answered": 4}
    assert not [line for line in app.host.told.words if "Error" in line]
    assert not server.connected


def test_a_model_that_never_answers_does_not_keep_it(app: App, server: ScriptedServer) -> None:
    server.play(Hang())
    with ThreadPoolExecutor(1) as pool:
        (asked,) = app.visitors.ask_at_once("/answer", 1, pool)
        assert server.wait_for(lambda: len(server.requests) == 1)
        app.host.signalled(signal.SIGTERM)
        asked.exception()
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"cancelled": 1}


def test_a_reader_who_leaves_after_the_first_piece_hangs_up_on_the_model(app: App, server: ScriptedServer) -> None:
    server.play(lambda request: openrouter_stream(str(request.model), PIECES, cut_after=2, then=Hang()))
    app.visitors.leave_a_stream()
    assert server.wait_for(lambda: len(server.abandoned) == 1)
    app.host.signalled(signal.SIGTERM)
    app.host.told.assert_whole()
    assert sum(app.host.told.outcomes().values()) == 1
    assert "answered" not in app.host.told.outcomes()


def test_no_answer_is_a_status_that_says_when_to_come_again(app: App, server: ScriptedServer) -> None:
    server.play(lambda request: free_tier_rate_limit(90))
    for where in ("/answer", "/stream"):
        response = app.visitors.ask(where)
        assert (response.status_code, response.json()) == (503, {"error": "AllTargetsFailed"})
        assert 80 <= int(response.headers["retry-after"]) <= 90
