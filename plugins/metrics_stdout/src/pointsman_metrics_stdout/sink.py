"""The sink: which events are written, in which form, and where."""

import os
import sys
from typing import Literal, TextIO

from attrs import define, field

from pointsman.events import Event
from pointsman.hookspecs import MetricEmission, hookimpl

from .fields import EventName, json_line, name_of
from .text import text_line

EVERY_EVENT: tuple[EventName, ...] = (
    "request_started",
    "attempt_started",
    "attempt_finished",
    "request_finished",
    "circuit_changed",
    "config_changed",
    "config_rejected",
)
NEWS: tuple[EventName, ...] = (
    "attempt_finished",
    "request_finished",
    "circuit_changed",
    "config_changed",
    "config_rejected",
)


@define(eq=False, kw_only=True)
class MetricsStdout(MetricEmission):
    """Write one line per event to standard output.

    Every line leaves in one write and at once, so that lines of several threads and processes do not
    run into one another and a reader at the other end of a pipe need not wait.
    """

    format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text for people on a terminal, JSON everywhere else."""
    stream: Literal["stdout", "stderr"] = "stdout"
    events: tuple[EventName, ...] | None = None
    """Which events to write. None: all of them as JSON; as text not what merely starts."""

    _output: TextIO | None = field(default=None, init=False, repr=False)
    _as_text: bool = field(default=False, init=False, repr=False)
    _in_colour: bool = field(default=False, init=False, repr=False)

    @hookimpl
    def start_sink(self) -> None:
        # Events arrive later than they happen, in another thread. Were the stream looked up for each of
        # them, chance would decide which lines a temporarily redirected stdout swallows.
        output: TextIO | None = getattr(sys, self.stream)
        if output is None:
            raise RuntimeError(f"this process has no {self.stream}: set `stream`, or remove the plugin")
        on_terminal = output.isatty()
        self._output = output
        self._as_text = self.format == "text" or (self.format == "auto" and on_terminal)
        self._in_colour = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        if self._output is None:
            raise RuntimeError("start_sink has not been called")
        if name_of(event) not in self._written:
            return
        if self._as_text:
            line = text_line(event, colour=self._in_colour)
            # What the terminal cannot show must not cost the line.
            encoding = self._output.encoding or "utf-8"
            line = line.encode(encoding, "backslashreplace").decode(encoding)
        else:
            line = json_line(event)
        self._output.write(line + "\n")
        self._output.flush()

    @property
    def _written(self) -> tuple[EventName, ...]:
        if self.events is not None:
            return self.events
        return NEWS if self._as_text else EVERY_EVENT
