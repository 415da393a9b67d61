"""The table of faults: what is promised for each, and the tests that hold it; and what holds whatever happens.

`row` says which rows a test holds, `proves` which properties. `python -m tests.faults.table` writes docs/faults.md
from that.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"

NEXT = "**next**, counts"
CUT = "before the first content **next**, after it **raise** `StreamInterrupted` with the partial answer; counts"

ROWS: dict[int, tuple[str, str]] = {
    1: ("Connection refused", f'{NEXT}, marked "not sent"'),
    2: ("Name does not resolve", NEXT),
    3: ("Black hole: nobody answers the SYN", f"{NEXT}, within the connect limit"),
    4: ("TLS: untrusted, wrong host, expired", f"{NEXT}, never retried unverified"),
    5: ("TLS handshake hangs", f"{NEXT}, within the connect limit"),
    6: ("FIN or RST before the headers", f'{NEXT}, marked "possibly billed"'),
    7: ("No headers ever", f"{NEXT}, at the attempt's limit"),
    8: ("Headers dripping one byte at a time", f"{NEXT}, at the attempt's limit: bytes are not progress"),
    9: ("Body dripping one byte at a time", f"{NEXT}, at the attempt's limit: bytes are not progress"),
    10: ("Body stalls in the middle", f"at the idle limit; {CUT}"),
    11: ("RST or FIN in the middle", CUT),
    12: ("Content-Length longer than the body; truncated chunked body", CUT),
    13: ("Close-delimited body cut short", f"{CUT}; never a success"),
    14: ("Stream ends without `finish_reason`, with or without `[DONE]`", f"{CUT}; never a success"),
    15: ("Garbage status line, NUL in a header", NEXT),
    16: ("Compressed answer: corrupt, truncated, bomb", f"`bad_response`, {NEXT}, memory bounded"),
    17: ("Endless body", f"cut off at `max_body` (32 MiB unpacked), {NEXT}"),
    18: ("Garbage, HTML, empty body, 204, wrong content type", f"`bad_response`, {NEXT}"),
    19: ('200 with `{"error": ...}` in the body', "as the inner code says"),
    20: ('`error` event, `finish_reason: "error"`', CUT),
    21: ("First event valid but empty, then an error", "**next**, nothing shown"),
    22: (
        "200 with no content and no tool call: `stop` / `length` / `content_filter`",
        f"`bad_response`, {NEXT} / an answer / **raise**, neutral",
    ),
    23: ("Keep-alive comments only, for ever", f"{NEXT}, at the first-token limit"),
    24: ("SSE with CRLF, CR, several data lines, comments, fields and UTF-8 split over packets", "byte-exact"),
    25: ("One event of 25 MB", f"cut off at `max_event`; {CUT}"),
    26: (
        "429 with Retry-After in seconds or as a date",
        "**next**, opens; waits only when nothing is left and it fits the deadline",
    ),
    27: ("500, 502, 503, 504, 529, 408", NEXT),
    28: (
        "401, 402, 403, 404: key, budget, moderation, model, the request's constraints",
        "**next**, opens; or **raise**, neutral, where the request is at fault",
    ),
    29: (
        "400, 422 of the backend / relayed from a provider / unknown model",
        "**raise**, neutral / **next**, neutral / **next**, opens",
    ),
    30: ("Context length exceeded", "**next** only to a larger context, else **raise**; neutral"),
    31: ("Moderation, content policy", "**raise**, neutral"),
    32: ("Server never reads the upload", f"{NEXT}, at the attempt's limit"),
    33: ("Redirect to another host", f"not followed: `bad_response`, {NEXT}; neither key nor prompt leaves"),
    34: ("`HTTP_PROXY` and friends in the environment", "ignored"),
    35: (
        "Reused connection lost before the first byte",
        'neutral, marked "possibly billed"; **next**, or dialled again where nothing else is left',
    ),
    36: ("Caller cancels, at every await", "`CancelledError` reaches the caller, all released, breaker unmoved"),
    37: ("Caller abandons a stream", "upstream sees the close within a second"),
    38: ("Fork with a live router", "the child works, the parent works"),
    39: ("Five `asyncio.run` in a row with one router", "works"),
    40: (
        "A sink raises, blocks for 10 s, mutates, calls `sys.exit`",
        "answer identical and not slower, other sinks complete",
    ),
    41: (
        "A plugin raises or returns the wrong type",
        "`PluginError` that names it; a backend's moves on to another backend; no provider is blamed",
    ),
    42: (
        "Configuration file replaced by a broken one while running",
        "the old one stays, one event, one log line",
    ),
    43: ("Every breaker open", "one probe, then fail at once with `retry_after` and no attempts"),
    44: ("A thousand routers created and closed", "descriptors, tasks and threads flat"),
    45: ("Clock set back by an hour", "nothing changes"),
}
"""By number: the fault and the promise."""

PROPERTIES: dict[int, str] = {
    1: "Exactly one terminal outcome for each request; one record for each attempt, and one for the request",
    2: "Requests that the server counted = attempts recorded <= the budget of attempts",
    3: "The answer or the error comes by the deadline and 50 ms",
    4: "Retries <= 10 + 0.1 x answers, for each target and process",
    5: (
        "A half-open circuit has at most one live probe; the lease of a lost probe ends; a circuit never wedges; late "
        "results of an earlier generation are ignored; neutral outcomes never move it"
    ),
    6: (
        "Raising a share moves units only from control to that path, lowering it only back; 0 and 100 are exact; the "
        "observed share of 100,000 units is within three sigma; two salts are independent"
    ),
    7: "What a stream shows is what one target sent, or a prefix of it and then one error",
    8: "Whatever a sink does, the answer is identical; emitted = delivered + dropped",
    9: "A canary key and a canary prompt are in no log, repr, chain of exceptions, event, traceback or pickle",
    10: "Each request sees one snapshot of the configuration",
    11: "Both faces give identical decisions for the same script",
    12: "Any configuration that loads ends within the budgets, cycles included",
    13: "A decision replays from its record and seed, byte for byte",
    14: "The caller's own objects are never changed",
}
"""By number: what holds for every configuration, script and crowd that chance comes up with."""

INTRODUCTION = """\
# Faults

