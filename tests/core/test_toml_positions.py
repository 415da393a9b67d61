"""`toml_positions` finds every key of a document, in whatever style it is written."""

import json
import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.toml_positions import Path, Position, locate, syntax_error_position


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in what `tomllib` made of a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


def places(text: str) -> dict[Path, tuple[int, int]]:
    return {path: (position.line, position.column) for path, position in locate(text).items()}


def test_an_empty_document_has_no_keys() -> None:
    assert locate("") == {}
    assert locate("\n# nothing here = 1\n") == {}


def test_a_key_stands_where_its_name_begins() -> None:
    assert places("a = 1\n  b=2 # c = 3\n") == {("a",): (1, 1), ("b",): (2, 3)}


def test_a_quoted_key_stands_at_its_quote_and_is_known_by_its_meaning() -> None:
    assert places('"glm-4.5" = 1\n\'a "b"\' = 2\n"\\u00e9" = 3\n') == {
        ("glm-4.5",): (1, 1),
        ('a "b"',): (2, 1),
        ("é",): (3, 1),
    }


def test_each_part_of_a_header_has_its_own_place() -> None:
    assert places('[ a . b."c.d" ]\ne = 1') == {
        ("a",): (1, 3),
        ("a", "b"): (1, 7),
        ("a", "b", "c.d"): (1, 9),
        ("a", "b", "c.d", "e"): (2, 1),
    }


def test_a_prefix_stands_where_it_is_first_written() -> None:
    assert places("[a.b]\n[a]\n[a.c]\n") == {("a",): (1, 2), ("a", "b"): (1, 4), ("a", "c"): (3, 4)}


def test_each_table_of_an_array_stands_at_its_header() -> None:
    assert places("[[a]]\nx = 1\n[a.b]\n[[a.c]]\n[[a.c]]\n[[a]]\n[[a.c]]\n") == {
        ("a",): (1, 3),
        ("a", 0): (1, 3),
        ("a", 0, "x"): (2, 1),
        ("a", 0, "b"): (3, 4),
        ("a", 0, "c"): (4, 5),
        ("a", 0, "c", 0): (4, 5),
        ("a", 0, "c", 1): (5, 5),
        ("a", 1): (6, 3),
        ("a", 1, "c"): (7, 5),
        ("a", 1, "c", 0): (7, 5),
    }


def test_dotted_keys_and_inline_tables_nest() -> None:
    assert places("[t]\na.b = { c = 1, d.e = [ {} ] }\na.f = 2") == {
        ("t",): (1, 2),
        ("t", "a"): (2, 1),
        ("t", "a", "b"): (2, 3),
        ("t", "a", "b", "c"): (2, 9),
        ("t", "a", "b", "d"): (2, 16),
        ("t", "a", "b", "d", "e"): (2, 18),
        ("t", "a", "b", "d", "e", 0): (2, 24),
        ("t", "a", "f"): (3, 3),
    }


def test_array_elements_stand_where_their_values_begin() -> None:
    assert places("a = [ # ]\n  1979-05-27 07:32:00,\n  ['x', \"]\"], # 3,\n]\nb = 1") == {
        ("a",): (1, 1),
        ("a", 0): (2, 3),
        ("a", 1): (3, 3),
        ("a", 1, 0): (3, 4),
        ("a", 1, 1): (3, 9),
        ("b",): (5, 1),
    }


@pytest.mark.parametrize(
    "value",
    [
        '"""\n[x]\ny = 1\n"""',
        '"""a\\"""\nx = "" \n"""',
        '"""quoted "" """""',
        '""""one quote\n"y" = 1""""',
        '"""\\\\"""',
        '""""""',
        "'''\n[x]\ny = 1\\'''",
        "'''''two quotes\nx = 1'''''",
        '"\\\\"',
        '"\\" # ["',
        "'\\'",
    ],
)
def test_nothing_inside_a_string_is_a_key(value: str) -> None:
    text = f"a = {value}\nb = 1"
    assert list(tomllib.loads(text)) == ["a", "b"]
    assert places(text) == {("a",): (1, 1), ("b",): (text.count("\n") + 1, 1)}


