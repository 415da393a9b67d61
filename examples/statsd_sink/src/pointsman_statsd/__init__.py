"""Tells statsd how long LLM calls take and how they end."""

import re
import socket
from typing import Any

from attrs import define, field

from pointsman import AttemptFinished, CircuitChanged, Event, MetricEmission, RequestFinished, hookimpl


@define(eq=False, kw_only=True)
class Statsd(MetricEmission):
    """One UDP datagram for each attempt, request and circuit that moved."""

    host: str = "127.0.0.1"
    port: int = 8125
    prefix: str = "llm"

    _socket: socket.socket = field(init=False, repr=False)
    _address: Any = field(init=False, repr=False)

    @hookimpl
    def start_sink(self) -> None:
        family, *_, self._address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        match event:
            case AttemptFinished(target=target, outcome=outcome, duration=seconds):
                self._send("attempt", target.backend, target.model, outcome, value=f"{seconds * 1000:.0f}|ms")
            case RequestFinished(task=task, outcome=outcome, duration=seconds):
                self._send("request", task, outcome, value=f"{seconds * 1000:.0f}|ms")
            case CircuitChanged(scope=scope, name=name, after=state):
                # Counted, because every process has circuits of its own and a gauge would be whoever spoke last.
                self._send("circuit", scope, name, state, value="1|c")
            case _:
                pass

    @hookimpl
    def close_sink(self) -> None:
        self._socket.close()

    def _send(self, *words: str, value: str) -> None:
        # Dots part the words of a metric, and a model's name has dots of its own.
        name = ".".join(re.sub(r"[^\w-]", "_", word) for word in (self.prefix, *words))
        self._socket.sendto(f"{name}:{value}".encode(), self._address)