What goes wrong between a program and a model, what is promised for it, and the tests that hold the promise. What
servers and networks do is done to real sockets, in both faces. Each test asserts the outcome, how many requests the
server saw, that there is one record for each attempt and one for the request, that no task, thread, connection or
descriptor is left, and that neither key nor prompt is in any text.

**next**: the next target answers, and the caller sees nothing of it. **raise**: the caller gets a typed error. For the
breaker of the target, a failure *counts* as one strike, *opens* it at once, or is *neutral*.

This page is written by `python -m tests.faults.table`.
"""

MORE = """
## Properties

What holds whatever happens: for configurations, scripts, crowds and cancellations that hypothesis draws. Most are held
on a virtual clock, by the simulator that `pointsman.testing` offers to everyone.
"""

Test = TypeVar("Test", bound=Callable[..., object])


def row(*_numbers: int) -> Callable[[Test], Test]:
    """Says that a test holds what these rows promise. It is read where it stands, in the source."""
    return lambda test: test


def proves(*_numbers: int) -> Callable[[Test], Test]:
    """Says that a test, or a machine of rules, holds these properties. As `row`, it is read in the source."""
    return lambda test: test


@frozen
class Holding:
    """A test that holds rows or properties."""

    file: str
    name: str
    rows: tuple[int, ...]
    properties: tuple[int, ...]
    skipped: str | None
    """Why it cannot be run yet."""

    def __str__(self) -> str:
        test = f"[`{self.name}`](../{self.file})"
        return f"not yet: {self.skipped}" if self.skipped else test


@cache
def holdings() -> tuple[Holding, ...]:
    """Every test with a `row` or a property, by file and place."""
    return tuple(one for file in sorted((ROOT / "tests").rglob("*.py")) for one in _in_file(file))


def _in_file(file: Path) -> Iterator[Holding]:
    source = file.read_text("utf-8")
    if "@row(" not in source and "@proves(" not in source:
        return
    for test in ast.parse(source).body:
        if not isinstance(test, ast.FunctionDef | ast.ClassDef):
            continue
        calls = {ast.unparse(one.func): one for one in test.decorator_list if isinstance(one, ast.Call)}
        if "row" in calls or "proves" in calls:
            skip = calls.get("pytest.mark.skip")
            yield Holding(
                file.relative_to(ROOT).as_posix(),
                test.name,
                _numbers(calls.get("row")),
                _numbers(calls.get("proves")),
                ast.literal_eval(skip.keywords[0].value) if skip else None,
            )


def _numbers(call: ast.Call | None) -> tuple[int, ...]:
    return tuple(ast.literal_eval(number) for number in call.args) if call else ()


def page() -> str:
    """docs/faults.md as it should be."""
    lines = [INTRODUCTION, "| # | fault | promise | tests |", "|---|---|---|---|"]
    holding = holdings()
    for number, (fault, promise) in ROWS.items():
        tests = "<br>".join(str(one) for one in holding if number in one.rows)
        lines.append(f"| {number} | {fault} | {promise} | {tests} |")
    lines += [MORE, "| # | property | tests |", "|---|---|---|"]
    for number, promise in PROPERTIES.items():
        tests = "<br>".join(str(one) for one in holding if number in one.properties)
        lines.append(f"| {number} | {promise} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
