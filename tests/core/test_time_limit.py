"""Whatever a coroutine does, whoever waits for it within a limit of time goes on when that is up."""

import asyncio
import logging
import time
from contextvars import ContextVar

import pytest

from pointsman.time_limit import GRACE, PATIENCE, within
from tests.core.support import for_ever

LATE = 0.1
"""Seconds that a busy machine may need more."""


async def deaf_task() -> None:
    """Ends when it likes, whoever cancels it."""
    ends = asyncio.get_running_loop().time() + 2 * PATIENCE
    while (left := ends - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


async def waiting_for_a_task() -> None:
    await asyncio.create_task(deaf_task())


async def turning_round_and_round() -> None:
    ends = asyncio.get_running_loop().time() + 2 * PATIENCE
    while ends > asyncio.get_running_loop().time():
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            continue


DEAF = [deaf_task, waiting_for_a_task, turning_round_and_round]


def run(main):
    """What it returns, when nothing of it is left."""

    async def watched():
        result = await main()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, late = await asyncio.wait(others, timeout=5)
            assert not late
        return result

    return asyncio.run(watched())


def task():
    running = asyncio.current_task()
    assert running is not None
    return running


async def at_once() -> str:
    return "at once"


async def in_a_while() -> str:
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return await asyncio.create_task(at_once())


@pytest.mark.parametrize(("work", "result"), [(at_once, "at once"), (in_a_while, "at once")])
def test_what_is_ready_in_time_is_returned(work, result):
    assert run(lambda: within(5, work(), "one")) == result


def test_what_it_raises_is_raised():
    async def failing():
        await asyncio.sleep(0)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(lambda: within(5, failing(), "one"))


def test_what_it_waits_for_is_raised_inside_of_it():
    async def failing():
        raise ValueError("mine")

    async def forgiving():
        try:
            await asyncio.create_task(failing())
        except ValueError:
            await asyncio.sleep(0)
            return "forgiven"

    assert run(lambda: within(5, forgiving(), "one")) == "forgiven"


def test_what_takes_longer_is_cancelled_and_its_task_is_as_it_was():
    ended = []

    async def tidy():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(GRACE / 4)
            ended.append(asyncio.current_task())

    async def main():
        with pytest.raises(TimeoutError):
            await within(0.01, tidy(), "one")
        assert ended == [task()], "it was waited for, where it ran"
        assert task().cancelling() == 0
        await asyncio.sleep(0)  # nothing is left to be delivered

    run(main)


@pytest.mark.parametrize("deaf", DEAF)
def test_what_goes_on_all_the_same_is_closed_where_it_stands_with_a_word(deaf, caplog):
    ended = []

    async def work():
        try:
            await deaf()
        finally:
            ended.append(deaf)

    async def main():
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await within(0.02, work(), "deaf")
        assert asyncio.get_running_loop().time() - began <= 0.02 + GRACE + LATE
        assert task().cancelling() == 0
        assert ended == [deaf]

    run(main)
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert said.getMessage() == "plugin deaf ignored the cancellation of an attempt and was closed where it stood"


@pytest.mark.parametrize("steps", [1, 3])
def test_what_waits_for_something_else_when_it_is_closed_is_closed_again(steps):
    async def work():
        for _ in range(steps):
            try:
                await for_ever()
            except BaseException:  # noqa: BLE001 - that is what it does
                continue

    async def main():
        with pytest.raises(TimeoutError):
            await within(0.01, work(), "deaf")
        assert task().cancelling() == 0

    run(main)


def test_nothing_of_what_was_closed_reaches_the_task_that_it_began_in():
    async def work():
        async with asyncio.timeout(0.1):
            await deaf_task()

    async def main():
        with pytest.raises(TimeoutError):
            await within(0.01, work(), "deaf")
        await asyncio.sleep(0.15)  # past the limit that stood inside
        assert task().cancelling() == 0

    run(main)


def test_a_cancellation_reaches_it_and_the_caller():
    async def main():
        request = asyncio.create_task(_outer(within(5, for_ever(), "one")))
        await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert request.cancelled()

    run(main)


async def _outer(awaitable):
    return await awaitable


@pytest.mark.parametrize("deaf", DEAF)
def test_whoever_is_cancelled_waits_no_longer_than_a_moment_for_what_is_deaf_to_it(deaf, caplog):
    async def main():
        request = asyncio.create_task(_outer(within(60, deaf(), "deaf")))
        await asyncio.sleep(0.01)
        request.cancel()
        began = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert asyncio.get_running_loop().time() - began <= PATIENCE + LATE
        assert request.cancelled()

    run(main)
    assert "closed where it stood" in caplog.text


def test_a_limit_of_its_own_that_takes_too_long_to_end_is_no_cancellation_of_the_caller():
    async def work():
        async with asyncio.timeout(0.01):
            try:
                await for_ever()
            finally:
                await asyncio.sleep(60)

    async def main():
        with pytest.raises(TimeoutError):
            await within(60, work(), "slow")
        assert task().cancelling() == 0

    run(main)


def test_what_it_puts_into_the_context_stays_there():
    word = ContextVar("word", default="nothing")

    async def work():
        word.set("mine")
        await asyncio.sleep(0)
        return word.get()

    async def main():
        assert await within(5, work(), "one") == "mine"
        assert word.get() == "nothing"

    run(main)


@pytest.mark.parametrize("swallowed", ["returns", "raises"])
def test_a_cancellation_that_is_swallowed_is_raised_all_the_same(swallowed):
    async def work():
        try:
            await for_ever()
        except asyncio.CancelledError:
            if swallowed == "raises":
                raise ValueError("instead") from None
        return "instead"

    async def main():
        request = asyncio.create_task(_outer(within(5, work(), "one")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises((asyncio.CancelledError, ValueError)):
            await request
        assert request.cancelled() == (swallowed == "returns")

    run(main)


def test_a_limit_of_its_own_inside_is_its_own_affair():
    async def work():
        try:
            async with asyncio.timeout(0.01):
                await for_ever()
        except TimeoutError:
            await asyncio.sleep(3 * GRACE)
            return "went on"

    async def main():
        assert await within(5, work(), "one") == "went on"
        assert task().cancelling() == 0

    run(main)


def test_a_limit_around_it_is_heard_of_as_around_anything():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await within(5, for_ever(), "one")
        assert task().cancelling() == 0

    run(main)


def test_both_limits_at_once_are_one_error():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await within(0.03, turning_round_and_round(), "deaf")
        assert task().cancelling() == 0

    run(main)


def test_one_that_is_dropped_is_closed():
    closed = []

    async def work():
        try:
            await for_ever()
        finally:
            closed.append("here")

    async def main():
        outer = _outer(within(5, work(), "one"))
        outer.send(None)
        outer.close()
        assert closed == ["here"]

    run(main)


def test_what_is_ready_when_a_blocked_loop_looks_again_is_in_time():
    async def main():
        loop = asyncio.get_running_loop()
        came = loop.create_future()

        async def work():
            return await came

        loop.call_later(0.005, came.set_result, "came")
        loop.call_soon(time.sleep, 0.05)
        assert await within(0.01, work(), "one") == "came"

    run(main)
