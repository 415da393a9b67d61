"""Runs the tests that reach a mutation, each mutation in a process of its own.

Nothing is ever written to the working tree. What runs when a function does is changed in a fork of a process that has
collected the tests: it costs that fork and its own tests. What runs when a module is imported is changed before that,
in a fork of this process, which has loaded pytest and whatever the tests use, but never `pointsman`.
"""

import contextlib
import gc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from inspect import CO_NEWLOCALS
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, settings

from .operators import Mutation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "core" / "src" / "pointsman"
ARGUMENTS = (
    *("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"),
    # Both are loaded already in this process, which is what makes it fast.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning", "-W", "ignore::coverage.exceptions.CoverageWarning"),
)
MOST_MEMORY = 4 << 30
MOST_CPU = 60
MOST_SECONDS = 600
"""A loop that a mutation made endless ends at one of these, if not in pytest's own limit."""

TOO_SLOW = 0.02
"""Of the time that all tests take. Slower ones are spared, so that a mutation may survive that they would notice."""

BATCH = 30
"""Mutations that share one collection of the tests."""

for _name in ("aiohttp", "cattrs", "click", "httpx", "pluggy", "rich", "hypothesis.stateful"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)


@frozen
class Reach:
    """Which tests reach which line, and how long each takes."""

    tests: dict[str, float]
    lines: dict[tuple[str, int], frozenset[str]]

    def of(self, mutation: Mutation) -> frozenset[str]:
        """The tests that reach a mutation, all where importing the module does, without those that are too slow."""
        limit = TOO_SLOW * sum(self.tests.values())
        fast = frozenset(test for test, seconds in self.tests.items() if seconds <= limit)
        if not mutation.lines:
            return fast
        return fast & set[str]().union(*(self.lines.get((mutation.file, line), ()) for line in mutation.lines))


@define(eq=False)
class _Measured:
    """A pytest plugin: notes which test runs and how long each takes."""

    cov: coverage.Coverage
    failed: str | None = None
    seconds: dict[str, float] = field(factory=dict[str, float])

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # Else whoever comes later does not reach what somebody before has asked for.
        for cached in _caches():
            cached.cache_clear()
        self.cov.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed = report.nodeid


@cache
def _caches() -> list[Any]:
    """The functions of the package that remember what they returned."""
    gc.unfreeze()  # as below
    kind = type(_caches)
    return [one for one in gc.get_objects() if isinstance(one, kind) and one.__module__.startswith("pointsman.")]


def measure(tests: Sequence[str], files: Sequence[str], processes: int) -> Reach:
    """Runs the tests unchanged, which have to pass."""
    parts = [list(tests[start::processes]) for start in range(processes)]
    reach, failures = Reach({}, {}), list[str]()
    lines: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for _, measured, lost in _each(_measured, [(part, files) for part in parts], processes, MOST_SECONDS):
        failed, seconds, reached = measured or (lost, {}, {})
        if failed is not None:
            failures.append(failed)
        reach.tests.update(seconds)
        for place, names in reached.items():
            lines[place] |= names
    if failures:
        raise SystemExit(f"{failures[0]} fails without any mutation")
    reach.lines.update((place, frozenset(names)) for place, names in lines.items())
    return reach


def killers(mutants: Sequence[Mutation], reach: Reach, processes: int) -> Iterator[tuple[Mutation, str | None]]:
    """Each mutation with the test that notices it, or None."""
    batches: defaultdict[tuple[str, bool, int], list[Mutation]] = defaultdict(list)
    for number, mutant in enumerate(mutants):
        part = number // BATCH if mutant.lines else number
        batches[mutant.file, bool(mutant.lines), part].append(mutant)
    jobs = [(batch, reach) for batch in batches.values()]
    for (batch, _), results, _ in _each(_tried, jobs, processes, MOST_SECONDS * BATCH):
        if not results:
            raise SystemExit(f"the tests do not pass any more without a mutation of {batch[0].file}; did they change?")
        yield from results


def _measured(tests: list[str], files: Sequence[str]) -> tuple[str | None, dict[str, float], dict[Any, set[str]]]:
    paths = {str(PACKAGE / file): file for file in files}
    cov = coverage.Coverage(data_file=None, config_file=False, include=list(paths))
    cov.start()
    measured = _Measured(cov)
    code = _pytest(tests, measured, timeout=MOST_SECONDS)
    cov.stop()
    reached: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for path, file in paths.items():
        for line, names in cov.get_data().contexts_by_lineno(path).items():
            reached[file, line].update(name for name in names if name)
    return (measured.failed or (f"pytest ({code})" if code else None)), measured.seconds, dict(reached)


