"""The synchronous face's way into its loop, in the moments that no program can aim at."""

import asyncio
from concurrent.futures import CancelledError

import pytest

from pointsman.portal import Portal, _Request
from tests.core.support import for_ever

SOON = 5.0
"""Seconds. Whoever waits longer waits for ever."""


def waited_for(request):
    """What its caller gets, who does not wait for ever."""
    assert request._over.acquire(timeout=SOON)
    request._over.release()
    return request.result()


def turns(loop, count=4):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    turns(loop)
    loop.close()


async def fine():
    return "fine"


def test_a_request_says_what_came_of_it(loop):
    request = _Request(fine)
    request.begin(loop, set())
    turns(loop)
    assert waited_for(request) == "fine"


def test_a_request_that_is_cancelled_before_it_has_run_at_all_ends_its_callers_waiting(loop):
    request = _Request(fine)
    request.begin(loop, set())
    loop.call_soon(request._cancel_here)
    turns(loop)
    with pytest.raises(CancelledError):
        waited_for(request)


def test_a_request_that_its_caller_leaves_before_the_loop_hears_of_it_is_never_begun(loop):
    made = []

    def make():
        made.append("it")
        return fine()

    request = _Request(make)
    request.begin(loop, set())
    request.cancel(0.01)
    turns(loop)
    with pytest.raises(CancelledError):
        waited_for(request)
    assert not made


def test_a_request_that_runs_is_cancelled_and_waited_for(loop):
    request = _Request(for_ever)
    request.begin(loop, set())
    turns(loop)
    request.cancel(0.01)
    turns(loop)
    with pytest.raises(CancelledError):
        waited_for(request)


def test_what_a_request_raises_reaches_its_caller_once(loop):
    async def fails():
        raise ValueError("no")

    request = _Request(fails)
    request.begin(loop, set())
    turns(loop)
    with pytest.raises(ValueError, match="no"):
        waited_for(request)
    assert request._error is None, "it would hold the caller's frame"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is how it dies
def test_a_loop_that_dies_leaves_nobody_waiting():
    portal = Portal()

    async def leaving():
        asyncio.get_running_loop().call_soon(_leave)
        await for_ever()

    def _leave():
        raise SystemExit

    with pytest.raises(CancelledError):
        portal.run(leaving)
    portal.close(SOON)
