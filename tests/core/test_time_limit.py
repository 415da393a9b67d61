"""Whatever a coroutine does, whoever waits for it within a limit of time goes on when that is up."""

import asyncio
import logging
import time
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest

from pointsman.time_limit import GRACE, EndedItself, TimeIsUp
from pointsman.time_limit import within as within_of
from tests.core.support import for_ever

LATE = 0.1
"""Seconds that a busy machine may need more."""


async def deaf_task() -> None:
    """Ends when it likes, whoever cancels it."""
    ends = asyncio.get_running_loop().time() + 10 * GRACE
    while (left := ends - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


async def waiting_for_a_task() -> None:
    await asyncio.create_task(deaf_task())


async def turning_round_and_round() -> None:
    ends = asyncio.get_running_loop().time() + 10 * GRACE
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


async def within(seconds, work, plugin):
    return await within_of(seconds, work, plugin, task())


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


def test_what_takes_longer_is_cancelled_and_the_callers_task_is_as_it_was():
    ended = []

    async def tidy():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(GRACE / 4)
            ended.append("tidily")

    async def main():
        with pytest.raises(TimeoutError):
            await within(0.01, tidy(), "one")
        assert ended == ["tidily"], "it was waited for"
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
        assert asyncio.get_running_loop().time() - began <= GRACE + LATE
        assert request.cancelled()

    run(main)
    assert "closed where it stood" in caplog.text


def test_a_limit_of_its_own_may_take_its_time_to_end():
    async def work():
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                try:
                    await for_ever()
                finally:
                    await asyncio.sleep(3 * GRACE)
        return "coped"

    async def main():
        assert await within(60, work(), "slow") == "coped"
        assert task().cancelling() == 0

    run(main)


async def failing_after(seconds):
    await asyncio.sleep(seconds)
    raise ValueError("mine")


def test_a_group_of_its_own_that_fails_is_its_own_affair():
    async def work():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing_after(0.001))
                group.create_task(for_ever())
        except* ValueError:
            pass
        return "coped"

    async def main():
        assert await within(60, work(), "grouping") == "coped"
        assert task().cancelling() == 0

    run(main)


def test_its_task_is_one_and_the_same_and_not_the_callers():
    seen = set()

    async def work():
        for _ in range(3):
            seen.add(asyncio.current_task())
            await asyncio.sleep(0)
        seen.add(asyncio.current_task())

    async def main():
        await within(5, work(), "one")
        (own,) = seen
        assert own is not task()
        assert own.done()

    run(main)


@pytest.mark.parametrize("how", ["while it waits", "by itself"])
def test_what_is_cancelled_inside_is_cancelled_as_any_task_is(how):
    async def work():
        own = task()
        if how == "by itself":
            own.cancel("enough")
        else:
            asyncio.get_running_loop().call_later(0.001, own.cancel, "enough")
        try:
            await for_ever()
        except asyncio.CancelledError:
            return own.uncancel()

    async def main():
        assert await within(5, work(), "one") == 0
        assert task().cancelling() == 0

    run(main)


def test_a_cancellation_arrives_with_its_message_where_the_work_swallows_it():
    async def work():
        with suppress(asyncio.CancelledError):
            await for_ever()
        return "swallowed"

    async def main():
        request = asyncio.create_task(_outer(within(5, work(), "one")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        request.cancel("whose it is")
        with pytest.raises(asyncio.CancelledError, match="whose it is"):
            await request

    run(main)


def test_a_cancellation_that_was_asked_for_before_is_the_callers():
    async def main():
        task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(5, for_ever(), "one")
        assert task().uncancel() == 0

    run(main)


def test_the_time_before_it_waits_counts():
    async def work():
        time.sleep(0.05)  # noqa: ASYNC251 - that is what it does
        await for_ever()

    async def main():
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await within(0.06, work(), "one")
        assert asyncio.get_running_loop().time() - began <= 0.06 + 0.04

    run(main)


def test_one_inside_of_another_has_limits_of_its_own():
    async def work():
        with pytest.raises(TimeoutError):
            await within(0.01, deaf_task(), "inner")
        assert task().cancelling() == 0
        return "coped"

    async def main():
        assert await within(5, work(), "outer") == "coped"
        with pytest.raises(TimeoutError):
            await within(0.02, within_coroutine(0.02), "outer")
        assert task().cancelling() == 0

    async def within_coroutine(seconds):
        await within(seconds, deaf_task(), "inner")

    run(main)


@pytest.mark.parametrize("scope", [anyio.move_on_after, anyio.fail_after])
def test_cancel_scopes_of_anyio_inside_and_around_are_left_as_they_should(scope):
    async def work():
        with suppress(TimeoutError), scope(0.005):
            try:
                await for_ever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2 * GRACE)
        await for_ever()

    async def main():
        with suppress(TimeoutError), scope(0.1):
            await within(5, work(), "one")
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
        with pytest.raises(asyncio.CancelledError):
            await request
        assert request.cancelled()

    run(main)


async def for_ever_and_clumsy():
    try:
        await for_ever()
    finally:
        raise OSError("while it was released")


async def group_that_fails_when_it_ends():
    async with asyncio.TaskGroup() as group:
        group.create_task(for_ever_and_clumsy())


CLUMSY = [for_ever_and_clumsy, group_that_fails_when_it_ends]


@pytest.mark.parametrize("clumsy", CLUMSY)
def test_what_it_raises_when_its_time_is_up_changes_nothing_of_that(clumsy):
    async def main():
        with pytest.raises(TimeIsUp):
            await within(0.01, clumsy(), "one")
        assert task().cancelling() == 0

    run(main)


def test_nor_what_it_raises_when_it_is_dropped():
    async def main():
        outer = _outer(within(5, for_ever_and_clumsy(), "one"))
        outer.send(None)
        outer.close()

    run(main)


@pytest.mark.parametrize(
    ("of_its_own", "said"), [(asyncio.CancelledError, "cancelled itself"), (GeneratorExit, "raised GeneratorExit at")]
)
def test_what_ends_itself_as_others_would_end_it_is_told_from_that(of_its_own, said):
    async def work():
        await asyncio.sleep(0)
        raise of_its_own

    async def main():
        with pytest.raises(EndedItself, match=said):
            await within(5, work(), "one")

    run(main)


def test_inside_it_one_can_see_that_it_is_to_end():
    seen = []

    async def work():
        try:
            await for_ever()
        finally:
            seen.append(task().cancelling())

    async def main():
        with pytest.raises(TimeIsUp):
            await within(0.01, work(), "one")
        request = asyncio.create_task(_outer(within(5, work(), "one")))
        await asyncio.sleep(0.001)
        request.cancel()
        await asyncio.wait([request])
        assert seen == [1, 1]

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
