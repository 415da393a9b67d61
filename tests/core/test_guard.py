"""The guard: a path that does worse is taken out, an equal one is not, and only a person lets units back."""

import json
import logging
import subprocess
import sys
from functools import cache
from random import Random

import pytest
from attrs import evolve

from pointsman import ConfigError, RolloutSettings, Router
from pointsman.decision import Assignment
from pointsman.errors import AllTargetsFailed, BadRequest
from pointsman.events import RolloutHalted
from pointsman.policy.guard import Guard, Watch
from pointsman.policy.rollout import bucket_in, path_of
from pointsman.rollouts.sequential import evidence
from tests.core.support import Collecting, Scripted, chat, decided, drive, failure, table

QUICK = {"at_least": 20, "false_alarms": 0.01}
ROLLOUT = RolloutSettings(control="direct", salt="s", shares={"proxied": 50})


def config(*, proxy=(), direct=(), sink=None, guard=None, plugins=None, **rollout):
    return table(
        ("m",),
        {"proxy": Scripted(proxy), "direct": Scripted(direct)},
        paths={"proxied": ("proxy", "direct"), "direct": ("direct",)},
        rollout={"control": "direct", "salt": "s", "shares": {"proxied": 50}} | rollout,
        plugins={"guard": QUICK | (guard or {}), **({"told": sink} if sink else {}), **(plugins or {})},
    )


def forever(what):
    while True:
        yield what


def unit_on(path, *, number=0):
    """One of the units that the rollout puts on a path."""
    found = (unit for unit in range(10_000) if path_of(bucket_in(ROLLOUT, unit), "direct", ROLLOUT.shares) == path)
    return next(unit for place, unit in enumerate(found) if place == number)


UNITS = {path: [unit_on(path, number=n) for n in range(3)] for path in ("proxied", "direct")}


def serve(router, count=60, *, loses=False):
    """So many requests on each path; returns where the next units go."""
    for place in range(count):
        for units in UNITS.values():
            router.complete("x", unit=units[place % 3])
    assert router.flush()
    assert bool(sum(report.lost for report in router.sink_reports())) == loses
    return {path: router.explain(unit=units[0]).path for path, units in UNITS.items()}


# At once, and by itself


def test_a_path_whose_backend_is_down_is_taken_out_and_its_units_take_control():
    proxied = forever(failure("connect"))
    with Router(config(proxy=proxied)) as router:
        assert serve(router) == {"proxied": "direct", "direct": "direct"}
        decision = router.explain(unit=UNITS["proxied"][0])
        served = decided(router.complete("x", unit=UNITS["proxied"][0]))
    assert [step.plugin for step in decision.steps] == ["tasks", "guard", "rollout"]
    assert decision.steps[1].why.startswith("proxied is halted: ")
    assert " requests met a setback, against 0 of " in decision.steps[1].why
    assert decision.assignment == Assignment(path="direct", backends=("direct",), salt="s", rollout="default")
    assert served.served is not None
    assert (served.served.backend, len(served.attempts)) == ("direct", 1)


def test_a_path_whose_requests_nobody_answers_is_taken_out_too():
    alone = config(proxy=forever(failure("server")))
    alone["paths"]["proxied"] = ("proxy",)
    with Router(alone) as router:
        for place in range(60):
            with pytest.raises(AllTargetsFailed):
                router.complete("x", unit=UNITS["proxied"][place % 3])
            router.complete("x", unit=UNITS["direct"][place % 3])
            assert router.flush()
            if router.rollout.halted():
                break
        assert router.explain(unit=UNITS["proxied"][0]).path == "direct"


def test_a_path_that_does_as_well_stays():
    with Router(config()) as router:
        assert serve(router) == {"proxied": "proxied", "direct": "direct"}


def test_trouble_that_both_paths_have_halts_nobody():
    down = {"proxy": forever(failure("server")), "direct": forever(failure("server"))}
    with Router(config(**down) | {"tasks": {"chat": {"models": ["m"], "last_resort": "later"}}}) as router:
        assert serve(router)["proxied"] == "proxied"


