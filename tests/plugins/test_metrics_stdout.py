"""`metrics_stdout` writes one line per event, for programs and for people."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from contextvars import copy_context
from pathlib import Path
from typing import get_args

import attrs
import cattrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pluggy import PluginManager

from pointsman.chat import InnerAttempts, Usage
from pointsman.decision import Assignment, AttemptRecord, Decision, SkippedTarget
from pointsman.errors import Failure
from pointsman.events import (
    AttemptFinished,
    AttemptStarted,
    CircuitChanged,
    ConfigChanged,
    ConfigRejected,
    Event,
    RequestFinished,
    RequestInfo,
    RequestStarted,
    RolloutChanged,
    RolloutHalted,
    RolloutResumed,
    RouterEvent,
)
from pointsman.hookspecs import PROJECT, MetricEmission
from pointsman.targets import Target
from pointsman_metrics_stdout import MetricsStdout
from pointsman_metrics_stdout.fields import EventName, fields_of
from pointsman_metrics_stdout.text import text_line

README = Path(__file__).parents[2] / "plugins" / "metrics_stdout" / "README.md"

GLM = Target(model="glm-4.5-air-free", backend="litellm_backend", name="openrouter/z-ai/glm-4.5-air:free")
GPT = Target(model="gpt-oss-20b-free", backend="litellm_backend", name="openrouter/openai/gpt-oss-20b:free")
USAGE = Usage(input_tokens=100, output_tokens=14, cost=0.0, cost_source="usage.cost")
LIMITED = Failure.of(
    "rate_limit",
    "The account's allowance is spent.",
    detail="Rate limit exceeded: free-models-per-min",
    status=429,
    code="429",
    retry_after=30.0,
)
WHEN = time.mktime((2025, 11, 3, 12, 3, 4, 0, 0, -1))
ABOUT = RequestInfo(
    request_id="0b5c3f9a",
    task="email-draft",
    unit=42,
    path="proxied",
    labels={"source": "rengøring.nu"},
    context=copy_context(),
)
COMMON = {"about": ABOUT, "time": WHEN}
DECISION = Decision(
    request_id="0b5c3f9a",
    task="email-draft",
    unit=42,
    model=None,
    candidates=(GLM, GPT),
    steps=(),
    assignment=Assignment(path="proxied", backends=("litellm_backend", "openrouter_direct"), bucket=0.25, salt="s"),
    seed=1,
    attempts=(
        AttemptRecord(number=1, target=GLM, started=0, duration=0.21, outcome="failed", why="first", failure=LIMITED),
        AttemptRecord(number=2, target=GLM, started=0.2, duration=0, outcome="failed", why="again", failure=LIMITED),
        AttemptRecord(number=3, target=GPT, started=0.21, duration=1.32, outcome="answered", why="next", usage=USAGE),
    ),
    skipped=(SkippedTarget(target=GLM, why="the breaker is open", plugin="breaker"),),
    served=GPT,
    outcome="answered",
    duration=1.53,
)
REQUEST_STARTED = RequestStarted(**COMMON)
ATTEMPT_STARTED = AttemptStarted(**COMMON, number=1, target=GLM, time_limit=40.0)
ATTEMPT_FAILED = AttemptFinished(
    **COMMON,
    attempt=AttemptRecord(
        number=1, target=GLM, started=0.0, duration=0.21, outcome="failed", why="first", failure=LIMITED
    ),
)
ATTEMPT_ANSWERED = AttemptFinished(
    **COMMON,
    attempt=AttemptRecord(
        number=3,
        target=GPT,
        started=0.21,
        duration=1.32,
        outcome="answered",
        why="next",
        time_to_first_token=0.5,
        usage=USAGE,
        served_model="openai/gpt-oss-20b",
        provider="Chutes",
        inner=InnerAttempts(retries=1, fallbacks=0, model_group="gpt-oss-20b-free"),
    ),
)
REQUEST_FINISHED = RequestFinished(**COMMON, decision=DECISION)
REQUEST_FAILED = RequestFinished(
    **COMMON,
    decision=attrs.evolve(
        DECISION,
        attempts=DECISION.attempts[:1],
        served=None,
        outcome="failed",
        duration=0.21,
        why="every target was tried",
    ),
)
LAST_RESORT = attrs.evolve(REQUEST_FAILED, decision=attrs.evolve(REQUEST_FAILED.decision, outcome="last_resort"))
CIRCUIT_OPENED = CircuitChanged(
    time=WHEN,
    scope="backend",
    name="litellm_backend",
    before="closed",
    after="open",
    why="5 failures in a row",
    open_for=5.0,
)
CIRCUIT_HALF_OPEN = attrs.evolve(
    CIRCUIT_OPENED, before="open", after="half_open", why="one attempt may see whether it works", open_for=None
)
CONFIG_CHANGED = ConfigChanged(time=WHEN, file="pointsman.toml")
CONFIG_REJECTED = ConfigRejected(
    time=WHEN, file="pointsman.toml", problems=("pointsman.toml:4:1 tasks.x: no", "pointsman.toml:5:1 models.y: no")
)
EVENTS: tuple[Event, ...] = (
    REQUEST_STARTED,
    ATTEMPT_STARTED,
    ATTEMPT_FAILED,
    ATTEMPT_ANSWERED,
    REQUEST_FINISHED,
    REQUEST_FAILED,
    LAST_RESORT,
    CIRCUIT_OPENED,
    CIRCUIT_HALF_OPEN,
)
ROLLOUT_CHANGED = RolloutChanged(
    time=WHEN, rollout="default", control="direct", shares={"proxied": 12.5, "beta": 0}, off=False
)
ROLLOUT_HALTED = RolloutHalted(
    time=WHEN, rollout="drafts", path="proxied", control="direct", why="proxied is worse than direct"
)
ROLLOUT_RESUMED = RolloutResumed(time=WHEN, rollout="drafts", path="proxied")
EVERY_KIND: tuple[Event, ...] = (
    *(*EVENTS, CONFIG_CHANGED, CONFIG_REJECTED),
    *(ROLLOUT_CHANGED, ROLLOUT_HALTED, ROLLOUT_RESUMED),
)
COMMON_JSON = {
    "time": WHEN,
    "request_id": "0b5c3f9a",
    "task": "email-draft",
    "unit": 42,
    "path": "proxied",
    "labels": {"source": "rengøring.nu"},
}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def written(*events: Event, to: io.StringIO | None = None, **choices: object) -> str:
    """What a sink writes to stdout from its start to its end."""
    output = io.StringIO() if to is None else to
    sink = cattrs.Converter(forbid_extra_keys=True).structure(choices, MetricsStdout)
    with contextlib.redirect_stdout(output):
        sink.start_sink()
    for event in events:
        sink.emit_metric(event)
    return output.getvalue()


def record(event: Event) -> dict[str, object]:
    return json.loads(written(event))


def test_a_started_request_is_told_with_who_and_where() -> None:
    assert record(REQUEST_STARTED) == {"event": "request_started", **COMMON_JSON}


def test_a_started_attempt_is_told_with_its_target_and_its_limit() -> None:
    assert record(ATTEMPT_STARTED) == {
        "event": "attempt_started",
        **COMMON_JSON,
        "number": 1,
        "model": "glm-4.5-air-free",
        "backend": "litellm_backend",
        "wire_model": "openrouter/z-ai/glm-4.5-air:free",
        "time_limit": 40.0,
    }


def test_a_failed_attempt_is_told_with_its_failure_in_our_words_only() -> None:
    assert record(ATTEMPT_FAILED) == {
        "event": "attempt_finished",
        **COMMON_JSON,
        "number": 1,
        "model": "glm-4.5-air-free",
        "backend": "litellm_backend",
        "wire_model": "openrouter/z-ai/glm-4.5-air:free",
        "outcome": "failed",
        "duration": 0.21,
        "time_to_first_token": None,
        "input_tokens": None,
        "output_tokens": None,
        "reasoning_tokens": None,
        "cached_tokens": None,
        "cost": None,
        "cost_source": None,
        "served_model": None,
        "provider": None,
        "failure": {
            "kind": "rate_limit",
            "blames": "quota",
            "status": 429,
            "code": "429",
            "retry_after": 30.0,
            "delivery": "answered",
            "message": "The account's allowance is spent.",
        },
        "inner": None,
    }


def test_an_answered_attempt_is_told_with_tokens_cost_and_who_served() -> None:
    answered = record(ATTEMPT_ANSWERED)
    assert answered["failure"] is None
    assert answered["inner"] == {"retries": 1, "fallbacks": 0, "model_group": "gpt-oss-20b-free"}
    assert (answered["input_tokens"], answered["output_tokens"], answered["reasoning_tokens"]) == (100, 14, None)
    assert (answered["cost"], answered["cost_source"]) == (0.0, "usage.cost")
    assert (answered["served_model"], answered["provider"]) == ("openai/gpt-oss-20b", "Chutes")
    assert answered["time_to_first_token"] == 0.5


def test_a_finished_request_counts_its_attempts_and_fallbacks() -> None:
    assert record(REQUEST_FINISHED) == {
        "event": "request_finished",
        **COMMON_JSON,
        "model": "gpt-oss-20b-free",
        "backend": "litellm_backend",
        "wire_model": "openrouter/openai/gpt-oss-20b:free",
        "outcome": "answered",
        "duration": 1.53,
        "attempts": 3,
        "fallbacks": 1,
        "skipped": 1,
        "why": "",
    }


def test_a_request_without_an_answer_names_no_model_and_says_why() -> None:
    failed = record(REQUEST_FAILED)
    assert (failed["model"], failed["backend"], failed["wire_model"]) == (None, None, None)
    assert failed["why"] == "every target was tried"


def test_a_last_resort_names_no_model_and_says_what_it_stands_for() -> None:
    told = record(LAST_RESORT)
    assert (told["outcome"], told["model"], told["why"]) == ("last_resort", None, "every target was tried")


def test_a_breaker_that_opens_is_told_with_what_it_shuts_why_and_for_how_long() -> None:
    assert record(CIRCUIT_OPENED) == {
        "event": "circuit_changed",
        "time": WHEN,
        "scope": "backend",
        "name": "litellm_backend",
        "before": "closed",
        "after": "open",
        "why": "5 failures in a row",
        "open_for": 5.0,
    }


def test_a_breaker_that_does_not_open_has_no_time_to_stay_open() -> None:
    assert record(CIRCUIT_HALF_OPEN)["open_for"] is None


def test_a_configuration_file_that_changes_is_a_line_in_both_forms() -> None:
    assert record(CONFIG_CHANGED) == {"event": "config_changed", "time": WHEN, "file": "pointsman.toml"}
    assert record(CONFIG_REJECTED)["problems"] == list(CONFIG_REJECTED.problems)
    assert text_line(CONFIG_CHANGED).endswith(" !  in use                   pointsman.toml has changed")
    assert text_line(CONFIG_REJECTED).endswith(" pointsman.toml:4:1 tasks.x: no (and 1 more)")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (ROLLOUT_CHANGED, "in use                   rollout default: proxied 12.5 %, beta 0 %, direct the rest"),
        (
            attrs.evolve(ROLLOUT_CHANGED, off=True),
            "off                      rollout default: everyone takes direct",
        ),
        (
            ROLLOUT_HALTED,
            "halted                   rollout drafts: everyone takes direct: proxied is worse than direct",
        ),
        (ROLLOUT_RESUMED, "resumed                  rollout drafts: proxied has its share again"),
    ],
)
def test_a_rollout_that_moves_is_a_line_of_its_own(event: Event, said: str) -> None:
    assert text_line(event).endswith(f"      !  {said}")


def test_the_shares_of_a_rollout_are_an_object() -> None:
    assert fields_of(ROLLOUT_CHANGED)["shares"] == {"proxied": 12.5, "beta": 0}


def test_a_limit_that_does_not_exist_is_null() -> None:
    assert record(attrs.evolve(ATTEMPT_STARTED, time_limit=float("inf")))["time_limit"] is None


@given(
    unit=st.none() | st.integers() | st.text(),
    labels=st.dictionaries(st.text(), st.text()),
    task=st.text(),
    why=st.text(),
)
@settings(deadline=None)
def test_any_unicode_makes_one_line_and_comes_back_from_json(unit, labels, task, why) -> None:
    decision = attrs.evolve(DECISION, why=why)
    about = attrs.evolve(ABOUT, unit=unit, labels=labels, task=task)
    event = attrs.evolve(REQUEST_FINISHED, about=about, decision=decision)
    line = written(event)
    assert line.isascii()
    assert line.count("\n") == 1
    told = json.loads(line)
    assert (told["unit"], told["labels"], told["task"], told["why"]) == (unit, labels, task, why)


@given(task=st.text(), why=st.text())
@settings(deadline=None)
def test_any_unicode_makes_one_line_of_text_that_cannot_command_the_terminal(task, why) -> None:
    about = attrs.evolve(ABOUT, task=task)
    event = attrs.evolve(REQUEST_FINISHED, about=about, decision=attrs.evolve(DECISION, why=why))
    assert text_line(event).isprintable()
    assert text_line(attrs.evolve(CIRCUIT_OPENED, name=task, why=why)).isprintable()


def test_a_terminal_that_knows_only_ascii_still_gets_its_line() -> None:
    event = attrs.evolve(REQUEST_FINISHED, about=attrs.evolve(ABOUT, task="rengøring"))
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n") as output:
        sink = MetricsStdout(format="text")
        with contextlib.redirect_stdout(output):
            sink.start_sink()
        sink.emit_metric(event)
        assert b"reng\\xf8ring" in output.buffer.getvalue()


def documented(heading: str) -> dict[str, str]:
    """The rows of the README's table under `| heading |`: first cell to second."""
    rows = README.read_text("utf-8").split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {first.strip("`"): second for first, second, *_ in cells}


