"""A configuration file that changes while the program runs: used whole, within a second, or not at all."""

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from attrs import define

from pointsman import Completion, ConfigError, Router, RouterClosed, UsageError
from pointsman.config_file import LOOK_EVERY, look_at
from pointsman.events import ConfigChanged, ConfigRejected, Event, RequestFinished
from pointsman.hookspecs import BackendInvocation, MetricEmission, hookimpl
from pointsman.loading import from_config
from tests.core.support import decided, outcomes, table
from tests.faults.table import row
from tests.support.site import Site
from tests.support.streaming import Telling, whole

E = TypeVar("E")

WITHIN = 1.0
"""Seconds until a change is in use."""

QUICKLY = 0.02
"""Seconds between two looks at the file, in the tests that are about something else than how often that is."""

TEN_LOOKS = 10 * QUICKLY


@define(eq=False)
class Named(BackendInvocation):
    """Answers with its own word, once it may; everything that happens to any instance is on one list."""

    word: str = ""
    held: bool = False
    story: ClassVar[list[str]] = []
    may_go_on: ClassVar[threading.Event] = threading.Event()

    @hookimpl
    async def start_backend(self, name):
        self.story.append(f"start {self.word}")

    @hookimpl
    async def complete(self, target, request, ctx):
        while self.held and not self.may_go_on.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        return Completion(text=f"{self.word} {target.name}", finish_reason="stop")

    @hookimpl
    async def close_backend(self):
        self.story.append(f"close {self.word}")


@define(eq=False)
class Ear(MetricEmission):
    """A sink; what any instance hears, and when one closes, is on one list."""

    word: str = ""
    heard: ClassVar[list[tuple[str, Event | str]]] = []

    @hookimpl
    def emit_metric(self, event):
        self.heard.append((self.word, event))

    @hookimpl
    def close_sink(self):
        self.heard.append((self.word, "closed"))


@define(eq=False)
class File:
    """The configuration file of a test, and the ways in which people change one."""

    path: Path
    model: str = "m1"
    backend: str = 'word = "one"'
    sink: str = 'word = "ear"'
    also_on: str = ""
    more: str = ""

    def text(self) -> str:
        return f"""
            [router]
            default_task = "chat"
            [plugins.named]
            {self.backend}
            [plugins.ear]
            {self.sink}
            [models.a]
            on = {{ named = "{self.model}"{self.also_on} }}
            [tasks.chat]
            models = ["a"]
            {self.more}
        """

    def write(self, **changed: str) -> None:
        """Writes over it."""
        for name, value in changed.items():
            setattr(self, name, value)
        self.path.write_text(self.text(), "utf-8")

    def move_over(self, **changed: str) -> None:
        """Moves another file over it, as careful editors and deployments do."""
        for name, value in changed.items():
            setattr(self, name, value)
        other = self.path.with_suffix(".new")
        other.write_text(self.text(), "utf-8")
        other.replace(self.path)

    def dribble(self, **changed: str) -> None:
        """Empties it and writes it in pieces, as careless ones do."""
        for name, value in changed.items():
            setattr(self, name, value)
        with self.path.open("w", encoding="utf-8") as file:
            for line in self.text().splitlines(keepends=True):
                file.write(line)
                file.flush()
                time.sleep(0.002)


