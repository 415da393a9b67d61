"""Takes a path out of a rollout when it does worse than the control path: at once, and until a person resumes it.

What counts is setbacks: requests that their first candidate did not answer, whether another one did or nobody. A
path is halted when the evidence that its rate of setbacks is above the control path's by more than `margin` is so
strong that a path which is not worse would show it with a probability of `false_alarms` at most
(`rollouts.sequential`). That holds although it is looked at after every request. So that an old good name does not
hide new trouble, trials begin anew all along: two are under way at any time, each over `window` requests of the path.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from math import log
from pathlib import Path
from time import monotonic, time

from attrs import define, field, validators

from ..chat import Request
from ..config import RolloutSettings
from ..context import DecisionContext
from ..decision import Assignment, Decision
from ..events import Event, RequestFinished, RolloutHalted, RolloutResumed
from ..hookspecs import MetricEmission, ModelSelection, hookimpl
from ..per_process import PerProcess
from ..rollouts.sequential import Counts, evidence
from ..targets import Target
from ..verdicts import Selection
from .halts import Halt, HaltFile, Way
from .rollout import assign, share_of

logger = logging.getLogger(__name__)

TRIALS = 2
"""Under way at any time; each begins when the one before it is half through."""

READ_AGAIN = 1.0
"""Seconds after which it is looked at whether another process has written to the file."""


class Trial:
    """Setbacks and requests of a path and of control, since it began."""

    def __init__(self) -> None:
        self.path = Counts(0, 0)
        self.control = Counts(0, 0)


class Watch:
    """The trials of one path under one setting of its rollout."""

    def __init__(self, rollout: RolloutSettings, window: int) -> None:
        self.rollout = rollout
        self._window = window
        self.trials = deque([Trial()], maxlen=TRIALS)

    def is_of(self, rollout: RolloutSettings) -> bool:
        """Whether requests are put on paths now as they were since it began."""
        was = self.rollout
        return (was.control, was.salt, was.shares) == (rollout.control, rollout.salt, rollout.shares)

    def count(self, *, on_path: bool, setback: bool) -> None:
        """One more request."""
        if on_path and self.trials[-1].path.total >= self._window / TRIALS:
            self.trials.append(Trial())
        for trial in self.trials:
            side = trial.path if on_path else trial.control
            counted = Counts(side.successes + (not setback), side.failures + setback)
            if on_path:
                trial.path = counted
            else:
                trial.control = counted

    def worse(self, margin: float, at_least: int, threshold: float) -> Trial | None:
        """The trial that shows the path to be worse, or None."""
        for trial in self.trials:
            enough = min(trial.path.total, trial.control.total) >= at_least
            if enough and evidence(trial.path, trial.control, margin) >= threshold:
                return trial
        return None


@define(eq=False)
class _InThisProcess:
    """What is watched here, and what is halted. `halts` is replaced, never changed, so that it can be read anywhere."""

    halts: Mapping[Way, Halt]
    rollouts: dict[str, RolloutSettings] = field(factory=dict[str, RolloutSettings])
    """By name, as the newest request found them."""
    watches: dict[Way, Watch] = field(factory=dict[Way, Watch])
    news: deque[RolloutHalted | RolloutResumed] = field(factory=deque[RolloutHalted | RolloutResumed])
    """What the next request tells the sinks."""
    unwritten: deque[Halt] = field(factory=deque[Halt])
    """What the others cannot know of, since it could not be written to the file yet."""
    lock: threading.Lock = field(factory=threading.Lock)
    read_at: float = 0.0


@define(eq=False, kw_only=True)
class Guard(ModelSelection, MetricEmission):
    """Sends everyone back to control when a path has more setbacks, until somebody resumes it."""

    margin: float = field(default=0.02, validator=[validators.ge(0.0), validators.lt(1.0)])
    """How much higher a path's rate of setbacks may be than the control path's: 0.02 is two in a hundred requests."""
    false_alarms: float = field(default=0.001, validator=[validators.gt(0.0), validators.lt(1.0)])
    """The probability, at most, that a path which is not worse is halted, for each `window` of its requests."""
    window: int = field(default=2000, validator=validators.ge(100))
    """Requests of the path that one trial takes in."""
    at_least: int = field(default=50, validator=validators.ge(20))
    """Requests of the path, and of control, before anything is done."""
    file: Path | None = None
    """Where halts are kept, so that other processes and the next start know of them; without it only this one does."""
    _known: Mapping[Way, Halt] = field(factory=dict[Way, Halt], init=False)
    """What was halted when it was last heard of: with this a forked child begins."""
    _file: HaltFile | None = field(default=None, init=False)
    _here: PerProcess[_InThisProcess] = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.file is not None:
            self._file = HaltFile(self.file)
            self._known = self._file.read()
        self._here = PerProcess(lambda: _InThisProcess(self._known))

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        here = self._here.here()
        named = ctx.snapshot.config.rollout_of(request.task)
        if named is None:
            return None
        name, rollout = named
        here.rollouts[name] = rollout
        if here.news and ctx.listener is not None:
            self._announce(here, ctx)
        if not here.halts:
            return None
        path, bucket, share, why = assign(request, rollout, ctx)
        halt = here.halts.get(Way(name, path))
        if halt is not None:
            return Selection(candidates, why=_halted(halt), assignment=Assignment(path=rollout.control))
        # Who is drawn would be drawn again by the rollout.
        return Selection(candidates, why=why, assignment=Assignment(path=path, bucket=bucket, share=share))

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        here = self._here.here()
        if self._file is not None and monotonic() >= here.read_at + READ_AGAIN:
            here.read_at = monotonic()
            self._read_again(here, self._file)
        if isinstance(event, RequestFinished):
            self._count(here, event.decision)

    def halted(self) -> tuple[Halt, ...]:
        """What is halted, as far as this process knows."""
        return tuple(self._here.here().halts.values())

    def resume(self, rollout: str | None = None) -> tuple[Halt, ...]:
        """Lets units onto halted paths again: of one rollout, or of all of them. Returns what was halted.

        Raises `OSError` where the file cannot be written.
        """
        here = self._here.here()
        if self._file is not None:
            self._read_again(here, self._file)
        gone = tuple(halt for halt in here.halts.values() if rollout in (None, halt.way.rollout))
        for halt in gone:
            if self._file is not None:
                self._file.remove(halt.way, time())
        ways = {halt.way for halt in gone}
        self._now_halted(here, {way: halt for way, halt in here.halts.items() if way not in ways})
        return gone

    def _count(self, here: _InThisProcess, decision: Decision) -> None:
        assignment, setback = decision.assignment, _is_setback(decision)
        if assignment is None or assignment.rollout is None or setback is None:
            return
        rollout = here.rollouts.get(assignment.rollout)
        # Assigned by chance, under the shares that hold now. Who was assigned otherwise has none.
        if rollout is None or assignment.share != share_of(assignment.path, rollout):
            return
        for path in rollout.shares if assignment.path == rollout.control else (assignment.path,):
            way = Way(assignment.rollout, path)
            watch = here.watches.get(way)
            if watch is None or not watch.is_of(rollout):
                watch = here.watches[way] = Watch(rollout, self.window)
            on_path = assignment.path == path
            watch.count(on_path=on_path, setback=setback)
            if on_path and setback and way not in here.halts:
                trial = watch.worse(self.margin, self.at_least, log(TRIALS / self.false_alarms))
                if trial is not None:
                    self._halt(here, way, rollout.control, trial)

    def _halt(self, here: _InThisProcess, way: Way, control: str, trial: Trial) -> None:
        why = (
            f"{trial.path.failures} of its {trial.path.total} requests met a setback, "
            f"against {trial.control.failures} of {trial.control.total} on {control}: "
            f"it is worse by more than {self.margin * 100:g} in a hundred"
        )
        halt = Halt(way=way, control=control, time=time(), why=why)
        self._now_halted(here, {**here.halts, way: halt})
        if self._file is not None:
            here.unwritten.append(halt)
            self._write(here, self._file)

    def _read_again(self, here: _InThisProcess, file: HaltFile) -> None:
        # In this order: a file that lacks what is halted here would resume it.
        self._write(here, file)
        if file.has_changed():
            self._now_halted(here, file.read())

    def _write(self, here: _InThisProcess, file: HaltFile) -> None:
        with here.lock:
            while here.unwritten:
                file.add(here.unwritten[0])
                here.unwritten.popleft()

    def _now_halted(self, here: _InThisProcess, halts: Mapping[Way, Halt]) -> None:
        """Puts it to use, and says what is new."""
        with here.lock:
            before, here.halts, self._known = here.halts, halts, halts
        for way, halt in halts.items():
            if way not in before:
                logger.warning("rollout %s: path %s is halted, its units take %s: %s", *way, halt.control, halt.why)
                here.news.append(
                    RolloutHalted(
                        time=halt.time, rollout=way.rollout, path=way.path, control=halt.control, why=halt.why
                    )
                )
        for way in before.keys() - halts.keys():
            here.watches.pop(way, None)
            logger.info("rollout %s: path %s is resumed", *way)
            here.news.append(RolloutResumed(time=time(), rollout=way.rollout, path=way.path))

    def _announce(self, here: _InThisProcess, ctx: DecisionContext) -> None:
        while True:
            try:
                event = here.news.popleft()
            except IndexError:  # another request has said it
                return
            ctx.emit(event)


def _is_setback(decision: Decision) -> bool | None:
    """Whether something went wrong; None where the request says nothing about a path."""
    if decision.outcome in ("cancelled", "abandoned"):
        return None
    last = decision.attempts[-1].failure if decision.attempts else None
    if last is not None and last.blames == "request":
        return None
    return decision.fell_back


def _halted(halt: Halt) -> str:
    return f"{halt.way.path} is halted: {halt.why}"
