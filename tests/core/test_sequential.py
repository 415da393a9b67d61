"""Always-valid inference: what it says is right however often one looks, and as tight as that allows."""

from itertools import pairwise
from math import inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.rollouts.sequential import Counts, against, difference, evidence, proportion, quantile

counts = st.builds(Counts, st.integers(0, 2000), st.integers(0, 2000))
some = counts.filter(lambda one: one.total > 0)
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.2])

RUNS = 400
ALPHA = 0.1
AT_MOST = 0.1 + 3 * (0.1 * 0.9 / RUNS) ** 0.5
"""What a share of at most `ALPHA` can come out as among so many runs, three sigma up."""


# The shape


@given(some, alphas)
def test_an_interval_holds_what_was_seen_and_narrows_with_more_doubt_allowed(one, alpha):
    low, high = proportion(one, alpha)
    assert 0 <= low <= one.successes / one.total <= high <= 1
    inner = proportion(one, 2 * alpha)
    assert low <= inner.low
    assert inner.high <= high


@given(some, alphas)
def test_outside_of_an_interval_the_evidence_is_enough_and_inside_it_is_not(one, alpha):
    low, high = proportion(one, alpha)
    enough = log(1 / alpha)
    for place in (low - 1e-6, high + 1e-6):
        assert not 0 <= place <= 1 or against(one, place) >= enough - 1e-6
    for place in (low + 1e-6, high - 1e-6):
        assert not low < place < high or against(one, place) < enough + 1e-6


@given(some, some)
def test_a_difference_turned_round_is_the_other_one(one, other):
    there, back = difference(one, other, 0.05), difference(other, one, 0.05)
    assert there.low == pytest.approx(-back.high, abs=1e-6)
    assert there.high == pytest.approx(-back.low, abs=1e-6)


@given(some, some)
def test_evidence_shrinks_with_the_margin_and_agrees_with_the_interval(one, other):
    margins = [-0.5, -0.1, 0.0, 0.02, 0.3, 0.9]
    grades = [evidence(one, other, margin) for margin in margins]
    assert all(a >= b - 1e-6 for a, b in pairwise(grades))
    low, _ = difference(one, other, 0.05)
    for margin, grade in zip(margins, grades, strict=True):
        assert (grade >= log(20)) == (margin < low) or abs(margin - low) < 1e-6


@given(
    st.builds(Counts, st.integers(0, 30), st.integers(0, 30)), st.builds(Counts, st.integers(0, 30), st.integers(0, 30))
)
def test_evidence_is_the_least_over_a_grid_of_everything_that_is_allowed(one, other):
    margin = 0.1
    grid = [place / 100 for place in range(101)]
    a, b = Counts(one.failures, one.successes), Counts(other.failures, other.successes)
    least = min(against(a, p) + against(b, q) for p in grid for q in grid if p - q <= margin + 1e-9)
    # The grid is coarse, so its least value lies a little higher.
    assert evidence(one, other, margin) <= least + 1e-6
    assert evidence(one, other, margin) >= least - 0.5


def test_nothing_seen_says_nothing():
    nothing = Counts(0, 0)
    assert proportion(nothing, 0.05) == (0.0, 1.0)
    assert difference(nothing, Counts(3, 4), 0.05) == (-1.0, 1.0)
    assert evidence(nothing, nothing, 0.0) <= 0
    assert evidence(Counts(0, 50), nothing, 0.0) <= 0
    assert quantile([], 0.5, 0.05) == (-inf, inf)


def test_ten_million_observations_are_no_trouble():
    low, high = proportion(Counts(9_900_000, 100_000), 0.05)
    assert 0.9898 < low < 0.99 < high < 0.9902
    assert evidence(Counts(9_900_000, 100_000), Counts(9_950_000, 50_000), 0.0) > 1000


@pytest.mark.parametrize("known", [[], [1.0], [1.0, 2.0, 3.0]])
def test_few_values_leave_a_quantile_open(known):
    assert quantile(known, 0.95, 0.05).high == inf


def test_equal_values_are_their_own_quantile():
    assert quantile([2.0] * 500, 0.95, 0.05) == (2.0, 2.0) or quantile([2.0] * 500, 0.95, 0.05).low == 2.0


# The guarantee, looked at after every observation


def ever(happens):
    """The share of runs in which it happens, each with a chance of its own."""
    return sum(happens(Random(seed)) for seed in range(RUNS)) / RUNS


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_the_true_rate_is_inside_at_all_times_as_often_as_stated(rate):
    def leaves(chance):
        yes = no = 0
        for _ in range(400):
            yes, no = (yes + 1, no) if chance.random() < rate else (yes, no + 1)
            if against(Counts(yes, no), rate) >= log(1 / ALPHA):
                return True
        return False

    assert ever(leaves) <= AT_MOST


@pytest.mark.parametrize(("rate", "share"), [(0.05, 0.5), (0.3, 0.1)])
def test_equal_streams_are_told_apart_no_more_often_than_stated(rate, share):
    def alarms(chance):
        seen = [[0, 0], [0, 0]]
        for _ in range(600):
            stream, fails = chance.random() < share, chance.random() < rate
            seen[stream][fails] += 1
            if fails and evidence(Counts(*seen[1]), Counts(*seen[0]), 0.0) >= log(1 / ALPHA):
                return True
        return False

    assert ever(alarms) <= AT_MOST


def test_a_stream_that_is_worse_by_the_margin_alone_is_not_called_worse():
    def alarms(chance):
        seen = [[0, 0], [0, 0]]
        for _ in range(600):
            stream = chance.random() < 0.5
            fails = chance.random() < (0.15 if stream else 0.05)
            seen[stream][fails] += 1
            if fails and evidence(Counts(*seen[1]), Counts(*seen[0]), 0.1) >= log(1 / ALPHA):
                return True
        return False

    assert ever(alarms) <= AT_MOST


def test_a_stream_that_is_worse_is_found_out():
    def found(chance):
        seen = [[0, 0], [0, 0]]
        for _ in range(1500):
            stream = chance.random() < 0.5
            seen[stream][chance.random() < (0.15 if stream else 0.05)] += 1
        return evidence(Counts(*seen[1]), Counts(*seen[0]), 0.0) >= log(1 / ALPHA)

    assert ever(found) >= 0.99


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_a_quantile_of_skewed_times_is_inside_at_all_times_as_often_as_stated(q):
    # Of the exponential distribution, whose quantiles are known.
    true = -log(1 - q)

    def leaves(chance):
        ordered = []
        for _ in range(8):
            ordered = sorted([*ordered, *(chance.expovariate(1.0) for _ in range(50))])
            low, high = quantile(ordered, q, ALPHA)
            if not low <= true <= high:
                return True
        return False

    assert ever(leaves) <= AT_MOST


def test_a_quantile_of_values_that_are_often_equal_is_inside_too():
    def leaves(chance):
        ordered = sorted(chance.choice((1.0, 2.0, 2.0, 3.0)) for _ in range(300))
        low, high = quantile(ordered, 0.5, ALPHA)
        return not low <= 2.0 <= high

    assert ever(leaves) <= AT_MOST
