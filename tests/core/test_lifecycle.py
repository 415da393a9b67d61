"""Opening and closing: loops, threads, processes, signals, and a router that nobody closes."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from textwrap import dedent

import pytest
from attrs import define, field

from pointsman import Router, portal
from pointsman.errors import PluginError, RouteError, RouterClosed
from pointsman.events import RequestFinished
from pointsman.hookspecs import BackendInvocation, hookimpl
from pointsman.loading import from_config
from pointsman.verdicts import Permit
from tests.core.support import (
    ROOT,
    Collecting,
    Gatekeeper,
    Scripted,
    answer,
    ending,
    failure,
    for_ever,
    python,
    stories,
    table,
)
from tests.faults.table import row


@pytest.fixture(scope="module")
def address():
    """Where somebody listens; what connects is left in the backlog."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        yield listening.getsockname()


@define(eq=False)
class Connected(BackendInvocation):
    """Keeps a real connection open in each loop, and answers while it has one."""

    address: tuple[str, int]
    connections: dict[asyncio.AbstractEventLoop, asyncio.StreamWriter] = field(factory=dict)
    opened: int = 0
    closed: int = 0

    @hookimpl
    async def start_backend(self, name):
        loop = asyncio.get_running_loop()
        assert loop not in self.connections
        _, self.connections[loop] = await asyncio.open_connection(*self.address)
        self.opened += 1

    @hookimpl
    async def complete(self, target, request, ctx):
        writer = self.connections[asyncio.get_running_loop()]
        writer.write(b"hello\n")
        await writer.drain()
        return answer()

    @hookimpl
    async def close_backend(self):
        writer = self.connections.pop(asyncio.get_running_loop())
        self.closed += 1
        writer.close()
        await writer.wait_closed()


def connected(address, **plugins):
    backend = Connected(address)
    return backend, table(("small",), {"only": backend}, plugins=plugins)


def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))  # noqa: PTH112, PTH208


@contextmanager
def nothing_left(slack=0):
    """No descriptor and no thread more than before."""
    before, threads = descriptors(), set(threading.enumerate())
    yield
    assert descriptors() <= before + slack
    assert not set(threading.enumerate()) - threads


# Loops


@row(39)
def test_five_event_loops_in_a_row_leave_nothing_open(address):
    backend, made = connected(address)
    with nothing_left():
        router = Router(made)

        async def main():
            return await asyncio.gather(*[router.acomplete("hello") for _ in range(3)])

        for number in range(1, 6):
            assert len(asyncio.run(main())) == 3
            assert (backend.opened, backend.closed) == (number, number), "each loop opens its own and closes it"
        router.close()
    assert backend.closed == 5
    assert backend.connections == {}


def test_closing_inside_the_loop_closes_its_backends_once(address):
    backend, made = connected(address)

    async def main():
        async with Router(made) as router:
            await router.acomplete("hello")
            assert (backend.opened, backend.closed) == (1, 0)
        assert (backend.opened, backend.closed) == (1, 1)

    with nothing_left():
        asyncio.run(main())
    assert (backend.opened, backend.closed) == (1, 1)


def test_both_faces_at_once_have_a_connection_each(address):
    backend, made = connected(address)

    async def main(router):
        await router.acomplete("hello")
        await asyncio.to_thread(router.complete, "hello")
        assert (backend.opened, backend.closed) == (2, 0)
        await router.aclose()
        assert (backend.opened, backend.closed) == (2, 2)

    with nothing_left():
        asyncio.run(main(Router(made)))


@pytest.mark.parametrize("closer", ["close", "aclose"])
def test_closing_from_elsewhere_closes_what_is_open_in_a_loop_that_runs(address, closer):
    backend, made = connected(address)
    router = Router(made)
    used, closed = threading.Event(), threading.Event()

    async def main():
        await router.acomplete("hello")
        used.set()
        await asyncio.to_thread(closed.wait, 10)
        assert (backend.opened, backend.closed) == (1, 1)

    with nothing_left(), ThreadPoolExecutor(1) as pool:
        other = pool.submit(asyncio.run, main())
        assert used.wait(10)
        if closer == "close":
            router.close()
        else:
            asyncio.run(router.aclose())
        closed.set()
        other.result(10)