def test_a_request_that_is_at_fault_itself_says_nothing_about_a_path():
    with Router(config(proxy=forever(failure("bad_request")))) as router:
        for place in range(60):
            with pytest.raises(BadRequest):
                router.complete("x", unit=UNITS["proxied"][place % 3])
            router.complete("x", unit=UNITS["direct"][place % 3])
        assert router.flush()
        assert router.explain(unit=UNITS["proxied"][0]).path == "proxied"


def test_units_that_were_not_assigned_by_chance_prove_nothing():
    named = {"units": {"proxied": UNITS["proxied"]}}
    with Router(config(proxy=forever(failure("connect")), **named)) as router:
        assert serve(router)["proxied"] == "proxied"


def test_a_handful_of_requests_moves_nothing():
    with Router(config(proxy=forever(failure("connect")), guard={"at_least": 50})) as router:
        assert serve(router, 49)["proxied"] == "proxied"
        assert serve(router, 2)["proxied"] == "direct"


def test_there_is_no_guard_unless_the_configuration_names_one():
    unguarded = config(proxy=forever(failure("connect")))
    del unguarded["plugins"]["guard"]
    with Router(unguarded) as router:
        assert serve(router)["proxied"] == "proxied"


def test_it_is_one_log_line_and_one_event(caplog):
    sink = Collecting()
    with (
        caplog.at_level(logging.INFO, "pointsman"),
        Router(config(proxy=forever(failure("connect")), sink=sink)) as router,
    ):
        serve(router)
        serve(router, 3)
    (event,) = sink.rollouts
    assert isinstance(event, RolloutHalted)
    assert evolve(event, time=0.0, why="") == RolloutHalted(
        time=0.0, rollout="default", path="proxied", control="direct", why=""
    )
    (record,) = [record for record in caplog.records if record.name == "pointsman.policy.guard"]
    assert record.getMessage().startswith("rollout default: path proxied is halted, its units take direct: ")


def test_without_a_unit_whoever_is_drawn_for_a_halted_path_takes_control():
    with Router(config(proxy=forever(failure("connect")), without_unit="draw")) as router:
        serve(router)
        assert {router.explain().path for _ in range(40)} == {"direct"}


def test_what_is_drawn_beside_a_halted_path_is_still_compared():
    both = config(proxy=forever(failure("connect")), without_unit="draw")
    both["paths"]["beta"] = ("proxy", "direct")
    both["rollout"]["shares"] = {"proxied": 40, "beta": 20}
    with Router(both) as router:
        for _ in range(600):
            router.complete("x")
        assert router.flush()
        assert {halt.way.path for halt in router.rollout.halted()} == {"proxied", "beta"}


def test_other_paths_and_other_rollouts_go_on():
    both = config(proxy=forever(failure("connect")))
    both["paths"]["beta"] = ("direct", "proxy")
    both["rollout"]["shares"] = {"proxied": 50, "beta": 20}
    both["tasks"]["drafts"] = {"models": ["m"]}
    both["router"] = {"default_task": "chat"}
    both["rollouts"] = {"drafts": {"tasks": ["drafts"], "control": "direct", "shares": {"proxied": 100}}}
    with Router(both) as router:
        for unit in range(300):
            router.complete("x", unit=unit)
        assert router.flush()
        assert {router.explain(unit=unit).path for unit in range(300)} == {"direct", "beta"}
        assert router.explain(task="drafts", unit=1).path == "proxied"


def test_changed_shares_begin_the_comparison_anew():
    with Router(config(proxy=forever(failure("connect")), guard={"at_least": 50})) as router:
        serve(router, 45)
        router.rollout.set({"proxied": 50.001})  # so that none of these units moves
        assert serve(router, 45)["proxied"] == "proxied"
        assert serve(router, 10)["proxied"] == "direct"


@pytest.mark.parametrize("changed", [{"control": "beta"}, {"salt": "other"}, {"shares": {"proxied": 40}}])
def test_who_is_compared_with_whom_begins_anew_with_the_rollout(changed):
    watch = Watch(ROLLOUT, 2000)
    assert watch.is_of(evolve(ROLLOUT, steps=(50, 100)))
    assert not watch.is_of(evolve(ROLLOUT, **changed))


