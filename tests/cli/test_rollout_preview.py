"""`pointsman rollout preview` and `set`: who moves, from where to where, and who does not."""

from pathlib import Path

import pytest

from pointsman.policy.rollout import bucket_of, path_of
from tests.cli.conftest import CONFIG, Desk

TWO = CONFIG.replace("[rollout]", 'third = ["echo"]\n[rollout]').replace("both = 50 }", "both = 50, third = 30 }")


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (["both=60"], "10 % of units move from one to both; nobody moves back."),
        (["both=40"], "10 % of units move back from both to one; nobody else moves."),
        (
            ["both=65", "third=20"],
            "15 % of units move from one to both; 10 % of units move back from third to one; nobody else moves.",
        ),
        (
            ["both=20", "third=80"],
            "30 % of units move from both to third; 20 % of units move from one to third; nobody else moves.",
        ),
        (["both=50"], "Nobody moves."),
    ],
)
def test_who_moves_is_said_of_every_change(desk: Desk, shares: list[str], said: str) -> None:
    desk.configure(TWO)
    assert desk.run("rollout", "preview", *shares).stdout.splitlines()[-1] == said


def test_what_preview_counts_is_what_the_buckets_say(desk: Desk) -> None:
    desk.configure(TWO)
    units = [f"unit {number}" for number in range(2000)]
    (desk.folder / "units.txt").write_text("\n".join(units), "utf-8")
    told = desk.document("rollout", "preview", "both=20", "third=80", "--units", "units.txt")
    now, then = (
        [path_of(bucket_of(unit, ""), "one", shares) for unit in units]
        for shares in ({"both": 50, "third": 30}, {"both": 20, "third": 80})
    )
    assert told["paths"] == {path: {"now": now.count(path), "then": then.count(path)} for path in told["paths"]}
    assert [(one["unit"], one["from"], one["to"]) for one in told["moved"]] == [
        move for move in zip(units, now, then, strict=True) if move[1] != move[2]
    ]


def test_units_are_read_from_a_column_each_once(desk: Desk) -> None:
    desk.configure(CONFIG.replace("shares", 'units = { both = ["mette"] }\nshares'))
    write(desk, '\ufeffunit,name\nmette,"Hansen, Mette"\nlars,Lars\n,nobody\nlars,Lars\n')
    told = desk.document("rollout", "preview", "both=60", "--units", "units.csv", "--column", "unit")
    assert (told["units"], told["named"]) == (2, 1)
    said = desk.run("rollout", "preview", "both=60", "--units", "units.csv", "--column", "unit").stdout
    assert "2 units, 1 of them named for a path, which they keep" in said


def test_a_column_that_is_not_there_is_said(desk: Desk) -> None:
    write(desk, "unit,name\n1,Mette\n")
    said = desk.run("rollout", "preview", "both=60", "--units", "units.csv", "--column", "units", status=2).stderr
    assert said == 'units.csv has no column "units"; did you mean "unit"?\n'


def test_a_file_in_another_encoding_is_said_to_be(desk: Desk) -> None:
    (desk.folder / "units.txt").write_bytes("Møller\n".encode("latin-1"))
    said = desk.run("rollout", "preview", "both=60", "--units", "units.txt", status=2).stderr
    assert said == "units.txt is not UTF-8 text; save it in that encoding\n"


@pytest.mark.parametrize("option", [["--list"], ["--column", "unit"]])
def test_what_needs_a_file_says_so(desk: Desk, option: list[str]) -> None:
    assert f"{option[0]} needs --units FILE" in desk.run("rollout", "preview", "both=60", *option, status=2).stderr


def test_a_path_is_given_one_share(desk: Desk) -> None:
    assert "both is given two shares" in desk.run("rollout", "preview", "both=60", "both=70", status=2).stderr


def write(desk: Desk, text: str) -> Path:
    file = desk.folder / "units.csv"
    file.write_text(text, "utf-8")
    return file
