"""The circuit alone: when it opens, who may look whether it works again, and what is too late to count."""

from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pointsman.policy.circuit import Circuit, Draw, Thresholds
from tests.faults.table import proves

LIMITS = Thresholds(
    in_a_row=5,
    share=0.5,
    at_least=20,
    window=30.0,
    open_for=5.0,
    open_at_most=120.0,
    opens_at_once_for=60.0,
    lease=60.0,
)


def drawing(number: float) -> Draw:
    """Chance that always draws this number."""
    return lambda: number


LONGEST = drawing(0.0)
"""What it draws for the whole pause."""


def opened(now=100.0, draw=LONGEST, limits=LIMITS) -> Circuit:
    """A circuit that five failures in a row have opened, for five seconds."""
    circuit = Circuit(limits)
    for _ in range(limits.in_a_row):
        circuit.failed(circuit.generation, now, draw, "down")
    assert circuit.state == "open"
    return circuit


def test_a_new_circuit_is_closed_and_admits():
    circuit = Circuit(LIMITS)
    assert (circuit.state, circuit.admits(0.0), circuit.retry_after(0.0)) == ("closed", True, None)
    assert circuit.admit(0.0) is None


# Opening


def test_it_opens_at_the_last_of_so_many_failures_in_a_row_and_not_before():
    circuit = Circuit(LIMITS)
    for _ in range(4):
        assert circuit.failed(0, 100.0, LONGEST, "down") is None
    change = circuit.failed(0, 100.0, LONGEST, "down")
    assert change is not None
    assert (change.before, change.after, change.open_for) == ("closed", "open", 5.0)
    assert change.why == circuit.why == "5 failures in a row: down"
    assert not circuit.admits(104.9)
    assert circuit.retry_after(102.0) == pytest.approx(3.0)


def test_a_success_ends_a_row():
    circuit = Circuit(LIMITS)
    for _ in range(3):
        for _ in range(4):
            circuit.failed(0, 100.0, LONGEST, "down")
        circuit.succeeded(0, 100.0)
    assert circuit.state == "closed"


def test_it_opens_when_half_of_at_least_twenty_failed():
    circuit = Circuit(LIMITS)
    for _ in range(9):
        circuit.failed(0, 100.0, LONGEST, "down")
        circuit.succeeded(0, 100.0)
    circuit.succeeded(0, 100.0)
    assert circuit.state == "closed"
    change = circuit.failed(0, 100.0, LONGEST, "down")
    assert change is not None
    assert change.why == "10 of 20 failed within 30 s: down"


def test_half_of_nineteen_is_not_enough():
    circuit = Circuit(LIMITS)
    for _ in range(9):
        circuit.succeeded(0, 100.0)
        circuit.failed(0, 100.0, LONGEST, "down")
    circuit.succeeded(0, 100.0)
    assert circuit.state == "closed"


def test_what_failed_before_the_window_is_forgotten():
    circuit = Circuit(LIMITS)
    for _ in range(9):
        circuit.failed(0, 100.0, LONGEST, "down")
        circuit.succeeded(0, 100.0)
    for _ in range(9):
        circuit.failed(0, 130.0, LONGEST, "down")
        circuit.succeeded(0, 130.0)
    assert circuit.state == "closed"


def test_what_failed_just_inside_the_window_counts():
    circuit = Circuit(LIMITS)
    for second in range(5):
        circuit.failed(0, 100.0 + second, LONGEST, "down")
        circuit.succeeded(0, 100.0 + second)
    for _ in range(4):
        circuit.failed(0, 128.9, LONGEST, "down")
        circuit.succeeded(0, 128.9)
    circuit.succeeded(0, 128.9)
    assert circuit.failed(0, 128.9, LONGEST, "down") is not None


@pytest.mark.parametrize("seconds", [0.5, 7.0, 3600.0])
def test_it_opens_at_once_for_as_long_as_the_server_says(seconds):
    circuit = Circuit(LIMITS)
    change = circuit.tripped(0, 100.0, seconds, drawing(0.9), "no key")
    assert change is not None
    assert change.open_for == seconds
    assert not circuit.admits(100.0 + seconds - 0.01)
    assert circuit.admits(100.0 + seconds)


def test_it_opens_at_once_for_a_minute_where_the_server_does_not_say():
    change = Circuit(LIMITS).tripped(0, 100.0, None, LONGEST, "no key")
    assert change is not None
    assert change.open_for == 60.0


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 5.0), (0.5, 3.75), (0.999999, 2.5)])
def test_up_to_half_of_a_pause_is_chance(draw, seconds):
    assert opened(draw=drawing(draw)).retry_after(100.0) == pytest.approx(seconds, abs=1e-5)


def test_it_stays_open_at_once_for_longer_than_failing_probes_ever_keep_it():
    circuit = Circuit(evolve(LIMITS, open_at_most=10.0))
    change = circuit.tripped(0, 100.0, None, LONGEST, "no key")
    assert change is not None
    assert change.open_for == 60.0


