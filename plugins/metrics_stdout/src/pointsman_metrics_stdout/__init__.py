"""One line per event on standard output: JSON for programs, a short line for people."""

from .sink import MetricsStdout

__all__ = ["MetricsStdout"]
