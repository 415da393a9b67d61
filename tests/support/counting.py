"""How much work something is, counted in instructions of the interpreter: no clock, no noise."""

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

only_here = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the same code is another number of instructions in another Python"
)


def instructions(work: Callable[[], Any]) -> int:
    """How many the interpreter carries out for it, in Python code."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    # What other tests have left is not to be finalised meanwhile, at this one's expense.
    gc.collect()
    gc.disable()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count
