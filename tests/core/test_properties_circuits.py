"""Circuits among the requests of a crowd: one probe at a time, nothing that is late or neutral moves them."""

from collections import defaultdict

from hypothesis import given, settings

from pointsman.events import AttemptFinished, AttemptStarted, CircuitChanged
from pointsman.policy.breaker import BLAMED
from pointsman.targets import Target
from pointsman.testing import Answers, Fails
from tests.core.scenarios import on_one_target, scenarios
from tests.core.support import OFF
from tests.faults.table import proves

HAIR = 1e-6
"""Seconds that arithmetic may be off."""

MINUTE = 60.0
"""What a limit counts in, and the longest time that a server asks for here."""


flapping = on_one_target(
    {"breaker": {"failures_in_a_row": 1, "open_for": 0.1, "open_at_most": 0.5}, "retries": OFF},
    *(Answers(after=0.5), Answers(after=1.0), Fails(after=0.01), Fails(after=0.7)),
)
"""A circuit opens at the first failure and soon looks again; meanwhile attempts end that began before."""

crowds = scenarios(least=6) | flapping


def circuits(target: Target) -> list[tuple[str, str]]:
    """Scope and name of the circuits that guard a target."""
    return [("target", str(target)), ("backend", target.backend), ("quota", target.allowance)]


@proves(5)
@settings(max_examples=60, deadline=None)
@given(crowds)
def test_a_half_open_circuit_has_one_live_probe_and_nothing_late_or_neutral_moves_it(scenario):
    """Property 5: at most one live probe, unless its lease ended; late and neutral results move nothing."""
    lease = scenario.rule("breaker", "probe_lease", 60.0)
    state: dict[tuple[str, str], str] = defaultdict(lambda: "closed")
    since: dict[tuple[str, str], int] = defaultdict(int)
    """Where in the story each circuit came into its state."""
    probes: dict[tuple[str, str], tuple[str, float]] = {}
    """Of each circuit that is half open: whose attempt looks, and since when."""
    began: dict[str, int] = {}
    """Where in the story each request's attempt began."""
    events = scenario.run().events
    for place, event in enumerate(events):
        if isinstance(event, CircuitChanged):
            key = event.scope, event.name
            assert event.before == state[key]
            if event.after != "half_open":
                ending = next(one for one in events[place:] if isinstance(one, AttemptFinished))
                assert may_move(ending, key, event.after)
                assert began[ending.request_id] >= since[key], "a late result moved it"
            state[key], since[key] = event.after, place
            probes.pop(key, None)
        elif isinstance(event, AttemptStarted):
            began[event.request_id] = place
            for key in circuits(event.target):
                assert state[key] != "open"
                if state[key] == "half_open":
                    assert key not in probes or event.time >= probes[key][1] + lease - HAIR, "two live probes"
                    probes[key] = event.request_id, event.time
        elif isinstance(event, AttemptFinished):
            for key in circuits(event.target):
                if probes.get(key, ("", 0.0))[0] == event.request_id:
                    del probes[key]


def may_move(event: AttemptFinished, key: tuple[str, str], after: str) -> bool:
    """Whether the end of an attempt is a reason for a circuit to come into a state."""
    if key not in circuits(event.target):
        return False
    failure = event.failure
    if after == "closed":
        there = failure is not None and failure.delivery == "answered" and key[0] == "backend"
        return event.outcome == "answered" or there
    return failure is not None and failure.breaker != "neutral" and BLAMED.get(failure.blames) == key[0]


@proves(5)
@settings(max_examples=60, deadline=None)
@given(crowds)
def test_no_circuit_wedges(scenario):
    """Property 5: when all is well again and the longest pause is over, the first who asks is answered."""
    play, well = scenario.plays.new(), Answers(after=0.0)
    ill = True
    simulation = scenario.simulation(lambda attempt: play(attempt) if ill else well)
    for place in range(len(scenario.asks)):
        scenario.request(simulation, place)
    simulation.run()
    ill = False
    names = ("open_for", "open_at_most", "opens_at_once_for", "probe_lease")
    pauses = [scenario.rule("breaker", name, 120.0) or 0.0 for name in names]
    later = simulation.now + max(*pauses, MINUTE) + 1
    for number, task in enumerate(scenario.config["tasks"]):
        call = simulation.request(at=later + 2 * number * MINUTE, task=task, unit=1, deadline=MINUTE)
        simulation.run()
        assert call.answered, call.error
        assert len(call.decision.attempts) == 1
