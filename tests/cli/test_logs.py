"""`pointsman logs`: what was decided, read from whichever plugin keeps it."""

import json
import time
from collections.abc import Iterable

import attrs
import pytest
from attrs import define

from pointsman import MetricEmission, RecordedRequest, Recording, RecordQuery, RecordsUnavailable, hookimpl
from pointsman.cli import columns
from tests.cli.conftest import CONFIG, Desk

DECISION = {
    "request_id": "3f9a01b2",
    "task": "chat",
    "unit": "u-1",
    "model": None,
    "candidates": [{"model": "large", "backend": "echo", "name": "wire/large"}],
    "steps": [
        {
            "plugin": "tasks",
            "why": "the better one",
            "targets": [
                {"model": "large", "backend": "echo", "name": "wire/large"},
                {"model": "small", "backend": "second", "name": "small"},
            ],
        }
    ],
    "assignment": {"path": "both", "bucket": 0.125, "salt": "", "rollout": "default", "share": 50.0},
    "seed": 1,
    "attempts": [
        {
            "number": 1,
            "target": {"model": "large", "backend": "echo", "name": "wire/large"},
            "started": 0.0,
            "duration": 0.21,
            "outcome": "failed",
            "why": "the first candidate",
            "failure": {
                "kind": "rate_limit",
                "blames": "model",
                "breaker": "opens",
                "message": "the provider is busy",
                "status": 429,
            },
        },
        {
            "number": 2,
            "target": {"model": "small", "backend": "second", "name": "small"},
            "started": 0.21,
            "duration": 1.0,
            "outcome": "answered",
            "why": "the next candidate",
            "time_to_first_token": 0.3,
            "served_model": "small-001",
            "provider": "Acme",
        },
    ],
    "skipped": [
        {
            "target": {"model": "small", "backend": "echo", "name": "wire/small"},
            "why": "its circuit is open",
            "plugin": "breaker",
        }
    ],
    "served": {"model": "small", "backend": "second", "name": "small"},
    "outcome": "answered",
    "duration": 1.21,
}
ANSWERED = RecordedRequest(
    request_id="3f9a01b2c3d4",
    time=1764158585.0,
    task="chat",
    unit="u-1",
    rollout="default",
    path="both",
    bucket=0.125,
    share=50.0,
    outcome="answered",
    why="",
    model="small",
    backend="second",
    fell_back=True,
    attempts=2,
    duration=1.21,
    time_to_first_token=0.51,
    input_tokens=100,
    output_tokens=14,
    cost=0.00025,
    decision=json.dumps(DECISION),
)
FAILED = attrs.evolve(
    ANSWERED,
    request_id="77aa01b2c3d4",
    time=1764158590.0,
    unit=7,
    path=None,
    outcome="failed",
    why="the deadline has passed while large via echo was trying",
    model=None,
    backend=None,
    attempts=1,
    duration=60.0,
    time_to_first_token=None,
    cost=None,
    decision="{}",
)


@define(eq=False)
class Keeper(MetricEmission, Recording):
    """Keeps two requests since ever, and says what it was asked where it has none."""

    empty: bool = False

    @hookimpl
    def emit_metric(self, event): ...

    @hookimpl
    def recorded_requests(self, query: RecordQuery) -> Iterable[RecordedRequest]:
        if self.empty:
            raise RecordsUnavailable(f"asked for {attrs.asdict(query, filter=lambda _, value: value is not None)}")
        return [ANSWERED, FAILED]


