"""What callers do: they cancel, use one router in one loop after another, and set their clocks back."""

import asyncio
import re
import subprocess
import sys
import threading
import time

import pytest

from pointsman.events import AttemptFinished
from pointsman.testing import Hang, RawBytes
from pointsman.testing.replies import chunk
from tests.core.support import ROOT, Gatekeeper, ending, stories
from tests.faults.scene import ANSWER, BODY, JSON_HEAD, well
from tests.faults.table import row
from tests.support.streaming import nothing_left, until
from tests.support.wires import WITHIN

# Row 36: cancelled

STALLS = {
    "before the headers": b"",
    "in the headers": JSON_HEAD[:30],
    "after the headers": JSON_HEAD,
    "in the body": JSON_HEAD + chunk(BODY[:30]),
    "before the end": JSON_HEAD + chunk(BODY),
}


@row(36)
@pytest.mark.parametrize("sent", STALLS.values(), ids=STALLS)
def test_cancelling_a_caller_that_waits_hangs_up_and_moves_no_breaker(scene, sent):
    gate = scene.plugins["gate"] = Gatekeeper()
    scene.faulty.play(RawBytes(sent, then=Hang()))

    async def main():
        async with scene.new_router() as router:
            caller = asyncio.create_task(router.acomplete(scene.prompt))
            await until(lambda: len(scene.faulty.requests) == 1)
            await asyncio.sleep(0.02)
            began = time.monotonic()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            await nothing_left()
            await until(lambda: scene.faulty.connected == 0)
            assert time.monotonic() - began < WITHIN

    asyncio.run(main())
    assert ending(scene.sink.events).outcome == "cancelled"
    assert [(outcome, failure) for _, outcome, failure in gate.settled] == [("cancelled", None)]
    assert scene.sink.circuits == []
    assert (len(scene.faulty.requests), scene.good.requests) == (1, [])


@row(36)
def test_cancelling_a_caller_at_any_await_leaves_nothing(scene):
    gate = scene.plugins["gate"] = Gatekeeper()
    scene.faulty.play(RawBytes([JSON_HEAD, chunk(BODY[:30]), chunk(BODY[30:]), chunk(b"")], delay=0.001))
    ends: list[str] = []

    async def main():
        async with scene.new_router() as router:
            for moment in range(100):
                caller = asyncio.create_task(router.acomplete(scene.prompt))
                for _ in range(moment):
                    # At first every turn of the loop counts; then the server has to be waited for.
                    await asyncio.sleep(0 if moment < 40 else 0.0005)
                caller.cancel()
                try:
                    await caller
                    ends.append("answered")
                except asyncio.CancelledError:
                    ends.append("cancelled")
                await nothing_left()
                if ends[-3:] == ["answered"] * 3:
                    break

    asyncio.run(main())
    assert set(ends) == {"cancelled", "answered"}
    finished = [event for event in scene.sink.events if isinstance(event, AttemptFinished)]
    assert len(scene.faulty.requests) <= len(finished), "some never got as far as the server"
    assert {event.outcome for event in finished} == {"cancelled", "answered"}
    assert scene.good.requests == []
    gate.check()
    assert {failure for _, _, failure in gate.settled} == {None}
    assert scene.sink.circuits == []
    # A task that is cancelled before its first turn has never begun a request.
    assert len(ends) - 1 <= len(stories(scene.sink.events)) <= len(ends)


# Row 39: one router in many loops


@row(39)
def test_one_router_serves_one_loop_after_another_and_threads_with_loops_of_their_own(scene):
    scene.faulty.play(well)
    texts: list[str] = []
    router = scene.new_router()

    async def main():
        texts.append((await router.acomplete(scene.prompt)).text)
        async with router.astream(scene.prompt) as stream:
            texts.append((await stream.collect()).text)

    def work():
        for _ in range(5):
            asyncio.run(main())
            assert scene.faulty.wait_for(lambda: scene.faulty.connected <= len(threads), WITHIN)
            texts.append(router.complete(scene.prompt).text)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    router.close()
    assert texts == [ANSWER] * 45
    assert len(scene.faulty.requests) == len(stories(scene.sink.events)) == 45


# Row 45: the clock


@row(45)
def test_a_clock_that_is_set_back_again_and_again_changes_nothing():
    # Limits that are waited for, and waits that the server asks for, in every face.
    command = ["-m", "pytest", "-q", "-p", "tests.faults.set_back", "-p", "no:cacheprovider", "tests/faults"]
    done = subprocess.run(
        [sys.executable, *command, "-k", "drip or beside"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    (looks,) = re.findall(r"set back (\d+) times", done.stdout)
    assert int(passed) > 10
    assert int(looks) > 100
