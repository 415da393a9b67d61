"""The recorder where something is wrong: with the disk, the file, the process or what it is told."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest
from attrs import frozen

from pointsman import RecordQuery, RecordsUnavailable, Router
from pointsman.chat import Usage
from pointsman.events import RolloutChanged
from pointsman.settings import Seconds
from pointsman_metrics_sqlite import MetricsSqlite, schema
from pointsman_metrics_sqlite.pruning import prune
from pointsman_metrics_sqlite.rows import row_of
from tests.core.support import answer
from tests.plugins.test_metrics_sqlite import config, recorded, rows


@pytest.fixture
def file(tmp_path):
    return tmp_path / "recorded.sqlite3"


def served(router, units):
    for unit in units:
        assert router.complete("x", unit=unit).text == "fine"


# The disk and the file

ON_A_DISK_OF_300_KB = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
from pointsman import Router
from pointsman.settings import Seconds
from tests.plugins.test_metrics_sqlite import config
router = Router(config(Path(sys.argv[1]), commit_every=Seconds(0.01)))
for number in range(1000):
    assert router.complete("x", unit=number).text == "fine"
    if not number % 50:
        router.flush()
router.close()
print("served all")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits to the size of a file")
def test_a_full_disk_costs_no_answer_and_the_file_stays_whole(file):
    ran = subprocess.run(
        [sys.executable, "-c", ON_A_DISK_OF_300_KB, str(file)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ran.stdout == "served all\n", ran.stderr
    assert f"{file} cannot be written, which is tried again" in ran.stderr
    assert "rows could not be written and are lost" in ran.stderr
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = [one.unit for one in recorded(file)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= 10


def test_a_folder_that_is_not_there_costs_no_answer_and_every_event_is_counted(tmp_path, caplog):
    with Router(config(tmp_path / "nowhere" / "x.sqlite3")) as router:
        served(router, [1])
        (report,) = router.close()
    assert (report.emitted, report.lost) == (4, 4)
    assert "x.sqlite3 cannot be used: unable to open database file" in caplog.text


def test_a_file_of_something_else_is_left_alone(file, caplog):
    file.write_bytes(b"my precious notes" * 1000)
    with Router(config(file)) as router:
        served(router, [1])
    assert file.read_bytes() == b"my precious notes" * 1000
    assert f"{file} cannot be used: file is not a database" in caplog.text


def test_a_database_of_something_else_is_left_alone(file, caplog):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
    before = file.read_bytes()
    with Router(config(file)) as router:
        served(router, [1])
    assert file.read_bytes() == before
    assert f"{file} is a database of something else; name another file" in caplog.text
    with pytest.raises(RecordsUnavailable, match="is a database of something else"):
        recorded(file)


def test_a_file_that_is_damaged_while_it_is_used_costs_no_answer(file, caplog):
    with Router(config(file, commit_every=Seconds(0.01))) as router:
        served(router, [1])
        assert router.flush()
        for path in file.parent.glob(file.name + "*"):
            with path.open("r+b") as damaged:
                damaged.write(os.urandom(min(path.stat().st_size, 40_000)))
        served(router, range(2, 50))
    assert "recorded.sqlite3" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be moved there")
@pytest.mark.parametrize("gone", [Path.unlink, lambda one: one.rename(one.with_suffix(".1"))], ids=["deleted", "moved"])
def test_after_the_file_is_gone_a_new_one_takes_what_comes(file, gone):
    with Router(config(file)) as router:
        served(router, [1])
        assert router.flush()
        gone(file)
        served(router, [2, 3])
        assert router.flush()
        assert [one.unit for one in recorded(file)] == [2, 3]


def test_a_file_of_an_earlier_version_is_brought_up_to_date(file, monkeypatch):
    with Router(config(file)) as router:
        served(router, [1])
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, "ALTER TABLE requests ADD COLUMN mood TEXT")
    with Router(config(file)) as router:
        served(router, [2])
    assert rows(file, "SELECT unit, mood FROM requests ORDER BY time") == [
        {"unit": 1, "mood": None},
        {"unit": 2, "mood": None},
    ]
    assert rows(file, "PRAGMA user_version") == [{"user_version": 2}]


# Processes

FLUSHING = """
import sys
from pathlib import Path
from pointsman import Router
from pointsman.settings import Seconds
from tests.plugins.test_metrics_sqlite import config

with Router(config(Path(sys.argv[1]), commit_every=Seconds(60.0))) as router:
    for number in range(1_000_000):
        router.complete("x", unit=number)
        if not number % 10:
            router.flush()
            print(number, flush=True)
