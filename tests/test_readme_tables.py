"""The README's tables have every hook, setting and command, and no other; what is missing is said as a row to add."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import has

from pointsman.cli.settings import Setting, item_kind, members, settings_of
from pointsman.cli.toml import toml
from pointsman.config import Config
from pointsman.hooks import CALLING
from pointsman.hookspecs import CONCERNS
from pointsman.policy import BUILT_IN
from tests.cli.test_app import commands
from tests.support import readme

Rows = Mapping[str, tuple[str, ...]]
"""What identifies a row, and what its next cells are."""


def compare(section: str, expected: Rows, meanings: Mapping[str, str], cells: int) -> None:
    """Fails with the rows to add, to remove and to change."""
    found = rows(section, cells)
    wrong = [
        f"add     | `{name}` | {' | '.join((*told, meanings.get(name) or 'what it means'))} |"
        for name, told in expected.items()
        if name not in found
    ]
    wrong += [f"remove  `{name}`: there is no such thing" for name in found if name not in expected]
    wrong += [
        f"change  `{name}`: write {' | '.join(told)}, not {' | '.join(found[name])}"
        for name, told in expected.items()
        if name in found and found[name] != told
    ]
    assert not wrong, f'in README.md, section "{section}":\n' + "\n".join(wrong)


def rows(section: str, cells: int) -> Rows:
    """The rows of a section's tables whose first cell is in code, with so many of the cells after it."""
    found = re.findall(r"^\| `([^`|]+)` \|(.*)\|$", readme.section(section), re.MULTILINE)
    names = [name for name, _ in found]
    assert sorted(set(names)) == sorted(names), "a row stands there twice"
    return {name: tuple(cell.strip() for cell in rest.split("|")[:cells]) for name, rest in found}


def test_the_readme_has_every_hook() -> None:
    concerns = {name: concern for concern in CONCERNS for name in vars(concern) if name in CALLING}
    expected = {name: (f"`{concerns[name].__name__}`", calling) for name, calling in CALLING.items()}
    compare("Hooks", expected, {}, cells=2)


def test_the_readme_has_every_command() -> None:
    expected = {f"pointsman {' '.join(words)}": () for words, _ in commands()}
    about = {f"pointsman {' '.join(words)}": command.get_short_help_str(100) for words, command in commands()}
    compare("Commands", expected, about, cells=0)


def test_the_readme_has_every_setting_with_its_default() -> None:
    settings = dict(all_settings())
    expected = {name: (default(one),) for name, one in settings.items()}
    compare("Settings", expected, {name: one.about for name, one in settings.items()}, cells=1)


def test_the_readme_has_every_distribution() -> None:
    folders = [path.parent for path in readme.ROOT.glob("plugins/*/pyproject.toml")]
    rows_to_have = [f"| [`pointsman-{one.name.replace('_', '-')}`](plugins/{one.name}) | " for one in folders]
    assert [row for row in rows_to_have if row not in readme.section("What is where")] == []


def all_settings() -> Iterator[tuple[str, Setting]]:
    """Each key that a configuration can have, names that the user chooses as `<name>`."""
    seen: set[object] = set()
    for one in settings_of(Config):
        (kind,) = members(one.kind)
        inner = kind if has(kind) else item_kind(kind)
        name = one.name if has(kind) else f"{one.name}.<{'hook' if one.name == 'order' else 'name'}>"
        if has(inner) and inner not in seen:
            yield from _of(name, inner)
        else:
            # One that has the settings of an earlier one is named once.
            yield name, one
        seen.add(inner)
    for key, by_default in (("use", None), ("enabled", True)):
        yield (
            f"plugins.<name>.{key}",
            Setting(name=key, kind=type(by_default), default=by_default, about="", shown=True),
        )
    for name, cls in BUILT_IN.items():
        yield from _of(f"plugins.{name}", cls)


def _of(name: str, cls: Any) -> Iterator[tuple[str, Setting]]:
    for one in settings_of(cls):
        tables = [kind for kind in members(one.kind) if has(kind)]
        if tables:
            yield from _of(f"{name}.{one.name}", *tables)
        else:
            yield f"{name}.{one.name}", one


def default(setting: Setting) -> str:
    """A default as the table has it."""
    if setting.required:
        return "required"
    return "none" if setting.default in (None, "", (), {}) else f"`{toml(setting.default, setting.kind)}`"
