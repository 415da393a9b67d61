"""A server's own words, without anything of ours in them: no key, no prompt, no address.

Servers quote what they were sent, also escaped, cut and inside other JSON. So a quotation is found
by what it shares with the request, not by where it stands.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from pointsman.chat import JSON, Request

LONGEST = 300
"""Characters of a scrubbed text."""

CUT = "…"
"""Stands for what was taken out."""

_READ = 1000
_SHARED = 12
_HALF = _SHARED // 2
_WHOLE = 4
_ESCAPE = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(["'\\/bfnrt]))""")
_CUTS = re.compile(f"{CUT}(?:\\s*{CUT})+")
_CONTROL = {"b": " ", "f": " ", "n": " ", "r": " ", "t": " "}
_KEY_SHAPED = re.compile(
    r"""(?ix)
    (?<!\w)(?:                                          # looked for at the beginnings of words only
    (?:bearer|basic)\s+\S+                              # an authorization header
    | (?:sk|pk|rk|gsk|xai|hf|ghp|r8|pplx)[-_][^\s"',;)]{2,}     # keys by their vendors' prefixes
    | AIza[\w-]{8,} | AKIA[A-Z0-9]{8,} | eyJ[\w-]{8,}
    | (?<![+=-])(?=[\w+=-]{24})[\w+=-]*\d[\w+=-]*        # long words with a digit: tokens, hashes, base64
    | [a-z][a-z0-9+.-]*://[^\s"'<>)]*                   # addresses, which can hold credentials
    )
    """
)


class Scrubber:
    """Takes out of texts what belongs to one request and its backend."""

    def __init__(self, request: Request, secrets: Iterable[str]) -> None:
        # A dummy key of a letter or two is no secret, and would be cut out of every word.
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _WHOLE)
        given: list[object] = [*request.messages, *self._secrets]  # a secret can be quoted in part, too
        given += [values for values in (request.parameters, request.extra_body) if values]
        flat = {text: _flat(text) for text in _strings(given)}
        self._texts = [text for text in flat.values() if len(text) >= _SHARED]
        said = {flat[text] for text in _contents(request.messages)}
        self._short = sorted((text for text in said if _WHOLE <= len(text) < _SHARED), key=len, reverse=True)

    def __call__(self, text: str) -> str | None:
        """The text on one line, scrubbed and at most `LONGEST` characters; None where nothing is left."""
        text = _flat(_unescaped(text[:_READ]))
        for secret in self._secrets:
            text = text.replace(secret, CUT)
        text = _KEY_SHAPED.sub(CUT, text)
        text = self._without_shared_runs(text)
        for said in self._short:
            text = text.replace(said, CUT)
        if CUT in text:
            text = _CUTS.sub(CUT, text).strip()
        if len(text) > LONGEST:
            text = text[: LONGEST - 1] + CUT
        return text if text.strip(f"{CUT} ") else None

    def keeps(self, word: str) -> bool:
        """Whether the word holds nothing that would be taken out."""
        return self(word) == word

    def _without_shared_runs(self, text: str) -> str:
        """The text without every run of `_SHARED` characters or more that stands in the request too."""
        if not (starts := self._starts_of_shared_runs(text)):
            return text  # nearly always
        shared = bytearray(len(text))
        for start in starts:
            shared[start : start + _SHARED] = b"\1" * _SHARED
        kept: list[str] = []
        for position, character in enumerate(text):
            if not shared[position]:
                kept.append(character)
            elif not position or not shared[position - 1]:
                kept.append(CUT)
        return "".join(kept)

    def _starts_of_shared_runs(self, text: str) -> set[int]:
        """Every such run covers an aligned block of half its length.

        Looking for the blocks first keeps megabytes of images in a request from being searched for each position of
        the text.
        """
        starts: set[int] = set()
        last = len(text) - _SHARED
        if last < 0:
            return starts
        blocks = [(place, text[place : place + _HALF]) for place in range(0, len(text) - _HALF + 1, _HALF)]
        for own in self._texts:
            for place, block in blocks:
                if block in own:
                    near = range(max(place - _HALF, 0), min(place, last) + 1)
                    starts.update(start for start in near if text[start : start + _SHARED] in own)
        return starts


def _flat(text: str) -> str:
    """The text on one line, without characters that a terminal would obey."""
    line = " ".join(text.split())
    return line if line.isprintable() else " ".join(_printable(line).split())


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line)


def _unescaped(text: str) -> str:
    """The text without the layers of JSON, Python and HTML escapes that quoting puts on."""
    if "\\" not in text and "&" not in text:
        return text
    for _ in range(3):
        plain = html.unescape(_ESCAPE.sub(_meant, text))
        if plain == text:
            break
        text = plain
    return text


def _meant(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else _CONTROL.get(escape[3], escape[3])


def _strings(values: list[object]) -> list[str]:
    """Every text inside JSON values, however deep. Empties the list of them."""
    texts: list[str] = []
    while values:
        value = values.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, (dict, Mapping)):  # a dictionary is one, and told from others far sooner
            values += cast("Mapping[object, object]", value).values()
        elif isinstance(value, (list, tuple, Sequence)) and not isinstance(value, bytes | bytearray | memoryview):
            values += cast("Sequence[object]", value)
    return texts


def _contents(messages: Iterable[Mapping[str, JSON]]) -> Iterable[str]:
    """What the messages say, without roles and types."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, Sequence):
            yield from (
                text for part in content if isinstance(part, Mapping) and isinstance(text := part.get("text"), str)
            )
