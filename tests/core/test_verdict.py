"""The verdict on a rollout: what is compared, what is proved of it, and what a person is told to do."""

import re
from functools import partial
from math import inf
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from pointsman.convert import structure
from pointsman.records import RecordedRequest
from pointsman.rollouts.comparison import compare
from pointsman.rollouts.findings import Finding
from pointsman.rollouts.settings import MEASURES, VerdictSettings
from pointsman.rollouts.verdict import judge

PAGE = Path(__file__).parents[2] / "docs" / "verdict.md"
SHARES = {"proxied": 50.0, "direct": 50.0}


def record(path="proxied", time=0.0, **said) -> RecordedRequest:
    """An answered stream, as it was recorded."""
    return RecordedRequest(
        **{
            "request_id": f"{path}-{time}",
            "time": time,
            "task": "chat",
            "unit": None,
            "rollout": "default",
            "path": path,
            "bucket": 0.5,
            "share": SHARES.get(path),
            "outcome": "answered",
            "why": "",
            "model": "m",
            "backend": "b",
            "fell_back": False,
            "attempts": 1,
            "duration": 2.0,
            "time_to_first_token": 0.5,
            "input_tokens": None,
            "output_tokens": None,
            "cost": 0.001,
            "decision": "{}",
        }
        | said
    )


def series(path, n=4000, *, failed=0.02, fell_back=0.05, slow=1.0, streams=True, cost: float | None = 0.001):
    """Requests one after the other, of which a part fails or falls back; times spread evenly from 0.5 to 1.5 s."""
    every = []
    for i in range(n):
        spread = slow * (0.5 + i % 100 / 100)
        outcome, fallback = ("failed" if i < failed * n else "answered"), i < (failed + fell_back) * n
        first = spread / 4 if streams else None
        said = {"outcome": outcome, "fell_back": fallback, "duration": spread, "time_to_first_token": first}
        every.append(record(path, i, cost=cost, **said))
    return every


compared = partial(compare, rollout="default", path="proxied", control="direct")
judged = partial(judge, rollout="default", path="proxied", control="direct", share=50.0)


def finding(verdict, measure) -> Finding:
    return next(one for one in verdict.findings if one.measure == measure)


# What is compared


def test_only_what_chance_assigned_in_this_rollout_counts():
    others = [record(bucket=None), record(rollout="emails"), record("third"), record("direct", bucket=None)]
    result = compared([*others, record(), record("direct")])
    assert (result.path.requests, result.control.requests) == (1, 1)


def test_a_period_begins_when_the_share_changes_on_either_side():
    early = [record(time=1, share=10.0), record("direct", 1, share=90.0), record("direct", 2, share=90.0)]
    late = [record("direct", 3), record(time=4)]
    result = compared([*late, *early])
    assert (result.path.requests, result.control.requests) == (1, 1)
    assert (result.share, result.since, result.until) == (50.0, 3, 4)


def test_a_change_of_the_control_paths_share_alone_begins_a_period_too():
    records = [record(time=1), record("direct", 2, share=30.0), record(time=3), record("direct", 4)]
    result = compared(records)
    assert (result.path.requests, result.control.requests) == (1, 1)


def test_a_share_that_comes_back_begins_again():
    records = [record(time=1), record(time=2, share=10.0), record(time=3), record("direct", 4)]
    assert compared(records).path.requests == 1


def test_somebody_may_say_since_when():
    records = [record(time=1, share=10.0), record(time=2), record("direct", 0.5), record("direct", 2)]
    result = compared(records, since=1.0)
    assert (result.path.requests, result.control.requests) == (2, 1)


def test_each_unit_can_be_made_to_count_once():
    units = [(7, 1), ("7", 2), (8, 3), (None, 4), (None, 5)]
    records = [record(time=time, unit=unit, outcome="failed" if time == 2 else "answered") for unit, time in units]
    path = compared(reversed(records), one_per_unit=True).path
    assert (path.requests, path.success.seen) == (4, 1.0)
    verdict = judged([*records, *records, record("direct")], settings=VerdictSettings(one_per_unit=True))
    assert verdict.comparison.path.requests == 6


@pytest.mark.parametrize("outcome", ["cancelled", "abandoned"])
def test_whoever_left_says_nothing_about_a_path(outcome):
    path = compared([record(outcome=outcome, fell_back=True, duration=99.0), record(time=1)]).path
    assert (path.requests, path.left_out) == (1, 1)
    assert (path.success.seen, path.fallback.seen, path.duration_p95.seen) == (1.0, 0.0, 2.0)


def test_a_last_resort_is_no_success_and_has_no_time():
    path = compared([record(outcome="last_resort", fell_back=True, duration=60.0), record(time=1)]).path
    assert (path.success.seen, path.fallback.seen, path.duration_p95.seen) == (0.5, 0.5, 2.0)


def test_first_tokens_are_those_of_streams_and_unknown_costs_are_counted():
    path = compared([record(time_to_first_token=None, cost=None), record(time=1), record(time=2, cost=0.003)]).path
    assert (path.streams, path.first_token_p50.seen, path.cost_unknown) == (2, 0.5, 1)
    assert path.cost_mean == pytest.approx(0.002)