@pytest.mark.parametrize("order", [["rollout", "tasks"], ["tasks", "rollout", "guard"]])
def test_a_guard_after_the_rollout_is_refused(order):
    with pytest.raises(ConfigError, match=r"order.select_model: guard has to come before rollout; name it there"):
        Router({**config(), "order": {"select_model": order}})


# Sticky, until a person resumes


def test_it_stays_halted_however_well_the_path_would_do_now():
    recovers = iter([failure("connect")] * 60)
    with Router(config(proxy=recovers)) as router:
        assert serve(router)["proxied"] == "direct"
        assert serve(router, 200)["proxied"] == "direct"


def test_a_change_of_shares_does_not_resume_it():
    with Router(config(proxy=forever(failure("connect")))) as router:
        serve(router)
        router.rollout.set({"proxied": 60})
        assert router.explain(unit=UNITS["proxied"][0]).path == "direct"


def test_a_person_resumes_it_in_the_running_program_and_it_can_be_halted_again(caplog):
    sink = Collecting()
    with (
        caplog.at_level(logging.INFO, "pointsman"),
        Router(config(proxy=forever(failure("connect")), sink=sink)) as router,
    ):
        serve(router)
        (halt,) = router.rollout.halted()
        assert (halt.way.rollout, halt.way.path, halt.control) == ("default", "proxied", "direct")
        assert router.rollout.resume("default") == (halt,)
        assert router.rollout.halted() == ()
        assert router.explain(unit=UNITS["proxied"][0]).path == "proxied"
        # What was seen before is forgotten: it takes as many requests as at first.
        assert serve(router, QUICK["at_least"] - 1)["proxied"] == "proxied"
        assert serve(router)["proxied"] == "direct"
        router.complete("x")
        assert router.flush()
    assert [type(event).__name__ for event in sink.rollouts] == ["RolloutHalted", "RolloutResumed", "RolloutHalted"]
    assert caplog.messages.count("rollout default: path proxied is resumed") == 1


# Across processes and restarts


