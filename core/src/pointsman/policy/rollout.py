"""Which path a unit takes: sticky, gradual, and back at once.

A unit has a bucket, a whole number of thousandths of a per cent from 0 to 99,999. The first share
grows from the low end, the second from the high end. So raising a share only ever moves
units from the control path to that path, and lowering it only back.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

from attrs import define

from ..chat import Request
from ..config import RolloutSettings
from ..context import DecisionContext
from ..decision import Assignment
from ..errors import BadRequest
from ..hookspecs import ModelSelection, hookimpl
from ..targets import Target
from ..verdicts import Selection

BUCKETS = 100_000
"""One bucket is 0.001 per cent."""

PER_CENT = BUCKETS // 100
"""Buckets in one."""


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


VERSION = _sized(b"v1")


@lru_cache(maxsize=64)
def _salted(salt: str) -> bytes:
    return VERSION + _sized(salt.encode())


def bucket_of(unit: str | int, salt: str) -> int:
    """The bucket of a unit under a salt, from 0 to 99,999.

    The first eight bytes of SHA-256 over `"v1"`, the salt and the unit, each as its length in
    four big-endian bytes and its UTF-8, scaled down to the number of buckets. An integer counts as its
    decimal text. Test vectors: `docs/rollout-vectors.json`.
    """
    # A text that JSON cut inside a character is no UTF-8; it has a bucket all the same.
    text = str(unit).encode("utf-8", "surrogatepass")
    digest = sha256(_salted(salt) + len(text).to_bytes(4, "big") + text).digest()
    return int.from_bytes(digest[:8], "big") * BUCKETS >> 64


def bucket_modulo100(unit: str | int) -> int:
    """The bucket of `unit % 100`, for teams whose units are numbers and already assigned that way."""
    try:
        return int(unit) % 100 * PER_CENT
    except ValueError:
        raise BadRequest(
            f'unit "{unit}" is no integer, which algorithm "modulo100" needs; '
            'pass the number, or use algorithm = "sha256"'
        ) from None


def path_of(bucket: int, control: str, shares: Mapping[str, float]) -> str:
    """The path of a bucket: at most two shares, in per cent, the first from below and the second from above."""
    for position, (path, share) in enumerate(shares.items()):
        width = round(share * PER_CENT)
        if bucket >= BUCKETS - width if position else bucket < width:
            return path
    return control


def bucket_in(rollout: RolloutSettings, unit: str | int) -> int:
    """The bucket of a unit in a rollout. Raises `BadRequest` where its algorithm has none for it."""
    return bucket_modulo100(unit) if rollout.algorithm == "modulo100" else bucket_of(unit, rollout.salt)


@define(eq=False)
class Rollout(ModelSelection):
    """Puts the unit on a path and orders the candidates by that path's backends.

    Where an earlier step has assigned a path, it is kept, unless the rollout is off.
    """

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        config = ctx.snapshot.config
        named = config.rollout_of(request.task)
        if named is not None:
            path, bucket, share, why = assign(request, named[1], ctx)
            rollout, salt = named[0], named[1].salt
        elif config.paths:
            path, bucket, share, rollout, salt = next(iter(config.paths)), None, None, None, None
            why = f"{path} is the only path"
        else:
            return None
        backends = config.paths[path]
        left = tuple([target for backend in backends for target in candidates if target.backend == backend])
        return Selection(left, why, Assignment(path, backends, bucket, salt, rollout, share))


Assigned: TypeAlias = tuple[str, float | None, float | None, str]
"""The path, the place in [0, 1) and the path's share where chance decided, and why."""


def assign(request: Request, rollout: RolloutSettings, ctx: DecisionContext) -> Assigned:
    """Where a request goes. Draws from the context's random source where a request without a unit is to be drawn."""
    control, unit = rollout.control, request.unit
    if rollout.off:
        return control, None, None, f"the rollout is off: everyone takes {control}"
    if (earlier := ctx.assignment) is not None:
        return earlier.path, earlier.bucket, earlier.share, f"{earlier.path}, as assigned before"
    if unit is not None:
        if rollout.units and (path := named_path(unit, rollout)) is not None:
            return path, None, None, f"the unit is named for {path}"
        return _by_bucket(bucket_in(rollout, unit), rollout, "")
    if rollout.without_unit == "draw":
        return _by_bucket(ctx.random.randrange(BUCKETS), rollout, "drawn without a unit: ")
    return control, None, None, f"no unit: {control}"


def named_path(unit: str | int, rollout: RolloutSettings) -> str | None:
    """The path that a unit is named for, whatever its bucket."""
    text = str(unit)
    return next((path for path, units in rollout.units.items() if text in units), None)


def _by_bucket(bucket: int, rollout: RolloutSettings, drawn: str) -> Assigned:
    path = path_of(bucket, rollout.control, rollout.shares)
    own = rollout.shares.get(path)
    why = f"{drawn}bucket {bucket * 100 / BUCKETS:.3f} %, {_of_units(path, own)}"
    return path, bucket / BUCKETS, share_of(path, rollout) if own is None else own, why


def share_of(path: str, rollout: RolloutSettings) -> float:
    """The share of a path, in per cent; the control path has what the others leave."""
    own = rollout.shares.get(path)
    return 100.0 - sum(rollout.shares.values()) if own is None else own


@lru_cache(maxsize=256)
def _of_units(path: str, share: float | None) -> str:
    return f"{path} has the rest" if share is None else f"{path} has {share:g} %"
