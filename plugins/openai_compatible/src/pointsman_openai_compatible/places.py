"""Where connections belong, and who uses them there."""

import asyncio
import os
from typing import TypeAlias

from attrs import define

from .way import Way

Place: TypeAlias = tuple[int, asyncio.AbstractEventLoop]
"""Where connections belong: a process, and an event loop in it."""


def here() -> Place:
    """The process and the event loop that run this."""
    return os.getpid(), asyncio.get_running_loop()


@define(eq=False)
class Opened:
    """A way, and how many routers of its loop have started it and not closed it."""

    way: Way
    starts: int = 0
