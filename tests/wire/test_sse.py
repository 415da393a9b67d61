"""The event-stream decoder against a reference that reads the whole input at once, line by line."""

import re
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pointsman_openai_compatible.sse import EventDecoder, EventTooLarge, text_in

PLENTY = 1 << 20


def reference(stream: bytes) -> list[str]:
    """The data of every event of a whole stream, in the words of the rules."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\n|\r", text)  # the last one has no end, so it is no line
    events: list[str] = []
    buffer = ""
    for line in lines:
        if line == "":
            if buffer != "":
                events.append(buffer.removesuffix("\n"))
            buffer = ""
        elif line.startswith(":"):
            continue
        else:
            field, colon, value = line.partition(":")
            if field == "data":
                buffer += (value.removeprefix(" ") if colon else "") + "\n"
    return events


def decoded(pieces: Iterable[bytes], max_event: int = PLENTY) -> list[str]:
    decoder = EventDecoder(max_event)
    return [text_in(data) for piece in pieces for data in decoder.feed(piece)]


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


# Whatever comes, however it is cut

WORDS = [b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"[DONE]", b"{}", b"\x00"]
TEXT = ["\ufeff", "ø", "€", "🚂", "\u2028", "\x85", "\x0b"]
"""The last three end a line for `str.splitlines`, and not in an event stream."""
BROKEN_TEXT = [b"\xef", b"\xef\xbb", b"\x80", b"\xff", b"\xf0\x9f", b"\xed\xa0\x80"]

FRAGMENTS = st.sampled_from([*WORDS, *(text.encode() for text in TEXT), *BROKEN_TEXT])
FIELDS = st.sampled_from([b"data:", b"data: ", b"data", b"event: ", b"id: 7", b": ", b"other: "])
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"])
LINES = st.tuples(FIELDS, FRAGMENTS, ENDS).map(b"".join)
STREAMS = st.one_of(st.binary(max_size=40), st.lists(st.one_of(FRAGMENTS, LINES), max_size=25).map(b"".join))
CUTS = st.lists(st.integers(0, 400), max_size=12)


@given(stream=STREAMS, cuts=CUTS)
@example(stream=b"data: a\r\n\r\ndata: b\r\r", cuts=[8, 9, 10, 11])
@example(stream=b"\xef\xbb\xbfdata: a\n\n", cuts=[1, 2])
@example(stream=b"data\n\n", cuts=[])
def test_a_stream_means_the_same_however_it_is_cut(stream: bytes, cuts: Sequence[int]):
    assert decoded(cut(stream, cuts)) == reference(stream)


@given(stream=STREAMS)
def test_a_stream_may_come_byte_by_byte(stream: bytes):
    assert decoded(bytes([one]) for one in stream) == reference(stream)


# The rules one by one, as the specification's own examples and cases have them


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_ends_in_each_of_three_ways(end):
    assert decoded([b"data: a" + end + b"data: b" + end + end + b"data: c" + end + end]) == ["a\nb", "c"]


def test_a_cr_and_an_lf_in_two_pieces_are_one_line_end():
    assert decoded([b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]) == ["a\nb"]


def test_a_cr_ends_its_line_without_waiting_for_what_follows():
    assert decoded([b"data: a\r\r"]) == ["a"]


def test_an_empty_piece_between_a_cr_and_its_lf_changes_nothing():
    assert decoded([b"data: a\r", b"", b"\n", b"data: b\n\n"]) == ["a\nb"]


def test_one_byte_order_mark_at_the_beginning_is_skipped_and_none_later():
    mark = b"\xef\xbb\xbf"
    assert decoded([mark + b"data: a\n\n" + mark + b"data: b\n\ndata: " + mark + b"c\n\n"]) == ["a", "\ufeffc"]
    assert decoded([mark + mark + b"data: a\n\n"]) == []


def test_exactly_one_space_after_the_colon_is_not_part_of_the_value():
    assert decoded([b"data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\n"]) == ["a", "a", " a", "\ta"]


def test_a_field_without_a_colon_is_an_empty_one():
    assert decoded([b"data\n\ndata\ndata\n\ndata: a\ndata\n\n"]) == ["", "\n", "a\n"]


def test_comments_and_unknown_fields_say_nothing():
    assert decoded([b": OPENROUTER PROCESSING\n\ndata: a\n: ping\nretry: 10\nDATA: b\ndata : c\nid: \x00\n\n"]) == ["a"]


def test_types_and_ids_of_events_change_nothing():
    assert decoded([b"event: error\ndata: a\nid: 7\n\nevent: lost\n\ndata: b\n\nevent\ndata: c\n\n"]) == ["a", "b", "c"]


def test_an_event_that_the_stream_ends_in_is_none():
    assert decoded([b"data: a\n\ndata: b"]) == ["a"]
    assert decoded([b"data: a\n\ndata: b\n"]) == ["a"]


def test_what_is_no_utf_8_is_replaced_and_the_rest_is_kept():
    assert decoded([b"data: a\xffb\xe2\x82\n\ndata: \xe2\x82\xac\n\n"]) == ["a\ufffdb\ufffd", "€"]


# How much an event may hold


@given(size=st.integers(0, 60), step=st.integers(1, 20), newline=st.sampled_from([b"\n", b"\r\n"]))
def test_an_event_as_large_as_allowed_is_one_however_it_is_cut(size: int, step: int, newline: bytes):
    stream = b"data: " + b"x" * size + newline * 2
    pieces = [stream[begin : begin + step] for begin in range(0, len(stream), step)]
    assert decoded(pieces, max_event=size + len(b"data: ")) == ["x" * size]


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("lines", [1, 4])
def test_an_event_that_is_larger_than_allowed_fails(lines, step):
    stream = b"data: a\n\n" + (b"data: " + b"x" * (200 // lines) + b"\n") * lines + b"\n"
    pieces = [stream[begin : begin + step] for begin in range(0, len(stream), step)]
    with pytest.raises(EventTooLarge):
        decoded(pieces, max_event=100)


def test_the_limit_is_for_each_event_and_not_for_the_stream():
    assert len(decoded([b"data: " + b"x" * 50 + b"\n\n"] * 100, max_event=100)) == 100


def test_a_comment_that_never_ends_is_too_large():
    with pytest.raises(EventTooLarge):
        decoded([b": "] + [b"x" * 30] * 10, max_event=100)


def test_an_event_of_empty_lines_without_end_is_too_large():
    with pytest.raises(EventTooLarge):
        decoded([b"data\n"] * 101, max_event=100)


def test_no_more_than_an_event_is_kept():
    decoder = EventDecoder(max_event=1 << 20)

    def read() -> None:
        for _ in range(3000):
            decoder.feed(b"data: " + b"x" * 1000 + b"\n: ping\n\n")

    assert memory_for(read) < 64 * 1024


def test_what_cannot_fit_any_more_is_not_kept_until_it_is_whole():
    lines = (b"data: " + b"x" * 1000 + b"\n" for _ in range(10_000))

    def read() -> None:
        with pytest.raises(EventTooLarge):
            decoded(lines, max_event=100_000)

    assert memory_for(read) < 300_000
    assert sum(1 for _ in lines) > 9_800


def memory_for(work: Callable[[], None]) -> int:
    """The most bytes that were in use at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
