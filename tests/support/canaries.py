"""Words that nothing may show, and every way in which something is shown."""

import traceback
from collections.abc import Iterator

import attrs

from pointsman.errors import RouteError


def canary(what: str) -> str:
    """A word that stands in no source line, so that a traceback shows it only if a value was shown."""
    return f"{what}-" + "".join(reversed("yranac"))


KEY, PROMPT, COMPLETION, TOOL = (canary(what) for what in ("key", "prompt", "completion", "tool"))
CANARIES = (KEY, PROMPT, COMPLETION, TOOL)


def assert_clean(*texts: object) -> None:
    """Asserts that no canary is in any of these, or in what they look like."""
    for text in texts:
        shown = text if isinstance(text, str) else repr(text)
        for secret in CANARIES:
            assert secret not in shown


def everything_shown(error: BaseException) -> Iterator[str]:
    """Every way in which an exception is usually shown, with all that hangs on it."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), *map(repr, one.args), repr(getattr(one, "__notes__", None)))
        yield "".join(traceback.format_exception(one))
        chain += [one.__cause__, one.__context__]
        if isinstance(one, RouteError) and one.decision is not None:
            yield repr(one.decision)
            yield repr(attrs.asdict(one.decision))
            yield repr(one.attempts)
