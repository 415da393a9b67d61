"""Keeps every event of a pointsman router in one SQLite file."""

from .sink import MetricsSqlite

__all__ = ["MetricsSqlite"]
