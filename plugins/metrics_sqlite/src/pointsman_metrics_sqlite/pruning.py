"""Deletes the oldest, in small steps, so that the file stays bounded and nobody waits long."""

import sqlite3
from math import inf

STEP = 250
"""Rows of each table that one transaction deletes at most."""

PAGES = 2000
"""Empty pages that one step gives back to the file system."""

MARGIN = 0.9
"""Of the bound: so far down it goes once it is reached, so that it is not at each look."""


_OLDEST = (
    "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE time < :before ORDER BY time LIMIT :step)",
    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time < :before ORDER BY time LIMIT :step)",
    """DELETE FROM attempts WHERE (request_id, number) IN
        (SELECT request_id, number FROM attempts WHERE time < :before ORDER BY time LIMIT :step)""",
)


def prune(connection: sqlite3.Connection, *, before: float, most_bytes: float) -> None:
    """Deletes what is older than `before`, and the oldest while the file has more than `most_bytes`."""
    while _delete(connection, before):
        pass
    if size(connection) > most_bytes:
        while used(connection) > most_bytes * MARGIN and _delete(connection, inf):
            pass
    while _free_pages(connection):
        connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def size(connection: sqlite3.Connection) -> int:
    """Bytes of the file."""
    return _number(connection, "page_count") * _number(connection, "page_size")


def used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    return (_number(connection, "page_count") - _free_pages(connection)) * _number(connection, "page_size")


def _delete(connection: sqlite3.Connection, before: float) -> int:
    """Deletes the oldest rows of each table that are older than this; returns how many there were."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        return sum(connection.execute(one, {"before": before, "step": STEP}).rowcount for one in _OLDEST)


def _free_pages(connection: sqlite3.Connection) -> int:
    return _number(connection, "freelist_count")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