@pytest.mark.parametrize("event", EVERY_KIND, ids=lambda event: type(event).__name__)
def test_the_readme_documents_exactly_the_fields_of_each_event(event: Event) -> None:
    told = fields_of(event)
    name = told["event"]
    groups = {"all", name} if isinstance(event, RouterEvent) else {"all", name, "of a request"}
    assert list(told) == [field for field, events in documented("field").items() if groups & {*events.split(", ")}]


def test_the_readme_documents_exactly_the_fields_of_a_failure() -> None:
    assert list(documented("field of `failure`")) == list(fields_of(ATTEMPT_FAILED)["failure"])


def test_the_readme_names_every_event_that_there_is() -> None:
    assert documented_events() == list(get_args(EventName))
    assert {fields_of(event)["event"] for event in EVERY_KIND} == set(documented_events())


def test_the_readme_documents_exactly_the_settings() -> None:
    assert list(documented("setting")) == [each.name for each in attrs.fields(MetricsStdout) if each.init]


def test_what_the_server_said_is_in_no_line() -> None:
    assert "free-models-per-min" not in written(*EVENTS)
    assert "free-models-per-min" not in written(*EVENTS, format="text")


def test_a_person_reads_aligned_lines_of_at_most_80_columns() -> None:
    lines = written(*EVENTS, format="text", events=[*documented_events()]).splitlines()
    assert lines == [
        "12:03:04 3f9a >  started                  email-draft, proxied",
        "12:03:04 3f9a #1 started                  glm-4.5-air-free via litellm_backend",
        "12:03:04 3f9a #1 429 rate_limit   0.21 s  glm-4.5-air-free via litellm_backend",
        "12:03:04 3f9a #3 answered         1.32 s  gpt-oss-20b-free via litellm_backend",
        "12:03:04 3f9a =  answered         1.53 s  email-draft, 3 attempts, 114 tokens",
        "12:03:04 3f9a =  failed           0.21 s  email-draft, every target was tried",
        "12:03:04 3f9a =  last_resort      0.21 s  email-draft, every target was tried",
        "12:03:04      !  open             5.00 s  backend litellm_backend: 5 failures in a row",
        "12:03:04      !  half open                backend litellm_backend: one attempt may see whether it works",
    ]
    assert max(map(len, lines[:-2])) <= 80, "those of a request"