@pytest.mark.parametrize("window", [15.0, 30.0, 60.0])
def test_the_share_is_of_exactly_what_is_in_the_window(window):
    """Against the rule written out, at a pace at which twenty and half of them are only just reached, or not."""
    opened_late = 0
    for seed in range(20):
        chance = Random(seed)
        circuit, now, seen = Circuit(evolve(LIMITS, in_a_row=1000, window=window)), 0.0, []
        for _ in range(300):
            now += chance.expovariate(22 / window)
            failed = chance.random() < 0.4
            place = int(now / (window / 30))
            seen.append((place, failed))
            if not failed:
                circuit.succeeded(0, now)
                continue
            recent = [one for part, one in seen if part > place - 30]
            change = circuit.failed(0, now, LONGEST, "down")
            opens = len(recent) >= 20 and sum(recent) * 2 >= len(recent)
            assert (change is not None) == opens
            if opens:
                opened_late += len(seen) > 40
                break
    assert opened_late > 5


@pytest.mark.parametrize("first", ["succeeded", "failed"])
def test_a_part_of_the_window_begins_with_its_first_moment(first):
    circuit = Circuit(LIMITS)
    circuit.succeeded(0, 100.0)
    for number in range(18):
        if (number % 2 == 0) == (first == "succeeded"):
            circuit.succeeded(0, 101.0)
        else:
            circuit.failed(0, 101.0, LONGEST, "down")
    circuit.succeeded(0, 130.5)
    assert circuit.failed(0, 130.5, LONGEST, "down") is not None


def test_a_busy_circuit_remembers_parts_of_the_window_and_not_every_attempt():
    circuit = Circuit(LIMITS)
    for number in range(3000):
        circuit.succeeded(0, 100.0 + number / 50)
    assert len(circuit.lately._parts) == 30


# Half open


def test_when_its_time_is_over_exactly_one_may_look():
    circuit = opened()
    assert not circuit.admits(104.999)
    assert circuit.admits(105.0)
    change = circuit.admit(105.0)
    assert change is not None
    assert (change.before, change.after) == ("open", "half_open")
    assert not any(circuit.admits(105.0 + later) for later in (0.0, 1.0, 59.9))


def test_a_probe_that_succeeds_closes_it_and_what_was_is_forgotten():
    circuit = opened()
    circuit.admit(105.0)
    change = circuit.succeeded(circuit.generation, 106.0)
    assert change is not None
    assert (change.before, change.after, circuit.why) == ("half_open", "closed", "")
    for _ in range(4):
        assert circuit.failed(circuit.generation, 106.0, LONGEST, "down") is None
    assert circuit.state == "closed"


def test_once_it_is_closed_everyone_may_go_at_once():
    circuit = opened()
    circuit.admit(105.0)
    circuit.succeeded(circuit.generation, 106.0)
    assert circuit.admits(106.0)
    assert circuit.retry_after(106.0) is None


@pytest.mark.parametrize("later", [0.0, 40.0])
def test_what_failed_before_it_was_closed_is_no_part_of_a_share(later):
    circuit = opened()
    circuit.admit(105.0)
    circuit.succeeded(circuit.generation, 106.0)
    generation, now = circuit.generation, 106.0 + later
    for _ in range(9):
        assert circuit.failed(generation, now, LONGEST, "down") is None
        circuit.succeeded(generation, now)
    assert circuit.failed(generation, now, LONGEST, "down") is None
    circuit.succeeded(generation, now)
    change = circuit.failed(generation, now, LONGEST, "down")
    assert change is not None
    assert change.why == "11 of 21 failed within 30 s: down"


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_cap():
    circuit, now, pauses = opened(), 105.0, []
    for _ in range(8):
        circuit.admit(now)
        change = circuit.failed(circuit.generation, now, LONGEST, "still down")
        assert change is not None
        pauses.append(change.open_for)
        now += change.open_for or 0.0
    assert pauses == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 120.0, 120.0]


def test_one_failed_probe_is_enough_to_open_it_again():
    circuit = Circuit(LIMITS)
    circuit.tripped(0, 100.0, 5.0, LONGEST, "no key")
    circuit.admit(105.0)
    change = circuit.failed(circuit.generation, 105.0, LONGEST, "down")
    assert change is not None
    assert (change.before, change.after, change.why) == ("half_open", "open", "down")


def test_thousands_of_failed_probes_are_no_trouble():
    circuit, now = opened(), 105.0
    for _ in range(1100):
        circuit.admit(now)
        change = circuit.failed(circuit.generation, now, LONGEST, "still down")
        assert change is not None
        now += change.open_for or 0.0
    assert circuit.retry_after(now - 1.0) == 1.0


def test_after_it_was_closed_pauses_begin_anew():
    circuit = opened()
    circuit.admit(105.0)
    circuit.failed(circuit.generation, 105.0, LONGEST, "down")
    circuit.admit(120.0)
    circuit.succeeded(circuit.generation, 120.0)
    for _ in range(4):
        circuit.failed(circuit.generation, 130.0, LONGEST, "down")
    change = circuit.failed(circuit.generation, 130.0, LONGEST, "down")
    assert change is not None
    assert change.open_for == 5.0


