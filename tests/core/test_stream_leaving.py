"""Leaving a stream early, however that is done: the backend's is closed at once, and the request is told once."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from textwrap import dedent
from time import monotonic

import pytest

from pointsman.errors import RouterClosed, StreamInterrupted, UsageError
from pointsman.events import AttemptFinished, RequestFinished
from pointsman.hookspecs import hookimpl
from tests.core.support import ROOT, Gatekeeper, failure, python, story, swallowing_cancellation
from tests.faults.table import row
from tests.support.streaming import (
    ROLE,
    Telling,
    World,
    end,
    nothing_left,
    one_backend,
    pause,
    said,
    silence,
    two_backends,
    until,
    whole,
)

AT_ONCE = 0.5
"""Seconds. Upstream is to see the end of a stream within one."""

YOUNG = 1
"""The generations of objects that are looked through: all that a long run of tests has made takes half a second."""


class Oops(Exception):
    """What goes wrong in a reader."""


def endless():
    """A stream that waits after each word, and never ends."""
    while True:
        yield from said("word ")
        yield pause(0.001)


def outcomes(world):
    """How every attempt and the request ended, from a story that is whole."""
    events = story(world.sink.events)
    return [event.outcome for event in events if isinstance(event, AttemptFinished | RequestFinished)]


# The ways of leaving, in a program without an event loop


def breaking_off(stream):
    for _ in stream:
        break


def closing(stream):
    next(stream)
    stream.close()
    stream.close()


def leaving_the_block(stream):
    with stream:
        next(stream)


def raising_in_the_block(stream):
    with suppress(Oops), stream:
        next(stream)
        raise Oops


def dropping_in_a_cycle(stream):
    next(stream)
    cycle = [stream]
    cycle.append(cycle)
    del cycle, stream


@pytest.mark.parametrize("leave", [breaking_off, closing, leaving_the_block, raising_in_the_block, dropping_in_a_cycle])
def test_leaving_closes_the_backends_stream_at_once_and_is_told_once(leave):
    world = World({"proxy": Telling([endless()])})
    with world.new_router() as router:
        began = monotonic()
        leave(router.stream("hello"))
        gc.collect(YOUNG)
        assert world.proxy.closed()
        assert monotonic() - began < AT_ONCE
    assert outcomes(world) == ["abandoned", "abandoned"]
    assert world.proxy.calls == 1


def test_closing_returns_when_the_request_is_recorded_and_the_decision_says_how_it_ended():
    gate = Gatekeeper()
    world = World({"proxy": Telling([endless()])}, plugins={"gate": gate})
    with world.new_router() as router:
        stream = router.stream("hello")
        next(stream)
        stream.close()
        assert world.proxy.open == 0
        assert stream.decision
        assert stream.decision.outcome == "abandoned"
        (attempt,) = stream.decision.attempts
        assert (attempt.outcome, attempt.failure) == ("abandoned", None)
        assert attempt.time_to_first_token is not None
    gate.check()
    assert gate.outcomes == ["abandoned"]
    assert stream.decision == world.last()


def test_leaving_after_a_fallback_tells_both_attempts():
    world = two_backends([[ROLE, failure("server")]], [endless()])
    with world.new_router() as router, router.stream("hello") as stream:
        next(stream)
    assert outcomes(world) == ["failed", "abandoned", "abandoned"]


def test_leaving_when_the_answer_is_over_upstream_leaves_an_answered_request():
    world = one_backend(*whole("a", "b"))
    with world.new_router() as router, router.stream("hello") as stream:
        next(stream)
        assert world.proxy.closed()
        router.flush()
    assert outcomes(world) == ["answered", "answered"]


def test_a_closed_stream_gives_no_end_that_could_be_taken_for_one():
    world = World({"proxy": Telling([endless()])})
    with world.new_router() as router:
        stream = router.stream("hello")
        next(stream)
        stream.close()
        for _ in range(2):
            with pytest.raises(UsageError, match="closed before its end"):
                next(stream)
            with pytest.raises(UsageError, match="closed before its end"):
                stream.collect()
            with pytest.raises(UsageError, match="closed before its end"):
                _ = stream.completion


def test_a_stream_that_was_closed_before_it_was_read_stays_closed():
    world = one_backend(*whole("fine"))
    with world.new_router() as router:
        stream = router.stream("hello")
        stream.close()
        with pytest.raises(UsageError, match="closed before its end"):
            next(stream)
    assert world.proxy.calls == 0


def test_closing_after_the_end_changes_nothing():
    world = one_backend(*whole("fine"))
    with world.new_router() as router, router.stream("hello") as stream:
        answer = stream.collect()
        stream.close()
        assert stream.completion is answer
        assert list(stream) == []
    assert outcomes(world) == ["answered", "answered"]


# In a program with an event loop


async def breaking_off_there(stream):
    async for _ in stream:
        break


async def closing_there(stream):
    await anext(stream)
    await stream.aclose()
    await stream.aclose()


async def leaving_the_block_there(stream):
    async with stream:
        await anext(stream)


async def raising_in_the_block_there(stream):
    with suppress(Oops):
        async with stream:
            await anext(stream)
            raise Oops


async def dropping_in_a_cycle_there(stream):
    await anext(stream)
    dropping_in_a_cycle_of(stream)


def dropping_in_a_cycle_of(stream):
    cycle = [stream]
    cycle.append(cycle)


@pytest.mark.parametrize(
    "leave",
    [
        breaking_off_there,
        closing_there,
        leaving_the_block_there,
        raising_in_the_block_there,
        dropping_in_a_cycle_there,
    ],
)
def test_leaving_in_an_event_loop_closes_the_backends_stream_at_once_and_is_told_once(leave):
    world = World({"proxy": Telling([endless()])})

    async def main():
        async with world.new_router() as router:
            began = monotonic()
            await leave(router.astream("hello"))
            gc.collect(YOUNG)
            await until(lambda: world.proxy.open == 0)
            assert monotonic() - began < AT_ONCE
            await nothing_left()

    asyncio.run(main())
    assert outcomes(world) == ["abandoned", "abandoned"]


def test_when_aclose_returns_everything_is_released_and_recorded():
    world = World({"proxy": Telling([endless()])})

    async def main():
        async with world.new_router() as router:
            stream = router.astream("hello")
            await anext(stream)
            await stream.aclose()
            assert world.proxy.open == 0
            assert stream.decision
            assert stream.decision.outcome == "abandoned"
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with pytest.raises(UsageError, match="closed before its end"):
                await anext(stream)

    asyncio.run(main())


def test_a_stream_that_failed_when_nobody_read_it_any_more_is_no_complaint_of_asyncio():
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        world = one_backend(*said("a"), failure())
        async with world.new_router() as router:
            stream = router.astream("hello")
            await anext(stream)
            await until(lambda: world.proxy.open == 0)
            del stream
            gc.collect()
            await asyncio.sleep(0)
        assert outcomes(world) == ["failed", "failed"]

    asyncio.run(main())
    assert complaints == []


def test_a_loop_that_ends_ends_its_streams():
    world = World({"proxy": Telling([endless()])})
    kept = []

    async def main():
        stream = router.astream("hello")
        kept.append(stream)
        await anext(stream)

    with world.new_router() as router:
        asyncio.run(main())
        assert world.proxy.open == 0
    assert outcomes(world) == ["cancelled", "cancelled"]
    assert kept[0].decision.outcome == "cancelled"


def test_a_stream_whose_loop_was_dropped_is_recorded_all_the_same():
    world = World({"proxy": Telling([endless()])})
    with world.new_router() as router:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # asyncio complains about the tasks that it loses
        stream = router.astream("hello")
        loop.run_until_complete(anext(stream))
        loop.close()
        del stream, loop
        gc.collect()
    assert outcomes(world) == ["abandoned", "abandoned"]


def test_a_stream_is_read_in_the_loop_that_it_was_begun_in():
    world = World({"proxy": Telling([[*said("a"), silence]])})
    with world.new_router() as router, asyncio.Runner() as one, asyncio.Runner() as other:
        stream = router.astream("hello")
        one.run(as_coroutine(anext(stream)))
        with pytest.raises(UsageError, match="another event loop"):
            other.run(as_coroutine(anext(stream)))
        one.run(stream.aclose())


def test_a_stream_is_closed_in_the_loop_that_it_was_begun_in():
    world = World({"proxy": Telling([[*said("a"), silence]])})
    with world.new_router() as router, asyncio.Runner() as one:
        stream = router.astream("hello")
        one.run(as_coroutine(anext(stream)))
        with pytest.raises(UsageError, match="another event loop"):
            asyncio.run(asyncio.wait_for(stream.aclose(), 1))
        assert world.proxy.open == 1
        one.run(stream.aclose())
        asyncio.run(stream.aclose())  # there is nothing more to close, wherever that is
    assert outcomes(world) == ["abandoned", "abandoned"]


def test_a_second_task_that_waits_for_the_same_stream_is_told_and_the_first_reads_on():
    world = World({"proxy": Telling([[pause(0.02), *said("a"), pause(0.02), *said("b"), end()]])})

    async def main():
        async with world.new_router() as router:
            stream = router.astream("hello")
            first = asyncio.create_task(stream.collect())
            await until(lambda: world.proxy.open == 1)
            with pytest.raises(UsageError, match="another task"):
                await asyncio.wait_for(anext(stream), 1)
            assert (await first).text == "ab"

    asyncio.run(main())
    assert outcomes(world) == ["answered", "answered"]


async def as_coroutine(awaitable):
    return await awaitable


# Cancelling


async def in_a_block(router):
    async with router.astream("hello") as stream:
        async for _ in stream:
            await asyncio.sleep(0)


async def without_a_block(router):
    async for _ in router.astream("hello"):
        await asyncio.sleep(0)


async def collecting(router):
    await router.astream("hello").collect()


SEVERAL = [pause(0), ROLE, pause(0), *said("a"), pause(0), *said("b"), pause(0), end(), pause(0)]


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("consume", [in_a_block, without_a_block, collecting])
@pytest.mark.parametrize("first", [[], [pause(0), failure("not_found")]], ids=["alone", "after a fallback"])
def test_cancelling_at_any_await_releases_everything_and_is_told_once(consume, first, again):
    ends, iterations = set(), 0
    for iterations in range(80):
        gate = Gatekeeper()
        backends = {"first": Telling([first])} if first else {}
        world = World({**backends, "proxy": Telling([SEVERAL])}, plugins={"gate": gate})

        async def main(iterations=iterations, world=world):
            async with world.new_router() as router:
                reader = asyncio.create_task(consume(router))
                for _ in range(iterations):
                    await asyncio.sleep(0)
                reader.cancel()
                if again:
                    await asyncio.sleep(0)
                    reader.cancel()
                try:
                    await reader
                except asyncio.CancelledError:
                    return True
                else:
                    return False
                finally:
                    del reader  # it holds the frames of what was cancelled
                    await asyncio.sleep(0.001 if again else 0)
                    await nothing_left()
                    assert all(backend.open == 0 for backend in world.backends.values())

        was_cancelled = asyncio.run(main())
        gate.check()
        if not world.sink.events:
            assert was_cancelled
            assert iterations <= 1
            continue
        *_, ended = outcomes(world)
        ends.add(ended)
        assert (ended == "answered") or was_cancelled
        told = [event for event in story(world.sink.events) if isinstance(event, AttemptFinished)]
        assert {one.failure.kind for one in told if one.failure} <= {"not_found"}, "a cancellation is nobody's failure"
        if not was_cancelled:
            break
    assert "answered" in ends
    assert ends & {"cancelled", "abandoned"}
    assert iterations > 8


def test_a_reader_that_is_cancelled_can_not_read_on():
    async def main():
        world = World({"proxy": Telling([[*said("a"), silence]])})
        async with world.new_router() as router:
            stream = router.astream("hello")
            await anext(stream)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(stream)
            assert world.proxy.open == 0
            assert stream.decision
            assert stream.decision.outcome == "cancelled"
            with pytest.raises(UsageError, match="closed before its end"):
                await anext(stream)
        assert outcomes(world) == ["cancelled", "cancelled"]

    asyncio.run(main())


# Backends that do not want to end


async def stubborn(*_):
    try:
        await silence()
    except asyncio.CancelledError:
        raise ValueError from None


@pytest.mark.parametrize("last_word", [swallowing_cancellation, stubborn])
def test_a_backend_that_answers_its_cancellation_with_something_else_delays_nobody(last_word):
    world = World({"proxy": Telling([[*said("a"), last_word, *said("b"), end()]])})
    with world.new_router() as router:
        stream = router.stream("hello")
        next(stream)
        began = monotonic()
        stream.close()
        assert monotonic() - began < 0.2
        assert stream.decision
        assert stream.decision.outcome == "abandoned"
        assert world.proxy.closed()
    assert outcomes(world) == ["abandoned", "abandoned"]


def test_a_backend_whose_stream_raises_while_it_is_closed_changes_no_outcome(caplog):
    class Raising(Telling):
        @hookimpl
        async def stream(self, target, request, ctx):
            try:
                yield "not a chunk"
            finally:
                raise ValueError("Mette Hansen")

    world = World({"proxy": Raising(), "direct": Telling([whole("fine")])})
    with world.new_router() as router:
        answer = router.stream("hello").collect()
    assert answer.text == "fine"
    assert answer.decision
    failed = answer.decision.attempts[0].failure
    assert failed
    assert "yielded str, not a Chunk" in failed.message
    assert "plugin proxy: stream raised ValueError" in caplog.text
    assert "Mette" not in caplog.text


# Closing the router


def test_closing_the_router_ends_the_streams_that_threads_read():
    world = World({"proxy": Telling([[*said("a"), silence]])})
    router = world.new_router()
    stream = router.stream("hello")
    raised = []

    def read():
        try:
            list(stream)
        except RouterClosed as error:
            raised.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not world.proxy.yielded:
        assert reader.is_alive()
    router.close()
    reader.join(2)
    assert len(raised) == 1
    assert "while this request was in flight" in str(raised[0])
    assert outcomes(world) == ["cancelled", "cancelled"]
    assert world.proxy.open == 0


@pytest.mark.parametrize("closer", ["close", "aclose"])
def test_closing_the_router_ends_the_streams_that_tasks_read(closer):
    gate = Gatekeeper()
    world = World({"proxy": Telling([[*said("a"), silence]])}, plugins={"gate": gate})

    async def main():
        router = world.new_router()
        reader = asyncio.create_task(router.astream("hello").collect())
        await until(lambda: world.proxy.yielded == 1)
        began = monotonic()
        if closer == "aclose":
            await router.aclose()
        else:
            await asyncio.to_thread(router.close)
        with pytest.raises(RouterClosed, match="while this request was in flight"):
            await reader
        assert monotonic() - began < AT_ONCE
        await nothing_left()

    asyncio.run(main())
    gate.check()
    assert gate.outcomes == ["cancelled"]
    assert outcomes(world) == ["cancelled", "cancelled"]
    assert world.proxy.open == 0


def test_a_stream_of_a_closed_router_cannot_be_begun():
    world = one_backend(*whole("fine"))
    router = world.new_router()
    stream, astream = router.stream("hello"), router.astream("hello")
    router.close()
    with pytest.raises(RouterClosed):
        next(stream)
    with pytest.raises(RouterClosed):
        asyncio.run(as_coroutine(anext(astream)))
    assert world.proxy.calls == 0


def test_what_a_closed_router_was_streaming_in_a_loop_does_not_go_on_elsewhere():
    first, second = Telling([[pause(0.05), failure("connect")]]), Telling()
    world = World({"proxy": first, "direct": second})

    async def main():
        router = world.new_router()
        reader = asyncio.create_task(router.astream("hello").collect())
        await until(lambda: first.open == 1)
        await router.aclose()
        with pytest.raises(RouterClosed):
            await reader

    asyncio.run(main())
    assert second.calls == 0


# Loops, threads, processes


def test_the_synchronous_stream_refuses_to_block_a_running_loop():
    world = one_backend(*whole("fine"))
    with world.new_router() as router:
        stream = router.stream("hello")

        async def main():
            with pytest.raises(UsageError, match="astream"):
                router.stream("hello")
            with pytest.raises(UsageError, match="astream"):
                next(stream)

        asyncio.run(main())
    assert world.proxy.calls == 0


def test_two_threads_read_two_streams():
    texts = [[f"{thread}:{n} " for n in range(300)] for thread in range(2)]
    world = World({"proxy": Telling([[*said(*one), end()] for one in texts])})
    read = ["", ""]
    with world.new_router() as router:
        streams = [router.stream("hello") for _ in range(2)]
        firsts = [next(stream) for stream in streams]  # so that it is known who got which script

        def go_on(place):
            read[place] = firsts[place].text + "".join(chunk.text for chunk in streams[place])

        threads = [threading.Thread(target=go_on, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read == ["".join(one) for one in texts]


def test_threads_that_begin_one_stream_at_once_make_one_request_and_share_its_chunks():
    texts = [f"{n} " for n in range(2000)]
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(5):
            world = World({"proxy": Telling([[*said(*texts), end()]])})
            with world.new_router() as router, ThreadPoolExecutor(4) as pool:
                stream, ready = router.stream("hello"), threading.Barrier(4)

                def read(stream=stream, ready=ready):
                    ready.wait(10)
                    return [chunk.text for chunk in stream if chunk.text]

                readers = [pool.submit(read) for _ in range(4)]
                taken = [text for reader in readers for text in reader.result(10)]
            assert world.proxy.calls == 1
            assert sorted(taken) == sorted(texts)
            assert outcomes(world) == ["answered", "answered"]
    finally:
        sys.setswitchinterval(switching)


def test_a_stream_begun_in_one_thread_is_read_and_closed_in_others():
    world = World({"proxy": Telling([endless()])})
    with world.new_router() as router:
        stream = router.stream("hello")
        next(stream)
        for work in (lambda: next(stream), stream.close):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert stream.decision
        assert stream.decision.outcome == "abandoned"


def test_no_thread_is_left_when_the_router_is_closed():
    before = set(threading.enumerate())
    world = World({"proxy": Telling([endless(), endless()])})
    with world.new_router() as router:
        kept = router.stream("hello")
        next(kept)
        breaking_off(router.stream("hello"))
    assert not set(threading.enumerate()) - before


PROGRAM = """
import os, sys, threading
from pointsman import Router
from pointsman.errors import *
from tests.support.streaming import *
from tests.core.support import *

