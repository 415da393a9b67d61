"""`pointsman rollout`: shown, changed in the file, previewed and judged."""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define

from pointsman import MetricEmission, ModelSelection, RecordedRequest, Recording, RecordQuery, Router, hookimpl
from pointsman.chat import Request
from pointsman.context import DecisionContext
from pointsman.decision import Assignment
from pointsman.policy.rollout import bucket_of, path_of
from pointsman.targets import Target
from pointsman.verdicts import Selection
from tests.cli.conftest import CONFIG, Desk

NAMED = """
[rollouts.letters]
tasks = ["letter"]
control = "one"
shares = { both = 20 }
units = { both = ["mette"] }

[tasks.letter]
models = ["small"]
"""


HALT = {"event": "halted", "time": 1.0, "rollout": "default", "path": "both", "control": "one", "why": "it is worse"}


def read(desk: Desk) -> str:
    return (desk.folder / "pointsman.toml").read_text("utf-8")


def path_of_unit(desk: Desk, unit: str) -> str | None:
    with Router.from_toml(desk.folder / "pointsman.toml", watch=False) as router:
        return router.explain(task="chat", unit=unit).path


@pytest.fixture
def keyed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("ACME_KEY", "sk-nobody")
    return desk


# show


def test_show_tells_shares_steps_and_where_they_are_said(desk: Desk) -> None:
    said = desk.run("rollout", "show").stdout
    assert said.splitlines() == [
        "default: every task",
        "  both  50 %  next step 100 %, pointsman.toml:23",
        "  one   50 %  control, the rest",
        '  salt ""; without a unit it is the control path',
    ]


def test_show_tells_a_units_path_why_and_from_which_share_on(desk: Desk) -> None:
    bucket = bucket_of("mette", "")
    told = desk.document("rollout", "show", "--unit", "mette")["default"]["units"]
    (unit,) = told
    assert unit["path"] == path_of(bucket, "one", {"both": 50})
    assert unit["from"] == {"both": (bucket + 1) / 1000}
    assert f"bucket {bucket / 1000:.3f} %" in unit["why"]


def test_show_tells_every_rollout_its_tasks_and_named_units(desk: Desk) -> None:
    desk.configure(CONFIG + NAMED)
    said = desk.run("rollout", "show").stdout
    assert "default: every task but letter" in said
    assert "letters: letter" in said
    assert "named for both: mette" in said
    assert desk.run("rollout", "show", "--rollout", "letters").stdout in said


def test_show_names_the_variable_that_a_share_stands_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.configure(CONFIG.replace("both = 50", 'both = { env = "BOTH_PERCENT", default = 5 }'))
    monkeypatch.setenv("BOTH_PERCENT", "30")
    assert (
        "30 %  next step 50 %, environment variable BOTH_PERCENT, pointsman.toml:23"
        in desk.run("rollout", "show").stdout
    )


def test_what_is_halted_is_told_by_show_and_set(desk: Desk) -> None:
    desk.configure(CONFIG + '[plugins.guard]\nfile = "halts.jsonl"\n')
    (desk.folder / "halts.jsonl").write_text(json.dumps(HALT) + "\n")
    for words in (["show"], ["set", "both=60", "--dry-run"]):
        assert "both is halted: it is worse; `pointsman rollout resume` ends that" in desk.run("rollout", *words).stdout


@define(eq=False)
class Tenants(ModelSelection):
    """Assigns whoever is at home."""

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        if request.unit != "at home":
            return None
        return Selection(candidates, why="tenants stay", assignment=Assignment(path="both"))


def test_show_names_the_plugin_that_has_assigned_a_unit(desk: Desk) -> None:
    desk.site.install("tenants", offers={"tenants": Tenants})
    order = '[order]\nselect_model = ["tasks", "tenants", "rollout"]\n'
    desk.configure(CONFIG.replace("both = 50", "both = 0") + "[plugins.tenants]\n" + order)
    said = desk.run("rollout", "show", "--unit", "at home", "--unit", "away").stdout
    assert "  unit at home: both, tenants: tenants stay; both, as assigned before" in said
    assert "  unit away: one, bucket" in said


# set


