"""Rules of one's own: what they leave, who has the last word, and that the configuration's order says so."""

from pathlib import Path
from typing import Any

import pytest

from pointsman import Decision, Failure, NoTarget, Router
from pointsman.testing import Answers, Fails, Simulation

CONFIG = """
[plugins.near]
use = "openai_compatible"
base_url = "http://127.0.0.1:9"

[plugins.far]
use = "openai_compatible"
base_url = "http://127.0.0.1:9"

[plugins.tenant_pin]
models = { kommune-aarhus = "claude-3-haiku", "17" = "glm-air-free" }

[plugins.cheapest]
dollars_per_million_tokens = { glm-air-free = 0, gpt-oss-20b = 0.15, claude-3-haiku = 1.25 }

[plugins.bill_once]
tasks = ["complex-reasoning"]

[models.claude-3-haiku]
on = { near = "claude" }

[models.glm-air-free]
on = { far = "glm" }

[models.gpt-oss-20b]
on = { near = "gpt", far = "gpt" }

[models.home-made]
on = { near = "home-made" }

[tasks.chat]
models = ["claude-3-haiku", "home-made", "gpt-oss-20b", "glm-air-free"]

[tasks.complex-reasoning]
models = ["claude-3-haiku", "gpt-oss-20b"]

[tasks.free]
models = ["glm-air-free"]

[paths]
only = ["near", "far"]
"""


@pytest.fixture
def configure(tmp_path: Path, examples: None) -> Any:
    """Writes the configuration, with an order of the test's own at its end."""

    def write(order: str = "") -> Path:
        file = tmp_path / "pointsman.toml"
        file.write_text(CONFIG + (f"[order]\n{order}\n" if order else ""), "utf-8")
        return file

    return write


def explained(config: Path, **call: Any) -> Decision:
    with Router.from_toml(config) as router:
        return router.explain(**call)


def steps(decision: Decision) -> list[tuple[str, str]]:
    return [(step.plugin, step.why) for step in decision.steps]


def targets(decision: Decision) -> list[str]:
    return [str(target) for target in decision.candidates]


# A pin


def test_a_pinned_tenant_has_its_model_and_no_other(configure: Any) -> None:
    decision = explained(configure(), task="chat", unit="kommune-aarhus")
    assert targets(decision) == ["near/claude-3-haiku"]
    assert ("tenant_pin", "pinned to claude-3-haiku") in steps(decision)


def test_a_unit_that_is_a_number_is_pinned_as_its_digits(configure: Any) -> None:
    assert targets(explained(configure(), task="chat", unit=17)) == ["far/glm-air-free"]


@pytest.mark.parametrize("unit", ["kommune-odense", None])
def test_nobody_else_is_pinned(configure: Any, unit: str | None) -> None:
    decision = explained(configure(), task="chat", unit=unit)
    assert len(decision.candidates) == 5
    assert "tenant_pin" not in dict(steps(decision))


def test_a_pin_to_a_model_that_the_task_does_not_have_is_an_error_that_names_the_rule(configure: Any) -> None:
    with pytest.raises(NoTarget, match="tenant_pin"):
        explained(configure(), task="free", unit="kommune-aarhus")


# Cheapest first, and the order


def test_the_cheapest_is_first_and_what_has_no_price_last(configure: Any) -> None:
    assert targets(explained(configure(), task="chat")) == [
        "far/glm-air-free",
        "near/gpt-oss-20b",
        "far/gpt-oss-20b",
        "near/claude-3-haiku",
        "near/home-made",
    ]


def test_before_the_rollout_it_sorts_within_each_backend(configure: Any) -> None:
    order = 'select_model = ["tasks", "cheapest", "rollout"]'
    decision = explained(configure(order), task="chat")
    assert targets(decision) == [
        "near/gpt-oss-20b",
        "near/claude-3-haiku",
        "near/home-made",
        "far/glm-air-free",
        "far/gpt-oss-20b",
    ]
    assert [plugin for plugin, _ in steps(decision)] == ["tasks", "cheapest", "rollout"]


def test_the_order_in_effect_says_what_put_each_rule_where_it_is(configure: Any) -> None:
    order = 'select_model = ["tasks", "cheapest"]\ndecide_fallback = ["fallback", "bill_once"]'
    with Router.from_toml(configure(order)) as router:
        hooks = router.snapshot.hooks
    assert [(step.plugin, step.placed_by) for step in hooks.select_model] == [
        ("tasks", "order"),
        ("cheapest", "order"),
        ("rollout", "default"),
        ("tenant_pin", "default"),
    ]
    assert [step.plugin for step in hooks.decide_fallback] == ["fallback", "bill_once", "retries"]


# A fallback rule


HUNG_UP = Failure.of("server", "the server hung up", delivery="possibly_billed")
NOT_SENT = Failure.of("connect", "not reached", delivery="not_sent")


def after(failure: Failure, config: Path, task: str) -> list[str]:
    """What is tried when the first attempt ends so and every further one is answered."""
    simulation = Simulation.from_toml(config, lambda attempt: Fails(failure) if attempt.number == 1 else Answers())
    simulation.request(task=task)
    (call,) = simulation.run().calls
    assert call.decision is not None
    return [attempt.outcome for attempt in call.decision.attempts] + [call.decision.why.partition(";")[0]]


def test_what_may_have_been_billed_is_not_asked_for_again(configure: Any) -> None:
    assert after(HUNG_UP, configure(), "complex-reasoning") == ["failed", "complex-reasoning is never billed twice"]


def test_it_says_nothing_of_other_tasks_and_other_failures(configure: Any) -> None:
    assert after(HUNG_UP, configure(), "chat") == ["failed", "answered", ""]
    assert after(NOT_SENT, configure(), "complex-reasoning") == ["failed", "answered", ""]


def test_asked_after_the_built_in_rule_it_is_not_heard(configure: Any) -> None:
    order = 'decide_fallback = ["fallback", "bill_once"]'
    assert after(HUNG_UP, configure(order), "complex-reasoning") == ["failed", "answered", ""]