def test_the_readme_shows_lines_as_they_are_written() -> None:
    shown = README.read_text("utf-8").split("```text\n")[1].split("```")[0].splitlines()
    lines = written(ATTEMPT_FAILED, ATTEMPT_ANSWERED, REQUEST_FINISHED, CIRCUIT_OPENED, format="text").splitlines()
    assert [re.sub("[0-9]", "0", line) for line in shown] == [re.sub("[0-9]", "0", line) for line in lines]


def test_a_cost_is_shown_to_people_where_there_was_one() -> None:
    paid = attrs.evolve(DECISION.attempts[2], usage=attrs.evolve(USAGE, cost=0.00123))
    event = attrs.evolve(REQUEST_FINISHED, decision=attrs.evolve(DECISION, attempts=(paid,)))
    assert text_line(event).endswith("email-draft, 114 tokens, $0.00123")


def documented_events() -> list[str]:
    return re.findall(r"`\"(\w+)\"`", README.read_text("utf-8").split("| `events` |")[1].splitlines()[0])


def test_by_default_programs_are_told_everything_and_people_how_things_ended() -> None:
    assert len(written(*EVENTS).splitlines()) == 9
    assert len(written(*EVENTS, to=Terminal()).splitlines()) == 7


@pytest.mark.parametrize("output_format", ["json", "text"])
@pytest.mark.parametrize("name", documented_events())
def test_events_can_be_chosen_by_name(name: str, output_format: str) -> None:
    chosen = [event for event in EVERY_KIND if fields_of(event)["event"] == name]
    assert chosen
    assert written(*EVERY_KIND, events=[name], format=output_format) == written(
        *chosen, events=documented_events(), format=output_format
    )


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    assert written(REQUEST_FINISHED).startswith("{")
    assert "12:03:04" in written(REQUEST_FINISHED, to=Terminal())
    assert written(REQUEST_FINISHED, to=Terminal(), format="json").startswith("{")
    assert written(REQUEST_FINISHED, format="text").startswith("12:03:04")


