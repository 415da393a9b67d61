"""The router, in its two faces, and what keeps it alive.

`complete` is for programs without an event loop, `acomplete` for those with one; both run the same
coroutine. Any number of routers live in one process, and one may be used from any thread.
"""

import logging
import os
import weakref
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from time import time
from types import TracebackType
from typing import Any, Self

from .chat import JSON, Completion, Message
from .config import Config
from .config_file import ConfigFile
from .decision import Decision
from .delivery import SinkReport
from .engine import CarryOut, Engine
from .errors import ConfigError, RouterClosed, UsageError
from .events import ConfigChanged, ConfigRejected
from .flow import Flow
from .intake import Call
from .loading import from_config
from .loops import CLOSE_TIMEOUT, running_loop
from .plan import explain
from .recorder import Recorder
from .relaying import StreamDriver
from .rollouts.control import RolloutControl
from .snapshot import Snapshot
from .streams import AsyncStream, Open, Stream
from .verdicts import GateStatus

logger = logging.getLogger(__name__)


class Router:
    """Routes chat requests to models, as its configuration says.

    with Router.from_toml("pointsman.toml") as router:
        reply = router.complete("Write to the customer ...", task="email-draft", unit=42)
        print(reply.text, reply.decision.served)

    Building one checks the configuration whole and raises `ConfigError` with every problem. It opens no
    socket and starts no thread; the first request does. A router that nobody closes delivers its events when the
    program ends; a forked child that ends by `os._exit`, as those of `multiprocessing` do, has to close it itself.
    """

    def __init__(self, config: Config | Mapping[str, object] | Snapshot) -> None:
        self._engine = Engine(config if isinstance(config, Snapshot) else from_config(config))
        self._rollout = RolloutControl(self._engine)
        self._file: ConfigFile | None = None
        # At the latest when the program ends.
        self._finalizer = weakref.finalize(self, self._engine.close_at_exit, CLOSE_TIMEOUT)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], *, watch: bool = True) -> Self:
        """The router of a TOML file. Raises `ConfigError` with every problem, each with its line.

        From the first request on the file is watched: within a second of a change, new requests use what it says
        then, and requests in flight keep what they began with. A file with mistakes changes nothing: it is
        logged, and sinks get a `ConfigRejected`. Plugins whose settings stay the same keep their state.
        """
        file = ConfigFile(Path(path), watched=watch)
        router = cls(file.read())
        router._file = file
        return router

    def reload(self) -> None:
        """Reads the TOML file again, now. Raises `ConfigError`, and then nothing changes."""
        if self._file is None:
            raise UsageError("this router was not made from a file; build a new one")
        with self._file.lock.here():
            self._engine.use(self._file.read(self.snapshot))
        self._engine.tell(ConfigChanged(time=time(), file=str(self._file.path)))

    def reload_when_changed(self) -> None:
        """What the watch calls. Whatever is wrong is said once, and nothing changes."""
        file = str(self._file.path) if self._file else ""
        try:
            self.reload()
        except ConfigError as error:
            logger.error("the changed configuration is not used, the earlier one stays: %s", error)  # noqa: TRY400 - it is said in full
            self._engine.tell(ConfigRejected(time=time(), file=file, problems=tuple(map(str, error.problems))))
        except RouterClosed:
            return
        else:
            logger.info("%s has changed; new requests use it", file)

    @property
    def rollout(self) -> RolloutControl:
        """The rollouts, to look at and to change from code: `router.rollout.set({"proxied": 50})`."""
        return self._rollout

    @property
    def snapshot(self) -> Snapshot:
        """The configuration that new requests start with."""
        return self._engine.snapshot

    # The two faces

    def complete(
        self,
        messages: str | Iterable[Message],
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> Completion:
        """The whole answer to `messages`: a string, or OpenAI-style messages.

        `task` chooses the models (else `[router] default_task`), `unit` is who a rollout assigns, `model`
        forces a short name from `[models]`, `deadline` is seconds for everything, `labels` go to metrics,
        `extra_body` is laid over the body that a backend sends. Every other keyword is the provider's
        own: `temperature`, `tools`, `response_format`, `user`, ...

        Raises a `RouteError`: `BadRequest`, `NoTarget`, `AllTargetsFailed`, `DeadlineExceeded`,
        `ContextLength`, `ContentPolicy`, `PluginError`, each with the `decision`. Raises `UsageError`
        inside a running event loop: use `acomplete` there.
        """
        if running_loop() is not None:
            raise UsageError(
                "router.complete blocks, and was called from a running event loop; "
                "call `await router.acomplete(...)` there"
            )
        call = Call.of(
            self._engine.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
        )
        return self._engine.portal.run(lambda: self._serve(call, self._engine.driver.complete))

    async def acomplete(
        self,
        messages: str | Iterable[Message],
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> Completion:
        """`complete`, for programs with an event loop. Cancelling it cancels the request."""
        call = Call.of(
            self._engine.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
        )
        return await self._serve(call, self._engine.driver.complete)

    def stream(
        self,
        messages: str | Iterable[Message],
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> Stream:
        """The answer as it is written: `for chunk in router.stream(...)`. Takes what `complete` takes.

        Until the first content, a failure moves on to the next target unseen. After it nothing restarts: a stream
        that breaks raises `StreamInterrupted` with the partial answer.
        """
        if running_loop() is not None:
            raise UsageError(
                "router.stream blocks, and was called from a running event loop; "
                "use `async for chunk in router.astream(...)` there"
            )
        call = Call.of(
            self._engine.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
            stream=True,
        )
        return Stream(self._opening(call), self._engine.portal)

    def astream(
        self,
        messages: str | Iterable[Message],
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> AsyncStream:
        """`stream`, for programs with an event loop: `async for chunk in router.astream(...)`."""
        call = Call.of(
            self._engine.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
            stream=True,
        )
        return AsyncStream(self._opening(call))

    def _opening(self, call: Call) -> Open:
        async def open_request(flow: Flow) -> Completion:
            self._engine.check_open("the router was closed before this stream was read")
            # The clock starts here, when the first chunk is asked for.
            return await self._serve(call, StreamDriver(self._engine.driver.loops, flow).complete)

        return open_request

    def explain(
        self,
        messages: str | Iterable[Message] = "?",
        *,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> Decision:
        """The decision for a request, step by step, without calling anyone or asking the gate.

        Takes what `complete` takes, and raises what selection raises: `BadRequest`, `NoTarget`, `PluginError`.
        """
        call = Call.of(
            self._engine.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
        )
        return explain(Recorder.of(call.request, call.snapshot))

    def _serve(self, call: Call, carry_out: CarryOut) -> Coroutine[Any, Any, Completion]:
        if self._file is not None:
            self._file.watch(self)
        return self._engine.serve(call, carry_out)

    def health(self) -> tuple[GateStatus, ...]:
        """What each gate holds of targets, backends and quotas: which are shut, since when, why, for how long."""
        return self._engine.health()

    # Lifecycle

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Whether every sink had every event so far within `timeout` seconds."""
        return self._engine.flush(timeout)

    def sink_reports(self) -> tuple[SinkReport, ...]:
        """For each sink, how many events it was sent and what became of them."""
        return self._engine.reports()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> tuple[SinkReport, ...]:
        """Ends what is in flight with `RouterClosed`, closes backends and sinks, and says what was lost.

        Takes `timeout` seconds at most, of which half is kept for sinks to deliver what waits, flush and close.
        Calling it again does nothing more. Inside a running event loop use `aclose`. In a child process that ends
        by `os._exit`, as `multiprocessing`'s do, call it: what waits for sinks there is lost otherwise.
        """
        if running_loop() is not None:
            raise UsageError("router.close blocks, and was called from a running event loop; `await router.aclose()`")
        self._stop_watching()
        return self._engine.close(timeout)

    async def aclose(self, timeout: float = CLOSE_TIMEOUT) -> tuple[SinkReport, ...]:  # noqa: ASYNC109 - as `close`
        """`close`, for programs with an event loop."""
        self._stop_watching()
        return await self._engine.aclose(timeout)

    def _stop_watching(self) -> None:
        if self._file is not None:
            self._file.stop()
        self._finalizer.detach()

    def __enter__(self) -> Self:
        if running_loop() is not None:
            # Here, where nothing is open yet, and not at the end, where it would hide what the block raised.
            raise UsageError("`with` closes the router, which blocks a running event loop; write `async with` there")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
