"""The tables, and how a file of another version is met. `README.md` documents them.

A column is only ever added; a change of another kind is a new version, with a migration in `MIGRATIONS`.
"""

import sqlite3
from time import monotonic, sleep

from pointsman import RecordsUnavailable

VERSION = 1
"""Kept in SQLite's `user_version`."""

BUSY = 5.0
"""Seconds that a process waits for another one that is writing."""

LOG = 4_000_000
"""Bytes that the write-ahead log shrinks to when all of it is in the file."""

TABLES = """
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY,
    time REAL NOT NULL,
    task TEXT NOT NULL,
    unit,
    labels TEXT NOT NULL,
    rollout TEXT,
    path TEXT,
    bucket REAL,
    share REAL,
    outcome TEXT,
    why TEXT,
    model TEXT,
    backend TEXT,
    fell_back INTEGER,
    attempts INTEGER,
    duration REAL,
    time_to_first_token REAL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost REAL,
    decision TEXT
);
CREATE INDEX requests_by_time ON requests (time);
CREATE INDEX requests_by_unit ON requests (CAST(unit AS TEXT), time);
CREATE INDEX requests_by_rollout ON requests (rollout, path, time);

CREATE TABLE attempts (
    request_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    time REAL NOT NULL,
    model TEXT NOT NULL,
    backend TEXT NOT NULL,
    wire_model TEXT NOT NULL,
    outcome TEXT,
    duration REAL,
    time_to_first_token REAL,
    failure TEXT,
    blames TEXT,
    status INTEGER,
    message TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost REAL,
    served_model TEXT,
    provider TEXT,
    PRIMARY KEY (request_id, number)
) WITHOUT ROWID;
CREATE INDEX attempts_by_time ON attempts (time);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX events_by_time ON events (time);

CREATE VIEW recent_requests AS
    SELECT strftime('%Y-%m-%d %H:%M:%S', time, 'unixepoch') AS at, task, unit, path, outcome, model, backend, attempts,
        round(duration, 3) AS seconds, round(time_to_first_token, 3) AS first_token, cost, why, request_id
    FROM requests ORDER BY time DESC;

CREATE VIEW paths_by_day AS
    SELECT date(time, 'unixepoch') AS day, rollout, path, share, count(*) AS requests,
        round(avg(outcome = 'answered') * 100, 2) AS answered_percent,
        round(avg(fell_back) * 100, 2) AS fell_back_percent,
        round(avg(duration), 3) AS mean_seconds, sum(cost) AS cost
    FROM requests WHERE outcome IS NOT NULL GROUP BY day, rollout, path, share ORDER BY day DESC, rollout, path;
"""

MIGRATIONS: dict[int, str] = {0: TABLES}
"""For each earlier version, what makes the next one of it."""


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty file and brings an older one up to date.

    Raises `RecordsUnavailable` for a file of a newer version, `sqlite3.Error` for one that cannot be used.
    """
    connection.execute(f"PRAGMA busy_timeout = {round(BUSY * 1000)}")
    check(connection)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard only while the file is empty
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {LOG}")
    if version_of(connection) < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            version = check(connection)  # another process may have been faster
            for earlier in range(version, VERSION):
                _run(connection, MIGRATIONS[earlier])
            connection.execute(f"PRAGMA user_version = {VERSION}")


def check(connection: sqlite3.Connection) -> int:
    """The version of the tables in a file. Raises `RecordsUnavailable` where they are of a later one, or not ours."""
    version = version_of(connection)
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    if version > VERSION:
        raise RecordsUnavailable(
            f"the tables of {file} are of version {version}, and this knows {VERSION}; upgrade pointsman-metrics-sqlite"
        )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables and version_of(connection) == 0:  # another process may just have made them
        raise RecordsUnavailable(f"{file} is a database of something else; name another file")
    return version_of(connection)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables in a file; 0 where there are none."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches to a write-ahead log. SQLite does not wait for others here, as it does elsewhere."""
    deadline = monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if monotonic() > deadline:
                raise
            sleep(0.01)
        else:
            return


def _run(connection: sqlite3.Connection, statements: str) -> None:
    """Like `executescript`, in the transaction that is open."""
    for statement in statements.split(";"):
        if statement.strip():
            connection.execute(statement)