"""


def test_what_was_flushed_outlives_a_process_that_is_killed(file):
    command = [sys.executable, "-c", FLUSHING, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        flushed = [child.stdout.readline() for _ in range(30)]
        child.kill()
        flushed += child.stdout.readlines()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = [one.unit for one in recorded(file)]
    assert kept == list(range(len(kept)))
    assert len(kept) > max(int(line) for line in flushed if line.endswith("\n"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_what_a_forked_child_has_written_outlives_both_whoever_ends_first(file):
    router = Router(config(file))
    served(router, ["parent"])
    assert router.flush()
    heard, told = os.pipe()
    go, started = os.pipe()
    child = os.fork()
    if child == 0:
        served(router, ["child, before"])
        router.flush()
        os.write(told, b"1")
        os.read(go, 1)
        served(router, ["child, after"])
        router.flush()
        os.write(told, b"2")
        signal.pause()
    assert os.read(heard, 1) == b"1"
    served(router, ["parent again"])
    router.close()  # who closes last deletes the log: that must not be the parent, whatever was forked
    os.write(started, b"1")
    assert os.read(heard, 1) == b"2"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for end in (heard, told, go, started):
        os.close(end)
    assert {one.unit for one in recorded(file)} == {"parent", "child, before", "parent again", "child, after"}


def test_who_reads_holds_up_nobody_who_writes(file):
    with Router(config(file)) as router:
        served(router, [1, 2])
        assert router.flush()
        reading = iter(MetricsSqlite(file=file).recorded_requests(RecordQuery()))
        assert next(reading).unit == 1
        served(router, [3])
        assert router.flush()
        assert [one.unit for one in recorded(file)] == [1, 2, 3]
        assert [one.unit for one in reading] == [2], "a reader sees what there was when it began"


def test_a_request_that_ends_while_it_is_written_keeps_its_end(file):
    with Router(config(file, commit_every=Seconds(0.01))) as router:
        for unit in range(150):
            router.complete("x", unit=unit)
            router.flush()
    assert rows(file, "SELECT count(*) AS n FROM requests WHERE outcome IS NULL") == [{"n": 0}]
    assert len(recorded(file)) == 150


# What it is told


def test_no_text_or_number_keeps_the_others_from_being_written(file):
    odd = [answer(usage=Usage(input_tokens=2**70, cost=float("nan"))), answer(served_model="half \ud83d")]
    with Router(config(file, odd)) as router:
        served(router, ["half \ud83d", "nul \0", "snowman \u2603"])
        router.complete("x", unit=-(2**70), labels={"half": "\ud83d"})
    assert [one.unit for one in recorded(file)] == ["half \\ud83d", "nul \0", "snowman \u2603", str(-(2**70))]
    for row in rows(file, "SELECT decision, labels FROM requests"):
        assert json.loads(row["decision"], parse_constant=pytest.fail)["request_id"]
        assert isinstance(json.loads(row["labels"]), dict)


def test_a_kind_of_event_that_does_not_exist_yet_is_kept():
    @frozen
    class ModelRetired:
        time: float
        models: tuple[str, ...]
        until: float
        context: object

    table, row = row_of(ModelRetired(1.5, ("a", "b"), float("inf"), object()))  # pyright: ignore[reportArgumentType] - of a later pointsman
    assert (table, row["time"], row["kind"]) == ("events", 1.5, "model_retired")
    assert json.loads(row["data"]) == {"models": ["a", "b"], "until": None}


def test_shares_that_nobody_can_change_are_kept():
    shares = MappingProxyType({"proxied": 12.5})
    _, row = row_of(RolloutChanged(time=1.0, rollout="default", control="direct", shares=shares, off=False))
    assert json.loads(row["data"])["shares"] == {"proxied": 12.5}


# Bounded


def test_all_tables_reach_equally_far_back_and_what_is_rare_is_not_deleted_first(file):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        schema.prepare(connection)
        connection.execute(
            """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
            INSERT INTO requests (request_id, time, task, labels, decision)
            SELECT 'r' || i, i, 'chat', '{}', printf('%.1000c', 'x') FROM n"""
        )
        connection.execute(
            """INSERT INTO attempts (request_id, number, time, model, backend, wire_model)
            SELECT request_id, number, time, 'm', 'b', 'w' FROM requests, (SELECT 1 AS number UNION SELECT 2)"""
        )
        connection.execute(
            "INSERT INTO events (time, kind, data) VALUES (1, 'old', '{}'), (3999, 'rollout_halted', '{}')"
        )
        while prune(connection, before=0.0, most_bytes=3_000_000):
            pass
        (oldest,) = connection.execute("SELECT min(time) FROM requests").fetchone()
        assert 1000 < oldest < 3000
        assert connection.execute("SELECT min(time) FROM attempts").fetchone() == (oldest,)
        assert connection.execute("SELECT kind FROM events").fetchall() == [("rollout_halted",)]


def test_a_bound_that_is_too_small_leaves_the_newest(file):
    with Router(config(file)) as router:
        served(router, range(300))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        while prune(connection, before=0.0, most_bytes=1000):
            pass
    kept = [one.unit for one in recorded(file)]
    assert kept == list(range(300 - len(kept), 300))
    assert len(kept) >= 50


def test_a_file_that_gives_nothing_back_to_the_system_is_pruned_all_the_same(file):
    with Router(config(file)) as router:
        served(router, range(300))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        steps = 0
        while prune(connection, before=1e12, most_bytes=1e9):
            steps += 1
        assert 0 < steps < 50
    assert recorded(file) == []
