"""What a person reads when a configuration is wrong."""

import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
from attrs import define

from pointsman import ConfigError, Router


@define
class Reporter:
    """Builds routers from documents that have mistakes."""

    folder: Path

    def __call__(self, text: str) -> str:
        """Every problem of a document as it is shown, a line for each: `LINE:COLUMN KEY: MESSAGE`.

        The same table without a file has the same problems, only without places.
        """
        file = self.folder / "pointsman.toml"
        text = dedent(text).lstrip("\n")
        file.write_text(text, "utf-8")
        with pytest.raises(ConfigError) as from_file:
            Router.from_toml(file)
        with pytest.raises(ConfigError) as from_table:
            Router(tomllib.loads(text))
        problems = from_file.value.problems
        assert all(one.file == str(file) for one in problems)
        assert sorted(f"configuration {one.key}: {one.message}" for one in problems) == sorted(
            str(one) for one in from_table.value.problems
        )
        return "\n".join(str(one).removeprefix(f"{file}:") for one in problems)
