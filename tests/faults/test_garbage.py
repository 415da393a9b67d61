"""Servers that answer with something that is no answer."""

import gzip
import json
import tracemalloc
import zlib
from functools import cache

import pytest

from pointsman.errors import ContentPolicy, StreamInterrupted
from pointsman.testing import RawBytes, Reply
from pointsman.testing.replies import chunk, head, sse_event
from tests.faults.scene import BODY, JSON_HEAD, JSON_TYPE, in_both_faces, in_every_face
from tests.faults.table import row
from tests.support.canaries import KEY, PROMPT
from tests.support.wires import CHUNKED, STREAM, WITHIN, event

UNUSABLE = ("bad_response", "model", "counts", "answered")
INTERRUPTED = ("interrupted", "model", "counts", "answered")
NOT_HTTP = ("bad_response", "model", "counts", "possibly_billed")


@row(15)
@in_every_face
@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"HTTP/9 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    ],
    ids=["words", "a version", "a NUL", "a negative length", "two lengths", "an endless header", "TLS"],
)
def test_a_response_that_is_not_http_is_passed_by(scene, face, garbage):
    scene.faulty.play(RawBytes(garbage))
    scene.ask(face).moved_on(NOT_HTTP)


# Row 16: compressed although nobody asked for it

COMPRESSED = {
    "corrupt": ("gzip", b"not gzip at all"),
    "corrupt in the middle": ("gzip", (whole := gzip.compress(BODY))[:30] + b"\xff" * 20 + whole[50:]),
    "a wrong checksum": ("gzip", whole[:-8] + b"\0\0\0\0" + whole[-4:]),
    "truncated": ("gzip", whole[:-12]),
    "truncated in its checksum": ("gzip", whole[:-3]),
    "corrupt deflate": ("deflate", b"not deflate"),
    "truncated deflate": ("deflate", zlib.compress(BODY)[:-1]),
    "compressed twice": ("gzip, gzip", gzip.compress(whole)),
    "an unknown way": ("br", b"\x0b\x02\x80"),
}


@row(16)
@in_every_face
@pytest.mark.parametrize(("encoding", "body"), COMPRESSED.values(), ids=COMPRESSED)
@pytest.mark.parametrize("kind", ["application/json", STREAM["content-type"]], ids=["JSON", "SSE"])
def test_a_compressed_answer_that_does_not_unpack_is_passed_by(scene, face, encoding, body, kind):
    scene.faulty.play(Reply(200, body=body, headers={"content-encoding": encoding, "content-type": kind}))
    scene.ask(face).moved_on(UNUSABLE)


@cache
def bomb() -> bytes:
    return gzip.compress(b":" * 64_000_000, compresslevel=1)


@row(16)
@in_every_face
@pytest.mark.parametrize("kind", ["application/json", STREAM["content-type"]], ids=["JSON", "SSE"])
def test_a_compressed_bomb_is_passed_by_in_bounded_memory(scene, face, kind):
    scene.settings["max_body"] = 1_000_000
    scene.faulty.play(Reply(200, body=bomb(), headers={"content-encoding": "gzip", "content-type": kind}))
    tracemalloc.start()
    try:
        told = scene.ask(face)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told.moved_on(UNUSABLE)
    assert "max_body" in told.failure.message
    assert most < 20_000_000


@row(16)
@pytest.mark.parametrize("face", ["stream", "astream"])
@pytest.mark.parametrize("end", [b"", b"\xff" * 50], ids=["truncated", "corrupt"])
def test_a_compressed_stream_that_breaks_after_its_first_content_is_interrupted(scene, face, end):
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    sent = packer.compress(sse_event(event("Hej"))) + packer.flush(zlib.Z_SYNC_FLUSH)
    headers = head(200, STREAM | {"content-encoding": "gzip", "connection": "close"})
    # What breaks comes later, because bytes that arrive together are unpacked together.
    scene.faulty.play(RawBytes([headers + sent, end], delay=0.05))
    told = scene.ask(face)
    told.raised(StreamInterrupted, INTERRUPTED)
    assert told.error.partial.text == "Hej"


# Row 17: without end


class Endless(list[bytes]):
    """A head, and then the same piece for ever."""

    sent = 0

    def __iter__(self):
        first, piece = list.__iter__(self)
        yield first
        while True:
            self.sent += len(piece)
            yield piece


ENDLESS = {
    "chunks": (JSON_HEAD, chunk(b" " * 1_000_000)),
    "until it closes": (head(200, JSON_TYPE | {"connection": "close"}), b" " * 1_000_000),
    "a length": (head(200, JSON_TYPE | {"content-length": "100000000000"}), b" " * 1_000_000),
}


