"""What is read in a short way means what it means in the long one: by `msgspec` and not `json`, and as mere text."""

import json
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman.chat import Chunk
from pointsman_openai_compatible.answer import choice_of, error_inside
from pointsman_openai_compatible.chunks import BadEvent, SoFar, chunk_of, parse, text_chunk_of

# JSON

TOKENS = [*'{}[]:,"', " ", "\n", "\t", "\x0b", "\x00", "\ufeff", "true", "null", "tru", "NaN", "Infinity", "-Infinity"]
NUMBERS = ["-0", "0", "-0.0", "01", "1.", ".5", "1e5", "1E+400", "-1e400", "5e-324", "2.2250738585072011e-308", "0.1"]
LARGE = ["18446744073709551616", "19933688932870350000", "-9223372036854775809", "9007199254740993.0", "1" * 400]
STRINGS = [r'"\ud83d"', r'"\uddf9"', r'"\ud83d\uddf9"', r'"\ud83d\ud83d"', r'"\u00e9"', r'"\/"', r'"\a"', '"ø🧹"']
SCALARS = st.one_of(
    st.sampled_from([*TOKENS, *NUMBERS, *LARGE, *STRINGS]),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(st.characters(), max_size=8).map(json.dumps),
    st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
NAMES = st.sampled_from(['"a"', '"b"', r'"\u0061"', '""', "a", '"\ud800"'])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda all_: f"[{','.join(all_)}]"),
        st.lists(st.tuples(NAMES, inner), max_size=3).map(lambda all_: f"{{{', '.join(map(':'.join, all_))}}}"),
    ),
    max_leaves=8,
)
OBJECTS = VALUES.map(lambda value: f'{{"a":{value}}}')


def read_by(read: Any, data: bytes) -> str:
    """What it makes of the data, with the types of numbers and the order of names; or nothing."""
    try:
        return repr(read(data))
    except BadEvent:
        return "no JSON object"


def by_json(data: bytes) -> object:
    try:
        body = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise BadEvent from None
    if not isinstance(body, dict):
        raise BadEvent
    return body  # pyright: ignore[reportUnknownVariableType]


@given(text=st.one_of(OBJECTS, VALUES, st.lists(st.sampled_from(TOKENS)).map("".join)), broken=st.booleans())
@example(text='{"a": 1, "a": 2}', broken=False)
@example(text="[" * 100_000, broken=False)
@example(text='{"a":' * 100_000, broken=False)
@example(text='{"a":"' + "x" * 100 + '"}', broken=True)
@example(text='{"a":' + "1" * 5000 + "}", broken=False)
def test_an_event_is_what_json_makes_of_it(text: str, broken: bool):  # noqa: FBT001 - hypothesis gives it by name
    data = text.encode("utf-8", "surrogatepass")
    if broken:
        data = data.replace(b"x", b"\xff").replace(b"1", b"\xe2\x82")
    assert read_by(parse, data) == read_by(by_json, data)


@given(data=st.binary(max_size=30).map(lambda some: b'{"a":"%b"}' % some))
def test_bytes_that_are_no_utf_8_are_replaced(data: bytes):
    assert read_by(parse, data) == read_by(by_json, data)


@pytest.mark.parametrize("inside", ["[" * 400 + "]" * 400, '{"b":' * 400 + "1" + "}" * 400], ids=["arrays", "objects"])
def test_an_event_may_be_as_deep_as_for_json(inside):
    data = b'{"a":%b}' % inside.encode()
    assert parse(data) == json.loads(data)


# Pieces of text


def some(**names: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=names)