SHAPES = {
    "inline": ("shares = { both = 50 }  # per cent", "shares = { both = 60 }  # per cent"),
    "dotted": ("shares.both = 50 # of units", "shares.both = 60 # of units"),
    "table": ("off = false\n[rollout.shares]\n# grows\nboth = 50", "off = false\n[rollout.shares]\n# grows\nboth = 60"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_set_changes_the_share_and_nothing_else(desk: Desk, shape: str) -> None:
    before, after = SHAPES[shape]
    text = "# first line\n" + CONFIG.replace("shares = { both = 50 }", before)
    desk.configure(text)
    said = desk.run("rollout", "set", "both=60", "--yes").stdout
    assert read(desk) == text.replace(before, after)
    assert "10 % of units move from one to both; nobody moves back." in said


def test_set_adds_shares_where_there_were_none_and_a_second_path(desk: Desk) -> None:
    desk.configure(CONFIG.replace("shares = { both = 50 }\n", "").replace("[rollout]", 'third = ["echo"]\n[rollout]'))
    desk.run("rollout", "set", "both=10", "third=0.5", "--yes")
    document = desk.document("rollout", "show")
    assert document["default"]["shares"] == {"both": 10, "third": 0.5, "one": 89.5}


def test_set_shows_the_difference_first_and_writes_nothing_in_a_dry_run(desk: Desk) -> None:
    said = desk.run("rollout", "set", "both=60", "--dry-run").stdout
    assert "-shares = { both = 50 }" in said
    assert "+shares = { both = 60 }" in said
    assert read(desk) == CONFIG


def test_set_asks_nobody_who_is_not_there(desk: Desk) -> None:
    ran = desk.run("rollout", "set", "both=60", status=2)
    assert "nothing is written without --yes" in ran.stderr
    assert read(desk) == CONFIG


def test_lowering_a_share_says_who_moves_back(desk: Desk) -> None:
    said = desk.run("rollout", "set", "both=40", "--dry-run").stdout
    assert "10 % of units move back from both to one; nobody else moves.\n" in said


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["both=101"], "rollout.shares.both: a share is 0 to 100 per cent, not 101"),
        (["bth=1"], 'no path "bth"; did you mean "both"?'),
        (["both"], '"both" is not PATH=PERCENT, such as proxied=50'),
        (["both=much"], '"both=much" is not PATH=PERCENT'),
        (["both=1", "--rollout", "x"], 'there is no rollout "x"; allowed: default'),
    ],
)
def test_what_cannot_be_set_is_said_and_changes_nothing(desk: Desk, words: list[str], problem: str) -> None:
    assert problem in desk.run("rollout", "set", *words, "--yes", status=2).stderr
    assert read(desk) == CONFIG


def test_a_share_that_stands_in_the_environment_is_left_to_it(desk: Desk) -> None:
    text = CONFIG.replace("both = 50", 'both = { env = "BOTH_PERCENT", default = 5 }')
    desk.configure(text)
    said = desk.run("rollout", "set", "both=60", "--yes", status=2).stderr
    assert (
        "rollout.shares.both stands in the environment variable BOTH_PERCENT: set that where the programs run" in said
    )
    assert read(desk) == text


