"""The last resort: what a task's users get when no target answers, marked as what it is."""

import logging

import pytest

from pointsman import Config, ModelSettings, Router, TaskSettings
from pointsman.errors import BadRequest, ConfigError, NoTarget, StreamInterrupted
from pointsman.testing import Breaks, Fails, Hangs, Simulation
from tests.core.simulated import FAST, always, routes
from tests.core.support import Collecting, Scripted, decided, ending, failure, table

SORRY = "We are busy. Somebody will call you back."


def simulated(script, last_resort: object = SORRY, **sections):
    return Simulation(routes(["only"], ["small"], last_resort=last_resort, **sections), script)


@pytest.mark.parametrize("behaviour", [FAST, Hangs(), Fails("auth"), Fails("connect"), Fails("plugin")], ids=str)
def test_a_user_is_not_left_without_an_answer(behaviour):
    simulation = simulated(always(behaviour))
    call = simulation.request(at=0)
    simulation.run()
    assert call.error is None
    assert call.completion is not None
    assert (call.completion.text, call.completion.finish_reason) == (SORRY, "stop")
    assert call.completion.message == {"role": "assistant", "content": SORRY}
    assert not call.answered
    assert call.duration <= 60.0


def test_the_decision_says_that_nobody_served_it_and_why():
    simulation = simulated(always(Fails("auth", after=0.1)))
    call = simulation.request(at=0)
    decision = decided(simulation.run().calls[0].completion)
    assert call.decision is decision
    assert (decision.outcome, decision.served) == ("last_resort", None)
    assert "no other target could serve this" in decision.why
    assert [attempt.outcome for attempt in decision.attempts] == ["failed"]


def test_it_can_be_a_function_of_the_request():
    simulation = simulated(always(FAST), lambda request: f"Sorry, unit {request.unit}.")
    call = simulation.request(at=0, unit=42)
    simulation.run()
    assert call.completion is not None
    assert call.completion.text == "Sorry, unit 42."


@pytest.mark.parametrize("kind", ["bad_request", "content_policy", "context_length"])
def test_a_request_that_is_at_fault_itself_gets_its_error(kind):
    simulation = simulated(always(Fails(kind)))
    call = simulation.request(at=0)
    simulation.run()
    assert isinstance(call.error, BadRequest)


def test_an_answer_that_had_begun_is_not_continued_with_it():
    simulation = simulated(always(Breaks(0.1, 0.1)))
    call = simulation.request(at=0, stream=True)
    simulation.run()
    assert isinstance(call.error, StreamInterrupted)


def test_a_cancelled_request_gets_none():
    simulation = simulated(always(Hangs()))
    call = simulation.request(at=0, cancel_after=1.0)
    simulation.run()
    assert call.completion is None
    assert call.decision is not None
    assert call.decision.outcome == "cancelled"


@pytest.mark.parametrize("wrong", ["raises", "returns"])
def test_a_function_that_fails_is_logged_without_its_words_and_the_error_is_raised(wrong, caplog):
    def last_resort(request):
        if wrong == "raises":
            raise RuntimeError("canary prompt")
        return 7

    simulation = simulated(always(FAST), last_resort)
    call = simulation.request(at=0)
    simulation.run()
    assert call.error is not None
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith("the last resort of task chat r")
    assert "canary" not in caplog.text


def test_other_tasks_have_none():
    config = routes(["only"], ["small"], last_resort=SORRY)
    config["tasks"]["other"] = {"models": ["small"]}
    simulation = Simulation(config, always(FAST))
    call = simulation.request(at=0, task="other")
    simulation.run()
    assert call.error is not None


def test_selection_that_leaves_nothing_has_one_too():
    config = table(["small"], {"only": Scripted()})
    config["tasks"]["chat"]["last_resort"] = SORRY
    config["models"]["elsewhere"] = {"on": {"second": "x"}}
    config["plugins"]["second"] = Scripted()
    with Router(config) as router:
        assert router.complete("hello", task="chat", model="elsewhere").text == SORRY
        with pytest.raises(NoTarget):
            router.explain("hello", task="chat", model="elsewhere")


def test_both_faces_and_streams_give_it_and_tell_the_sink():
    sink = Collecting()
    config = table(["small"], {"only": Scripted([failure("auth")])}, plugins={"sink": sink})
    config["tasks"]["chat"]["last_resort"] = SORRY
    with Router(config) as router:
        assert router.complete("hello").text == SORRY
        router.flush()
        assert ending(sink.events).outcome == "last_resort"
        with router.stream("hello") as stream:  # this backend does not stream
            assert [chunk.text for chunk in stream] == [SORRY]
        assert stream.completion is not None
        assert stream.completion.text == SORRY
        assert stream.decision is not None
        assert stream.decision.outcome == "last_resort"


def test_code_may_set_either_and_a_file_only_text():
    def sorry(request):
        return SORRY

    models = {"small": ModelSettings(on={"only": "x"})}
    for value in (SORRY, sorry):
        tasks = {"chat": TaskSettings(models=("small",), last_resort=value)}
        config = Config(plugins={"only": Scripted()}, models=models, tasks=tasks)
        assert Router(config).snapshot.config.tasks["chat"].last_resort is value
    with pytest.raises(ConfigError, match=r"tasks\.chat\.last_resort"):
        Router(routes(["only"], ["small"], last_resort=7, plugins={"only": Scripted()}))


def test_a_coroutine_function_is_refused_at_the_start():
    async def sorry(request):
        return SORRY

    with pytest.raises(ConfigError, match=r"tasks\.chat\.last_resort: must not be `async def`"):
        Router(routes(["only"], ["small"], last_resort=sorry, plugins={"only": Scripted()}))
