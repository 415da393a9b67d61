"""How much the router works for one request, counted in instructions of the interpreter: no clock, no noise.

A time tells a slow-down only on a machine that is quiet; a count tells it everywhere. Raise a bound here only with a
reason that is worth it for everybody who routes a request, and lower it when work was taken away.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pointsman import Router
from pointsman.chat import Chunk
from pointsman.intake import Call
from pointsman.loading import from_config
from pointsman.plan import Attempt, Failed, Relay, plan
from pointsman.recorder import Recorder
from tests.core.support import Collecting, Scripted, answer, failure
from tests.support.counting import instructions, only_here

REQUEST, FALLBACK = 2690, 1815
"""Instructions: for a request that is answered at once, and for one more attempt after a failure."""

WITH_ALL = 3360
"""Instructions for `acomplete` with a backend that answers at once: router, engine, driver, a sink's queue and all."""

pytestmark = only_here


def config(tasks: int = 1, models: int = 2, plugins: int = 0) -> dict[str, Any]:
    backends = ["proxy", "direct"]
    names = [f"model-{number}" for number in range(max(models, 2))]
    return {
        "plugins": {
            **{name: Scripted() for name in backends},
            **{f"more-{number}": Scripted() for number in range(plugins)},
        },
        "models": {name: {"on": dict.fromkeys(backends, name)} for name in names},
        "tasks": {f"task-{number}": {"models": names[:2]} for number in range(tasks)},
        "paths": {"proxied": backends, "direct": ["direct"]},
        "rollout": {"control": "direct", "shares": {"proxied": 100}},
    }


def request(made: dict[str, Any], *outcomes: Any) -> Callable[[], Any]:
    """One request with rollout, breaker, retries and a listener; its attempts end so."""
    snapshot = from_config(made)

    def work() -> None:
        call = Call.of(snapshot, "hello", task="task-0", unit=42)
        steps = plan(Recorder.of(call.request, snapshot, lambda _: None), call.time_allowed)
        step = next(steps)
        for outcome in outcomes:
            assert isinstance(step, (Attempt, Relay))
            try:
                step = steps.send(outcome)
            except StopIteration:
                return

    work()  # what is kept for later requests is made by the first
    return work


ONCE = (answer(),)


def work_of(made: dict[str, Any], *outcomes: Any) -> int:
    """Instructions for one such request. Once in a second the breaker's window moves on, which is no request's work."""
    work = request(made, *outcomes)
    return min(instructions(work) for _ in range(3))


def test_a_request_is_no_more_work_than_it_was():
    assert work_of(config(), *ONCE) <= REQUEST


def test_one_more_attempt_is_no_more_work_than_it_was():
    failed = Failed(failure("rate_limit", blames="model", breaker="neutral"))
    assert work_of(config(), failed, *ONCE) - work_of(config(), *ONCE) <= FALLBACK


def test_the_whole_way_through_the_router_is_no_more_work_than_it_was():
    made = config()
    made["plugins"]["sink"] = Collecting()
    loop = asyncio.new_event_loop()

    async def ask(router: Router, count: int) -> None:
        for _ in range(count):
            await router.acomplete("hello", task="task-0", unit=42)

    with Router(made) as router:
        loop.run_until_complete(ask(router, 5))
        few, many = (instructions(partial(loop.run_until_complete, ask(router, count))) for count in (20, 60))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert (many - few) / 40 <= WITH_ALL


@pytest.mark.parametrize("more", [{"tasks": 50}, {"models": 50}, {"plugins": 50}])
def test_a_request_is_as_much_work_however_much_is_configured(more):
    assert work_of(config(**more), *ONCE) == work_of(config(), *ONCE)


def test_the_count_sees_work_that_is_added():
    def more() -> None:
        work()
        sum(number for number in range(100))

    work = request(config(), *ONCE)
    assert instructions(more) > instructions(work) + 300


def test_a_chunk_is_made_in_few_instructions():
    assert instructions(lambda: Chunk(text="a word")) <= 120
