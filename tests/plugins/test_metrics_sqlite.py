"""The recorder: every event in one file that bears crashes, company and time."""

import asyncio
import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from attrs import fields

from pointsman import RecordedRequest, RecordQuery, RecordsUnavailable, Router
from pointsman.settings import Seconds
from pointsman_metrics_sqlite import MetricsSqlite
from pointsman_metrics_sqlite.pruning import prune, size
from pointsman_metrics_sqlite.schema import VERSION, prepare
from tests.core.support import Scripted, answer, failure, table
from tests.support.canaries import COMPLETION, KEY, PROMPT, assert_clean

README = Path(__file__).parents[2] / "plugins" / "metrics_sqlite" / "README.md"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recorded.sqlite3"


def config(file, script=(), **settings):
    return table(
        plugins={"metrics_sqlite": MetricsSqlite(file=file, **settings)},
        backends={"proxy": Scripted(script), "direct": Scripted()},
        paths={"proxied": ("proxy", "direct"), "direct": ("direct",)},
        rollout={"control": "direct", "shares": {"proxied": 100}},
    )


def rows(file, query):
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def recorded(file, **query):
    return list(MetricsSqlite(file=file).recorded_requests(RecordQuery(**query)))


# What is kept


def test_a_request_and_its_attempts_are_kept_whole(file):
    with Router(config(file, [failure("server", status=503)])) as router:
        decision = router.complete("x", unit=42, labels={"source": "rengøring.nu"}).decision
    (request,) = rows(file, "SELECT * FROM requests")
    assert decision is not None
    decided = json.loads(request.pop("decision"))
    assert decided["request_id"] == decision.request_id
    assert [step["why"] for step in decided["steps"]] == [step.why for step in decision.steps]
    time_kept, duration = request.pop("time"), request.pop("duration")
    assert abs(time_kept - time.time()) < 60
    assert duration == decision.duration
    assert decision.assignment is not None
    assert request == {
        "request_id": decision.request_id,
        "task": "chat",
        "unit": 42,
        "labels": '{"source": "rengøring.nu"}',
        "rollout": "default",
        "path": "proxied",
        "bucket": decision.assignment.bucket,
        "share": 100.0,
        "outcome": "answered",
        "why": "",
        "model": "large",
        "backend": "proxy",
        "fell_back": 1,
        "attempts": 2,
        "time_to_first_token": None,
        "input_tokens": None,
        "output_tokens": None,
        "cost": None,
    }
    attempts = rows(file, "SELECT number, model, backend, wire_model, outcome, failure, status FROM attempts")
    assert [tuple(attempt.values()) for attempt in attempts] == [
        (1, "small", "proxy", "proxy:small", "failed", "server", 503),
        (2, "large", "proxy", "proxy:large", "answered", None, None),
    ]


def test_what_belongs_to_no_request_is_kept_too(file):
    with Router(config(file)) as router:
        router.complete("x")
        router.rollout.set({"proxied": 40})
        router.complete("x")
    (event,) = rows(file, "SELECT kind, data FROM events")
    assert event["kind"] == "rollout_changed"
    assert json.loads(event["data"]) == {
        "rollout": "default",
        "control": "direct",
        "shares": {"proxied": 40},
        "off": False,
    }


@pytest.mark.parametrize("unit", ["u-1", 7, 2**70, None])
def test_units_of_every_kind_are_kept_and_found(file, unit):
    with Router(config(file)) as router:
        router.complete("x", unit=unit)
        router.complete("x", unit="another")
    found = recorded(file, unit=None if unit is None else str(unit))
    assert found[0].unit == (str(unit) if unit == 2**70 else unit)
    assert len(found) == (2 if unit is None else 1)


def test_a_request_that_runs_stands_without_an_outcome_and_is_no_record_yet(file):
    script = []
    with Router(config(file, script, commit_every=Seconds(0.01))) as router:

        async def hang(*_):
            assert router.flush()
            assert [row["outcome"] for row in rows(file, "SELECT outcome FROM requests")] == [None]
            assert [row["outcome"] for row in rows(file, "SELECT outcome FROM attempts")] == [None]
            assert recorded(file) == []
            return answer()

        script.append(hang)
        router.complete("x", unit=1)
    assert [one.outcome for one in recorded(file)] == ["answered"]


def test_no_prompt_answer_key_or_word_of_a_server_is_in_the_file(file):
    leaking = failure("server", detail=f"{PROMPT} {COMPLETION} {KEY}")
    with Router(config(file, [leaking] * 10)) as router:
        router.complete(PROMPT, unit="u")
    for path in file.parent.glob(file.name + "*"):
        assert_clean(path.read_bytes().decode("utf-8", "replace"))


# Reading


