"""`pointsman rollout set` and `off` on files as people write them: what is not meant stays as it is."""

import os
from pathlib import Path

import pytest

from pointsman.cli.rollout.editing import edit
from tests.cli.conftest import CONFIG, Desk

HEADER = '# ours\n[rollout]\ncontrol = "one"   # as before\n'
NEXT = "\n# The limits of one request.\n[router]\nmax_attempts = 3\n"

OFF = {
    "before the comment of the next table": (HEADER + NEXT, HEADER + "off = true\n" + NEXT),
    "before a table of its own": (
        HEADER + "\n# Per cent.\n[rollout.shares]\nboth = 5\n",
        HEADER + "off = true\n\n# Per cent.\n[rollout.shares]\nboth = 5\n",
    ),
    "apart from a table of its own": (
        HEADER + NEXT + "[rollout.shares]\nboth = 5\n",
        HEADER + "off = true\n" + NEXT + "[rollout.shares]\nboth = 5\n",
    ),
    "as far in": ('[rollout]\n  control = "one"\n  # more\n', '[rollout]\n  control = "one"\n  off = true\n  # more\n'),
    "dotted": ('rollout.control = "one"\n' + NEXT, 'rollout.control = "one"\nrollout.off = true\n' + NEXT),
    "inline": ('rollout = { control = "one" } # all\n', 'rollout = { control = "one", off = true } # all\n'),
    "after a last line without an end": ('[rollout]\ncontrol = "one"', '[rollout]\ncontrol = "one"\noff = true\n'),
    "with the file's line ends": (
        HEADER.replace("\n", "\r\n") + NEXT.replace("\n", "\r\n"),
        HEADER.replace("\n", "\r\n") + "off = true\r\n" + NEXT.replace("\n", "\r\n"),
    ),
    "behind the mark that some editors set": ("\ufeff" + HEADER, "\ufeff" + HEADER + "off = true\n"),
}


@pytest.mark.parametrize("place", OFF)
def test_a_new_setting_stands_by_its_neighbours(place: str, tmp_path: Path) -> None:
    before, after = OFF[place]
    assert edited(tmp_path, before, {"off": True}) == after


SECOND = {
    "spaced": ("shares = { both = 5 } # both", "shares = { both = 5, third = 0.5 } # both"),
    "tight": ("shares={both=5}", "shares={both=5, third = 0.5}"),
    "dotted": ("shares.both = 5 # both", "shares.both = 5 # both\nshares.third = 0.5"),
    "table": ("[rollout.shares]\nboth = 5 # both", "[rollout.shares]\nboth = 5 # both\nthird = 0.5"),
    "beside the environment": (
        'shares = { both = { env = "BOTH", default = 5 } }',
        'shares = { both = { env = "BOTH", default = 5 }, third = 0.5 }',
    ),
    "the only one": ("off = false", "shares = { third = 0.5 }\noff = false"),
}


@pytest.mark.parametrize("shape", SECOND)
def test_a_second_share_is_the_last_one(shape: str, tmp_path: Path) -> None:
    before, after = (HEADER + written + "\n" + NEXT for written in SECOND[shape])
    assert edited(tmp_path, before, {"shares": {"third": 0.5}}) == after


def test_a_path_whose_name_needs_quotes_gets_them(tmp_path: Path) -> None:
    said = edited(tmp_path, HEADER, {"shares": {"to proxy": 5.0}})
    assert said == HEADER + 'shares = { "to proxy" = 5 }\n'


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_who_may_read_the_file_may_read_it_afterwards(desk: Desk) -> None:
    file = desk.folder / "pointsman.toml"
    os.chown(file, 65534, 65533)
    file.chmod(0o640)
    desk.run("rollout", "off")
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o640)


def test_a_full_disk_leaves_the_file_as_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = desk.run("rollout", "off", status=1).stderr
    assert said == "pointsman.toml cannot be replaced, and nothing is written: No space left on device\n"
    assert (desk.folder / "pointsman.toml").read_text("utf-8") == CONFIG
    assert {path.name for path in desk.folder.iterdir()} == {"pointsman.toml", "site"}


def test_a_switch_in_the_environment_does_not_keep_the_others_on(desk: Desk) -> None:
    desk.configure(
        CONFIG.replace('control = "one"', 'control = "one"\noff = { env = "ALL_OFF", default = false }')
        + '[tasks.letter]\nmodels = ["small"]\n[rollouts.letters]\ntasks = ["letter"]\ncontrol = "one"\n'
    )
    ran = desk.run("rollout", "off", status=2)
    assert ran.stdout == "letters is off: everyone takes one.\n"
    assert ran.stderr.startswith("rollout.off stands in the environment variable ALL_OFF: set that")
    assert {name: one["off"] for name, one in desk.document("rollout", "show").items()} == {
        "default": False,
        "letters": True,
    }


def edited(folder: Path, text: str, settings: dict[str, object]) -> str:
    file = folder / "pointsman.toml"
    file.write_bytes(text.encode())
    return edit(file, {"default": settings}).after