def endless():
    yield from said("first", "second")
    yield pause(0.1)  # so that the reader waits for the next one
    yield lambda: (os.write(1, b"ready\\n"), silence())[1]

world = World({"proxy": Telling([endless()])})
"""


def ctrl_c(source):
    """What a program says that is interrupted when it is ready."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM + dedent(source)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
            return (*child.communicate(timeout=10), child.returncode)
        finally:
            child.kill()


def test_ctrl_c_while_reading_reaches_the_reader_at_once_and_ends_the_request():
    out, err, status = ctrl_c(
        """
        with world.new_router() as router:
            texts = []
            try:
                for chunk in router.stream("hello"):
                    texts.append(chunk.text)
            except KeyboardInterrupt:
                print("interrupted", texts, world.proxy.open)
            print(router.stream("hello").collect().text)
        outcomes = [event.outcome for one in stories(world.sink.events).values() for event in one[-1:]]
        print(outcomes)
        """
    )
    assert (err, status) == ("", 0)
    assert out == "interrupted ['first', 'second'] 0\nfine\n['cancelled', 'answered']\n"


def test_a_program_that_ctrl_c_ends_while_it_reads_exits_cleanly():
    out, err, status = ctrl_c('for _ in world.new_router().stream("hello"): pass')
    assert (out, status) == ("", -signal.SIGINT)
    assert err.count("Traceback") == 1