def test_carriage_returns_count_neither_as_lines_nor_as_columns() -> None:
    text = "[a] # x\n\nb = [\n 1,\n 2 ]\nc = '''\n\n''' \nd = 3\n"
    assert places(text.replace("\n", "\r\n")) == places(text)


def test_columns_count_characters() -> None:
    assert places('a = ["ø", "🧽", 3]')["a", 2] == (1, 16)


def test_long_documents_take_linear_time() -> None:
    def seconds(size: int) -> float:
        text = f'[t]\ns = """{"x" * size}"""\na = [{"1, " * size}]\n' + "".join(f"k{i} = 1\n" for i in range(size))
        started = time.perf_counter()
        locate(text)
        return time.perf_counter() - started

    seconds(1_000)
    assert seconds(40_000) < 60 * seconds(4_000)


@pytest.mark.parametrize("text", ["a", "a = ", "a = [1", "a = {b = 1", "[a", "[[a]", "= 1", "a = \n", "]"])
def test_a_document_that_breaks_off_is_refused_not_read_for_ever(text: str) -> None:
    with pytest.raises(ValueError, match="not a TOML document"):
        locate(text)


def test_a_syntax_error_has_a_position() -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads("a = 1\nbc ! 2")
    assert syntax_error_position(caught.value) == Position(2, 4)


def test_a_syntax_error_that_names_no_place_has_none() -> None:
    assert syntax_error_position(tomllib.TOMLDecodeError("Unclosed array (at end of document)")) is None
    assert syntax_error_position(tomllib.TOMLDecodeError("odd key '(at line 1, column 2)' somewhere")) is None


def test_a_syntax_error_that_carries_its_position_is_believed() -> None:
    error = tomllib.TOMLDecodeError("Unclosed array (at end of document)")
    error.__dict__.update(lineno=7, colno=3)
    assert syntax_error_position(error) == Position(7, 3)


class Scalar(str):
    """A value as it is written in TOML."""

    __slots__ = ()


