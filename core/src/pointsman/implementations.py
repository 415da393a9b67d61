"""What is wrong with a plugin's hook implementations, said in its author's terms.

pluggy refuses some of this with the names of its own inner workings, and accepts the rest in silence.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import cast

from pluggy import HookimplOpts

from .complaints import suggest
from .hooks import CALLING, spec_names
from .hookspecs import PROJECT

PRINCIPAL = {
    "stream": "complete",
    "start_backend": "complete",
    "ping_backend": "complete",
    "close_backend": "complete",
    "settle": "admit",
    "report_gate": "admit",
    "start_sink": "emit_metric",
    "flush_sink": "emit_metric",
    "close_sink": "emit_metric",
    "recorded_requests": "emit_metric",
}
"""Hooks that are called only for plugins that implement another one."""


def hook_faults(plugin: object) -> list[str]:
    """Everything that would keep a hook from being called as its author expects."""
    cls = type(plugin)
    faults: list[str] = []
    if cls.__eq__ is not object.__eq__:
        faults.append("it compares by value, so two alike would be taken for one; decorate it with @define(eq=False)")
    implemented: set[str] = set()
    for attribute in dir(cls):
        if attribute.startswith("__"):
            continue
        method = inspect.getattr_static(cls, attribute)
        options = getattr(method, f"{PROJECT}_impl", None)
        if isinstance(options, dict):
            options = cast("HookimplOpts", options)
            hook = options["specname"] or attribute
            implemented.add(hook)
            is_wrapper = options["wrapper"] or options["hookwrapper"]
            faults += _faults(hook, getattr(plugin, attribute), is_wrapper=is_wrapper)
        elif attribute in CALLING and inspect.isroutine(method) and not hasattr(method, f"{PROJECT}_spec"):
            faults.append(f"{attribute} overrides a hook without @hookimpl, so it would never be called; decorate it")
    # What is missing may be what is wrong, so it is looked for where nothing is.
    return faults or list(_missing(implemented))


def _missing(implemented: set[str]) -> Iterator[str]:
    if not implemented:
        yield "it implements no hook; decorate at least one method with @hookimpl"
    for hook in sorted(implemented & PRINCIPAL.keys()):
        if PRINCIPAL[hook] not in implemented:
            yield f"{hook} would never be called, for it goes with {PRINCIPAL[hook]}; implement that too"


def _faults(hook: str, method: Callable[..., object], *, is_wrapper: bool) -> Iterator[str]:
    if hook not in CALLING:
        yield f"@hookimpl {hook} is no hook; {suggest(hook, CALLING)}"
    elif is_wrapper:
        yield f"{hook} is a wrapper; write a plain implementation: a pipeline step, or a sink that watches events"
    else:
        yield from _colour(hook, method)
        yield from _arguments(hook, method)


def _colour(hook: str, method: Callable[..., object]) -> Iterator[str]:
    is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    if hook == "stream":
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            yield "stream must be an asynchronous generator: `async def` with `yield`"
    elif hook in ("complete", "start_backend", "ping_backend", "close_backend"):
        if not inspect.iscoroutinefunction(method):
            yield f"{hook} must be `async def`, without `yield`: it does I/O; run a blocking SDK in asyncio.to_thread"
    elif is_async:
        yield f"{hook} must not be `async def`: decisions and sinks are synchronous; a backend or a sink does the I/O"
    elif inspect.isgeneratorfunction(method):
        yield f"{hook} must not `yield`: called, it would only make a generator, and none of it would run; use return"


def _arguments(hook: str, method: Callable[..., object]) -> Iterator[str]:
    """Whether the hook passes what is asked for: by position, what has a name of the hook's own and no default."""
    known = spec_names()[hook]
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        has_default = parameter.default is not parameter.empty
        if name in known:
            if has_default or parameter.kind is parameter.KEYWORD_ONLY:
                yield f"{hook} would never be given {name}; write it without a default, before any *"
        elif not has_default:
            yield f"{hook} has no argument {name}; {suggest(name, known) if known else 'it takes none'}"
