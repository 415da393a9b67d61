"""The rollout: sticky units, shares that only move whom they must, and numbers that anyone can recompute."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Router
from pointsman.context import DecisionContext
from pointsman.errors import BadRequest
from pointsman.loading import from_config
from pointsman.policy.rollout import BUCKETS, bucket_modulo100, bucket_of, path_of
from tests.core import rollout_vectors
from tests.core.support import ROOT, Clock, Scripted, chat, drive, table
from tests.faults.table import proves

VECTORS = ROOT / "docs" / "rollout-vectors.json"

shares = st.integers(0, BUCKETS).map(lambda thousandths: thousandths / 1000)
units = st.one_of(st.text(), st.integers())
buckets = st.integers(0, BUCKETS - 1)


def config(*, proxied=None, beta=None, **rollout):
    shares = {path: share for path, share in (("proxied", proxied), ("beta", beta)) if share is not None}
    return table(
        backends={"proxy": Scripted(), "direct": Scripted(), "other": Scripted()},
        paths={"proxied": ("proxy", "direct"), "direct": ("direct",), "beta": ("other", "direct")},
        rollout={"control": "direct", "salt": "s", "shares": shares} | rollout,
    )


def path(table, unit=None):
    with Router(table) as router:
        return router.explain(unit=unit).path


# Who moves when a share changes


@proves(6)
@given(buckets, shares, shares)
def test_raising_a_share_moves_units_from_control_to_that_path_and_nobody_else(bucket, one, other):
    low, high = sorted((one, other))
    before, after = (path_of(bucket, "control", {"new": share}) for share in (low, high))
    assert (before, after) in {("control", "control"), ("control", "new"), ("new", "new")}
    assert (after == "new") == (bucket < round(high * 1000))


@proves(6)
@given(buckets, st.lists(st.integers(0, BUCKETS), min_size=3, max_size=3), st.booleans())
def test_with_two_other_paths_raising_one_share_moves_only_from_control_to_it(bucket, cuts, first_grows):
    # Three cuts of the line give a lower share, a higher one, and room for the other path.
    low, high, rest = sorted(cuts)
    growing, steady = ("a", "b") if first_grows else ("b", "a")

    def at(share):
        both = {growing: share / 1000, steady: (BUCKETS - rest) / 1000}
        return path_of(bucket, "control", {name: both[name] for name in ("a", "b")})

    before, after = at(low), at(high)
    assert before == after or (before, after) == ("control", growing)


def test_from_10_to_20_per_cent_every_bucket_that_moves_goes_from_control_to_the_path():
    for name, steady in (("a", {}), ("a", {"b": 30.0}), ("b", {"a": 30.0})):
        moved = kept = 0
        for bucket in range(BUCKETS):
            at = [path_of(bucket, "control", dict(sorted(({name: share} | steady).items()))) for share in (10.0, 20.0)]
            if at[0] == at[1]:
                kept += 1
            else:
                assert at == ["control", name]
                moved += 1
        assert (moved, kept) == (BUCKETS // 10, BUCKETS - BUCKETS // 10)


@given(units, shares, shares)
@settings(max_examples=30, deadline=None)
def test_a_unit_that_was_on_the_path_stays_there_as_its_share_grows(unit, one, other):
    low, high = sorted((one, other))
    with Router(config(proxied=low)) as before, Router(config(proxied=high)) as after:
        found = before.explain(unit=unit).path, after.explain(unit=unit).path
    assert found in {("direct", "direct"), ("direct", "proxied"), ("proxied", "proxied")}


@proves(6)
@given(units)
def test_nobody_is_on_a_path_with_share_0_and_everybody_on_one_with_100(unit):
    bucket = bucket_of(unit, "s")
    assert path_of(bucket, "control", {"new": 0}) == "control"
    assert path_of(bucket, "control", {"new": 0, "newer": 0}) == "control"
    assert path_of(bucket, "control", {"new": 100}) == "new"
    assert path_of(bucket, "control", {"new": 0, "newer": 100}) == "newer"
    assert path_of(bucket, "control", {"new": 100, "newer": 0}) == "new"
    assert path_of(bucket, "control", {"new": 50, "newer": 50}) in {"new", "newer"}


@pytest.mark.parametrize("bucket", [0, 1, 9_999, 10_000, BUCKETS - 1])
def test_a_share_of_a_thousandth_of_a_per_cent_is_one_bucket(bucket):
    assert path_of(bucket, "control", {"new": 0.001}) == ("new" if bucket == 0 else "control")
    assert path_of(bucket, "control", {"a": 0, "new": 0.001}) == ("new" if bucket == BUCKETS - 1 else "control")
    assert path_of(bucket, "control", {"new": 99.999}) == ("control" if bucket == BUCKETS - 1 else "new")
    assert path_of(bucket, "control", {"new": 100.0}) == "new"


@pytest.mark.parametrize("unit", [0, 42, "u-17", None])
@pytest.mark.parametrize("without_unit", ["control", "draw"])
def test_off_sends_everyone_to_control_whatever_the_shares_say(unit, without_unit):
    assert path(config(proxied=60, beta=40, off=True, without_unit=without_unit), unit) == "direct"


def test_a_router_follows_the_shares_to_their_ends():
    assert {path(config(proxied=0), unit) for unit in range(30)} == {"direct"}
    assert {path(config(proxied=100), unit) for unit in range(30)} == {"proxied"}
    assert {path(config(proxied=50, beta=50), unit) for unit in range(30)} == {"proxied", "beta"}


# Numbers


@proves(6)
def test_the_observed_share_of_100000_units_is_within_three_sigma():
    found = [bucket_of(unit, "litellm-2025-11") for unit in range(100_000)]
    for share in (1, 10, 25, 50):
        taken = sum(path_of(bucket, "control", {"new": share}) == "new" for bucket in found)
        sigma = (100_000 * share / 100 * (1 - share / 100)) ** 0.5
        assert abs(taken - 1000 * share) <= 3 * sigma


@proves(6)
def test_two_salts_draw_independently():
    pairs = [(bucket_of(unit, "one") < BUCKETS // 2, bucket_of(unit, "two") < BUCKETS // 2) for unit in range(40_000)]
    sigma = (40_000 * 1 / 4 * 3 / 4) ** 0.5
    for both in ((True, True), (True, False), (False, True), (False, False)):
        assert abs(pairs.count(both) - 10_000) <= 3 * sigma


@given(st.text(), st.text(), st.text())
def test_salt_and_unit_do_not_run_into_one_another(salt, middle, unit):
    if middle:
        assert bucket_input(salt + middle, unit) != bucket_input(salt, middle + unit)


def bucket_input(salt, unit):
    """Two of these are equal only when the hashed bytes are, but for a collision of buckets."""
    return tuple(bucket_of(unit + tail, salt) for tail in ("", "1", "2", "3"))


@given(st.integers())
def test_an_integer_counts_as_its_decimal_text(unit):
    assert bucket_of(unit, "s") == bucket_of(str(unit), "s")


@given(st.text("aæ🚂\ud800\udfff"))
def test_every_string_has_a_bucket_lone_surrogates_too(unit):
    assert 0 <= bucket_of(unit, "s") < BUCKETS


@given(st.one_of(st.integers(), st.integers(-(10**300), 10**300)), st.integers(0, 100))
def test_modulo100_is_the_units_remainder_below_the_share(unit, share):
    expected = "new" if unit % 100 < share else "control"
    assert path_of(bucket_modulo100(unit), "control", {"new": share}) == expected
    assert path_of(bucket_modulo100(str(unit)), "control", {"new": share}) == expected


def test_modulo100_as_a_router_gives_the_same_units_the_path():
    with Router(config(proxied=10, algorithm="modulo100", salt="it plays no part")) as router:
        for unit in (*range(-5, 205), "7", "107", "110"):
            expected = "proxied" if int(unit) % 100 < 10 else "direct"
            assert router.explain(unit=unit).path == expected


@pytest.mark.parametrize("unit", ["u-17", "", "1.5"])
def test_modulo100_refuses_a_unit_that_is_no_integer_and_says_what_to_do(unit):
    with (
        Router(config(proxied=10, algorithm="modulo100")) as router,
        pytest.raises(BadRequest, match=r'is no integer.*algorithm = "sha256"'),
    ):
        router.complete("hello", unit=unit)


# Without a unit


def test_a_request_without_a_unit_takes_the_control_path():
    with Router(config(proxied=100)) as router:
        decision = router.explain()
    assert decision.path == "direct"
    assert decision.assignment is not None
    assert decision.assignment.bucket is None


def test_without_a_unit_chance_can_be_asked_to_draw_and_draws_the_same_for_the_same_seed():
    snapshot = from_config(config(proxied=50, without_unit="draw"))
    rollout = snapshot.hooks.select_model[-1].call
    catalog = snapshot.catalog.targets

    def drawn(seed):
        selection = rollout(chat(), catalog, DecisionContext(snapshot, seed, Clock()))
        assert selection is not None
        assert selection.assignment is not None
        return selection.assignment.bucket, selection.assignment.path

    found = [drawn(seed) for seed in range(400)]
    assert found == [drawn(seed) for seed in range(400)]
    assert [bucket for bucket, _ in found] == [Random(seed).randrange(BUCKETS) / BUCKETS for seed in range(400)]
    assert 150 < sum(path == "proxied" for _, path in found) < 250


def test_the_decision_of_a_draw_can_be_repeated_from_its_seed():
    with Router(config(proxied=50, without_unit="draw")) as router:
        for decision in (router.explain() for _ in range(20)):
            bucket = Random(decision.seed).randrange(BUCKETS)
            assert decision.assignment is not None
            assert decision.assignment.bucket == bucket / BUCKETS
            assert decision.path == ("proxied" if bucket < BUCKETS / 2 else "direct")


# What it leaves


def test_candidates_are_the_paths_backends_times_the_models_backend_by_backend():
    run = drive(config(proxied=100), request=chat(unit=1))
    assert [str(target) for target in run.decision.candidates] == [
        *("proxy/small", "proxy/large"),
        *("direct/small", "direct/large"),
    ]
    assert run.decision.path == "proxied"


def test_tasks_after_the_rollout_keep_the_order_of_its_backends_and_order_the_models_of_each():
    made: dict[str, Any] = config(proxied=100) | {"order": {"select_model": ["rollout", "tasks"]}}
    made["paths"]["proxied"] = ("direct", "proxy")
    made["tasks"]["chat"]["models"] = ("large", "small")
    run = drive(made, request=chat(unit=1))
    assert [str(target) for target in run.decision.candidates] == [
        *("direct/large", "direct/small"),
        *("proxy/large", "proxy/small"),
    ]


def test_fallback_never_rewrites_the_assignment():
    failing = Scripted([OSError()])
    with Router(config(proxied=100) | {"plugins": config()["plugins"] | {"proxy": failing}}) as router:
        reply = router.complete("hello", unit=1)
    assert reply.decision is not None
    assert reply.decision.path == "proxied"
    assert reply.decision.served is not None
    assert reply.decision.served.backend == "direct"


def test_the_reason_says_bucket_share_and_path():
    with Router(config(proxied=10, algorithm="modulo100")) as router:
        whys = [router.explain(unit=unit).steps[-1].why for unit in (3, 42)]
        whys.append(router.explain().steps[-1].why)
    assert whys == ["bucket 3.000 %, proxied has 10 %", "bucket 42.000 %, direct has the rest", "no unit: direct"]


# Published vectors


def test_the_published_vectors_are_what_anyone_computes_from_the_definition():
    assert VECTORS.read_text(encoding="utf-8") == rollout_vectors.text()


def test_the_rollout_agrees_with_the_published_vectors():
    published = json.loads(VECTORS.read_text(encoding="utf-8"))
    for vector in published["sha256"]:
        assert bucket_of(vector["unit"], vector["salt"]) == vector["bucket"], vector
    for vector in published["modulo100"]:
        if vector["bucket"] is None:
            with pytest.raises(BadRequest):
                bucket_modulo100(vector["unit"])
        else:
            assert bucket_modulo100(vector["unit"]) == vector["bucket"], vector