def test_a_request_that_is_cancelled_while_a_backend_starts_leaves_it_to_the_others():
    @define(eq=False)
    class Slow(Scripted):
        starts: int = 0
        starting: asyncio.Event = field(factory=asyncio.Event)
        may_start: asyncio.Event = field(factory=asyncio.Event)

        @hookimpl
        async def start_backend(self, name):
            self.starts += 1
            self.starting.set()
            await self.may_start.wait()

    slow = Slow()

    async def main():
        async with Router(table(("small",), {"only": slow})) as router:
            first, second = (asyncio.create_task(router.acomplete("hello")) for _ in range(2))
            await slow.starting.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            slow.may_start.set()
            return (await second).text

    assert asyncio.run(main()) == "fine"
    assert slow.starts == 1


def test_a_start_that_failed_when_nobody_waited_any_more_is_not_held_against_the_next_request():
    @define(eq=False)
    class Late(Scripted):
        starts: int = 0

        @hookimpl
        async def start_backend(self, name):
            self.starts += 1
            if self.starts == 1:
                await asyncio.sleep(0.05)
                raise ConnectionError

    late = Late()

    async def main():
        async with Router(table(("small",), {"only": late})) as router:
            with pytest.raises(RouteError):
                await router.acomplete("hello", deadline=0.02)
            await asyncio.sleep(0.06)
            return await router.acomplete("hello")

    assert asyncio.run(main()).text == "fine"
    assert late.starts == 2


@define(eq=False)
class Closing(Scripted):
    """Notes its life; starts and closes as it is told."""

    life: list[str] = field(factory=list[str])
    at_start: Callable[[], Awaitable[None]] | None = None
    at_close: Callable[[], Awaitable[None]] | None = None

    @hookimpl
    async def start_backend(self, name):
        self.life.append(f"start {name}")
        if self.at_start:
            await self.at_start()

    @hookimpl
    async def close_backend(self):
        self.life.append("close")
        if self.at_close:
            await self.at_close()


async def exploding():
    raise ValueError("secret prompt")


async def leaving():
    raise SystemExit("secret prompt")


@pytest.mark.parametrize("at_close", [exploding, leaving])
@pytest.mark.parametrize("face", ["complete", "acomplete"])
def test_a_backend_that_fails_to_close_is_logged_and_keeps_no_other_from_closing(face, at_close, caplog):
    bad, good = Closing([failure("connect")], at_close=at_close), Closing()
    made = table(("small",), {"bad": bad, "good": good})

    async def main():
        async with Router(made) as router:
            await router.acomplete("hello")

    if face == "acomplete":
        asyncio.run(main())
    else:
        with Router(made) as router:
            router.complete("hello")
    assert bad.life == ["start bad", "close"]
    assert good.life == ["start good", "close"]
    assert "plugin bad: close_backend raised" in caplog.text
    assert "secret prompt" not in caplog.text


@pytest.mark.parametrize("face", ["complete", "acomplete"])
def test_a_backend_that_never_closes_delays_closing_no_longer_than_asked(face, caplog):
    bad, good = Closing([failure("connect")], at_close=for_ever), Closing()
    made = table(("small",), {"bad": bad, "good": good})

    async def main():
        router = Router(made)
        await router.acomplete("hello")
        began = time.monotonic()
        await router.aclose(timeout=0.1)
        return time.monotonic() - began

    if face == "acomplete":
        took = asyncio.run(main())
    else:
        router = Router(made)
        router.complete("hello")
        began = time.monotonic()
        router.close(timeout=0.1)
        took = time.monotonic() - began
    assert took < 1
    assert good.life == ["start good", "close"]
    (logged,) = caplog.messages
    assert logged.startswith("plugin bad: close_backend did not end within 0.0")


