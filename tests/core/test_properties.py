"""What holds for every configuration, crowd and script, on the simulator: the same plans and policy as production."""

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.events import AttemptFinished, AttemptStarted, RequestFinished
from pointsman.targets import Target
from pointsman.testing import Answers, Fails, Hangs, Simulation
from tests.core.scenarios import Asked, on_one_target, scenarios
from tests.core.simulated import FAST, requests
from tests.core.support import OFF, stories
from tests.faults.table import proves

HAIR = 1e-6
"""Seconds that arithmetic may be off."""

MINUTE = 60.0


@proves(1)
@settings(max_examples=60, deadline=None)
@given(scenarios())
def test_each_request_has_one_outcome_and_one_record_of_everything(scenario):
    """Property 1: exactly one terminal outcome per request; one record per attempt plus one per request."""
    result = scenario.run()
    told = stories(requests(result.events))
    assert len(told) == len(result.calls) == len(scenario.asks)
    for call in result.calls:
        last = told[call.decision.request_id][-1]
        assert isinstance(last, RequestFinished)
        assert call.decision is last.decision
        has = call.completion is not None, call.error is not None
        assert has == {
            "answered": (True, False),
            "last_resort": (True, False),
            "failed": (False, True),
            "cancelled": (False, False),
        }.get(call.decision.outcome or "")
        assert all(end.decision is call.decision for end in (call.completion, call.error) if end is not None)
        assert [one.outcome for one in call.decision.attempts].count("answered") == call.answered


@proves(2)
@settings(max_examples=60, deadline=None)
@given(scenarios())
def test_the_attempts_that_backends_see_are_those_recorded_and_within_the_budget(scenario):
    """Property 2: requests that the server counted = attempts recorded <= the attempt budget."""
    result = scenario.run()
    seen: dict[int, list[Target]] = defaultdict(list)
    for attempt in result.attempts:
        seen[attempt.request].append(attempt.target)
    budget = scenario.config["router"].get("max_attempts", 4)
    for call in result.calls:
        assert [one.target for one in call.decision.attempts] == seen[call.number]
        assert len(seen[call.number]) <= budget


queueing = on_one_target({"limits": {"concurrency": {"proxy": 1}}}, Answers(after=0.5), FAST, Hangs())


@proves(3)
@settings(max_examples=60, deadline=None)
@given(scenarios() | queueing)
def test_the_answer_or_the_error_comes_by_the_deadline(scenario):
    """Property 3: the answer or error comes by the deadline; the 50 ms are for the machine, and here is none."""
    for call in scenario.run().calls:
        assert call.duration <= scenario.deadline(call.number) + HAIR


failing = on_one_target({"breaker": OFF, "retries": {"budget": 1, "pause": 0.01}}, FAST, FAST, Answers(after=0.0))


@proves(4)
@settings(max_examples=60, deadline=None)
@given(scenarios(least=6) | failing)
def test_retries_stay_within_a_budget_that_answers_alone_refill(scenario):
    """Property 4: retries <= 10 + 0.1 x successes, per target and process; and so for other budgets."""
    result = scenario.run()
    budget, refill = scenario.rule("retries", "budget", 10.0), scenario.rule("retries", "refill", 0.1)
    tried: set[tuple[str, Target]] = set()
    retries, answers = Counter[Target](), Counter[Target]()
    for event in result.events:
        if isinstance(event, AttemptStarted):
            retries[event.target] += (event.request_id, event.target) in tried
            tried.add((event.request_id, event.target))
            allowed = 0.0 if budget is None else budget + refill * answers[event.target]
            assert retries[event.target] <= allowed + HAIR
        elif isinstance(event, AttemptFinished):
            answers[event.target] += event.outcome == "answered"


@proves(12)
@settings(max_examples=60, deadline=None)
@given(scenarios(), st.sampled_from([Fails("server", after=0.0), Fails("connect", after=0.0), Hangs(), None]))
def test_any_configuration_that_loads_ends_within_its_budgets(scenario, always):
    """Property 12: in a bounded number of steps, however the rules are ordered and whatever their settings."""
    asked, play = Asked(), scenario.plays.new()
    config = scenario.config | {"plugins": scenario.config["plugins"] | {"asked": asked}}
    simulation = Simulation(config, lambda attempt: always or play(attempt), seed=scenario.seed)
    for place in range(len(scenario.asks)):
        scenario.request(simulation, place)
    result = simulation.run()
    most = scenario.config["router"].get("max_attempts", 4)
    for call in result.calls:
        assert len(call.decision.attempts) <= most
        assert call.duration <= scenario.deadline(call.number) + HAIR
    targets = len(simulation.snapshot.catalog.targets)
    # Each question at the gate is an attempt, a target left out for this request, or a wait of 50 ms or more.
    waits = min(10.0, scenario.rule("limits", "max_wait", 10.0) or 0.0) / 0.05
    assert asked.count <= len(result.calls) * (most + targets) * (waits + 2)
