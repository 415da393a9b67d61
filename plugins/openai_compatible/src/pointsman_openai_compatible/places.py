"""Where connections belong, and who uses them there."""

import asyncio
from typing import TypeAlias

from attrs import define

from pointsman.per_process import process_id

from .way import Way

Place: TypeAlias = tuple[int, asyncio.AbstractEventLoop]
"""Where connections belong: a process, and an event loop in it."""


def here() -> Place:
    """The process and the event loop that run this."""
    return process_id(), asyncio.get_running_loop()


@define(eq=False)
class Opened:
    """A way, and how many routers of its loop have started it and not closed it."""

    way: Way
    starts: int = 0