@pytest.mark.parametrize("face", ["complete", "acomplete"])
def test_a_backend_that_never_closes_leaves_the_sinks_time_to_close(face):
    @define(eq=False)
    class Slow(Collecting):
        closed: bool = False

        @hookimpl
        def close_sink(self):
            time.sleep(0.1)
            self.closed = True

    sink = Slow()
    router = Router(table(("small",), {"bad": Closing(at_close=for_ever)}, plugins={"sink": sink}))

    async def main():
        await router.acomplete("hello")
        began = time.monotonic()
        await router.aclose(timeout=0.6)
        return time.monotonic() - began

    if face == "acomplete":
        took = asyncio.run(main())
    else:
        router.complete("hello")
        began = time.monotonic()
        router.close(timeout=0.6)
        took = time.monotonic() - began
    assert sink.closed
    assert took < 0.6


def test_a_router_that_nobody_closes_takes_its_time_once_for_backends_and_sinks(monkeypatch):
    monkeypatch.setattr("pointsman.router.CLOSE_TIMEOUT", 0.4)
    hanging = threading.Event()

    @define(eq=False)
    class Hanging(Collecting):
        @hookimpl
        def close_sink(self):
            hanging.wait(5)

    made = table(("small",), {"bad": Closing(at_close=for_ever)}, plugins={"sink": Hanging()})
    router = Router(made)
    router.complete("hello")
    began = time.monotonic()
    router._finalizer()
    assert time.monotonic() - began < 0.6
    hanging.set()


def test_a_backend_that_is_still_starting_is_cancelled_and_not_closed():
    begun = asyncio.Event()

    async def start():
        begun.set()
        await for_ever()

    starting = Closing(at_start=start)

    async def main():
        router = Router(table(("small",), {"only": starting}))
        request = asyncio.create_task(router.acomplete("hello", deadline=0.05))
        await begun.wait()
        await router.aclose()
        with pytest.raises(Exception):  # noqa: B017, PT011 - any end is fine here
            await request
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert starting.life == ["start only"]


def test_a_backend_that_only_closes_is_closed_in_each_loop_that_used_it():
    @define(eq=False)
    class Lazy(Scripted):
        closed: int = 0

        @hookimpl
        async def close_backend(self):
            self.closed += 1

    lazy = Lazy()
    router = Router(table(("small",), {"used": lazy, "unused": (unused := Lazy())}))
    for _ in range(2):
        asyncio.run(router.acomplete("hello"))
    router.close()
    assert lazy.closed == 2
    assert unused.closed == 0


# Closing


def test_after_closing_every_call_says_that_the_router_is_closed():
    router = Router(table())
    router.complete("hello")
    router.close()
    router.close()
    for call in (lambda: router.complete("hello"), router.explain, lambda: router.snapshot):
        with pytest.raises(RouterClosed, match="the router is closed; build a new one"):
            call()
    with pytest.raises(RouterClosed):
        asyncio.run(router.acomplete("hello"))
    asyncio.run(router.aclose())


def divide_by(number):
    return 1 / number


def test_a_context_manager_closes_also_when_the_block_raises(address):
    backend, made = connected(address)
    with nothing_left():
        with pytest.raises(ZeroDivisionError), Router(made) as router:
            divide_by(len(router.complete("hello").text[:0]))
        assert backend.closed == 1
        with pytest.raises(RouterClosed):
            router.complete("hello")


def test_closing_ends_the_synchronous_requests_in_flight():
    begun = threading.Semaphore(0)

    async def hang(*_):
        begun.release()
        await for_ever()

    sink = Collecting()
    router = Router(table(("small",), {"only": Scripted([hang] * 4)}, plugins={"sink": sink}))
    with ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(router.complete, "hello") for _ in range(4)]
        for _ in requests:
            assert begun.acquire(timeout=10)
        began = time.monotonic()
        router.close()
        for request in requests:
            with pytest.raises(RouterClosed, match="while this request was in flight"):
                request.result(10)
        assert time.monotonic() - began < 1
    assert [ending(events).outcome for events in stories(sink.events).values()] == ["cancelled"] * 4


