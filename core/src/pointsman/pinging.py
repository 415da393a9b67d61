"""Whether backends are there and take their credentials, found out without asking a model."""

import asyncio
from collections.abc import Mapping

from .asking import is_ctrl_c, raised
from .complaints import printable
from .errors import AttemptFailed, Failure
from .hooks import Backend
from .loops import OpenBackends


async def ping(backends: Mapping[str, Backend], time_limit: float) -> dict[str, str | Failure]:
    """What each backend that can be pinged says of itself, or how that failed; all at once, in `time_limit` seconds."""
    opened = OpenBackends()
    pings = {name: asyncio.ensure_future(_ping(one, opened)) for name, one in backends.items() if one.ping}
    if not pings:
        return {}
    # Waited for, not awaited: a plugin that ignores its cancellation keeps nobody.
    await asyncio.wait(pings.values(), timeout=time_limit)
    late = Failure.of("timeout", f"no answer within {time_limit:g} s")
    results = {name: one.result() if one.done() else late for name, one in pings.items()}
    for one in pings.values():
        one.cancel()
    await opened.close(time_limit)
    return results


async def _ping(backend: Backend, opened: OpenBackends) -> str | Failure:
    assert backend.ping is not None  # noqa: S101 - its callers see to that
    try:
        await opened.open(backend)
        said = await backend.ping()
    except AttemptFailed as error:
        return error.failure
    except BaseException as error:
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)) or is_ctrl_c(error):
            raise
        return Failure.of_plugin(backend.name, "ping_backend", raised(error))
    if said is None or isinstance(said, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
        return printable(said or "answers")
    return Failure.of_plugin(backend.name, "ping_backend", f"returned {type(said).__name__}, not text")
