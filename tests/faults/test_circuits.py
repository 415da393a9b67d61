"""What earlier failures mean for later requests: open circuits, one probe, waits that were asked for."""

import asyncio
import logging

import pytest

from pointsman.errors import AllTargetsFailed, RouteError
from pointsman.testing import Drop, Hang, Reply
from tests.core.support import stories
from tests.faults.scene import ANSWER, in_every_face, well
from tests.faults.table import row
from tests.support.streaming import nothing_left, until
from tests.support.wires import WITHIN

OPEN_FOR = 0.3
BUSY = Reply(503, {"error": {"message": "Overloaded"}})


@pytest.fixture
def failing(scene):
    """A scene in which both servers fail and two failures in a row open a circuit."""
    scene.plugins |= {"breaker": {"failures_in_a_row": 2, "open_for": OPEN_FOR}, "retries": {"enabled": False}}
    scene.faulty.play(BUSY)
    scene.good.play(BUSY)
    return scene


@row(43)
@in_every_face
def test_when_every_circuit_is_open_a_request_fails_at_once_and_says_when_to_come_back(failing, face):
    *tried, refused = failing.ask_again(face, 3)
    assert [len(one.decision.attempts) for one in tried] == [2, 2]
    assert type(refused.error) is AllTargetsFailed
    assert refused.decision.attempts == ()
    assert len(refused.events) == 2, "it began and it ended"
    assert 0 < (refused.error.retry_after or 0) <= 2 * OPEN_FOR
    assert refused.decision.duration < 0.1
    assert (len(failing.faulty.requests), len(failing.good.requests)) == (2, 2)
    assert {(one.scope, one.before, one.after) for one in failing.sink.circuits} >= {("target", "closed", "open")}


@row(43)
def test_when_every_circuit_is_half_open_each_lets_one_probe_through(failing):
    async def ask(router):
        try:
            return await router.acomplete(failing.prompt)
        except RouteError as error:
            return error

    async def main():
        async with failing.new_router() as router:
            for _ in range(2):
                await ask(router)
            await asyncio.sleep(2 * OPEN_FOR)
            failing.faulty.play(Hang())
            failing.good.play(Hang())
            probing = [asyncio.create_task(ask(router)) for _ in range(20)]
            refused = [await one for one in asyncio.as_completed(probing[2:])]
            assert all(type(one) is AllTargetsFailed and not one.attempts for one in refused)
            await until(lambda: len(failing.faulty.requests) == len(failing.good.requests) == 1)
            for one in probing[:2]:
                # A probe that is never heard of to its end moves nothing, and the next one may go.
                one.cancel()
            await asyncio.wait(probing[:2])
            await until(lambda: failing.faulty.connected == failing.good.connected == 0)
            failing.faulty.play(well)
            assert (await router.acomplete(failing.prompt)).text == ANSWER
            assert {one.name: one.state for one in router.health() if one.scope == "target"}["faulty/small"] == "closed"
            await nothing_left()

    asyncio.run(main())
    assert len(stories(failing.sink.events)) == 23


@row(28)
@in_every_face
def test_a_key_that_is_refused_is_logged_loudly_and_once(scene, face):
    scene.faulty.play(Reply(401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}))
    first, *later = scene.ask_again(face, 3)
    first.moved_on(("auth", "backend", "opens", "answered"))
    assert [len(one.decision.attempts) for one in later] == [1, 1], "nobody goes there for a while"
    (loud,) = [one.getMessage() for one in scene.log.records if one.levelno >= logging.ERROR]
    assert "faulty" in loud


@row(26)
@in_every_face
def test_a_wait_that_was_asked_for_is_waited_when_nothing_else_is_left(scene, face):
    later = Reply(429, {"error": {"message": "Slow down"}}, headers={"retry-after-ms": "200"})
    scene.faulty.play(lambda request: later if len(scene.faulty.requests) == 1 else well(request))
    scene.good.play(Reply(404, {"error": {"message": "No such model", "code": "model_not_found"}}))
    told = scene.ask(face)
    assert told.completion.text == ANSWER
    backends = [one.target.backend for one in told.decision.attempts]
    assert backends == ["faulty", "good", "faulty"]
    assert 0.2 <= told.decision.attempts[2].started < 0.2 + WITHIN
    assert told.decision.duration < WITHIN + 0.5


@row(35)
@in_every_face
def test_a_reused_connection_that_is_lost_is_dialled_again_when_nothing_else_is_left(scene, face):
    scene.plugins["retries"] = {"pause": 0.01}
    scene.faulty.play(lambda request: Drop() if len(scene.faulty.requests) == 2 else well(request))
    scene.good.play(Reply(404, {"error": {"message": "No such model", "code": "model_not_found"}}))
    _, told = scene.ask_again(face, 2)
    assert told.completion.text == ANSWER
    assert told.way == ("connect", "backend", "neutral", "possibly_billed")
    assert [one.target.backend for one in told.decision.attempts] == ["faulty", "good", "faulty"]
    first, lost, again = scene.faulty.requests
    assert first.connection == lost.connection != again.connection
