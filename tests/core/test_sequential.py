"""Always-valid inference: what it says is right however often one looks, and as tight as that allows."""

from bisect import insort
from functools import partial
from itertools import pairwise
from math import exp, inf, log
from random import Random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.rollouts.sequential import Counts, against, difference, evidence, proportion, quantile

counts = st.builds(Counts, st.integers(0, 2000), st.integers(0, 2000))
some = counts.filter(lambda one: one.total > 0)
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.2])

RUNS = 400
ALPHA = 0.1


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


@given(some, alphas, st.sampled_from([2, 10, 1000]))
def test_an_interval_narrows_with_more_of_the_same(one, alpha, times):
    narrow = proportion(Counts(one.successes * times, one.failures * times), alpha)
    wide = proportion(one, alpha)
    assert wide.low <= narrow.low + 1e-6
    assert narrow.high <= wide.high + 1e-6


@given(st.lists(st.floats(0, 100), min_size=1, max_size=400).map(sorted), st.sampled_from([0.05, 0.5, 0.95]), alphas)
def test_a_quantile_lies_between_values_and_narrows_with_more_doubt_allowed(ordered, q, alpha):
    low, high = quantile(ordered, q, alpha)
    assert low <= ordered[min(int(q * len(ordered)), len(ordered) - 1)] <= high
    inner = quantile(ordered, q, 2 * alpha)
    assert low <= inner.low
    assert inner.high <= high


@pytest.mark.parametrize("known", [[], [1.0], [1.0, 2.0, 3.0]])
def test_few_values_leave_a_quantile_open(known):
    assert quantile(known, 0.95, 0.05).high == inf


def test_equal_values_are_their_own_quantile():
    assert quantile([2.0] * 500, 0.95, 0.05) == (2.0, 2.0)


# The guarantee, looked at after every observation


def ever(happens, runs=RUNS):
    """The share of runs in which it happens, each with a chance of its own."""
    return sum(happens(Random(seed)) for seed in range(runs)) / runs


def at_most(runs=RUNS):
    """What a probability of `ALPHA` can come out as among so many runs, three sigma up."""
    return ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5


def two_streams(chance, share, rates, n):
    """What was seen of two streams after each observation: the share of the first, and how often each fails."""
    seen = [Counts(0, 0), Counts(0, 0)]
    for _ in range(n):
        stream = 0 if chance.random() < share else 1
        yes, no = seen[stream]
        seen[stream] = Counts(yes, no + 1) if chance.random() < rates[stream] else Counts(yes + 1, no)
        yield seen[0], seen[1]


def z_score(one, other):
    """What a test for one look goes by."""
    if not (one.total and other.total):
        return 0.0
    rate = (one.failures + other.failures) / (one.total + other.total)
    spread = (rate * (1 - rate) * (1 / one.total + 1 / other.total)) ** 0.5
    return (one.failures / one.total - other.failures / other.total) / spread if spread else 0.0


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_the_true_rate_is_inside_at_all_times_as_often_as_stated(rate):
    def leaves(chance):
        yes = no = 0
        for _ in range(400):
            yes, no = (yes + 1, no) if chance.random() < rate else (yes, no + 1)
            if against(Counts(yes, no), rate) >= log(1 / ALPHA):
                return True
        return False

    assert ever(leaves) <= at_most()


@pytest.mark.parametrize(
    ("share", "rates", "margin"),
    [(0.5, (0.05, 0.05), 0.0), (0.1, (0.3, 0.3), 0.0), (0.5, (0.15, 0.05), 0.1), (0.5, (0.1, 0.3), -0.2)],
)
def test_a_stream_within_the_margin_is_called_worse_no_more_often_than_stated(share, rates, margin):
    def alarms(chance):
        return any(evidence(*seen, margin) >= log(1 / ALPHA) for seen in two_streams(chance, share, rates, 300))

    assert ever(alarms, 200) <= at_most(200)


def test_a_test_for_one_look_would_fail_what_is_asked_here():
    def alarms(chance):
        return any(z_score(*seen) >= 1.2816 for seen in two_streams(chance, 0.5, (0.3, 0.3), 300))

    assert ever(alarms, 200) > 4 * ALPHA


def test_the_true_difference_is_inside_at_all_times_as_often_as_stated():
    def leaves(chance):
        every = list(two_streams(chance, 0.5, (0.25, 0.1), 200))
        looks = (difference(*seen, ALPHA) for seen in every[19::20])
        return not all(low <= 0.15 <= high for low, high in looks)

    assert ever(leaves, 100) <= at_most(100)


def test_a_stream_that_is_worse_is_found_out():
    def found(chance):
        *_, seen = two_streams(chance, 0.5, (0.15, 0.05), 1500)
        return evidence(*seen, 0.0) >= log(1 / ALPHA)

    assert ever(found) >= 0.99


def quantile_leaves(chance, draw, true, q):
    ordered = []
    for _ in range(250):
        insort(ordered, draw(chance))
        low, high = quantile(ordered, q, ALPHA)
        if not low <= true <= high:
            return True
    return False


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_a_quantile_of_skewed_times_is_inside_at_all_times_as_often_as_stated(q):
    true = exp(NormalDist().inv_cdf(q))
    leaves = partial(quantile_leaves, draw=lambda chance: chance.lognormvariate(0, 1), true=true, q=q)
    assert ever(leaves, 150) <= at_most(150)


def test_a_quantile_of_values_that_are_often_equal_is_inside_too():
    leaves = partial(quantile_leaves, draw=lambda chance: chance.choice((1.0, 2.0, 2.0, 3.0)), true=2.0, q=0.5)
    assert ever(leaves, 100) <= at_most(100)
