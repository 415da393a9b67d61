"""Where the work for one request is: the interpreter's instructions in each function, counted.

    python benchmarks/instructions.py [--most 25] [--fallback]

A rollout, the breaker, the budget of retries and one listener are on; a plan is carried out whose attempt is answered
at once, without an event loop; with --fallback, what a failed attempt before it and the way to the next target add.
The counts are the same at every run of one Python.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from router_overhead import ANSWER, CONFIG

from pointsman.chat import Completion
from pointsman.errors import Failure
from pointsman.intake import Call
from pointsman.loading import from_config
from pointsman.plan import Failed, plan
from pointsman.recorder import Recorder


def count(*outcomes: Failed | Completion) -> Counter[str]:
    """Instructions by function for a request whose attempts come to this."""
    snapshot = from_config(CONFIG)
    counts: Counter[str] = Counter()

    def work() -> None:
        call = Call.of(snapshot, "hello", task="chat", unit=42)
        steps = plan(Recorder.of(call.request, snapshot, lambda _: None), call.time_allowed)
        next(steps)
        try:
            for outcome in outcomes:
                steps.send(outcome)
        except StopIteration:
            return

    def trace(frame: FrameType, event: str, _: object):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            code = frame.f_code
            counts[f"{Path(code.co_filename).name} {code.co_qualname}"] += 1
        return trace

    work()  # what is kept for later requests is made by the first
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=25, help="functions to name")
    parser.add_argument("--fallback", action="store_true", help="what a fallback adds, in place of a request")
    given = parser.parse_args()
    counts = count(ANSWER)
    if given.fallback:
        failure = Failure.of("server", "the server failed", status=503)
        counts = count(Failed(failure), ANSWER) - counts
    print(f"{sum(counts.values()):6}  in all")
    for name, number in counts.most_common(given.most):
        print(f"{number:6}  {name}")


if __name__ == "__main__":
    main()