@pytest.fixture(autouse=True)
def keeper(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    desk.site.install("keeper", offers={"keeper": Keeper})
    desk.configure(CONFIG + "[plugins.keeper]\n")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ask(desk: Desk, *words: str) -> str:
    """What the keeper says that it was asked for."""
    desk.configure(CONFIG + "[plugins.keeper]\nempty = true\n")
    return desk.run("logs", *words, status=1).stderr.strip()


LISTED = """\
request   ended           task  unit  path  outcome   attempts  took     first token  cost       served by
3f9a01b2  11-26 12:03:05  chat  u-1   both  answered  2         1.21 s   0.51 s       $0.000250  small via second
77aa01b2  11-26 12:03:10  chat  7     -     failed    1         60.00 s  -            -          the deadline has \
passed while large via echo was trying
"""

NARROW = """\
request   task  outcome   took     served by
3f9a01b2  chat  answered  1.21 s   small via second
77aa01b2  chat  failed    60.00 s  the deadline has passed while large via echo
                                   was trying
"""


def test_each_request_is_a_line_with_the_newest_last(desk: Desk) -> None:
    assert desk.run("logs").stdout == LISTED


def test_a_narrow_terminal_does_without_the_columns_that_matter_least(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "width", lambda: 80)
    assert desk.run("logs").stdout == NARROW


TOLD = """\
3f9a01b2c3d4, 2025-11-26 12:03:05: answered after 1.21 s
chat, unit u-1: path both, bucket 12.500 %

1. tasks left 2 targets: the better one

  -  small via echo: skipped, its circuit is open
  1. large via echo: 429 rate_limit, 0.21 s
     the provider is busy
  2. small via second: answered, 1.00 s, first token after 0.30 s, served as small-001 at Acme
100 tokens in, 14 out, $0.000250, fell back

77aa01b2c3d4, 2025-11-26 12:03:10: failed after 60.00 s
the deadline has passed while large via echo was trying
Its decision was recorded by another version of pointsman; --json prints it.
"""


def test_a_request_is_told_whole_on_demand(desk: Desk) -> None:
    assert desk.run("logs", "-v").stdout == TOLD
    assert desk.run("logs", "--request", "3f9a").stdout == TOLD


def test_the_document_has_every_field_and_the_decision_as_a_part(desk: Desk) -> None:
    first, second = desk.document("logs")
    assert first == {**attrs.asdict(ANSWERED), "decision": DECISION}
    assert second == {**attrs.asdict(FAILED), "decision": {}}


def test_every_filter_reaches_the_plugin(desk: Desk) -> None:
    assert ask(desk) == "asked for {'limit': 20}"
    words = "--task a --model b --path c --rollout d --outcome failed --unit 7 --request f --limit 3"
    assert ask(desk, *words.split()) == (
        "asked for {'task': 'a', 'model': 'b', 'path': 'c', 'rollout': 'd', 'outcome': 'failed', 'unit': '7', "
        "'request_id': 'f', 'limit': 3}"
    )


@pytest.mark.parametrize(
    ("words", "since"),
    [("2025-11-26T12:03:05", 1764158585.0), ("2025-11-26 13:03:05+01:00", 1764158585.0), ("2025-11-26", 1764115200.0)],
)
def test_a_time_is_a_date_with_or_without_a_time(desk: Desk, words: str, since: float) -> None:
    assert f"'since': {since}," in ask(desk, "--since", words)
    assert f"'until': {since}," in ask(desk, "--until", words)


@pytest.mark.parametrize(("words", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172800)])
def test_a_time_is_how_long_ago(desk: Desk, words: str, seconds: float) -> None:
    said = ask(desk, "--since", words)
    assert abs(float(said.split("'since': ")[1].split(",")[0]) + seconds - time.time()) < 30


def test_what_is_no_time_is_wrong_use(desk: Desk) -> None:
    said = desk.run("logs", "--since", "yesterday", status=2).stderr
    assert said.startswith('"yesterday" is no time: write how long ago, such as 30m, 1h or 2d')


def test_without_a_plugin_that_keeps_requests_the_remedy_is_told(desk: Desk) -> None:
    desk.configure(CONFIG)
    said = desk.run("logs", status=2).stderr
    assert "no plugin of pointsman.toml keeps requests" in said
    assert "pip install pointsman-metrics-sqlite" in said
    assert "[plugins.metrics_sqlite]" in said


def test_of_several_that_keep_requests_one_is_to_be_named(desk: Desk) -> None:
    desk.configure(CONFIG + '[plugins.keeper]\nempty = true\n[plugins.other]\nuse = "keeper"\n')
    assert desk.run("logs", status=2).stderr == (
        "several plugins keep requests: keeper, other; --from says which one to ask\n"
    )
    assert desk.run("logs", "--from", "other").stdout == LISTED
    assert desk.run("logs", "--from", "echo", status=2).stderr == (
        "--from echo: no such plugin keeps requests; these do: keeper, other\n"
    )


def test_what_was_asked_is_read_from_the_file_of_metrics_sqlite(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.configure(CONFIG + "[plugins.metrics_sqlite]\n")
    assert "there is no pointsman.sqlite3" in desk.run("logs", status=1).stderr
    monkeypatch.setenv("ACME_KEY", "sk-canary")
    for unit in ("1", "2", "3"):
        desk.run("ask", "hello", "--no-stream", "--unit", unit)
    monkeypatch.delenv("ACME_KEY")
    told = desk.document("logs", "--path", "both", "--since", "1m")
    assert [(one["unit"], one["model"], one["backend"]) for one in told] == [("2", "large", "echo")]
    cut = told[0]["request_id"][:6]
    assert "chat, unit 2: path both, bucket 17.590 %" in desk.run("logs", "--request", cut).stdout
    ran = desk.run("logs", "--unit", "9")
    assert (ran.stdout, ran.stderr) == ("", "no recorded request fits\n")


def test_words_of_users_command_no_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ANSWERED", attrs.evolve(ANSWERED, unit="a\x1b[31mb\nc", decision="[]"))
    assert "\x1b" not in desk.run("logs").stdout
    assert "\x1b" not in desk.run("logs", "-v").stdout
    assert len(desk.run("logs").stdout.splitlines()) == 3