def test_figures_lie_in_their_intervals():
    figures = compared(series("proxied") + series("direct")).path
    for one in (
        figures.success,
        figures.fallback,
        figures.duration_p50,
        figures.duration_p95,
        figures.first_token_p50,
        figures.first_token_p95,
        figures.cost_p50,
    ):
        assert one.seen is not None
        assert one.interval.low <= one.seen <= one.interval.high < inf


def test_nothing_recorded_is_no_estimate():
    result = compared([])
    assert (result.share, result.since, result.path.requests) == (None, None, 0)
    assert result.path.success.seen is None
    assert result.path.success.interval == (0.0, 1.0)
    assert all(one.seen is None for one in result.excess.values())


# What is said of it

WORSE = {
    "failures": {"failed": 0.10},
    "fallbacks": {"fell_back": 0.20},
    "duration": {"slow": 1.6, "streams": False},
    "first_token": {"slow": 1.6},
    "cost": {"cost": 0.002},
}


def test_an_equal_path_advances_to_the_next_step():
    verdict = judged(series("proxied") + series("direct"), share=50.0)
    assert (verdict.action, verdict.next_share) == ("advance", 100.0)
    assert {one.standing for one in verdict.findings} == {"fine"}
    assert verdict.reason.startswith("advance to 100 %: proxied is proved not worse than is tolerated, in 4,000 ")
    assert "failures 2.0 % against 2.0 %, at most +1.7 points, +2.0 tolerated; fallbacks" in verdict.reason


@pytest.mark.parametrize("measure", WORSE)
def test_whatever_is_proved_worse_is_a_step_back(measure):
    verdict = judged(series("proxied", **WORSE[measure]) + series("direct", streams=measure != "duration"))
    assert (verdict.action, verdict.next_share) == ("step_back", 10.0)
    assert finding(verdict, measure).standing == "worse"
    assert str(finding(verdict, measure)) in verdict.reason


def test_a_path_that_is_better_advances():
    better = series("proxied", failed=0.0, fell_back=0.0, slow=0.5, cost=0.0)
    assert judged(better + series("direct")).action == "advance"


def test_below_the_first_step_there_is_nothing():
    records = [evolve(one, share=10.0) for one in series("proxied", failed=0.2)] + series("direct")
    assert judged(records, share=10.0).next_share == 0.0


def test_at_the_last_step_before_everyone_the_old_path_stays():
    verdict = judged(series("proxied") + series("direct"), steps=(10.0, 50.0))
    assert (verdict.action, verdict.next_share) == ("hold", 50.0)
    assert verdict.reason.startswith(
        "hold at 50 %: the last of the planned steps is reached; plan another one to go on; "
    )


def test_where_most_requests_fail_on_both_paths_nobody_is_moved():
    verdict = judged(series("proxied", failed=1.0) + series("direct", failed=1.0))
    assert verdict.action == "hold"
    assert "most requests fail on both paths" in verdict.reason


def test_requests_that_their_callers_ended_are_told_where_there_are_no_others():
    verdict = judged([evolve(one, outcome="abandoned") for one in series("proxied")] + series("direct"))
    assert "nothing of proxied was recorded since the shares are what they are, but for " in verdict.reason


def test_too_few_requests_hold_and_say_so():
    verdict = judged(series("proxied", 30) + series("direct", 90))
    assert verdict.action == "hold"
    assert "100 requests of each path are the least, and there are 30 of proxied and 90 of direct" in verdict.reason


def test_a_disaster_needs_no_least_number():
    assert judged(series("proxied", 40, failed=1.0) + series("direct", 40, failed=0.0)).action == "step_back"


def test_what_is_missing_is_said_with_an_estimate_that_comes_true():
    verdict = judged(series("proxied", 1000) + series("direct", 1000))
    assert verdict.action == "hold"
    failures = finding(verdict, "failures")
    assert failures.standing == "open"
    assert failures.more is not None
    assert f"about {failures.more:,} more requests" in verdict.reason
    for part, standing in ((0.8, "open"), (1.1, "fine")):
        n = 1000 + int(part * failures.more)
        later = judged(series("proxied", n) + series("direct", n))
        assert finding(later, "failures").standing == standing


def test_a_quantile_that_few_requests_leave_open_is_said_to_have_no_end():
    verdict = judged(series("proxied", 110) + series("direct", 110))
    words = str(finding(verdict, "duration"))
    assert words in verdict.reason
    assert "times and with no upper end yet, 1.25 tolerated (about " in words


def test_what_will_never_be_proved_has_no_estimate():
    verdict = judged(series("proxied", 1000, failed=0.04) + series("direct", 1000))
    assert finding(verdict, "failures").more is None
    assert verdict.action == "hold"


def test_what_neither_path_has_is_not_asked_for():
    verdict = judged(series("proxied", streams=False, cost=None) + series("direct", streams=False, cost=None))
    assert verdict.action == "advance"
    assert finding(verdict, "first_token").standing == "nothing"
    assert str(finding(verdict, "cost")) == "median cost: nothing was recorded"


