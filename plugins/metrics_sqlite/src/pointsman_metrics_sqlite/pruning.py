"""Deletes the oldest, in small steps, so that the file stays bounded and nobody waits long."""

import sqlite3
from math import inf

STEP = 100
"""Rows of a table that one step deletes. As many stay in any case, however small the bound."""

PAGES = 500
"""Empty pages that one step gives back to the file system."""

MARGIN = 0.9
"""Of the bound: so far down it goes once it is reached, so that it is not at each look."""

TABLES = ("requests", "attempts", "events")


def prune(connection: sqlite3.Connection, *, before: float, most_bytes: float) -> bool:
    """Deletes some of what is older than `before`, or of the oldest while the file has more than `most_bytes`.

    Returns whether there may be more to delete.
    """
    if _delete(connection, before):
        return True
    if size(connection) > most_bytes and used(connection) > most_bytes * MARGIN and _delete(connection, inf):
        return True
    free = _number(connection, "freelist_count")
    if free:
        connection.executescript(f"PRAGMA incremental_vacuum({PAGES})")  # `execute` gives back one page only
    return _number(connection, "freelist_count") < free


def size(connection: sqlite3.Connection) -> int:
    """Bytes of the file."""
    return _number(connection, "page_count") * _number(connection, "page_size")


def used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    return (_number(connection, "page_count") - _number(connection, "freelist_count")) * _number(
        connection, "page_size"
    )


def _delete(connection: sqlite3.Connection, before: float) -> int:
    """Deletes the oldest of what is older than this, from all tables alike; returns how many rows."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        # By time and not by number, so that all tables reach equally far back.
        nth = [connection.execute(f"SELECT time FROM {one} ORDER BY time LIMIT 1 OFFSET {STEP}") for one in TABLES]  # noqa: S608 - names of ours
        until = min([row[0] for found in nth if (row := found.fetchone())], default=before)
        if until == inf:
            return 0
        which = "time < ? AND time <= ?"
        return sum(connection.execute(f"DELETE FROM {one} WHERE {which}", (before, until)).rowcount for one in TABLES)  # noqa: S608 - as above


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