def test_records_are_found_by_everything_that_a_query_can_ask(file):
    with Router(config(file, [failure("server")])) as router:
        for unit in range(5):
            router.complete("x", unit=unit)
    everything = recorded(file)
    assert [one.unit for one in everything] == [0, 1, 2, 3, 4]
    assert [one.unit for one in recorded(file, limit=2)] == [3, 4]
    assert [one.unit for one in recorded(file, model="large")] == [0]
    assert [one.unit for one in recorded(file, unit="3")] == [3]
    assert recorded(file, request_id=everything[2].request_id[:12]) == [everything[2]]
    assert [one.unit for one in recorded(file, since=everything[3].time)] == [3, 4]
    assert [one.unit for one in recorded(file, until=everything[3].time)] == [0, 1, 2]
    for known in ({"task": "chat"}, {"path": "proxied"}, {"rollout": "default"}, {"outcome": "answered"}):
        assert len(recorded(file, **known)) == 5
    for unknown in ({"task": "x"}, {"path": "direct"}, {"rollout": "x"}, {"outcome": "failed"}, {"unit": "9"}):
        assert recorded(file, **unknown) == []


def test_without_a_file_it_is_said_what_to_do(file):
    with pytest.raises(RecordsUnavailable, match=r"there is no .*sqlite3 yet; it is made by the first request"):
        recorded(file)


def test_in_a_file_that_was_only_just_made_there_is_nothing_yet(file):
    file.touch()
    with pytest.raises(RecordsUnavailable, match=r"nothing is recorded in .*sqlite3 yet"):
        recorded(file)


def test_a_file_of_something_else_is_said_to_be_none(file):
    file.write_text("hello " * 1000)
    with pytest.raises(RecordsUnavailable, match="cannot be read: file is not a database"):
        recorded(file)


def test_a_file_of_a_later_version_is_refused_for_writing_and_reading(file, caplog):
    with closing(sqlite3.connect(file)) as connection:
        prepare(connection)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(RecordsUnavailable, match="upgrade pointsman-metrics-sqlite"):
        recorded(file)
    with Router(config(file)) as router:
        router.complete("x")
    assert "upgrade pointsman-metrics-sqlite" in caplog.text


def test_a_hundred_thousand_records_are_read_in_a_few_seconds(file):
    with Router(config(file)) as router:
        router.complete("x", unit=1)
    columns = [one.name for one in fields(RecordedRequest) if one.name != "request_id"]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            INSERT INTO requests (request_id, labels, {", ".join(columns)})
            SELECT request_id || i, labels, {", ".join(columns)} FROM requests, n"""
        )
    began = time.perf_counter()
    assert sum(1 for _ in MetricsSqlite(file=file).recorded_requests(RecordQuery())) == 100_001
    assert time.perf_counter() - began < 10


# What is lost when

CRASHING = """
import sys, time
from pathlib import Path
from pointsman import Router
from pointsman.settings import Seconds
from pointsman_metrics_sqlite import MetricsSqlite
from tests.plugins.test_metrics_sqlite import config