@pytest.mark.parametrize("closer", ["close", "aclose"])
def test_closing_ends_the_asynchronous_requests_in_flight_and_tells_the_sinks(closer):
    gate, sink, begun = Gatekeeper(), Collecting(), []

    async def hang(*_):
        begun.append(True)
        await for_ever()

    only = Scripted([answer(), hang, hang])
    router = Router(table(("small",), {"only": only}, plugins={"sink": sink, "gate": gate}))

    async def main():
        await router.acomplete("hello")  # what has ended is not ended again
        requests = [asyncio.create_task(router.acomplete("hello")) for _ in range(2)]
        while len(begun) < 2:  # noqa: ASYNC110 - a script has no event of its own
            await asyncio.sleep(0)
        began = time.monotonic()
        if closer == "aclose":
            await router.aclose()
        else:
            await asyncio.to_thread(router.close)
        for request in requests:
            with pytest.raises(RouterClosed, match="while this request was in flight"):
                await request
            assert request.cancelling() == 0
        assert time.monotonic() - began < 1

    asyncio.run(main())
    gate.check()
    assert gate.outcomes == ["answered", "cancelled", "cancelled"]
    ends = [ending(events).outcome for events in stories(sink.events).values()]
    assert ends == ["answered", "cancelled", "cancelled"]


def test_a_request_inside_of_another_ones_backend_hides_neither_from_the_close():
    begun, made = asyncio.Event(), list[Router]()

    async def asking(*_):
        inner = await made[0].acomplete("an easier question")
        begun.set()
        await for_ever()
        return inner

    async def main():
        router = Router(table(("small",), {"only": Scripted([asking, answer()])}))
        made.append(router)
        request = asyncio.create_task(router.acomplete("hello"))
        await begun.wait()
        await router.aclose()
        with pytest.raises(RouterClosed, match="while this request was in flight"):
            await request
        assert request.cancelling() == 0

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_the_router_closes_stays_cancelled():
    begun = asyncio.Event()

    async def hang(*_):
        begun.set()
        await for_ever()

    async def main():
        router = Router(table(("small",), {"only": Scripted([hang])}))
        request = asyncio.create_task(router.acomplete("hello"))
        await begun.wait()
        closing = asyncio.create_task(router.aclose())
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await closing
        assert request.cancelled()

    asyncio.run(main())


def test_closing_while_threads_keep_asking_leaves_nobody_waiting():
    for _ in range(20):
        sink = Collecting()
        router = Router(table(("small",), {"only": Scripted()}, plugins={"sink": sink}))
        ready = threading.Barrier(5)

        def work(router=router, ready=ready):
            ready.wait(10)
            answers = 0
            while True:
                try:
                    router.complete("hello")
                    answers += 1
                except RouterClosed:
                    return answers

        with nothing_left(), ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(work) for _ in range(4)]
            ready.wait(10)
            (report,) = router.close()
            answers = sum(worker.result(10) for worker in workers)
        finished = [event for event in sink.events if isinstance(event, RequestFinished)]
        assert [event.outcome for event in finished].count("answered") <= answers
        assert report.emitted >= len(sink.events)


def test_closing_ends_asynchronous_requests_in_flight_before_they_open_anything_again():
    first, second = Closing([failure("connect")]), Closing()
    begun, go_on = asyncio.Event(), asyncio.Event()
    sink = Collecting()

    async def wait(*_):
        begun.set()
        await go_on.wait()
        raise ConnectionError

    first.script = [wait]

    async def main():
        router = Router(table(("small",), {"first": first, "second": second}, plugins={"sink": sink}))
        request = asyncio.create_task(router.acomplete("hello"))
        await begun.wait()
        await router.aclose()
        go_on.set()
        with pytest.raises(RouterClosed, match="while this request was in flight"):
            await request

    asyncio.run(main())
    assert first.life == ["start first", "close"]
    assert second.life == []


# Threads and descriptors


def test_building_a_router_opens_nothing_and_starts_nothing(address):
    before, threads = descriptors(), set(threading.enumerate())
    _, made = connected(address, sink=Collecting())
    router = Router(made)
    router.explain("hello")
    assert descriptors() == before
    assert not set(threading.enumerate()) - threads
    router.close()


