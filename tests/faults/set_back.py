"""A pytest plugin, to be loaded first: whenever somebody looks at the clock, it was set back by another hour."""

import itertools
import time

real = time.time
looks = itertools.count()


def set_back() -> float:
    return real() - 3600 * next(looks)


time.time = set_back


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"set back {next(looks)} times")