TEXT = st.one_of(
    st.sampled_from(["", "Hel", "lo", "ø", "🧹", "\ud83e", "\uddf9", "\uddf9 \ud83e", "\uffff"]), st.none()
)
ODD = st.sampled_from([None, "", 0, 1, [], ["a"], {}, {"a": 1}, "odd"])
DELTA = some(role=st.just("assistant"), content=st.one_of(TEXT, ODD), reasoning=st.one_of(TEXT, ODD), tool_calls=ODD)
CHOICE = some(
    index=st.sampled_from([0, 1, None]),
    delta=st.one_of(DELTA, some(content=TEXT), ODD),
    message=some(content=TEXT),
    finish_reason=st.sampled_from([None, "", "stop", "error", 7]),
    native_finish_reason=st.sampled_from([None, "stop", "error", []]),
    error=ODD,
    provider_specific_fields=st.one_of(ODD, st.just({"error": {"message": "busy"}})),
    logprobs=st.none(),
)
PLAIN_CHOICE = st.fixed_dictionaries({"delta": some(role=st.just("assistant"), content=TEXT)})
BODY = some(
    id=st.sampled_from(["gen-1", "gen-2", "", None, 7]),
    model=st.sampled_from(["small", "large", None, []]),
    provider=st.sampled_from(["Nordlys", {}, None]),
    choices=st.one_of(st.lists(st.one_of(PLAIN_CHOICE, CHOICE), max_size=2), ODD),
    usage=st.sampled_from([None, {}, {"prompt_tokens": 1}]),
    error=st.sampled_from([None, {"message": "busy"}]),
)


def long_way(body: Mapping[str, Any], so_far: SoFar) -> Chunk | None:
    """The chunk of an event that is no error."""
    choice = choice_of(body)
    return None if error_inside(body, choice) else chunk_of(body, choice, so_far)


@given(bodies=st.lists(BODY, max_size=6), role_once=st.booleans())
def test_a_piece_of_text_is_the_chunk_that_a_closer_look_makes(bodies: Sequence[Mapping[str, Any]], role_once: bool):  # noqa: FBT001 - as above
    short, long = SoFar(role_once=role_once), SoFar(role_once=role_once)
    for body in bodies:
        expected = long_way(body, long)
        chunk = text_chunk_of(body, short)
        if chunk is not None:
            assert chunk == expected
        else:
            long_way(body, short)


def test_nearly_every_event_of_a_stream_needs_no_closer_look():
    so_far = SoFar(role_once=False)
    delta = {"role": "assistant", "content": "Hel"}
    choice = {"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None, "logprobs": None}
    body = {"id": "gen-1", "model": "small", "provider": "Nordlys", "choices": [choice], "usage": None}
    chunk = text_chunk_of(body, so_far)
    assert chunk == Chunk(text="Hel", id="gen-1", served_model="small", provider="Nordlys", raw=body)


def test_a_chunk_of_a_stream_is_a_chunk_like_any_other():
    body = {"id": "gen-1", "choices": [{"delta": {"content": "Hel"}}]}
    thought = {"id": "gen-1", "choices": [{"delta": {"content": "", "reasoning": "Hm"}}]}
    so_far = SoFar(role_once=False)
    pieces = [text_chunk_of(body, so_far), chunk_of(thought, choice_of(thought), so_far)]
    made = [Chunk(text="Hel", id="gen-1", raw=body), Chunk(reasoning="Hm", id="gen-1", raw=thought)]
    assert pieces == made
    for piece, one in zip(pieces, made, strict=True):
        assert piece is not None
        assert (repr(piece), vars(piece)) == (repr(one), vars(one))
        assert pickle.loads(pickle.dumps(piece)) == one
        assert evolve(piece, text="lo") == evolve(one, text="lo") != one
        with pytest.raises(FrozenInstanceError):
            piece.text = "lo"  # pyright: ignore[reportAttributeAccessIssue]


def test_where_a_role_begins_another_answer_it_gets_a_closer_look():
    body = {"choices": [{"delta": {"role": "assistant", "content": "Hel"}}]}
    assert text_chunk_of(body, SoFar(role_once=True)) is None
    assert text_chunk_of(body, SoFar(role_once=False)) is not None