class Writer:
    """Writes a document in random styles and notes where it writes each key."""

    def __init__(self, document: dict[str, Any], random: Random) -> None:
        self.random = random
        self.newline = random.choice(["\n", "\r\n"])
        self.text = ""
        self.positions: dict[Path, Position] = {}
        self.section((), document, header="")
        if random.random() < 0.3:
            self.text = self.text.removesuffix(self.newline)

    def maybe(self) -> bool:
        return self.random.random() < 0.5

    def put(self, *texts: str) -> None:
        self.text += "".join(texts)

    def mark(self, path: Path) -> None:
        line_start = self.text.rfind("\n") + 1
        self.positions.setdefault(path, Position(self.text.count("\n") + 1, len(self.text) - line_start + 1))

    def space(self) -> None:
        self.put(self.random.choice(["", "", " ", "\t", "  "]))

    def blank(self) -> None:
        """Blanks where lines may end."""
        self.space()
        while self.random.random() < 0.3:
            self.put(self.random.choice(["", "#", "# [x]", '# \'ø\' = """ {', "#]]}"]), self.newline)
            self.space()

    def end_line(self) -> None:
        self.space()
        self.put(self.random.choice(["", "# end", "# x = '"]), self.newline)

    def name(self, name: str) -> str:
        styles = [json.dumps(name, ensure_ascii=False)]
        if re.fullmatch("[A-Za-z0-9_-]+", name):
            styles += [name] * 3
        if "'" not in name and all(character >= " " for character in name):
            styles.append(f"'{name}'")
        return self.random.choice(styles)

    def key(self, path: Path, names: Sequence[str]) -> None:
        """A key of `names` under `path`. Indices stand in the path that they extend."""
        for index, name in enumerate(names):
            if index:
                self.space()
                self.put(".")
                self.space()
            path = (*path, name)
            self.mark(path)
            self.put(self.name(name))
        self.space()

    def value(self, path: Path, value: Any) -> None:
        if isinstance(value, Scalar):
            self.put(value.replace("\n", self.newline))
        elif isinstance(value, list):
            self.put("[")
            for index, element in enumerate(value):
                self.blank()
                self.mark((*path, index))
                self.value((*path, index), element)
                self.blank()
                if index < len(value) - 1 or self.maybe():
                    self.put(",")
            self.blank()
            self.put("]")
        else:
            self.put("{")
            pairs = list(self.flat(value, {}, ()))
            for index, (names, child) in enumerate(pairs):
                self.put("," if index else "")
                self.pair(path, names, child)
                self.space()
            self.space()
            self.put("}")

    def pair(self, path: Path, names: Sequence[str], value: Any) -> None:
        self.space()
        self.key(path, names)
        self.put("=")
        self.space()
        self.value((*path, *names), value)

    def flat(
        self, table: dict[str, Any], by_header: dict[tuple[str, ...], Any], prefix: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], Any]]:
        """The pairs that a table is written as, some of them dotted, without those in `by_header`."""
        for key, value in table.items():
            names = (*prefix, key)
            if names in by_header:
                continue
            leads_to_headers = any(header[: len(names)] == names for header in by_header)
            if isinstance(value, dict) and value and (leads_to_headers or self.maybe()):
                yield from self.flat(value, by_header, names)
            else:
                yield names, value

    def choose_headers(
        self, table: dict[str, Any], prefix: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], Any]]:
        """What is written under headers of its own, by its names below this table."""
        for key, value in table.items():
            names = (*prefix, key)
            tables = isinstance(value, dict) or (
                isinstance(value, list) and value and all(isinstance(element, dict) for element in value)
            )
            if tables and self.maybe():
                yield names, value
            elif isinstance(value, dict) and self.maybe():
                yield from self.choose_headers(value, names)

    def section(self, path: Path, table: dict[str, Any], *, header: str) -> None:
        """A table under its header, then what it has under headers of its own."""
        by_header = dict(self.choose_headers(table))
        pairs = list(self.flat(table, by_header, ()))
        self.random.shuffle(pairs)
        # A table that only leads to others needs no header.
        if header and not (header == "[]" and by_header and not pairs and self.maybe()):
            self.header(path, header)
        for names, value in pairs:
            self.blank()
            self.pair(path, names, value)
            self.end_line()
        for names, value in self.random.sample(list(by_header.items()), len(by_header)):
            child = (*path, *names)
            if isinstance(value, dict):
                self.section(child, value, header="[]")
            else:
                for index, element in enumerate(value):
                    self.section((*child, index), element, header="[[]]")

    def header(self, path: Path, brackets: str) -> None:
        opening, closing = brackets[: len(brackets) // 2], brackets[len(brackets) // 2 :]
        self.blank()
        self.put(opening)
        last = max(depth for depth, part in enumerate(path) if isinstance(part, str))
        for depth, part in enumerate(path):
            if isinstance(part, str):
                self.space()
                self.mark(path[: depth + 1])
                if depth == last and brackets == "[[]]":
                    self.mark(path)
                self.put(self.name(part))
                self.space()
                self.put("." if depth < last else "")
        self.put(closing)
        self.end_line()


# TOML has no lone surrogates, and DEL only as an escape that JSON does not write.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=6)
names = st.sampled_from(["a", "b", "c-d", "0", "glm-4.5", "", "x y", "]", "#", "ø", '"', "'"]) | words
scalars = (
    st.sampled_from(
        [
            "1",
            "-0.5e3",
            "inf",
            "0xf",
            "true",
            "1979-05-27 07:32:00Z",
            "07:32:00",
            '"""\n[x]\n y = "" 1\\"""\n"""""',
            "'''\n# ' ''\n= \\'''",
            '""',
            "''",
            '""""""',
            '"], } # = \\" \\\\"',
            "'[{\\'",
        ]
    )
    | words.map(lambda word: json.dumps(word, ensure_ascii=False))
).map(Scalar)
values = st.recursive(
    scalars,
    lambda inner: (
        st.dictionaries(names, inner, max_size=4)
        | st.lists(inner, max_size=4)
        | st.lists(st.dictionaries(names, inner, max_size=3), min_size=1, max_size=3)
    ),
    max_leaves=12,
)
written = st.builds(Writer, st.dictionaries(names, values, max_size=5), st.randoms(use_true_random=True))


@settings(deadline=None)
@given(written)
def test_every_key_is_found_where_it_was_written(document: Writer) -> None:
    assert set(document.positions) == set(paths(tomllib.loads(document.text)))
    assert locate(document.text) == document.positions
