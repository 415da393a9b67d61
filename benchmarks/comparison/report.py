"""What was measured, as a table, a chart and JSON."""

import json
import os
import platform
import statistics
from html import escape
from operator import itemgetter
from pathlib import Path

import figures
import running
import traffic
from contestants import CONTESTANTS
from figures import Figure
from measuring import SCENARIOS, Measurement

TITLES = {one.name: one.title for one in CONTESTANTS}
HOLDS = {True: "yes", False: "**no**", None: "not measured"}
OTHER = {
    "start": ("process start to first answer", ["ms", "CPU ms"]),
    "memory": (
        "memory after {many:,} requests (64 in flight; blocking clients one at a time)",
        ["MiB kept", "MiB at most"],
    ),
    "held": ("memory with {many:,} requests in flight", ["MiB grown", "MiB in all"]),
}


def table(found: list[Figure]) -> str:
    """The figures."""
    lines = ["| figure | wanted | measured | by CPU time | holds |", "|---|---|---|---|---|"]
    lines += [f"| {one.title} | {one.wanted} | {one.measured} | {one.by_cpu} | {HOLDS[one.holds]} |" for one in found]
    return "\n".join(lines)


def details(run: Measurement) -> str:
    """A table for each scenario."""
    parts: list[str] = []
    for name in (*SCENARIOS, *OTHER):
        if name not in run.samples:
            continue
        if name in SCENARIOS:
            what = "chunk" if SCENARIOS[name].kind == "stream" else "request"
            title, heads = SCENARIOS[name].title, [f"{what}s/s", f"CPU us a {what}", "spread of the rounds"]
        else:
            title, heads = OTHER[name]
        rows = [[TITLES[one], *figures.columns(run.samples, name, one)] for one in TITLES if one in run.samples[name]]
        lines = [f"### {title[0].upper()}{title[1:]}".format(many=run.effort.many), ""]
        lines += [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        parts.append("\n".join(lines))
    if imported := run.samples["import"]:
        lines = ["### Imports, over importing pluggy, attrs, cattrs and asyncio", "", "| | ms |", "|---|--:|"]
        for statement in imported:
            took = figures.median(run.samples, "import", statement, itemgetter("wall"))
            lines.append(f"| `{statement}` | {'' if took is None else f'{took * figures.MILLI:.2f}'} |")
        parts.append("\n".join(lines))
    if told := next(iter(figures.good(run.samples, "core", "pointsman")), None):
        lines = ["### Core alone", "", "| | CPU us a request | pluggy calls |", "|---|--:|--:|"]
        lines += [
            f"| {name} | {statistics.median(took) * 1e6:.1f} | {figures.in_each(took, told['pluggy']):.1f} |"
            for name, took in told["requests"].items()
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def missing(run: Measurement) -> str:
    """Who could not take part, and why; and how much else is missing."""
    lines = [f"- {TITLES[name]} took no part: {why}" for name, why in run.failed.items()]
    if run.errors:
        lines.append(f"- {run.errors} samples could not be taken and are left out")
    return "\n".join(lines)


def about(run: Measurement, command: str) -> str:
    """Where and with what it was measured."""
    lines = [
        f"`{command}`: {run.effort.rounds} rounds of {run.effort.seconds} s, medians; ratios are taken round by round.",
        f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores; {running.CORES_SAID};",
        f"the server is {run.server}.",
        "",
        *(
            f"- {TITLES[name]}: {', '.join(f'{package} {number}' for package, number in versions.items())}"
            for name, versions in run.versions.items()
            if versions
        ),
    ]
    return "\n".join(lines)


def write(run: Measurement, found: list[Figure], command: str, folder: Path) -> None:
    """`comparison.md`, `comparison.svg` and `comparison.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Comparison", about(run, command), table(found), "![The same in bars](comparison.svg)", missing(run)]
    text = "\n\n".join(part for part in (*parts, details(run)) if part)
    (folder / "comparison.md").write_text(text + "\n")
    (folder / "comparison.svg").write_text(chart(run))
    measured = {"command": command, "versions": run.versions, "failed": run.failed, "samples": run.samples}
    (folder / "comparison.json").write_text(json.dumps(measured, indent=1) + "\n")


def chart(run: Measurement) -> str:
    """Bars: requests a second with 64 in flight, and CPU for a streamed chunk."""
    panels = [
        ("Whole answers, 64 in flight: requests a second", "whole-64", figures.rate),
        ("Streamed chunk: CPU microseconds", "stream", lambda one: figures.cpu(one) * 1e6 / traffic.CHUNKS),
    ]
    y, parts = 0, []
    for title, scenario, read in panels:
        values = {name: figures.median(run.samples, scenario, name, read) for name in TITLES}
        bars = sorted(((value, name) for name, value in values.items() if value is not None), reverse=True)
        parts.append(f'<text x="10" y="{y + 24}" font-weight="bold">{title}</text>')
        y += 36
        for value, name in bars:
            width = max(value / bars[0][0] * 440, 1)
            colour = "#2a6f97" if name.startswith("pointsman") else "#b8c4cc"
            parts.append(f'<text x="270" y="{y + 14}" text-anchor="end">{escape(TITLES[name])}</text>')
            parts.append(f'<rect x="280" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>')
            parts.append(f'<text x="{286 + width:.1f}" y="{y + 14}">{value:,.{0 if value >= 100 else 1}f}</text>')
            y += 24
        y += 16
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{y}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])
