"""The demo as a person watches it: calls as they go, then who served what and why, then the metrics."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman.chat import Completion
from pointsman.cli.output import attempt_words
from pointsman.decision import Decision
from pointsman.delivery import SinkReport
from pointsman.errors import RouteError
from pointsman.events import Event

from .report import by_path, circuits
from .workload import Job

FATES = {
    "up": "the proxy stays up",
    "dies": "the proxy dies half-way",
    "502": "half-way its load balancer begins to say 502",
    "hangs": "half-way the proxy begins to hang",
}


class Show:
    """Writes to the terminal, or not at all where the output is to be JSON."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)

    def opening(self, share: float, fate: str) -> None:
        """What is about to be seen."""
        out = self._console
        out.print("[bold]A cleaning company's morning[/]: five leads, five e-mails, two plans.")
        out.print(f"[dim]{share:g} % of its users go through a LiteLLM proxy, the others to OpenRouter directly;[/]")
        out.print(f"[dim]{FATES[fate]}. The free tier allows six requests.[/]")
        out.print("[dim]Both are played by servers on this machine: no key, no network.[/]\n")

    def calling(self, number: int, total: int, job: Job) -> None:
        """A call begins: its line is left open."""
        self._console.print(f"[dim]{number:2}/{total}[/] {job.task:18}[dim]user {job.unit:<3}[/] ", end="")

    def called(self, job: Job, result: Completion | RouteError) -> None:
        """The call is over: its line is completed."""
        decision = result.decision
        if isinstance(result, RouteError) or decision is None or decision.served is None:
            self._console.print(f"[red]✗[/] {job.about}: {type(result).__name__}")
            return
        failed = [attempt for attempt in decision.attempts if attempt.failure]
        mark = "[yellow]↷[/]" if failed else "[green]✓[/]"
        self._console.print(f"{mark} {decision.served.model} [dim]via {decision.served.backend}[/]")
        for attempt in failed:
            self._console.print(f"{'':9}[dim]after {attempt_words(attempt)}[/]")

    def closing(
        self,
        work: Sequence[Job],
        results: Sequence[Completion | RouteError],
        events: Sequence[Event],
        reports: Sequence[SinkReport],
    ) -> None:
        """Who served what and why, the metrics, and what to try next."""
        out = self._console
        out.print()
        out.print(_served_table(work, results))
        out.print()
        out.print(_metrics_table(events))
        opened = [change for change in circuits(events) if change.after == "open"]
        if opened:
            out.print("\n[bold]What the breaker shut, so that nobody runs into it again[/]")
        for change in opened:
            out.print(f"{change.scope} {change.name} [dim]for {change.open_for or 0:.0f} s[/]")
        answered = sum(isinstance(result, Completion) for result in results)
        colour = "green" if answered == len(results) else "red"
        delivered = ", ".join(f"{report.delivered} of {report.emitted} events" for report in reports)
        out.print(f"\n[bold {colour}]{answered} of {len(results)} answered.[/] [dim]The sink got {delivered}.[/]")
        out.print(
            "\nTry next\n"
            "  pointsman demo --proxy dies   [dim]kill the proxy half-way: all are answered[/]\n"
            "  pointsman demo --share 0      [dim]the way back: nobody takes the proxy[/]\n"
            "  pointsman demo --json         [dim]every decision, as data[/]\n"
            "  pointsman ask --help          [dim]one request with your own keys[/]"
        )


def _served_table(work: Sequence[Job], results: Sequence[Completion | RouteError]) -> Table:
    table = Table(title="Who served what, and why", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("call", "path", "served by", "s"):
        table.add_column(name, header_style="dim", justify="right" if name == "s" else "left", no_wrap=name == "s")
    table.add_column("why", header_style="dim")
    for job, result in zip(work, results, strict=True):
        decision = result.decision
        if decision is None:
            continue
        served = str(decision.served.model) if decision.served else "nobody"
        backend = decision.served.backend if decision.served else ""
        table.add_row(
            Text(f"{job.task}\n") + Text(f"user {job.unit}", style="dim"),
            Text(f"{decision.path}\n") + Text(_bucket(decision), style="dim"),
            Text(f"{served}\n") + Text(backend, style="dim"),
            f"{decision.duration or 0:.2f}",
            Text(_why(decision), style="dim"),
        )
    return table


def _bucket(decision: Decision) -> str:
    assignment = decision.assignment
    return f"{assignment.bucket * 100:.1f} %" if assignment and assignment.bucket is not None else ""


def _why(decision: Decision) -> str:
    if decision.served is None:
        return decision.why
    failed = [f"after {attempt_words(attempt)}" for attempt in decision.attempts if attempt.failure]
    return "\n".join(failed) or decision.steps[0].why


def _metrics_table(events: Sequence[Event]) -> Table:
    table = Table(title="Metrics by path", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("path", header_style="dim")
    for name in ("requests", "answered", "fell back", "attempts", "median s", "tokens", "cost"):
        table.add_column(name, header_style="dim", justify="right")
    for report in by_path(events):
        table.add_row(
            report.path,
            str(report.requests),
            str(report.answered),
            str(report.fell_back),
            str(report.attempts),
            f"{report.median_seconds:.2f}",
            str(report.tokens),
            f"${report.cost:.6f}",
        )
    return table
