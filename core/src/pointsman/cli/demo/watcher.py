"""The demo's own sink: keeps every event, to show them at the end."""

from attrs import define, field

from pointsman.events import Event
from pointsman.hookspecs import MetricEmission, hookimpl


@define(eq=False)
class Watcher(MetricEmission):
    """Keeps what it is told."""

    events: list[Event] = field(factory=list[Event], init=False)

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        self.events.append(event)
