"""`pointsman check`: whether everything is in place, and what to do where it is not."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, cast

import click
from attrs import fields, frozen, has

from pointsman.complaints import dotted
from pointsman.errors import ConfigError, Failure, Kind, Problem
from pointsman.hooks import ORDERED
from pointsman.loading import from_toml
from pointsman.pinging import ping
from pointsman.settings import Secret
from pointsman.snapshot import Snapshot

from .columns import line, table
from .output import FAILED, WRONG_USE, print_json

Result: TypeAlias = Literal["ok", "failed", "unknown"]

PATIENCE = 10.0
"""Seconds for all pings together."""

_REMEDIES: Mapping[Kind, str] = {
    "connect": "start it, or correct its address",
    "timeout": "see whether it is up and its address right",
    "auth": "put the right key into its place",
    "payment": "top up the account, or raise the key's budget",
    "rate_limit": "wait, and ask again",
    "not_found": "correct the address; it ends with the API's version, such as /v1",
    "bad_response": "correct the address: what answers there speaks another language",
    "server": "look into its own log",
    "plugin": "tell the plugin's author",
}
_MARKS: Mapping[Result, tuple[str, str | None]] = {
    "ok": ("ok", "green"),
    "failed": ("FAILED", "red"),
    "unknown": ("-", None),
}


@frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    result: Result
    message: str
    remedy: str | None = None
    problem: Problem | None = None
    """Where it stands in the configuration."""


def run(config: str, *, ping: bool, as_json: bool) -> None:
    """Prints every finding, and ends the command with their exit status."""
    try:
        findings = list(_findings(Path(config), ping=ping))
    except ConfigError as error:
        if not as_json:
            raise
        findings = [_wrong("configuration", problem) for problem in error.problems]
    failed = [one for one in findings if one.result == "failed"]
    if as_json:
        print_json({"ok": not failed, "findings": findings})
    else:
        _show(findings, pinged=ping)
    if failed:
        raise SystemExit(FAILED if all(one.about == "backend" for one in failed) else WRONG_USE)


def _findings(path: Path, *, ping: bool) -> Iterator[Finding]:
    snapshot = from_toml(path, read_secrets=False)
    config = snapshot.config
    counts = {name: len(getattr(config, f"{name}s")) for name in ("model", "task", "path")}
    said = ", ".join(f"{count} {name}{'s'[: count != 1]}" for name, count in counts.items() if count or name != "path")
    if snapshot.hooks.backends:
        yield Finding(about="configuration", result="ok", message=f"{path}: {said}")
    else:
        remedy = "name a backend in a table [plugins.NAME]; `pointsman plugins` lists those installed"
        yield Finding(about="configuration", result="failed", message=f"{path}: {said}, no backend", remedy=remedy)
    for plugin in snapshot.plugins:
        if not plugin.built_in:
            yield Finding(about="plugin", result="ok", message=f"{plugin.name} ({plugin.distribution})")
    for hook in ORDERED:
        order = ", ".join(step.plugin for step in getattr(snapshot.hooks, hook))
        yield Finding(about="hook", result="ok", message=f"{hook}: {order or 'nobody'}")
    try:
        complete = from_toml(path)
    except ConfigError as error:
        yield from _keys(snapshot, error.problems)
        yield Finding(about="backend", result="unknown", message="not asked, for a key is missing")
        return
    yield from _keys(snapshot, ())
    if ping:
        yield from _pings(complete)
    else:
        yield Finding(about="backend", result="unknown", message="not asked; --ping asks each one, at no cost")


def _wrong(about: str, problem: Problem) -> Finding:
    message, _, remedy = problem.message.partition("; ")
    return Finding(about=about, result="failed", message=message, remedy=remedy or None, problem=problem)


def _keys(snapshot: Snapshot, problems: tuple[Problem, ...]) -> Iterator[Finding]:
    """Each secret: where it is, or why it is not there."""
    wrong = {problem.key: problem for problem in problems}
    for plugin in snapshot.plugins:
        for key, secret in _secrets(plugin.instance, ("plugins", plugin.name)):
            if problem := wrong.pop(key, None):
                yield _wrong("key", problem)
            else:
                yield Finding(about="key", result="ok", message=f"{key} from {secret.origin}")
    # What a plugin says of keys only once it has read them.
    yield from (_wrong("key", problem) for problem in wrong.values())


def _secrets(value: object, place: tuple[str, ...]) -> Iterator[tuple[str, Secret]]:
    if isinstance(value, Secret):
        yield dotted(place), value
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, object]", value).items():
            yield from _secrets(inner, (*place, str(name)))
    elif has(type(value)):
        for one in fields(type(value)):
            if one.init:
                yield from _secrets(getattr(value, one.name), (*place, one.name))


def _pings(snapshot: Snapshot) -> Iterator[Finding]:
    answers = asyncio.run(ping(snapshot.hooks.backends, PATIENCE))
    for name in snapshot.hooks.backends:
        answer = answers.get(name)
        if answer is None:
            yield Finding(about="backend", result="unknown", message=f"{name}: its plugin cannot ask it")
        elif isinstance(answer, Failure):
            # What is the plugin's own fault begins with its name already.
            message = str(answer) if answer.kind == "plugin" else f"{name}: {answer}"
            yield Finding(about="backend", result="failed", message=message, remedy=_REMEDIES.get(answer.kind))
        else:
            yield Finding(about="backend", result="ok", message=f"{name}: {answer}")


def _show(findings: list[Finding], *, pinged: bool) -> None:
    rows: list[tuple[str, str, str]] = []
    last = ""
    for one in findings:
        mark, colour = _MARKS[one.result]
        place = f"{one.problem.key}: " if one.problem else ""
        rows.append((one.about if one.about != last else "", click.style(mark, fg=colour), place + one.message))
        last = one.about
        if one.remedy:
            where = f" ({one.problem.file}:{one.problem.line})" if one.problem and one.problem.line else ""
            rows.append(("", "", f"fix: {one.remedy}{where}"))
    table(rows)
    failed = sum(one.result == "failed" for one in findings)
    click.echo()
    click.secho(f"{failed} failed" if failed else "All is well.", fg="red" if failed else "green")
    if pinged and not failed:
        line("What the breaker has shut, router.health() says in the running program.", dim=True)
