"""What a setting may be. Each message begins with the setting's name and says what to write."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx

from pointsman.settings import Secret

if TYPE_CHECKING:
    from attrs import Attribute

PORTS = range(1, 65536)

_FRAMING = frozenset({"content-length", "transfer-encoding"})

_HOST = re.compile(r"(?:[^.%\\]{1,63}\.)*[^.%\\]{1,63}\.?")
"""Others end in exceptions while they are resolved."""


def checked_url(_: object, attribute: "Attribute[str]", value: str) -> None:
    """An address with a host, and with nothing that belongs elsewhere."""
    # The address is not quoted: it can hold a password.
    url = _parsed(value)
    if url is None or url.scheme not in {"http", "https"}:
        raise ValueError(
            f'{attribute.name}: write an address such as "http://localhost:4000" or "https://host.example/v1"'
        )
    if not url.host:
        raise ValueError(f"{attribute.name}: the address has no host; write it after the //")
    if not _HOST.fullmatch(url.raw_host.decode()):
        raise ValueError(
            f"{attribute.name}: the address has a host with a space, another character that no host has, or two dots "
            "in a row"
        )
    if url.port is not None and url.port not in PORTS:
        raise ValueError(f"{attribute.name}: a port is 1 to 65535, and {url.port} is none")
    if url.userinfo:
        raise ValueError(f"{attribute.name}: leave user and password out of the address; a key belongs in api_key")
    if url.query or url.fragment:
        raise ValueError(f"{attribute.name}: write the address up to the version, without ? and #")
    if url.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError(f"{attribute.name}: leave /chat/completions out of the address; it is added")


def checked_key(_: object, attribute: "Attribute[Secret | None]", value: Secret | None) -> None:
    """A key that can stand in a header."""
    if value is not None and not _fits_a_header(value.reveal()):
        raise ValueError(f"{attribute.name}: the key from {value.origin} is empty or has a space, line break or accent")


def text_of(value: str | Secret) -> str:
    """A setting's text, whether it is secret or not."""
    return value.reveal() if isinstance(value, Secret) else value


def checked_headers(
    _: object, attribute: "Attribute[Mapping[str, str | Secret]]", value: Mapping[str, str | Secret]
) -> None:
    """Names and values that can be sent."""
    for name, given in value.items():
        text = text_of(given)
        if not _fits_a_header(name) or ":" in name or not (text.isascii() and text.isprintable()):
            raise ValueError(f"{attribute.name}: a name or value in it cannot be sent; use printable ASCII")
        if name.lower() in _FRAMING:
            raise ValueError(f"{attribute.name}: leave {name} out of it; it says how each body is sent")


def checked_body(_: object, attribute: "Attribute[Mapping[str, object]]", value: Mapping[str, object]) -> None:
    """Fields that are not the router's own: the decision says which model, which messages, whether it streams."""
    for name in ("model", "messages", "stream"):
        if name in value:
            raise ValueError(f"{attribute.name}: leave {name} out of it; each request has its own")


def checked_text(_: object, attribute: "Attribute[str | None]", value: str | None) -> None:
    """A text that can stand in a header."""
    if value is not None and not (value.isascii() and value.isprintable()):
        raise ValueError(f"{attribute.name}: write it in printable ASCII; it is sent as a header")


def positive(_: object, attribute: "Attribute[Any]", value: Any) -> None:
    """A number greater than 0."""
    if value <= 0:
        raise ValueError(f"{attribute.name}: must be greater than 0")


def _fits_a_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _parsed(address: str) -> httpx.URL | None:
    try:
        return httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        return None