def test_ctrl_c_in_a_program_with_an_event_loop_ends_its_stream():
    out, err, status = ctrl_c(
        """
        async def main():
            async with world.new_router() as router:
                async for chunk in router.astream("hello"):
                    pass

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", [event.outcome for event in story(world.sink.events)[-2:]])
        """
    )
    assert (err, status) == ("", 0)
    assert out == "interrupted ['cancelled', 'cancelled']\n"


@row(38)
def test_a_forked_child_leaves_its_parents_streams_alone_and_reads_its_own():
    done = python(
        PROGRAM
        + dedent("""
        import gc, time, warnings
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # forking with threads: that is the point
        world = World({"proxy": Telling([[*said("a", "b"), pause(0.4), *said("c"), end()]])})
        router = world.new_router()
        unread = router.stream("hello")
        stream = router.stream("hello")
        assert next(stream).text == "a"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert next(stream).text == "b"  # what had been read ahead is a copy
                began = time.monotonic()
                try:
                    next(stream)
                except UsageError as error:
                    assert "another process" in str(error)
                stream.close()
                del stream
                gc.collect()
                assert time.monotonic() - began < 0.2
                assert unread.collect().text == "fine"
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, "".join(chunk.text for chunk in stream))
        router.close()
        """)
    )
    assert done.stderr == ""
    assert done.stdout == "0 bc\n"


# What is left


def test_streams_that_are_left_early_one_after_another_leave_nothing():
    world = World({"proxy": Telling(iter(endless, None))})

    async def main():
        async with world.new_router() as router:
            for _ in range(300):
                async for _ in router.astream("hello"):
                    break
            for _ in range(10):
                await asyncio.sleep(0.001)
            await nothing_left()

    asyncio.run(main())
    assert world.proxy.open == 0
    assert len(world.sink.events) == 4 * 300
    assert world.proxy.calls == 300


def test_an_interrupted_stream_is_raised_only_to_its_reader():
    # The other streams of the same loop go on.
    world = World(
        {"proxy": Telling([[*said("a"), pause(0.01), failure()], [*said("b"), pause(0.02), *said("c"), end()]])}
    )

    async def main():
        async with world.new_router() as router:
            broken, whole_one = router.astream("hello"), router.astream("hello")
            assert (await anext(broken)).text == "a"
            assert (await whole_one.collect()).text == "bc"
            with pytest.raises(StreamInterrupted):
                await broken.collect()

    asyncio.run(main())