def test_a_probe_that_says_nothing_lets_the_next_one_look():
    circuit = opened()
    circuit.admit(105.0)
    circuit.released(circuit.generation)
    assert circuit.state == "half_open"
    assert circuit.admits(105.0)
    circuit.admit(105.0)
    assert not circuit.admits(106.0)


def test_the_clock_may_begin_at_zero():
    circuit = opened(now=0.0, limits=evolve(LIMITS, open_for=0.1))
    circuit.admit(0.1)
    circuit.released(circuit.generation)
    assert circuit.admits(0.1)


def test_a_probe_that_is_never_heard_of_keeps_nobody_out_for_ever():
    circuit = opened()
    circuit.admit(105.0)
    lost = circuit.generation
    assert not circuit.admits(164.9)
    assert circuit.admits(165.0)
    assert circuit.admit(165.0) is None  # it was half open before
    assert not circuit.admits(165.0)
    for late in (circuit.succeeded(lost, 166.0), circuit.failed(lost, 166.0, LONGEST, "late")):
        assert late is None
    circuit.released(lost)
    assert circuit.state == "half_open"
    assert not circuit.admits(166.0)


# Generations


def test_results_from_before_it_opened_say_nothing_about_now():
    circuit = Circuit(LIMITS)
    before = circuit.generation
    for _ in range(5):
        circuit.failed(before, 100.0, LONGEST, "down")
    until = circuit.retry_after(100.0)
    assert circuit.succeeded(before, 101.0) is None
    assert circuit.failed(before, 101.0, LONGEST, "late") is None
    assert circuit.tripped(before, 101.0, 1000.0, LONGEST, "late") is None
    circuit.released(before)
    assert (circuit.state, circuit.retry_after(100.0), circuit.why) == ("open", until, "5 failures in a row: down")
    circuit.admit(105.0)
    assert circuit.succeeded(before, 106.0) is None
    circuit.released(before)
    assert not circuit.admits(106.0)


# What must hold whatever happens


@proves(5)
class CircuitMachine(RuleBasedStateMachine):
    """Attempts that begin, succeed, fail, open it at once, end in nothing, or are never heard of, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = evolve(LIMITS, in_a_row=3, at_least=6, lease=20.0)
        self.circuit = Circuit(self.limits)
        self.now = 0.0
        self.flying: list[int] = []
        self.probe: tuple[int, float] | None = None
        """The live probe's generation, and when its lease ends."""

    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0, 6.0, 25.0, 200.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def ask(self):
        circuit = self.circuit
        if not circuit.admits(self.now):
            assert (circuit.retry_after(self.now) or 0.0) > 0
            return
        circuit.admit(self.now)
        if circuit.state == "half_open":
            assert self.probe is None or self.now >= self.probe[1], "two live probes"
            self.probe = circuit.generation, self.now + self.limits.lease
        self.flying.append(circuit.generation)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "tripped", "released"]))
    def settle(self, data, how):
        generation = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        circuit, before = self.circuit, (self.circuit.state, self.circuit.generation)
        is_probe = self.probe is not None and self.probe[0] == generation == circuit.generation
        draw = drawing(data.draw(st.floats(0, 1, exclude_max=True)))
        if how == "succeeded":
            change = circuit.succeeded(generation, self.now)
        elif how == "failed":
            change = circuit.failed(generation, self.now, draw, "down")
        elif how == "tripped":
            change = circuit.tripped(generation, self.now, None, draw, "no")
        else:
            change = circuit.released(generation)
        after = (circuit.state, circuit.generation)
        if generation != before[1]:
            assert change is None, "a late result moved it"
            assert after == before
        elif how == "released":
            assert after == before, "a neutral end moved it"
        elif is_probe:
            assert circuit.state == ("closed" if how == "succeeded" else "open")
        elif change is not None:
            assert circuit.state == "open"
            assert how != "succeeded"
        if is_probe:
            self.probe = None

    @invariant()
    def it_never_wedges(self):
        longest = max(self.limits.open_at_most, self.limits.opens_at_once_for, self.limits.lease)
        assert self.circuit.admits(self.now + longest)

    @invariant()
    def a_pause_is_known_where_it_admits_nobody(self):
        retry_after = self.circuit.retry_after(self.now)
        assert (retry_after is None) == self.circuit.admits(self.now)
        if retry_after is not None:
            assert self.circuit.admits(self.now + retry_after + 1e-6)


CircuitMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
test_it_keeps_its_rules_whatever_happens = CircuitMachine.TestCase


@given(ends=st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=80))
def test_it_opens_exactly_when_the_rule_says(ends):
    """Against the rule written out: five in a row, or half of at least twenty in the window, in parts of a second."""
    circuit, now, row, seen = Circuit(LIMITS), 0.0, 0, []
    for wait, failed in ends:
        now += wait
        seen.append((int(now), failed))
        recent = [one for second, one in seen if second > int(now) - 30]
        if failed:
            row += 1
            change = circuit.failed(0, now, LONGEST, "down")
            opens = row >= 5 or (len(recent) >= 20 and sum(recent) * 2 >= len(recent))
            assert (change is not None) == opens
            if opens:
                return
        else:
            row = 0
            assert circuit.succeeded(0, now) is None