@row(44)
def test_a_thousand_routers_created_and_closed_leave_nothing(address):
    def made():
        return from_config(connected(address, sink=Collecting())[1])

    shared = made()

    def synchronous(snapshot):
        with Router(snapshot) as router:
            router.complete("hello")

    async def asynchronous():
        for snapshot in [*(made() for _ in range(100)), *[shared] * 300]:
            async with Router(snapshot) as router:
                await router.acomplete("hello")

    synchronous(shared)
    with nothing_left(slack=1):
        for snapshot in [*(made() for _ in range(100)), *[shared] * 100]:
            synchronous(snapshot)
        for _ in range(400):
            Router(shared).close()
        asyncio.run(asynchronous())


def test_a_router_that_is_dropped_without_closing_leaves_nothing(address):
    sink = Collecting()

    def use(face):
        backend, made = connected(address, sink=sink)
        router = Router(made)
        if face == "complete":
            router.complete("hello")
        else:
            asyncio.run(router.acomplete("hello"))
        return backend, weakref.ref(router)

    with nothing_left():
        for number, face in enumerate(("complete", "acomplete") * 3, start=1):
            backend, reference = use(face)
            gc.collect()
            assert reference() is None
            assert (backend.opened, backend.closed) == (1, 1)
            assert len(stories(sink.events)) == number, "what was queued is delivered"


