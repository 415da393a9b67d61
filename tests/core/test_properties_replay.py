"""A decision says how it came about so well that it can be made again."""

from hypothesis import given, settings

from pointsman.testing import Recorded
from tests.core.scenarios import scenarios
from tests.faults.table import proves


@proves(13)
@settings(max_examples=80, deadline=None)
@given(scenarios())
def test_decisions_replay_from_their_records_and_seeds_byte_for_byte(scenario):
    """Property 13: all of a crowd, whose requests move circuits and budgets for one another."""
    recorded = scenario.run()
    decisions = [call.decision for call in recorded.calls]
    simulation = scenario.simulation(Recorded(decisions))
    for place, decision in enumerate(decisions):
        gave_up = decision.duration if decision.outcome == "cancelled" else None
        scenario.request(simulation, place, seed=decision.seed, cancel_after=gave_up)
    replayed = simulation.run()
    for call, decision in zip(replayed.calls, decisions, strict=True):
        assert repr(call.decision).encode() == repr(decision).encode()
    assert repr(replayed.events) == repr(recorded.events)