@row(17)
@in_every_face
@pytest.mark.parametrize(("first", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_body_is_cut_off_at_the_cap(scene, face, first, piece):
    scene.router |= {"attempt_timeout": 20, "first_token_timeout": 20}
    endless = Endless([first, piece])
    scene.faulty.play(RawBytes(endless))
    told = scene.ask(face)
    told.moved_on(UNUSABLE)
    assert "max_body" in told.failure.message
    assert 32 * 1024 * 1024 < endless.sent < 80_000_000
    assert scene.faulty.wait_for(lambda: len(scene.faulty.abandoned) == 1, WITHIN)


@row(17)
@pytest.mark.parametrize("face", ["stream", "astream"])
def test_an_endless_stream_is_interrupted_at_the_cap(scene, face):
    scene.settings["max_body"] = 1_000_000
    scene.faulty.play(RawBytes(Endless([CHUNKED, chunk(sse_event(event("Hej " * 1000)))])))
    told = scene.ask(face)
    told.raised(StreamInterrupted, INTERRUPTED)
    assert "max_body" in told.failure.message
    assert 900_000 < len(told.error.partial.text) < 1_000_000
    assert scene.faulty.wait_for(lambda: len(scene.faulty.abandoned) == 1, WITHIN)


# Row 18: something else

PAGE = {"content-type": "text/html"}

ELSE = {
    "garbage": Reply(200, body=b"\xff\xfe\0\x80garbage"),
    "half a document": Reply(200, body=BODY[:-2]),
    "a page": Reply(200, body=b"<html>Bad Gateway</html>", headers=PAGE),
    "a page that is called JSON": Reply(200, body=b"<html>Bad Gateway</html>"),
    "JSON that is called a page": Reply(200, body=BODY, headers=PAGE),
    "a picture": Reply(200, body=b"\x89PNG", headers={"content-type": "image/png"}),
    "nothing": Reply(200, body=b""),
    "blanks": Reply(200, body=b" \n"),
    "204": RawBytes(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a list": Reply(200, json=[1, 2]),
    "a number": Reply(200, json=7),
    "null": Reply(200, body=b"null"),
    "an empty object": Reply(200, json={}),
    "no choices": Reply(200, json={"id": "gen-1", "choices": []}),
    "choices that are none": Reply(200, json={"id": "gen-1", "choices": "Hej"}),
    "deep nesting": Reply(200, body=b"[" * 100_000),
    "a number too long": Reply(200, body=b'{"choices": ' + b"9" * 10_000 + b"}"),
}


@row(18)
@in_every_face
@pytest.mark.parametrize("reply", ELSE.values(), ids=ELSE)
def test_something_else_than_an_answer_is_passed_by(scene, face, reply):
    scene.faulty.play(reply)
    scene.ask(face).moved_on(UNUSABLE)


# Row 19: an error inside a 200

INSIDE = {
    "401": ({"code": 401, "message": "No"}, ("auth", "backend", "opens", "answered")),
    "402": ({"code": 402, "message": "No"}, ("payment", "backend", "opens", "answered")),
    "429": ({"code": 429, "message": "No"}, ("rate_limit", "quota", "opens", "answered")),
    "429 as text": ({"code": "429", "message": "No"}, ("rate_limit", "quota", "opens", "answered")),
    "a word": ({"type": "rate_limit_error", "message": "No"}, ("rate_limit", "quota", "opens", "answered")),
    "502": ({"code": 502, "message": "No"}, ("server", "model", "counts", "answered")),
    "no code": ({"message": "No"}, ("server", "model", "counts", "answered")),
    "text": ("No", ("server", "model", "counts", "answered")),
}


@row(19)
@in_every_face
@pytest.mark.parametrize("inside", [{}, {"choices": []}], ids=["alone", "with choices"])
@pytest.mark.parametrize(("error", "way"), INSIDE.values(), ids=INSIDE)
def test_an_error_inside_a_200_is_what_its_code_says(scene, face, error, way, inside):
    scene.faulty.play(Reply(200, json={"error": error} | inside))
    scene.ask(face).moved_on(way)


@row(19)
@in_every_face
def test_an_error_inside_a_200_quotes_neither_key_nor_prompt(scene, face):
    error = {"code": 502, "message": f"not {PROMPT} with {KEY}", "type": KEY, "metadata": {"provider_name": PROMPT}}
    scene.faulty.play(Reply(200, json={"error": error}))
    scene.ask(face).moved_on(("server", "model", "counts", "answered"))


# Row 22: nothing said


def saying(finish_reason: str, **message: object) -> Reply:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": None} | message}
    return Reply(200, json={"id": "gen-1", "choices": [choice]})


@row(22)
@in_every_face
@pytest.mark.parametrize("message", [{}, {"content": ""}, {"reasoning": "hm"}, {"tool_calls": []}], ids=json.dumps)
def test_a_whole_answer_that_says_nothing_is_passed_by(scene, face, message):
    scene.faulty.play(saying("stop", **message))
    scene.ask(face).moved_on(UNUSABLE)


@row(22)
@in_every_face
def test_a_whole_answer_that_was_cut_before_its_first_word_is_an_answer(scene, face):
    scene.faulty.play(saying("length"))
    told = scene.ask(face)
    assert (told.completion.text, told.completion.finish_reason) == ("", "length")
    assert told.decision.served.backend == "faulty"


@row(22)
@in_every_face
def test_a_whole_answer_of_which_a_filter_left_nothing_is_raised(scene, face):
    scene.faulty.play(saying("content_filter"))
    scene.ask(face).raised(ContentPolicy, ("content_policy", "request", "neutral", "answered"))


@in_both_faces
def test_a_compressed_answer_is_read(scene, face):
    scene.faulty.play(Reply(200, body=whole, headers={"content-encoding": "gzip"}))
    assert scene.ask(face).completion.text == "Hej"