def test_the_file_keeps_its_mode_its_link_and_its_line_ends(desk: Desk) -> None:
    real = desk.folder / "real.toml"
    real.write_bytes(CONFIG.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    (desk.folder / "pointsman.toml").unlink()
    (desk.folder / "pointsman.toml").symlink_to(real)
    desk.run("rollout", "set", "both=60", "--yes")
    assert (desk.folder / "pointsman.toml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.read_bytes() == CONFIG.replace("both = 50", "both = 60").replace("\n", "\r\n").encode()
    assert {path.name for path in desk.folder.iterdir()} == {"pointsman.toml", "real.toml", "site"}


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(desk: Desk) -> None:
    from pointsman.cli.rollout.editing import edit  # noqa: PLC0415 - it needs the extra, as the command does

    edited = edit(Path("pointsman.toml"), {"default": {"shares": {"both": 60.0}}})
    desk.configure(CONFIG + "# somebody was here\n")
    with pytest.raises(SystemExit):
        edited.write()
    assert read(desk) == CONFIG + "# somebody was here\n"
    assert [path.name for path in desk.folder.iterdir() if path.suffix == ".new"] == []


def test_of_two_commands_at_the_same_moment_one_waits_and_then_writes_nothing(desk: Desk) -> None:
    fcntl = pytest.importorskip("fcntl")
    from pointsman.cli.rollout.editing import edit  # noqa: PLC0415 - as above

    edited = edit(Path("pointsman.toml"), {"default": {"shares": {"both": 60.0}}})
    with ThreadPoolExecutor() as pool, (desk.folder / "pointsman.toml").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writing = pool.submit(edited.write)
        assert not wait([writing], timeout=0.3).done
        desk.configure(CONFIG + "# the other one\n")
        fcntl.flock(file, fcntl.LOCK_UN)
        with pytest.raises(SystemExit):
            writing.result()
    assert read(desk) == CONFIG + "# the other one\n"


# off, on


def test_off_sends_everyone_back_and_on_lets_the_shares_hold_again(keyed: Desk) -> None:
    units = [str(unit) for unit in range(20)]
    before = [path_of_unit(keyed, unit) for unit in units]
    assert "default is off: everyone takes one." in keyed.run("rollout", "off").stdout
    assert {path_of_unit(keyed, unit) for unit in units} == {"one"}
    keyed.run("rollout", "on")
    assert [path_of_unit(keyed, unit) for unit in units] == before


def test_off_is_of_every_rollout_or_of_one(desk: Desk) -> None:
    desk.configure(CONFIG + NAMED)
    desk.run("rollout", "off", "--rollout", "letters")
    assert {name: one["off"] for name, one in desk.document("rollout", "show").items()} == {
        "default": False,
        "letters": True,
    }
    desk.run("rollout", "off")
    assert all(one["off"] for one in desk.document("rollout", "show").values())


# preview


def test_preview_counts_who_moves_and_shows_that_nobody_moves_back(desk: Desk) -> None:
    (desk.folder / "units.txt").write_text("\n".join(str(unit) for unit in range(500)) + "\n\n")
    document = desk.document("rollout", "preview", "both=70", "--units", "units.txt")
    before, after = (
        [path_of(bucket_of(unit, ""), "one", {"both": share}) for unit in range(500)] for share in (50, 70)
    )
    assert document["units"] == 500
    assert document["moves_percent"] == [{"from": "one", "to": "both", "percent": 20.0}]
    moved = [str(unit) for unit in range(500) if before[unit] != after[unit]]
    assert [one["unit"] for one in document["moved"]] == moved
    assert {(one["from"], one["to"]) for one in document["moved"]} == {("one", "both")}
    said = desk.run("rollout", "preview", "both=70", "--units", "units.txt").stdout
    assert f"{len(moved)} units move from one to both; nobody moves back." in said
    listed = desk.run("rollout", "preview", "both=70", "--units", "units.txt", "--list").stdout
    assert [line.split("\t")[0] for line in listed.splitlines()] == moved
    assert read(desk) == CONFIG


def test_preview_counts_named_units_apart(desk: Desk) -> None:
    desk.configure(CONFIG + NAMED)
    (desk.folder / "units.txt").write_text("mette\nlars\n")
    said = desk.run("rollout", "preview", "both=100", "--rollout", "letters", "--units", "units.txt").stdout
    assert "2 units, 1 of them named for a path" in said


def test_preview_says_which_unit_has_no_bucket(desk: Desk) -> None:
    desk.configure(CONFIG.replace("shares", 'algorithm = "modulo100"\nshares'))
    (desk.folder / "units.txt").write_text("42\nmette\n")
    ran = desk.run("rollout", "preview", "both=70", "--units", "units.txt", status=2)
    assert 'units.txt: unit "mette" is no integer' in ran.stderr


# status


@define(eq=False)
class Kept(MetricEmission, Recording):
    """Keeps what it is told to have kept."""

    records: ClassVar[list[RecordedRequest]] = []

    @hookimpl
    def emit_metric(self, event): ...

    @hookimpl
    def recorded_requests(self, query: RecordQuery) -> Iterable[RecordedRequest]:
        since = query.since or 0.0
        return [one for one in self.records if one.rollout == query.rollout and one.time >= since]


def recorded(path: str, number: int, **known: Any) -> RecordedRequest:
    return RecordedRequest(
        **{
            "request_id": f"{path}-{number}",
            "time": 1.7e9 + number,
            "task": "chat",
            "unit": number,
            "rollout": "default",
            "path": path,
            "bucket": 0.5,
            "share": 50.0,
            "outcome": "answered",
            "why": "",
            "model": "small",
            "backend": "echo",
            "fell_back": False,
            "attempts": 1,
            "duration": 1.0 + number % 7 / 100,
            "time_to_first_token": None,
            "input_tokens": 1,
            "output_tokens": 1,
            "cost": 0.001,
            "decision": "{}",
        }
        | known
    )


@pytest.fixture
def kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[RecordedRequest]:
    desk.site.install("kept-records", "1.0", offers={"kept": Kept})
    desk.configure(CONFIG + "[plugins.kept]\n")
    records: list[RecordedRequest] = []
    monkeypatch.setattr(Kept, "records", records)
    return records


def test_a_path_that_is_as_good_is_to_advance_and_the_command_is_given(desk: Desk, kept: list[RecordedRequest]) -> None:
    kept += [recorded(path, number) for path in ("both", "one") for number in range(3000)]
    said = desk.run("rollout", "status").stdout
    assert said.startswith("default: both at 50 %, against one\n")
    assert "advance to 100 %: both is proved not worse than is tolerated, in 3,000 requests of both and 3,000" in said
    assert said.rstrip().endswith("pointsman rollout set both=100")
    assert re.search(r"requests +3,000 +3,000\n +answered +100.0% \(99\.\d to 100\.0\)", said)


def test_a_path_that_is_worse_is_to_step_back(desk: Desk, kept: list[RecordedRequest]) -> None:
    kept += [recorded("both", number, outcome="failed" if number % 4 == 0 else "answered") for number in range(400)]
    kept += [recorded("one", number) for number in range(400)]
    (document,) = desk.document("rollout", "status")["default"]
    assert (document["action"], document["next_share"]) == ("step_back", 10.0)
    assert document["paths"]["both"]["requests"] == 400
    assert "pointsman rollout set both=10" in desk.run("rollout", "status").stdout


def test_what_is_not_known_yet_is_null_and_a_question_mark(desk: Desk, kept: list[RecordedRequest]) -> None:
    kept += [recorded(path, number) for path in ("both", "one") for number in range(5)]
    (document,) = desk.document("rollout", "status")["default"]
    assert document["action"] == "hold"
    assert document["paths"]["both"]["duration_p95"]["interval"][1] is None
    assert "to ?)" in desk.run("rollout", "status").stdout


def test_a_rollout_of_which_nothing_was_recorded_holds(desk: Desk, kept: list[RecordedRequest]) -> None:
    assert kept == []
    assert "hold at 50 %: nothing of both was recorded" in desk.run("rollout", "status").stdout


def test_status_can_be_told_where_to_begin(desk: Desk, kept: list[RecordedRequest]) -> None:
    kept += [recorded("both", number, outcome="failed") for number in range(400)]
    kept += [recorded("both", number + 1000) for number in range(400)]
    kept += [recorded("one", number * 3) for number in range(400)]
    assert desk.document("rollout", "status")["default"][0]["action"] == "step_back"
    (later,) = desk.document("rollout", "status", "--since", "2023-11-14T22:28:20+00:00")["default"]
    assert later["paths"]["both"]["success"]["seen"] == 1.0
    assert later["since"] == 1.7e9 + 900
    said = desk.run("rollout", "status", "--since", "2023-11-14T22:28:20+00:00").stdout
    assert "the first request under the present shares" not in said
    assert "the first request under the present shares" in desk.run("rollout", "status").stdout
    assert '"last week" is no time' in desk.run("rollout", "status", "--since", "last week", status=2).stderr


def test_status_tells_what_is_halted(desk: Desk, kept: list[RecordedRequest]) -> None:
    desk.configure(read(desk) + '[plugins.guard]\nfile = "halts.jsonl"\n')
    (desk.folder / "halts.jsonl").write_text(json.dumps(HALT) + "\n")
    kept += [recorded(path, number) for path in ("both", "one") for number in range(5)]
    assert "both is halted: it is worse; `pointsman rollout resume` ends that" in desk.run("rollout", "status").stdout
    assert desk.document("rollout", "status")["default"][0]["halted"] == ["it is worse"]


def test_status_says_where_a_share_stands_that_the_programs_may_read_otherwise(
    desk: Desk, kept: list[RecordedRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept == []
    monkeypatch.delenv("BOTH_PERCENT", raising=False)
    desk.configure(CONFIG.replace("both = 50", 'both = { env = "BOTH_PERCENT", default = 5 }') + "[plugins.kept]\n")
    said = desk.run("rollout", "status").stdout
    assert "The share stands in the environment variable BOTH_PERCENT; this is what it says here." in said


def test_status_says_how_to_have_requests_recorded(desk: Desk) -> None:
    assert "pip install pointsman-metrics-sqlite" in desk.run("rollout", "status", status=2).stderr


# resume


def test_resume_lets_units_onto_a_halted_path_again(keyed: Desk) -> None:
    keyed.configure(CONFIG + '[plugins.guard]\nfile = "halts.jsonl"\n')
    (keyed.folder / "halts.jsonl").write_text(json.dumps(HALT) + "\n")
    units = [str(unit) for unit in range(20)]
    assert {path_of_unit(keyed, unit) for unit in units} == {"one"}
    said = keyed.run("rollout", "resume").stdout
    assert said == "default: both has its share again. It was halted because it is worse.\n"
    assert {path_of_unit(keyed, unit) for unit in units} == {"one", "both"}
    assert keyed.run("rollout", "resume").stdout == "Nothing is halted.\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "no guard is named in the configuration"),
        ("[plugins.guard]\n", "the guard keeps no file"),
    ],
)
def test_without_a_guard_that_keeps_a_file_it_is_said_where_to_resume(desk: Desk, more: str, said: str) -> None:
    desk.configure(CONFIG + more)
    assert said in desk.run("rollout", "resume", status=2).stderr