def test_a_router_that_is_dropped_inside_its_loop_closes_its_backends_there(address):
    backend, made = connected(address)

    async def main():
        await Router(made).acomplete("hello")
        gc.collect()
        for _ in range(100):
            if backend.closed:
                return
            await asyncio.sleep(0.01)

    with nothing_left():
        asyncio.run(main())
    assert (backend.opened, backend.closed) == (1, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_a_plugin_cannot_end_the_loop_of_the_synchronous_face(error):
    async def leave(*_):
        raise error

    def leave_now(*_):
        raise error

    backend = Closing([leave], at_start=leave, at_close=leave)
    gate = Gatekeeper(leave_now)
    with Router(table(("small",), {"only": backend}, plugins={"gate": gate})) as router:
        with pytest.raises(PluginError, match="plugin gate: admit raised"):
            router.complete("hello")
        gate.rule = lambda target, ctx: Permit(target)
        with pytest.raises(PluginError, match="plugin only: start_backend raised"):
            router.complete("hello")
        backend.at_start = None
        with pytest.raises(PluginError, match="plugin only: complete raised"):
            router.complete("hello")
        assert router.complete("hello").text == "fine"
    assert backend.life[-1] == "close"


# Whole programs

PROGRAM = """
import os, signal, sys, threading, time, warnings
from pointsman import Router
from pointsman.events import RequestFinished
from pointsman.hookspecs import MetricEmission, hookimpl
from tests.core.support import Gatekeeper, Scripted, answer, for_ever, table
from attrs import define

@define(eq=False)
class Printing(MetricEmission):
    @hookimpl
    def emit_metric(self, event):
        if isinstance(event, RequestFinished):
            os.write(1, f"{event.outcome}\\n".encode())

def config(*script):
    return table(("small",), {"only": Scripted(script)}, plugins={"sink": Printing()})

async def hang(*_):
    os.write(1, b"ready\\n")
    await for_ever()

"""


def program(source, **known):
    return python(PROGRAM + dedent(source), **known)


def test_a_program_that_never_closes_its_router_ends_by_itself_and_loses_no_event():
    began = time.monotonic()
    done = program(
        """
        router = Router(config())
        for _ in range(3):
            router.complete("hello")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "answered\n" * 3, "")
    assert time.monotonic() - began < 5


def test_a_program_whose_sink_blocks_ends_all_the_same():
    done = program(
        """
        @define(eq=False)
        class Blocked(MetricEmission):
            @hookimpl
            def emit_metric(self, event):
                threading.Event().wait()

        made = config()
        made["plugins"]["blocked"] = Blocked()
        router = Router(made)
        router.complete("hello")
        router.close(timeout=0.2)
        """
    )
    assert done.returncode == 0
    assert done.stdout == "answered\n"
    assert "sink blocked: 4 of 4 events were not delivered" in done.stderr


@contextmanager
def running(source):
    """A program that is ready when it says so."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM + dedent(source)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def test_ctrl_c_that_comes_while_a_request_is_handed_over_cancels_it_too(monkeypatch):
    begun, sink = threading.Event(), Collecting()

    async def hang(*_):
        begun.set()
        await for_ever()

    def interrupted(request, loop, waited_for, hand_over=portal._Request.begin):
        hand_over(request, loop, waited_for)
        assert begun.wait(10)
        raise KeyboardInterrupt

    with Router(table(("small",), {"only": Scripted([hang])}, plugins={"sink": sink})) as router:
        with monkeypatch.context() as patched:
            patched.setattr(portal._Request, "begin", interrupted)
            with pytest.raises(KeyboardInterrupt):
                router.complete("hello")
        assert router.flush()
        assert [ending(events).outcome for events in stories(sink.events).values()] == ["cancelled"]
        assert router.complete("hello").text == "fine"


@row(36)
def test_ctrl_c_reaches_the_caller_at_once_and_the_request_is_recorded():
    with running(
        """
        with Router(config(hang)) as router:
            try:
                router.complete("hello")
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            router.flush()
            print(router.complete("hello").text, flush=True)
        """
    ) as child:
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
        took = time.monotonic() - began
    assert out == "interrupted\ncancelled\nfine\nanswered\n"
    assert (child.returncode, err) == (0, "")
    assert took < 2


def test_a_program_that_ctrl_c_ends_exits_cleanly_and_loses_no_event():
    with running('Router(config(hang)).complete("hello")') as child:
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
        took = time.monotonic() - began
    assert out == "cancelled\n"
    assert child.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert took < 2


def test_ctrl_c_in_a_program_with_an_event_loop_cancels_its_request():
    with running(
        """
        import asyncio

        async def main():
            async with Router(config(hang)) as router:
                await router.acomplete("hello")

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    ) as child:
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
    assert out == "cancelled\ninterrupted\n"
    assert (child.returncode, err) == (0, "")


def test_ctrl_c_gives_up_on_a_backend_that_ignores_its_cancellation():
    with running(
        """
        from tests.core.support import swallowing_cancellation

        async def deaf(*_):
            os.write(1, b"ready\\n")
            await swallowing_cancellation()

        router = Router(config(deaf))
        try:
            router.complete("hello")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    ) as child:
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=10)
    assert out == "interrupted\ncancelled\n"
    assert child.returncode == 0


@row(38)
def test_after_a_fork_child_and_parent_both_work():
    done = program(
        """
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # forking with threads: that is the point

        def in_child(work):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if work() else 1
                finally:
                    os._exit(code)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        router = Router(config())
        assert router.complete("hello").text == "fine"
        assert router.flush()
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                router.complete("hello")

        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()

        def child():
            os.dup2(2, 1)  # the child's events go elsewhere
            assert router.complete("hello").text == "fine"
            (report,) = router.close()
            return (report.emitted, report.delivered) == (4, 4)

        codes = [in_child(child) for _ in range(10)]
        stop.set()
        for thread in threads:
            thread.join()
        assert router.complete("hello").text == "fine"
        (report,) = router.close()
        assert report.emitted == report.delivered, report
        print(codes, flush=True)
        """
    )
    assert done.stdout.endswith(f"{[0] * 10}\n"), done.stderr
    assert done.returncode == 0
    assert done.stderr == "answered\n" * 10


@row(38)
def test_a_child_forked_inside_a_running_loop_can_use_the_synchronous_face():
    done = program(
        """
        import asyncio
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        router = Router(config())

        async def main():
            await router.acomplete("hello")
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if router.complete("hello").text == "fine" and router.flush() else 1
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            await router.acomplete("hello")
            await router.aclose()
            return code

        print(asyncio.run(main()))
        """
    )
    assert sorted(done.stdout.split()) == ["0", "answered", "answered", "answered"], done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_without_descriptors_the_synchronous_face_says_so_and_works_when_there_are_some():
    done = program(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        router = Router(config())
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        try:
            router.complete("hello")
        except OSError as error:
            print(type(error).__name__, flush=True)
        for descriptor in taken:
            os.close(descriptor)
        print(router.complete("hello").text, flush=True)
        """
    )
    assert done.stdout == "OSError\nfine\nanswered\n", done.stderr
    assert done.returncode == 0