def test_with_a_file_the_next_start_knows_of_it_and_another_process_hears_of_a_resumption(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.policy.guard.READ_AGAIN", 0.0)
    file = tmp_path / "halts.jsonl"
    down = {"proxy": forever(failure("connect")), "guard": {"file": str(file)}}
    with Router(config(**down)) as first:
        serve(first)
        with Router(config(**down)) as second:
            assert second.explain(unit=UNITS["proxied"][0]).path == "direct"
            second.rollout.resume()
        first.complete("x")
        assert first.flush()
        assert first.explain(unit=UNITS["proxied"][0]).path == "proxied"
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == ["halted", "resumed"]


def test_what_another_process_has_halted_can_be_resumed_before_it_was_heard_of(tmp_path):
    file = {"file": str(tmp_path / "halts.jsonl")}
    with Router(config(guard=file)) as second, Router(config(proxy=forever(failure("connect")), guard=file)) as first:
        serve(first)
        (halt,) = second.rollout.resume()
    assert halt.way.path == "proxied"
    with Router(config(guard=file)) as third:
        assert third.rollout.halted() == ()


def test_without_a_file_a_new_start_begins_anew():
    with Router(config(proxy=forever(failure("connect")))) as router:
        serve(router)
    with Router(config()) as router:
        assert router.explain(unit=UNITS["proxied"][0]).path == "proxied"


def test_an_empty_line_says_nothing(tmp_path):
    file = tmp_path / "halts.jsonl"
    file.write_text('\n{"event": "resumed", "rollout": "default", "path": "proxied"}\n\n')
    with Router(config(guard={"file": str(file)})) as router:
        assert router.rollout.halted() == ()


def test_a_file_that_somebody_spoilt_is_refused_with_its_line(tmp_path):
    file = tmp_path / "halts.jsonl"
    file.write_text('{"event": "resumed", "rollout": "default", "path": "proxied"}\nhello\n')
    with pytest.raises(ConfigError, match=r"line 2 of .* says neither that a path is halted nor resumed; remove it"):
        Router(config(guard={"file": str(file)}))


@pytest.mark.parametrize("spoil", [lambda file: file.mkdir(), lambda file: file.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_one_of_halts_is_refused_in_words(tmp_path, spoil):
    spoil(file := tmp_path / "halts")
    with pytest.raises(ConfigError, match=r"plugins\.guard\.file: .* cannot be read: .*; name a file for halts alone"):
        Router(config(guard={"file": str(file)}))


def test_a_file_that_cannot_be_written_does_not_keep_the_path_from_being_halted(tmp_path, caplog):
    with Router(config(proxy=forever(failure("connect")), guard={"file": str(tmp_path / "no" / "halts")})) as router:
        assert serve(router, loses=True)["proxied"] == "direct"
    assert "sink guard: emit_metric raised FileNotFoundError" in caplog.text


def test_what_could_not_be_written_stays_halted_and_is_written_when_it_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.policy.guard.READ_AGAIN", 0.0)
    file = tmp_path / "later" / "halts.jsonl"
    with Router(config(proxy=forever(failure("connect")), guard={"file": str(file)})) as router:
        serve(router, loses=True)
        file.parent.mkdir()
        others = {"event": "halted", "rollout": "other", "path": "x", "control": "direct", "time": 1.0, "why": "y"}
        file.write_text(json.dumps(others) + "\n")
        assert serve(router, 1, loses=True)["proxied"] == "direct"
    assert [json.loads(line)["path"] for line in file.read_text().splitlines()] == ["x", "proxied"]


ON_A_DISK_THAT_FILLS_UP = """
import resource, sys
from pathlib import Path
from pointsman.policy.halts import HaltFile, Way
file = HaltFile(Path(sys.argv[1]))
file.remove(Way("default", "proxied"), 1.0)
size = file.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
try:
    file.remove(Way("default", "proxied"), 2.0)
except OSError:
    print(file.path.stat().st_size == size, file.read())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits to the size of a file")
def test_a_full_disk_leaves_no_half_a_line(tmp_path):
    arguments = [sys.executable, "-c", ON_A_DISK_THAT_FILLS_UP, str(tmp_path / "halts.jsonl")]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == "True {}\n"


def test_a_file_that_is_gone_resumes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("pointsman.policy.guard.READ_AGAIN", 0.0)
    file = tmp_path / "halts.jsonl"
    with Router(config(proxy=forever(failure("connect")), guard={"file": str(file)})) as router:
        serve(router)
        file.unlink()
        assert serve(router, 1)["proxied"] == "direct"


# How sure it is, and how soon


def test_a_prompt_that_is_too_long_for_the_first_candidate_is_a_setback_once_another_answers():
    first, second = FELL_BACK.attempts
    too_long = evolve(FELL_BACK, attempts=(evolve(first, failure=failure("context_length")), second))
    guard = Guard()
    here = guard._here.here()
    here.rollouts["default"] = ROLLOUT
    guard._count(here, evolve(too_long, assignment=Assignment(path="proxied", rollout="default", share=50.0)))
    assert [watch.trials[0].path for watch in here.watches.values()] == [(0, 1)]


@pytest.mark.parametrize("outcome", ["cancelled", "abandoned"])
def test_what_its_caller_ended_says_nothing_about_a_path(outcome):
    guard = Guard()
    here = guard._here.here()
    here.rollouts["default"] = ROLLOUT
    guard._count(here, evolve(decision("proxied", 0.5, setback=True), outcome=outcome))
    assert here.watches == {}
    guard._count(here, decision("proxied", 0.5, setback=True))
    assert [watch.trials[0].path for watch in here.watches.values()] == [(0, 1)]


def simulated(rates, *, seed, requests, share=0.5, **settings):
    """After how many requests of the path it is halted, or None; `rates` are those of setbacks."""
    guard, chance = Guard(**settings), Random(seed)
    here = guard._here.here()
    here.rollouts["default"] = evolve(ROLLOUT, shares={"proxied": share * 100})
    on_path = 0
    for _ in range(requests):
        path = "proxied" if chance.random() < share else "direct"
        on_path += path == "proxied"
        guard._count(here, decision(path, share, setback=chance.random() < rates[path]))
        if here.halts:
            return on_path
    return None


WENT_WELL = drive(table(("m",), {"proxy": Scripted(), "direct": Scripted()}), request=chat()).decision
FELL_BACK = drive(table(("m",), {"proxy": Scripted(), "direct": Scripted()}), [failure()], request=chat()).decision


@cache
def decision(path, share, *, setback):
    part = 100 * share if path == "proxied" else 100 - 100 * share
    return evolve(
        FELL_BACK if setback else WENT_WELL,
        assignment=Assignment(path=path, bucket=0.5, rollout="default", share=part),
    )


def test_equal_paths_are_halted_no_more_often_than_is_stated():
    """300 runs, each as long as a window of the path, with ten times the default so that the bound can be missed."""
    alarms = sum(
        simulated({"proxied": 0.1, "direct": 0.1}, seed=seed, requests=2000, false_alarms=0.05, margin=0.0, window=1000)
        is not None
        for seed in range(300)
    )
    # At most 15 are expected; 27 would be three sigma more.
    assert alarms <= 27


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_path_that_fails_ten_per_cent_more_is_out_within_the_stated_number_of_its_requests(share):
    """What `docs/rollout.md` states: 1,000 of the path's requests, in nineteen of twenty runs, by the defaults."""
    took = [
        simulated({"proxied": 0.12, "direct": 0.02}, seed=seed, requests=round(2500 / share), share=share)
        for seed in range(60)
    ]
    assert all(one is not None for one in took)
    assert sum(one is not None and one <= STATED for one in took) >= 57


STATED = 1000


def test_a_path_that_begins_to_fail_after_a_long_good_time_is_out_as_soon():
    guard, chance = Guard(), Random(5)
    here = guard._here.here()
    here.rollouts["default"] = ROLLOUT
    for _ in range(20_000):
        path = chance.choice(("proxied", "direct"))
        guard._count(here, decision(path, 0.5, setback=chance.random() < 0.02))
    assert not here.halts
    on_path = 0
    while not here.halts:
        path = chance.choice(("proxied", "direct"))
        on_path += path == "proxied"
        guard._count(here, decision(path, 0.5, setback=chance.random() < (0.12 if path == "proxied" else 0.02)))
        assert on_path < 2 * STATED


def test_a_trial_ends_after_its_window_and_the_next_has_begun_half_way():
    watch = Watch(ROLLOUT, 100)
    for _ in range(49):
        watch.count(on_path=True, setback=False)
    assert [trial.path.total for trial in watch.trials] == [49]
    for _ in range(51):
        watch.count(on_path=True, setback=True)
    assert [trial.path.total for trial in watch.trials] == [100, 50]
    watch.count(on_path=True, setback=False)
    assert [trial.path.total for trial in watch.trials] == [51, 1]
    watch.count(on_path=False, setback=False)
    assert [trial.control.total for trial in watch.trials] == [1, 1]


def test_requests_of_control_begin_no_trial():
    watch = Watch(ROLLOUT, 100)
    for _ in range(50):
        watch.count(on_path=True, setback=False)
    watch.count(on_path=False, setback=False)
    assert [(trial.path.total, trial.control.total) for trial in watch.trials] == [(50, 1)]


@pytest.mark.parametrize("scarce", [True, False], ids=["the path", "control"])
def test_both_sides_have_to_have_enough_requests(scarce):
    watch = Watch(ROLLOUT, 10_000)
    for _ in range(400):
        watch.count(on_path=not scarce, setback=not scarce)
    for _ in range(29):
        watch.count(on_path=scarce, setback=scarce)
    assert watch.worse(0.0, 30, 0.0) is None
    watch.count(on_path=scarce, setback=scarce)
    assert watch.worse(0.0, 30, 0.0) is watch.trials[0]


def test_evidence_that_is_just_enough_is_enough():
    watch = Watch(ROLLOUT, 10_000)
    for setback in (True, False):
        for _ in range(50):
            watch.count(on_path=setback, setback=setback)
    (trial,) = watch.trials
    just = evidence(trial.path, trial.control, 0.0)
    assert watch.worse(0.0, 50, just) is trial
    assert watch.worse(0.0, 50, just + 1e-9) is None