@pytest.fixture
def file(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[File]:
    monkeypatch.setattr("pointsman.config_file.LOOK_EVERY", QUICKLY)
    site.install("reloading", offers={"named": Named, "ear": Ear})
    Named.story.clear()
    Named.may_go_on.clear()
    Ear.heard.clear()
    made = File(tmp_path / "pointsman.toml")
    made.write()
    before = set(threading.enumerate())
    yield made
    deadline = time.monotonic() + WITHIN
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


def ask(router: Router, unit: int | None = None) -> str:
    return router.complete("hello", unit=unit).text


def eventually(router: Router, wanted: str, unit: int | None = None) -> None:
    """Asks until the answer is this one, which is within the promise."""
    began = time.monotonic()
    while ask(router, unit) != wanted:
        assert time.monotonic() - began < WITHIN, f"still not {wanted}"
        time.sleep(0.01)


def heard(router: Router, kind: type[E]) -> list[E]:
    router.flush()
    return [event for _, event in Ear.heard if isinstance(event, kind)]


# What is noticed


@pytest.mark.parametrize("way", ["write", "move_over", "dribble"])
def test_a_change_is_in_use_within_a_second_however_it_was_written(file, way, monkeypatch):
    monkeypatch.setattr("pointsman.config_file.LOOK_EVERY", LOOK_EVERY)
    with Router.from_toml(file.path) as router:
        assert ask(router) == "one m1"
        getattr(file, way)(model="m2")
        eventually(router, "one m2")
        assert heard(router, ConfigRejected) == []
        (change,) = heard(router, ConfigChanged)
        assert change.file == str(file.path)


def test_a_symbolic_link_that_leads_elsewhere_is_a_change(file, tmp_path):
    link = tmp_path / "current.toml"
    link.symlink_to(file.path)
    with Router.from_toml(link) as router:
        assert ask(router) == "one m1"
        other = File(tmp_path / "other.toml", model="m2")
        other.write()
        swap = tmp_path / "swap"
        swap.symlink_to(other.path)
        swap.replace(link)
        eventually(router, "one m2")


def test_a_change_of_the_same_size_is_one_too(file):
    with Router.from_toml(file.path) as router:
        ask(router)
        for number in (2, 3, 4):
            file.write(model=f"m{number}")
            eventually(router, f"one m{number}")


def test_a_change_that_leaves_size_and_time_as_they_were_is_one_too(file):
    with Router.from_toml(file.path) as router:
        ask(router)
        before = file.path.stat()
        file.write(model="m2")
        os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        eventually(router, "one m2")


def test_other_permissions_are_a_change_since_the_file_may_be_readable_now(file):
    before = look_at(file.path)
    file.path.chmod(0o600)
    assert look_at(file.path) != before


def test_a_file_may_be_away_for_a_while(file, caplog):
    with Router.from_toml(file.path) as router:
        ask(router)
        away = file.path.with_suffix(".away")
        file.path.rename(away)
        time.sleep(TEN_LOOKS)
        assert ask(router) == "one m1"
        away.rename(file.path)
        file.write(model="m2")
        eventually(router, "one m2")
        assert len(heard(router, ConfigRejected)) == 1


def test_the_current_folder_may_change(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with Router.from_toml("pointsman.toml") as router:
        ask(router)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        file.write(model="m2")
        eventually(router, "one m2")


def test_nothing_is_watched_before_the_first_request_or_where_that_is_not_wanted(file):
    before = set(threading.enumerate())
    with Router.from_toml(file.path) as idle, Router.from_toml(file.path, watch=False) as still:
        idle.explain("hello")
        assert not set(threading.enumerate()) - before
        assert ask(still) == "one m1"
        file.write(model="m2")
        time.sleep(TEN_LOOKS)
        assert ask(still) == "one m1"
        still.reload()
        assert ask(still) == "one m2"


def test_a_router_that_was_not_made_from_a_file_has_nothing_to_reload():
    with Router(table()) as router, pytest.raises(UsageError, match="not made from a file"):
        router.reload()


# Mistakes


@row(42)
@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"more": "[tasks"}, "TOML"),
        ({"more": "[tasks.draft]\nmodels = ['nobody']"}, 'no model "nobody"'),
        ({"backend": "wrod = 'x'"}, 'did you mean "word"'),
    ],
    ids=["not TOML", "unknown model", "unknown key"],
)
def test_a_broken_file_changes_nothing_and_is_said_once(file, mistake, said, caplog):
    caplog.set_level(logging.INFO, "pointsman")
    good = {name: getattr(file, name) for name in mistake}
    with Router.from_toml(file.path) as router:
        assert ask(router) == "one m1"
        snapshot = router.snapshot
        file.write(**mistake, model="m2")
        time.sleep(TEN_LOOKS)
        assert ask(router) == "one m1"
        assert router.snapshot is snapshot
        (rejected,) = heard(router, ConfigRejected)
        assert said in rejected.problems[0]
        assert f"{file.path}:" in rejected.problems[0]
        (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert said in record.getMessage()
        with pytest.raises(ConfigError):
            router.reload()
        file.write(**good)
        eventually(router, "one m2")


@pytest.mark.parametrize("emptied", ["", "# nothing yet"])
def test_a_file_that_is_emptied_is_refused(file, emptied, caplog):
    with Router.from_toml(file.path) as router:
        ask(router)
        file.path.write_text(emptied, "utf-8")
        with pytest.raises(ConfigError, match="there are none any more"):
            router.reload()
        assert ask(router) == "one m1"


def test_a_reload_in_a_signal_handler_during_a_reload_does_not_hang(file):
    with Router.from_toml(file.path, watch=False) as router:
        ask(router)
        previous = signal.signal(signal.SIGUSR1, lambda *_: router.reload())
        arguments = threading.main_thread().ident, signal.SIGUSR1
        timers = [threading.Timer(0.002, signal.pthread_kill, arguments) for _ in range(30)]
        try:
            for number, timer in enumerate(timers):
                timer.start()
                file.move_over(model=f"m{number}")
                router.reload()
        finally:
            for timer in timers:
                timer.join()  # a signal that came after this would end the process
            signal.signal(signal.SIGUSR1, previous)
        assert ask(router) == "one m29"


def test_a_router_that_is_dropped_ends_its_watch(file):
    router = Router.from_toml(file.path)
    ask(router)
    assert "pointsman-watch" in {thread.name for thread in threading.enumerate()}
    del router
    gc.collect()
    deadline = time.monotonic() + WITHIN
    while "pointsman-watch" in {thread.name for thread in threading.enumerate()} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "pointsman-watch" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_put_to_use_after_the_close(file):
    router = Router.from_toml(file.path, watch=False)
    ask(router)
    snapshot = router.snapshot
    router.close()
    with pytest.raises(RouterClosed):
        router._engine.use(snapshot)
    with pytest.raises(RouterClosed):
        router.reload()


# What stays and what goes


def test_plugins_whose_settings_stay_keep_their_state_and_others_close_after_their_last_request(file):
    with Router.from_toml(file.path) as router:
        ask(router)
        file.write(model="m2", sink='word = "other ear"')
        eventually(router, "one m2")
        assert Named.story == ["start one"], "the backend stayed open"
        file.write(backend='word = "two"')
        eventually(router, "two m2")
        deadline = time.monotonic() + WITHIN
        while "close one" not in Named.story and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "close one" in Named.story
    assert sorted(Named.story) == ["close one", "close two", "start one", "start two"]
    assert [word for word, event in Ear.heard if event == "closed"] == ["ear", "other ear"]


def test_a_backend_that_is_being_closed_when_the_router_closes_is_closed_once():
    closing = asyncio.Event()

    @define(eq=False)
    class Slow(BackendInvocation):
        closes: int = 0

        @hookimpl
        async def complete(self, target, request, ctx):
            return Completion(text="fine", finish_reason="stop")

        @hookimpl
        async def close_backend(self):
            self.closes += 1
            closing.set()
            await asyncio.sleep(0.05)

    slow = Slow()

    def config(backend):
        return {"plugins": {"only": backend}, "models": {"small": {"on": {"only": "small"}}}}

    async def main():
        async with Router(config(slow)) as router:
            await router.acomplete("hello")
            router._engine.use(from_config(config(Slow())))
            await closing.wait()
        assert slow.closes == 1

    asyncio.run(main())
    assert slow.closes == 1


def test_the_breaker_remembers_across_a_change(file):
    with Router.from_toml(file.path) as router:
        ask(router)
        breaker = {plugin.name: plugin.instance for plugin in router.snapshot.plugins}["breaker"]
        file.write(model="m2")
        eventually(router, "one m2")
        assert {plugin.name: plugin.instance for plugin in router.snapshot.plugins}["breaker"] is breaker
        file.write(more="[plugins.breaker]\nfailures_in_a_row = 3")
        began = time.monotonic()
        while {plugin.name: plugin.instance for plugin in router.snapshot.plugins}["breaker"] is breaker:
            assert time.monotonic() - began < WITHIN
            time.sleep(0.01)


def test_a_request_in_flight_keeps_what_it_began_with(file):
    file.write(backend='word = "one"\nheld = true')
    ends: list[Completion] = []
    with Router.from_toml(file.path) as router:
        slow = threading.Thread(target=lambda: ends.append(router.complete("hello")))
        slow.start()
        while not Named.story:
            time.sleep(0.01)
        file.write(model="m2", backend='word = "two"', sink='word = "other ear"')
        router.reload()
        assert ask(router) == "two m2"
        assert Named.story == ["start one", "start two"]
        Named.may_go_on.set()
        slow.join()
        assert [end.text for end in ends] == ["one m1"]
        router.flush()
    own = [
        (word, event)
        for word, event in Ear.heard
        if isinstance(event, RequestFinished) and event.request_id == decided(ends[0]).request_id
    ]
    assert [word for word, _ in own] == ["ear"], "its events went where it began"
    assert sorted(Named.story) == ["close one", "close two", "start one", "start two"]


def test_a_stream_that_is_read_after_a_change_begins_with_the_new_configuration():
    def config(task):
        return table(["small"], {"only": Telling([whole("fine")])}) | {
            "router": {"default_task": task},
            "tasks": {task: {"models": ["small"]}},
        }

    with Router(config("chat")) as router:
        stream = router.stream("hello")
        router._engine.use(from_config(config("talk")))
        answer = stream.collect()
    assert answer.text == "fine"
    assert decided(answer).task == "talk"


def test_the_off_switch_reaches_every_new_request(file):
    rollout = """
        [plugins.second]
        use = "named"
        word = "second"
        [paths]
        old = ["named"]
        new = ["second"]
        [rollout]
        control = "old"
        shares = { new = 100 }
    """
    file.write(also_on=', second = "m1"', more=rollout)
    with Router.from_toml(file.path) as router:
        assert ask(router, unit=1) == "second m1"
        file.write(more=rollout + "off = true")
        eventually(router, "one m1", unit=1)


# Under load


def test_a_hundred_changes_under_load_lose_no_request_and_mix_no_two_configurations(file):
    """The task's model and the backend's word change together; an answer has both of one file."""
    stop = threading.Event()
    answers: list[str] = []
    wrong: list[BaseException] = []

    def load(router: Router) -> None:
        while not stop.is_set():
            try:
                answers.append(ask(router))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is one too many
                wrong.append(error)

    with Router.from_toml(file.path, watch=False) as router:
        crowd = [threading.Thread(target=load, args=(router,)) for _ in range(4)]
        for one in crowd:
            one.start()
        for number in range(1, 101):
            write: Callable[..., None] = (file.write, file.move_over)[number % 2]
            write(model=f"m{number}", backend=f'word = "w{number}"', sink=f'word = "ear {number % 3}"')
            if number % 10 == 0:
                file.path.write_text("[broken", "utf-8")
                with pytest.raises(ConfigError):
                    router.reload()
                file.write()
            router.reload()
            assert ask(router) == f"w{number} m{number}"
        stop.set()
        for one in crowd:
            one.join()
        reports = router.close()
    assert wrong == []
    assert {answer for answer in answers if answer != "one m1"} <= {f"w{number} m{number}" for number in range(101)}
    assert sum(report.lost + report.dropped + report.waiting for report in reports) == 0
    ends = [event for _, event in Ear.heard if isinstance(event, RequestFinished)]
    assert len(ends) == len(answers) + 100
    assert set(outcomes(ends)) == {"answered"}
    by_word = Counter(story.split()[1] for story in Named.story)
    assert set(by_word.values()) == {2}, "each was started once and closed once"


def test_a_hundred_watched_changes_under_load_each_take_effect_within_a_second(file, tmp_path, monkeypatch):
    """In every way in which files change, with broken ones in between, asked in both faces all along."""
    monkeypatch.setattr("pointsman.config_file.LOOK_EVERY", QUICKLY / 4)
    stop = threading.Event()
    answers: list[str] = []
    wrong: list[BaseException] = []

    def swap_link(**changed: str) -> None:
        for name, value in changed.items():
            setattr(file, name, value)
        file.path = tmp_path / f"{file.model}.toml"
        file.write()
        other = tmp_path / "link.new"
        other.symlink_to(file.path)
        other.replace(link)

    def blocking(router: Router) -> None:
        while not stop.wait(0.005):
            try:
                answers.append(ask(router))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is one too many
                wrong.append(error)

    async def several(router: Router) -> None:
        while not stop.is_set():
            await asyncio.sleep(0.005)
            replies = await asyncio.gather(*(router.acomplete("hello") for _ in range(4)), return_exceptions=True)
            for one in replies:
                if isinstance(one, BaseException):
                    wrong.append(one)
                else:
                    answers.append(one.text)

    link = tmp_path / "current.toml"
    link.symlink_to(file.path)
    with Router.from_toml(link) as router:
        crowd = [
            threading.Thread(target=blocking, args=(router,)),
            threading.Thread(target=lambda: asyncio.run(several(router))),
        ]
        for one in crowd:
            one.start()
        ways: list[Callable[..., None]] = [file.write, file.move_over, file.dribble, swap_link]
        for number in range(1, 101):
            ways[number % 4](model=f"m{number}", backend=f'word = "w{number}"')
            eventually(router, f"w{number} m{number}")
            if number % 10 == 0:
                refused = len(heard(router, ConfigRejected))
                file.path.write_text("[broken", "utf-8")
                began = time.monotonic()
                while len(heard(router, ConfigRejected)) == refused:
                    assert time.monotonic() - began < WITHIN
                    time.sleep(0.01)
                assert ask(router) == f"w{number} m{number}"
        stop.set()
        for one in crowd:
            one.join()
        reports = router.close()
    assert wrong == []
    assert {answer for answer in answers if answer != "one m1"} <= {f"w{number} m{number}" for number in range(101)}
    assert sum(report.lost + report.dropped + report.waiting for report in reports) == 0


def test_a_forked_child_goes_on_watching(file):
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    with Router.from_toml(file.path) as router:
        assert ask(router) == "one m1"
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ask(router)
                time.sleep(TEN_LOOKS)
                began = time.monotonic()
                while ask(router) != "one m2" and time.monotonic() - began < 3:
                    time.sleep(0.01)
                status = 0 if ask(router) == "one m2" else 2
            finally:
                os._exit(status)
        time.sleep(TEN_LOOKS / 2)
        file.write(model="m2")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        eventually(router, "one m2")
