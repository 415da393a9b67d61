"""All ten tasks through both faces: the same decisions."""

import asyncio
import tomllib

import pytest
from attrs import evolve

from pointsman import Completion, Router
from pointsman.decision import Decision
from pointsman.testing import provider_rate_limit
from tests.acceptance.calls import PATHS
from tests.acceptance.friday import CONFIG, DIRECT, PROXY, Friday, decision_of, slug, story
from tests.acceptance.openrouter import account, said

pytestmark = pytest.mark.litellm

TASKS = tuple(tomllib.loads(CONFIG.read_text("utf-8"))["tasks"])
UNITS = (42, 12)
GLM = "z-ai/glm-4.5-air:free"


def prompt(task: str, unit: int) -> str:
    return f"{task} for {unit}: æøå"


def ask_all(router: Router) -> list[Completion]:
    return [router.complete(prompt(task, unit), task=task, unit=unit) for task in TASKS for unit in UNITS]


async def ask_all_asynchronously(router: Router) -> list[Completion]:
    async with router:
        return [await router.acomplete(prompt(task, unit), task=task, unit=unit) for task in TASKS for unit in UNITS]


def essence(decision: Decision) -> Decision:
    """A decision without its ids and times."""
    attempts = tuple(evolve(one, started=0.0, duration=0.0, call_id=None) for one in decision.attempts)
    skipped = tuple(evolve(one, retry_after=None) for one in decision.skipped)
    return evolve(decision, request_id="", seed=0, duration=None, attempts=attempts, skipped=skipped)


def test_all_ten_tasks_are_decided_alike_in_both_faces(friday: Friday) -> None:
    friday.play(account(instead={GLM: provider_rate_limit(GLM, retry_after=600)}))
    with friday.router() as router:
        whole = ask_all(router)
        friday.check_wire(whole)
        seen = (friday.proxy.upstream.models, friday.openrouter.models)
    friday.play(account(instead={GLM: provider_rate_limit(GLM, retry_after=600)}))
    with friday.router() as router:
        awaited = asyncio.run(ask_all_asynchronously(router))
    assert (friday.proxy.upstream.models, friday.openrouter.models) == seen
    assert [essence(decision_of(reply)) for reply in awaited] == [essence(decision_of(reply)) for reply in whole]
    assert [reply.text for reply in awaited] == [reply.text for reply in whole]


def test_each_of_the_ten_tasks_is_answered_by_its_first_model_on_both_paths(friday: Friday) -> None:
    friday.play(account())
    tasks = tomllib.loads(CONFIG.read_text("utf-8"))["tasks"]
    with friday.router() as router:
        replies = ask_all(router)
    friday.check_wire(replies)
    asked = [(task, unit) for task in TASKS for unit in UNITS]
    assert len(TASKS) == 10
    for (task, unit), reply in zip(asked, replies, strict=True):
        decision = decision_of(reply)
        backend = PROXY if PATHS[unit] == "proxied" else DIRECT
        assert story(decision) == [f"{backend}/{tasks[task]['models'][0]}: answered"]
        assert reply.text == said(slug(decision.served), prompt(task, unit))
