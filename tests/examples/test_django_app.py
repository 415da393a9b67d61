"""A Django application with synchronous views as a host, under a threaded server."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen

from pointsman.testing import (
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
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "16", "django_app")


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
def app(request: pytest.FixtureRequest, tmp_path: Path, server: ScriptedServer) -> Iterator[App]:
    server.play(slow)
    options = getattr(request, "param", ())
    with Host.running(*GUNICORN, *options, cwd=example(tmp_path / "hosts", server)) as host:
        address = host.says(r"Listening at: (http://[\d.:]+)")[1]
        host.says("Booting worker")
        yield App(host, Visitors(address, as_json=False))


@pytest.mark.parametrize(
    "app", [(), ("--preload", "--workers", "2")], ids=["one worker", "made before the fork"], indirect=True
)
def test_it_answers_many_at_once_in_both_forms_and_stops_when_told(app: App, server: ScriptedServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        whole = app.visitors.ask_at_once("/answer", 8, pool)
        streamed = app.visitors.ask_at_once("/stream", 8, pool)
    assert [one.result().json() for one in whole] == [{"text": TEXT, "model": "glm-air-free"}] * 8
    assert [one.result().text for one in streamed] == [TEXT] * 8
    assert len({request.connection for request in server.requests}) > 4, "they were asked one after the other"
    assert app.host.signalled(signal.SIGTERM) == 0
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"answered": 16}


def test_what_is_in_flight_when_it_is_told_to_stop_is_answered(app: App, server: ScriptedServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = app.visitors.ask_at_once("/answer", 2, pool) + app.visitors.ask_at_once("/stream", 2, pool)
        assert server.wait_for(lambda: len(server.requests) == 4)
        assert app.host.signalled(signal.SIGTERM) == 0
        assert [one.result().status_code for one in asked] == [200] * 4
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"answered": 4}
    assert not [line for line in app.host.told.words if "Error" in line]
    assert not server.connected


def test_a_reader_who_leaves_after_the_first_piece_hangs_up_on_the_model(app: App, server: ScriptedServer) -> None:
    server.play(lambda request: openrouter_stream(str(request.model), PIECES * 50, delay=0.02))
    app.visitors.leave_a_stream()
    assert server.wait_for(lambda: len(server.abandoned) == 1)
    app.host.signalled(signal.SIGTERM)
    app.host.told.assert_whole()
    assert app.host.told.outcomes() == {"abandoned": 1}


def test_no_answer_is_a_status_that_says_when_to_come_again(app: App, server: ScriptedServer) -> None:
    server.play(lambda request: free_tier_rate_limit(90))
    for where in ("/answer", "/stream"):
        response = app.visitors.ask(where)
        assert (response.status_code, response.json()) == (503, {"error": "AllTargetsFailed"})
        assert 80 <= int(response.headers["retry-after"]) <= 90
