"""Between requests and sinks: whatever a sink does, the request never notices, and every event is accounted for."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Router
from pointsman.delivery import Delivery
from pointsman.events import RequestFinished, RequestInfo, RequestStarted
from pointsman.hookspecs import MetricEmission, hookimpl
from pointsman.loading import from_config
from tests.core.support import Collecting, Scripted, answer, ending, failure, stories, table
from tests.faults.table import proves, row


@define(eq=False)
class Rogue(MetricEmission):
    """Does something else with each event, and remembers its life."""

    do: Callable[[Any], object] = lambda event: None
    at_start: Callable[[], object] = lambda: None
    life: list[str] = field(factory=list[str])
    threads: set[int] = field(factory=set[int])

    @hookimpl
    def start_sink(self):
        self._note("start")
        self.at_start()

    @hookimpl
    def emit_metric(self, event):
        self._note("emit")
        self.do(event)

    @hookimpl
    def flush_sink(self):
        self._note("flush")

    @hookimpl
    def close_sink(self):
        self._note("close")

    def _note(self, what):
        self.life.append(what)
        self.threads.add(threading.get_ident())


class Gateway:
    """Blocks whoever passes until it is opened: a sink that hangs, without the test having to sleep."""

    def __init__(self):
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self, *_):
        self.reached.set()
        assert self._open.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._open.set()

    def open(self):
        self._open.set()


def raising(error):
    def do(*_):
        raise error

    return do


def mutate(event):
    """Tries everything that Python has for changing an object by its name."""
    targets = [event, event.labels]
    if isinstance(event, RequestFinished):
        targets += [
            event.decision,
            *event.decision.attempts,
            *(a.failure for a in event.decision.attempts if a.failure),
        ]
    refused = 0
    for target in targets:
        for change in (
            lambda target=target: setattr(target, "outcome", "mutated"),
            lambda target=target: setattr(target, "message", "mutated"),
            lambda target=target: target.update(label="mutated"),
            lambda target=target: target.__setitem__("label", "mutated"),
            lambda target=target: target.attempts.clear(),
        ):
            try:
                change()
            except (AttributeError, TypeError):
                refused += 1
    assert refused == 5 * len(targets)


def config(**sinks):
    backends = {"proxy": Scripted([failure("connect")]), "direct": Scripted([answer("the answer", id="gen-1")])}
    return table(backends=backends, plugins=sinks)


def bare(completion):
    """An answer without what differs from run to run."""
    return completion.text, completion.id, [(str(a.target), a.outcome, a.failure) for a in completion.decision.attempts]


# Whatever a sink does

MISBEHAVIOUR = {
    "raises": raising(ValueError("secret prompt")),
    "exits": raising(SystemExit("secret prompt")),
    "calls sys.exit": lambda event: sys.exit("secret prompt"),
    "interrupts": raising(KeyboardInterrupt("secret prompt")),
    "mutates": mutate,
}


@proves(8)
@row(40)
@pytest.mark.parametrize("do", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_a_sink_that_misbehaves_changes_no_answer_and_costs_no_other_sink_anything(do, caplog):
    with Router(config()) as router:
        expected = bare(router.complete("hello", labels={"label": "mine"}))
    collecting = Collecting()
    rogue = Rogue(do)
    with Router(config(rogue=rogue, collecting=collecting)) as router:
        reply = router.complete("hello", labels={"label": "mine"})
        assert router.flush()
        reports = {report.sink: report for report in router.sink_reports()}
    assert bare(reply) == expected
    assert reply.decision is not None
    assert reply.decision.outcome == "answered"
    assert ending(collecting.events).decision is reply.decision
    assert {event.labels["label"] for event in collecting.events} == {"mine"}
    assert rogue.life == ["start", *["emit"] * 6, "flush", "flush", "close"]
    assert reports["collecting"].delivered == 6
    if do is mutate:
        assert reports["rogue"].delivered == 6
    else:
        assert (reports["rogue"].delivered, reports["rogue"].lost) == (0, 6)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1, "the first error is logged, the others are counted"
        assert "rogue" in errors[0].getMessage()
        assert "emit_metric" in errors[0].getMessage()
    assert "secret prompt" not in caplog.text


@row(40)
def test_a_sink_that_blocks_slows_no_request_and_no_other_sink():
    collecting = Collecting()
    with Gateway() as gateway, Router(config(blocked=Rogue(gateway), collecting=collecting)) as router:
        router.complete("hello")
        assert gateway.reached.wait(5)
        began = time.monotonic()
        for _ in range(50):
            router.complete("hello")
        assert time.monotonic() - began < 1
        assert not router.flush(timeout=0.2), "one sink is behind"
        assert len(stories(collecting.events)) == 51, "the other has everything"
        gateway.open()
        assert router.flush()
        blocked, other = router.sink_reports()
        assert blocked.delivered == other.delivered == len(collecting.events)


@row(40)
def test_a_sink_whose_start_blocks_slows_no_request():
    with Gateway() as gateway:
        sink = Rogue(at_start=gateway)
        with Router(config(slow=sink)) as router:
            began = time.monotonic()
            router.complete("hello")
            assert time.monotonic() - began < 1
            assert gateway.reached.wait(5)
            gateway.open()
        assert sink.life == ["start", *["emit"] * 6, "flush", "close"]


@row(40)
@pytest.mark.parametrize("error", [ValueError("secret prompt"), SystemExit("secret prompt")])
def test_a_sink_that_cannot_start_is_disabled_with_one_line(error, caplog):
    sink, collecting = Rogue(at_start=raising(error)), Collecting()
    with Router(config(broken=sink, collecting=collecting)) as router:
        router.complete("hello")
        router.complete("hello")
        router.flush()
        broken, other = router.sink_reports()
    assert sink.life == ["start"]
    assert broken.lost == broken.emitted == other.delivered == len(collecting.events)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "start_sink" in errors[0].getMessage()
    assert "secret prompt" not in caplog.text


def test_a_program_that_cannot_start_another_thread_still_gets_its_answer(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with Router(config(sink=Collecting())) as router:
        router.explain()
        delivery = router._engine._delivery
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            tell = delivery.emitter()
            assert tell is not None
            tell(event(1))
        tell(event(2))
        assert router.flush()
        (report,) = router.sink_reports()
        assert report.delivered == 2


# Its life


def test_a_sink_lives_in_one_thread_of_its_own_and_every_hook_comes_in_its_order():
    sinks = [Rogue(), Rogue()]
    with Router(config(one=sinks[0], two=sinks[1])) as router:
        router.complete("hello")
        assert router.flush()
        router.complete("hello")
    for sink in sinks:
        assert sink.life == ["start", *["emit"] * 6, "flush", *["emit"] * 4, "flush", "close"]
        assert len(sink.threads) == 1
    assert len({threading.get_ident()}.union(*(sink.threads for sink in sinks))) == 3


def test_a_router_without_requests_starts_no_sink():
    sink = Rogue()
    with Router(config(sink=sink)) as router:
        router.explain()
        assert router.flush()
    assert sink.life == []


def test_events_come_in_the_order_in_which_they_happened():
    collecting = Collecting()
    with Router(config(collecting=collecting)) as router:
        for _ in range(20):
            router.complete("hello")
    assert len(stories(collecting.events)) == 20
    times = [event.time for event in collecting.events]
    assert times == sorted(times)


# Overflow, flush, close


def test_what_a_queue_cannot_hold_is_dropped_counted_and_reported(caplog):
    with Gateway() as gateway:
        with Router(config(slow=Rogue(gateway)) | {"router": {"event_queue": 10}}) as router:
            router.complete("hello")
            assert gateway.reached.wait(5)
            for _ in range(30):
                router.complete("hello")
            (report,) = router.sink_reports()
            assert report.emitted == 6 + 30 * 4
            assert report.dropped == report.emitted - report.waiting
            assert 10 <= report.waiting <= 11
            gateway.open()
        (report,) = router.sink_reports()
        assert report.waiting == 0
        assert report.delivered + report.dropped == report.emitted
    assert f"{report.dropped} of {report.emitted} events were not delivered" in caplog.text


def test_closing_delivers_what_is_waiting_and_reports_it():
    collecting = Collecting()
    router = Router(config(collecting=collecting))
    for _ in range(25):
        router.complete("hello")
    (report,) = router.close()
    assert (report.sink, report.emitted, report.delivered) == ("collecting", 6 + 24 * 4, 6 + 24 * 4)
    assert (report.lost, report.dropped, report.waiting) == (0, 0, 0)
    assert len(collecting.events) == report.delivered


def test_closing_again_does_nothing_more(caplog):
    sink = Rogue(raising(ValueError()))
    router = Router(config(sink=sink))
    router.complete("hello")
    first = router.close()
    lines = len(caplog.records)
    assert router.close() == first
    assert sink.life.count("close") == sink.life.count("flush") == 1
    assert len(caplog.records) == lines


def test_a_blocked_sink_delays_closing_no_longer_than_asked_and_keeps_no_other_from_closing(caplog):
    after, before = Rogue(), Rogue()
    with Gateway() as gateway:
        router = Router(config(before=before, blocked=Rogue(gateway), after=after))
        router.complete("hello")
        assert gateway.reached.wait(5)
        began = time.monotonic()
        reports = {report.sink: report for report in router.close(timeout=0.2)}
        assert time.monotonic() - began < 1
        assert before.life[-1] == after.life[-1] == "close"
        assert reports["blocked"].waiting == 6
        assert reports["after"].waiting == reports["before"].waiting == 0
    assert "sink blocked: 6 of 6 events were not delivered" in caplog.text


def test_a_sink_that_has_every_event_but_no_time_to_flush_is_logged(caplog):
    class Slow(Rogue):
        @hookimpl
        def flush_sink(self):
            gateway()

    with Gateway() as gateway:
        router = Router(config(blocked=Slow()))
        router.complete("hello")
        (report,) = router.close(timeout=0.4)
        assert report.delivered == report.emitted == 6
    assert "sink blocked: it was not flushed and closed within" in caplog.text


def test_a_blocked_sink_keeps_no_other_from_flushing_in_time():
    after = Rogue()
    with Gateway() as gateway, Router(config(blocked=Rogue(gateway), after=after)) as router:
        router.complete("hello")
        assert not router.flush(timeout=0.2)
        assert after.life[-1] == "flush"
        gateway.open()


def test_an_event_after_closing_is_dropped_and_counted():
    collecting = Collecting()
    router = Router(config(collecting=collecting))
    router.complete("hello")
    tell = router._engine._delivery.emitter()
    assert tell is not None
    router.close()
    tell(event(1))
    (report,) = router.sink_reports()
    assert (report.delivered, report.dropped, report.emitted) == (6, 1, 7)
    assert router.flush()


# Accounts


def event(number):
    about = RequestInfo(request_id=str(number), task="chat", unit=number, path=None, labels={}, context=copy_context())
    return RequestStarted(about=about, time=0.0)


def add_up(report):
    return report.emitted == report.delivered + report.lost + report.dropped + report.waiting


@proves(8)
@given(
    words=st.lists(st.sampled_from(["put", "put", "put", "raise", "flush", "close"]), max_size=40),
    capacity=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_every_event_is_delivered_lost_dropped_or_waiting(words, capacity):
    def do(event):
        if event.unit == "raise":
            raise ValueError

    snapshot = from_config(config(sink=Rogue(do)))
    delivery = Delivery(snapshot.hooks.sinks, capacity)
    tell = delivery.emitter()
    assert tell is not None
    put = 0
    for word in words:
        if word == "flush":
            assert delivery.flush(5)
        elif word == "close":
            delivery.close(5)
        else:
            tell(event(word))
            put += 1
        assert all(add_up(report) for report in delivery.reports())
    (report,) = delivery.close(5)
    assert report.emitted == put
    assert report.waiting == 0
    if "close" not in words:
        assert report.lost <= words.count("raise")


def test_the_accounts_add_up_while_many_threads_put_events():
    threads, each = 8, 400
    collecting = Collecting()
    delivery = Delivery(from_config(config(sink=collecting)).hooks.sinks, 500)
    tell = delivery.emitter()
    assert tell is not None
    ready = threading.Barrier(threads + 1)
    wrong = []

    def put():
        ready.wait()
        for number in range(each):
            tell(event(number))
            (report,) = delivery.reports()
            if not add_up(report):
                wrong.append(report)

    workers = [threading.Thread(target=put) for _ in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    for worker in workers:
        worker.join()
    (report,) = delivery.close(5)
    assert wrong == []
    assert report.emitted == threads * each
    assert report.delivered == len(collecting.events)
    assert report.delivered + report.dropped == report.emitted


def test_without_a_sink_nobody_is_told():
    with Router(config()) as router:
        router.complete("hello")
        assert router._engine._delivery.emitter() is None
        assert router.sink_reports() == ()
        assert router.flush()