def _tried(batch: list[Mutation], reach: Reach) -> list[tuple[Mutation, str | None]]:
    """Mutations of one file, with what notices each: many of its functions, or one of what its import does."""
    first = batch[0]
    path = str(PACKAGE / first.file)
    if not first.lines:
        module = "pointsman." + first.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        sys.meta_path.insert(0, _Finder(module, path, compile(first.source, path, "exec")))
    trial = _Trial(batch, reach)
    _pytest(sorted({test.partition("::")[0] for test in reach.tests}), trial)
    if first.lines and len(trial.results) < len(batch):
        return []
    return trial.results or [(first, "the import")]


@define(eq=False)
class _Trial:
    """A pytest plugin: runs the tests that reach each mutation, in a fork, until one fails."""

    batch: list[Mutation]
    reach: Reach
    results: list[tuple[Mutation, str | None]] = field(factory=list[tuple[Mutation, "str | None"]])
    failed: str | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True  # the import fails, where that was mutated
        noticed: Counter[str] = Counter()
        items = {item.nodeid: item for item in session.items}
        for mutant in self.batch:
            # Those that noticed others of this file go first, then the fast ones.
            ordered = sorted(self.reach.of(mutant), key=lambda test: (-noticed[test], self.reach.tests[test]))
            job = mutant, [items[test] for test in ordered]
            ((_, answer, lost),) = _each(self.run, [job], 1, MOST_SECONDS)
            killer = answer[0] if answer else lost
            if mutant.lines and killer in items and killer not in noticed:
                # A test that fails now and then, or since somebody edits it, notices nothing.
                ((_, answer, lost),) = _each(self.run, [(None, [items[killer]])], 1, MOST_SECONDS)
                if lost or answer[0]:
                    raise pytest.UsageError(f"{killer} fails without any mutation")
            noticed[killer] += 1
            self.results.append((mutant, killer))
        return True

    def run(self, mutant: Mutation | None, items: list[pytest.Item]) -> tuple[str | None]:
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU, MOST_CPU))
        if mutant is not None and mutant.lines:
            _change_functions(mutant)
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                break
        return (self.failed,)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid


def _change_functions(mutant: Mutation) -> None:
    """Gives the functions of a module that is in use the code that the mutation has for them."""
    path = str(PACKAGE / mutant.file)
    changed = {code.co_qualname: code for code in _functions(compile(mutant.source, path, "exec"))}
    gc.unfreeze()  # the tests freeze what they have imported, and what is frozen is not listed
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename == path:
            one.__code__ = changed.get(one.__code__.co_qualname, one.__code__)


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Of a module: its functions and its classes' methods, not what is made inside of them."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if one.co_flags & CO_NEWLOCALS:
                yield one
            else:
                yield from _functions(one)


def _pytest(tests: list[str], plugin: object, timeout: int = 30) -> int:
    # The same examples every time, and no search for the smallest: any that fails will do.
    phases, slow = (Phase.explicit, Phase.generate), list(HealthCheck)
    settings.register_profile(
        "mutations", deadline=None, derandomize=True, database=None, phases=phases, suppress_health_check=slow
    )
    settings.load_profile("mutations")
    return int(pytest.main([*ARGUMENTS, f"--timeout={timeout}", *tests], plugins=[plugin]))


@frozen
class _Finder:
    """Gives one module other code than its file has."""

    module: str
    path: str
    code: CodeType

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        loader = _Loader(name, self.path)
        loader.code = self.code
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


# Processes


def _each(
    work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], processes: int, seconds: float
) -> Iterator[tuple[tuple[Any, ...], Any, str]]:
    """Each job with what `work` returns for it, as they end; with None and why where its process did not get there."""
    left, running = iter(jobs), dict[Connection, tuple[Any, tuple[Any, ...], float]]()
    fork = multiprocessing.get_context("fork")
    try:
        while True:
            while len(running) < processes and (job := next(left, None)) is not None:
                here, there = fork.Pipe(duplex=False)
                process = fork.Process(target=_child, args=(there, work, job))
                process.start()
                there.close()
                running[here] = process, job, time.monotonic() + seconds
            if not running:
                return
            ready = wait(list(running), timeout=1.0)
            for here, (process, job, ends) in list(running.items()):
                if here not in ready and time.monotonic() < ends:
                    continue
                answer, lost = None, "the time limit"
                if here in ready:
                    try:
                        answer, lost = here.recv(), ""
                    except EOFError:
                        lost = "the end of the process"
                process.kill()
                process.join()
                here.close()
                del running[here]
                yield job, answer, lost
    finally:
        for process, _, _ in running.values():
            process.kill()


def _child(there: Connection, work: Any, job: tuple[Any, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.chdir(ROOT)
    there.send(work(*job))
    there.close()
    os._exit(0)