with Router(config(Path(sys.argv[1]), commit_every=Seconds(0.05))) as router:
    for number in range(1_000_000):
        router.complete("x", unit=number)
        print(number, time.time(), flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file_that_lacks_the_last_moment_alone(file):
    command = [sys.executable, "-c", CRASHING, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        done = [child.stdout.readline().split()]
        while float(done[-1][1]) < float(done[0][1]) + 1.3:
            done.append(child.stdout.readline().split())
        child.send_signal(signal.SIGKILL)
        done += [line.split() for line in child.stdout.read().splitlines() if len(line.split()) == 2]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {one.unit for one in recorded(file)}
    # One second is what a busy machine may add to the twentieth of one that is stated.
    settled = {int(number) for number, at in done if float(at) < float(done[-1][1]) - 1.05}
    assert settled
    assert settled <= kept
    assert kept == set(range(len(kept)))


def _ask(file, worker, count):
    async def work():
        async with Router(config(file, commit_every=Seconds(0.02))) as router:
            await asyncio.gather(*(router.acomplete("x", unit=f"{worker}-{number}") for number in range(count)))

    asyncio.run(work())


def test_eight_processes_that_write_at_once_lose_nothing(file):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_ask, args=(file, worker, 60)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert {one.unit for one in recorded(file)} == {f"{w}-{n}" for w in range(8) for n in range(60)}
    assert rows(file, "SELECT count(*) AS n FROM attempts WHERE outcome = 'answered'") == [{"n": 480}]


def test_a_forked_child_writes_through_a_connection_of_its_own(file):
    with Router(config(file)) as router:
        router.complete("x", unit="parent")
        assert router.flush()
        child = os.fork()
        if child == 0:
            router.complete("x", unit="child")
            router.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        router.complete("x", unit="parent again")
    assert {one.unit for one in recorded(file)} == {"parent", "child", "parent again"}


def test_what_cannot_be_written_now_is_written_when_it_can_be(file, monkeypatch, caplog):
    monkeypatch.setattr("pointsman_metrics_sqlite.schema.BUSY", 0.05)
    with Router(config(file, commit_every=Seconds(0.02))) as router:
        router.complete("x", unit=1)
        assert router.flush()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for unit in range(2, 5):
                router.complete("x", unit=unit)
            deadline = time.monotonic() + 5
            while "cannot be written" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.02)
            other.execute("COMMIT")
    assert caplog.text.count("cannot be written, which is tried again: database is locked") == 1
    assert [one.unit for one in recorded(file)] == [1, 2, 3, 4]


def test_rows_that_can_never_be_written_are_bounded_and_counted(file, monkeypatch):
    monkeypatch.setattr("pointsman_metrics_sqlite.schema.BUSY", 0.01)
    monkeypatch.setattr("pointsman_metrics_sqlite.writer.MOST_WAITING", 10)
    router = Router(config(file, commit_every=Seconds(10.0)))
    router.complete("x", unit=0)
    assert router.flush()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for unit in range(20):
            router.complete("x", unit=unit)
        (report,) = router.close(timeout=3)
    # Each request has a row of its own and one of its attempt, each of two events; ten rows wait.
    assert (report.emitted, report.lost) == (84, 60)


# Bounded


def test_what_is_too_old_is_deleted_with_its_attempts(file):
    with Router(config(file, [failure("server")])) as router:
        router.complete("x", unit="old")
        time.sleep(0.05)
        between = time.time()
        router.complete("x", unit="new")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        while prune(connection, before=between, most_bytes=1e9):
            pass
    assert [one.unit for one in recorded(file)] == ["new"]
    assert rows(file, "SELECT count(*) AS n FROM attempts") == [{"n": 1}]


def test_the_file_does_not_outgrow_its_bound(file):
    with Router(config(file)) as router:
        router.complete("x", unit="u")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        prepare(connection)
        connection.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            INSERT INTO requests (request_id, time, task, labels, outcome, decision)
            SELECT 'r' || i, time + i, task, labels, outcome, decision FROM requests, n"""
        )
        assert size(connection) > 2_000_000
        steps = 0
        while prune(connection, before=0.0, most_bytes=2_000_000):
            steps += 1
        assert steps < 100
        assert size(connection) <= 2_000_000
        kept = connection.execute("SELECT min(request_id), max(time) - min(time), count(*) FROM requests").fetchone()
        assert kept[2] > 500
        newest = connection.execute("SELECT request_id FROM requests ORDER BY time DESC LIMIT 1").fetchone()
        assert newest == ("r5000",)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file.stat().st_size <= 2_000_000


def test_a_running_router_prunes_by_itself(file, monkeypatch):
    monkeypatch.setattr("pointsman_metrics_sqlite.writer.PRUNE_EVERY", 0.0)
    with Router(config(file, commit_every=Seconds(0.01), keep_for=Seconds(0.1))) as router:
        router.complete("x", unit="old")
        assert router.flush()
        deadline = time.monotonic() + 5
        while recorded(file) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert recorded(file) == []


# Documented


def tables(connection):
    made = connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    return {name: [column[1] for column in connection.execute(f"PRAGMA table_info({name})")] for name, _ in made}


def test_the_readme_names_every_table_view_and_column_in_their_order(file):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        prepare(connection)
        made = tables(connection)
    text = README.read_text("utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert {name: re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) for name, part in sections.items()} == made
    assert f"`user_version`: this is {VERSION}." in text


def test_every_query_of_the_readme_has_an_answer(file):
    with Router(config(file, [failure("server", status=503)])) as router:
        for unit in range(3):
            router.complete("x", unit=unit, labels={"source": "web"})
        router.rollout.set({"proxied": 40})
        router.complete("x")
    text = README.read_text("utf-8")
    on_the_command_line = re.findall(r'^sqlite3 pointsman.sqlite3 "(.*)"$', text, re.MULTILINE)
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    queries = [query for block in blocks for query in block.split(";") if query.strip()]
    assert len(on_the_command_line) >= 1
    assert len(queries) >= 4
    for query in [*on_the_command_line, *queries]:
        assert rows(file, query), query


def test_every_field_of_a_record_is_a_column(file):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        prepare(connection)
        assert {one.name for one in fields(RecordedRequest)} <= set(tables(connection)["requests"])


def test_the_views_show_the_newest_first_in_words(file):
    with Router(config(file)) as router:
        router.complete("x", unit=1)
        router.complete("x", unit=2)
    recent = rows(file, "SELECT * FROM recent_requests")
    assert [(one["unit"], one["task"], one["outcome"]) for one in recent] == [
        (2, "chat", "answered"),
        (1, "chat", "answered"),
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", recent[0]["at"])
    (day,) = rows(file, "SELECT * FROM paths_by_day")
    assert (day["path"], day["requests"], day["answered_percent"]) == ("proxied", 2, 100.0)