@pytest.mark.parametrize(
    ("environment", "to", "coloured"),
    [
        ({"TERM": "xterm"}, Terminal, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, Terminal, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal, False),
        ({"TERM": "dumb"}, Terminal, False),
        ({"TERM": "xterm"}, io.StringIO, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, environment, to, coloured) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = written(ATTEMPT_FAILED, to=to(), format="text")
    assert ("\x1b[31m429 rate_limit\x1b[0m" in line) is coloured
    assert ("\x1b" in line) is coloured


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_stream_is_the_one_of_the_moment_when_the_sink_starts(stream, capsys) -> None:
    sink = MetricsStdout(stream=stream)
    sink.start_sink()
    with contextlib.redirect_stdout(io.StringIO()) as later, contextlib.redirect_stderr(later):
        sink.emit_metric(REQUEST_STARTED)
    assert later.getvalue() == ""
    assert getattr(capsys.readouterr(), stream[3:]).count("request_started") == 1


def test_a_process_without_stdout_is_told_at_the_start(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(RuntimeError, match="no stdout"):
        MetricsStdout().start_sink()


def test_a_pipe_that_nobody_reads_raises_so_that_the_loss_is_counted() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = MetricsStdout()
    with open(writer, "w", encoding="utf-8") as output:  # noqa: PTH123 - a descriptor has no path
        with contextlib.redirect_stdout(output):
            sink.start_sink()
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                sink.emit_metric(REQUEST_STARTED)
        # Else the close would try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


def test_lines_of_several_threads_stay_whole() -> None:
    def emit() -> None:
        for _ in range(200):
            sink.emit_metric(ATTEMPT_ANSWERED)

    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sink = MetricsStdout()
    with contextlib.redirect_stdout(output):
        sink.start_sink()
    threads = [threading.Thread(target=emit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = output.buffer.getvalue().splitlines()
    assert len(lines) == 800
    assert set(lines) == {lines[0]}


def test_a_line_is_one_write_to_the_operating_system_and_leaves_at_once() -> None:
    class Raw(io.RawIOBase):
        def __init__(self) -> None:
            self.writes: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data) -> int:
            self.writes.append(bytes(data))
            return len(data)

    raw = Raw()
    sink = MetricsStdout()
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8")):
        sink.start_sink()
    for event in EVENTS:
        sink.emit_metric(event)
    assert [json.loads(line)["event"] for line in raw.writes] == [fields_of(event)["event"] for event in EVENTS]


def test_an_event_before_the_start_is_refused_not_lost_in_silence() -> None:
    with pytest.raises(RuntimeError, match="start_sink"):
        MetricsStdout().emit_metric(REQUEST_STARTED)


def test_its_hooks_are_those_of_a_sink_and_its_entry_point_is_its_class() -> None:
    manager = PluginManager(PROJECT)
    manager.add_hookspecs(MetricEmission)
    manager.register(MetricsStdout())
    manager.check_pending()
    project = tomllib.loads(README.with_name("pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pointsman.v1"] == {
        "metrics_stdout": f"{MetricsStdout.__module__.partition('.')[0]}:{MetricsStdout.__name__}"
    }


def test_importing_the_plugin_loads_no_http_library_and_touches_no_stream() -> None:
    code = "import sys; sys.stdout = None; import pointsman_metrics_stdout; assert 'httpx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