def test_what_one_path_alone_has_cannot_be_compared_unless_nobody_requires_it():
    records = series("proxied", cost=None) + series("direct")
    verdict = judged(records)
    assert verdict.action == "hold"
    assert "median cost unknown against $0.001, which cannot be compared" in verdict.reason
    without_cost = VerdictSettings(required=("failures", "fallbacks", "duration", "first_token"))
    assert judged(records, settings=without_cost).action == "advance"


def test_what_is_not_required_can_still_be_worse():
    records = series("proxied", cost=0.002) + series("direct")
    assert judged(records, settings=VerdictSettings(required=("failures",))).action == "step_back"


def test_nothing_required_proves_nothing():
    verdict = judged(series("proxied") + series("direct"), settings=VerdictSettings(required=()))
    assert (verdict.action, "nothing that is required was recorded" in verdict.reason) == ("hold", True)


def test_two_paths_that_cost_nothing_cost_the_same():
    verdict = judged(series("proxied", cost=0.0) + series("direct", cost=0.0))
    assert finding(verdict, "cost").standing == "fine"
    verdict = judged(series("proxied", cost=0.001) + series("direct", cost=0.0))
    assert finding(verdict, "cost").standing == "worse"


@pytest.mark.parametrize(
    ("share", "action", "words"),
    [
        (0.0, "hold", "hold at 0 %: chance puts nobody on proxied, so there is nothing to judge; the first planned"),
        (10.0, "hold", "hold at 10 %: nothing of proxied was recorded since the shares are what they are"),
        (100.0, "done", "done, remove the old path direct: chance puts nobody on direct, so there is nothing to"),
    ],
)
def test_where_there_is_nothing_to_compare_it_says_so(share, action, words):
    verdict = judged(series("proxied") + series("direct"), share=share)
    assert (verdict.action, verdict.next_share) == (action, share)
    assert verdict.reason.startswith(words)


def test_no_record_at_all_is_a_reason_to_hold():
    assert judged([]).reason == "hold at 50 %: nothing of proxied was recorded since the shares are what they are"


def test_a_step_never_takes_what_other_paths_have():
    records = series("proxied") + series("direct")
    verdict = judged(records, others=30.0)
    assert verdict.action == "hold"
    assert "other paths have 30 % and leave no room for 100 %" in verdict.reason
    assert judged(records, others=50.0).reason.startswith("hold at 50 %: chance puts nobody on direct")


# The settings, and the page


def test_the_example_of_the_page_works(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(example, {"records": []})
    assert capsys.readouterr().out.startswith("hold at 10 %: nothing of proxied was recorded")


def test_the_page_states_the_settings_that_there_are():
    stated = re.findall(r"^\| `(\w+)` .*\| (\d[\d.]*)", PAGE.read_text("utf-8"), re.MULTILINE)
    settings = VerdictSettings()
    assert [(name, float(margin)) for name, margin in stated] == [(name, settings.margin(name)) for name in MEASURES]


def test_settings_are_read_from_a_table():
    settings, complaints = structure({"cost": 2.0, "required": ["failures", "cost"]}, VerdictSettings)
    assert complaints == []
    assert settings == VerdictSettings(cost=2.0, required=("failures", "cost"))


@pytest.mark.parametrize(
    "table",
    [
        {"failures": -0.1},
        {"fallbacks": 1.0},
        {"duration": 0.9},
        {"error_rate": 0.0},
        {"error_rate": 0.6},
        {"at_least": 0},
        {"required": ["speed"]},
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_name(table):
    _, complaints = structure(table, VerdictSettings)
    assert [complaint.path[0] for complaint in complaints] == list(table)


# The guarantee: nothing is said to be proved that is not so, however often one looks

RUNS = 60
OFTEN = VerdictSettings(error_rate=0.5, at_least=20, required=("failures",))
"""So that there would be errors to see: 0.1 for each measure."""
AT_MOST = 0.1 + 3 * (0.1 * 0.9 / RUNS) ** 0.5


def ever(action, failing):
    """The share of runs in which a verdict is ever given, looked at after every 80 requests; the margin is 0.02."""
    runs = 0
    for seed in range(RUNS):
        chance, records = Random(seed), []
        for at in range(480):
            path = chance.choice(("proxied", "direct"))
            outcome = "failed" if chance.random() < failing[path] else "answered"
            seconds = chance.lognormvariate(0, 1)
            said = {"outcome": outcome, "duration": seconds, "time_to_first_token": None, "cost": None}
            records.append(record(path, at, **said))
            if at % 80 == 79 and judged(records, settings=OFTEN).action == action:
                runs += 1
                break
    return runs / RUNS


def test_equal_paths_step_back_no_more_often_than_stated():
    assert ever("step_back", {"proxied": 0.3, "direct": 0.3}) <= AT_MOST


def test_a_path_that_is_worse_than_is_tolerated_advances_no_more_often_than_stated():
    assert ever("advance", {"proxied": 0.0201, "direct": 0.0}) <= AT_MOST


def test_a_path_that_is_much_worse_is_found_out():
    assert ever("step_back", {"proxied": 0.4, "direct": 0.1}) >= 0.95
