"""Which path a unit takes: sticky, gradual, and back at once.

A unit has a bucket, a whole number of thousandths of a per cent from 0 to 99,999. The first share
grows from the low end, the second from the high end. So raising a share only ever moves
units from the control path to that path, and lowering it only back.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

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
    digest = sha256(_salted(salt) + _sized(text)).digest()
    return int.from_bytes(digest[:8], "big") * BUCKETS >> 64


def bucket_modulo100(unit: str | int) -> int:
    """The bucket of `unit % 100`, for teams whose units are numbers and already assigned that way."""
    try:
        return int(unit) % 100 * (BUCKETS // 100)
    except ValueError:
        raise BadRequest(
            f'unit "{unit}" is no integer, which algorithm "modulo100" needs; '
            'pass the number, or use algorithm = "sha256"'
        ) from None


def path_of(bucket: int, control: str, shares: Mapping[str, float]) -> str:
    """The path of a bucket: at most two shares, in per cent, the first from below and the second from above."""
    low = 0
    for position, (path, share) in enumerate(shares.items()):
        width = round(share * (BUCKETS / 100))
        if position == 0:
            low = width
            if bucket < low:
                return path
        elif bucket >= BUCKETS - width:
            return path
    return control


@define(eq=False)
class Rollout(ModelSelection):
    """Puts the unit on a path and orders the candidates by that path's backends."""

    @hookimpl
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        config = ctx.snapshot.config
        if config.rollout is not None:
            path, bucket, why = _assign(request, config.rollout, ctx)
            salt = config.rollout.salt
        elif config.paths:
            path, bucket, salt = next(iter(config.paths)), None, None
            why = f"{path} is the only path"
        else:
            return None
        backends = config.paths[path]
        left = tuple([target for backend in backends for target in candidates if target.backend == backend])
        assignment = Assignment(path=path, backends=backends, bucket=bucket, salt=salt)
        return Selection(left, why=why, assignment=assignment)


def _assign(request: Request, rollout: RolloutSettings, ctx: DecisionContext) -> tuple[str, float | None, str]:
    """The path, the unit's place in [0, 1) where it has one, and why."""
    control = rollout.control
    if rollout.off:
        return control, None, f"the rollout is off: everyone takes {control}"
    if request.unit is not None:
        if rollout.algorithm == "modulo100":
            bucket = bucket_modulo100(request.unit)
        else:
            bucket = bucket_of(request.unit, rollout.salt)
        drawn = ""
    elif rollout.without_unit == "draw":
        bucket = ctx.random.randrange(BUCKETS)
        drawn = "drawn without a unit: "
    else:
        return control, None, f"no unit: {control}"
    path = path_of(bucket, control, rollout.shares)
    why = f"{drawn}bucket {bucket * 100 / BUCKETS:.3f} %, {_share_of(path, rollout.shares.get(path))}"
    return path, bucket / BUCKETS, why


@lru_cache(maxsize=256)
def _share_of(path: str, share: float | None) -> str:
    return f"{path} has the rest" if share is None else f"{path} has {share:g} %"
