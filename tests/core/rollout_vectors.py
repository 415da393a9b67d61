"""Computes `docs/rollout-vectors.json` from the published definition, without the code that it is a check of.

python tests/core/rollout_vectors.py > docs/rollout-vectors.json
"""

import hashlib
import json
import struct

DEFINITION = (
    "A unit's bucket is a whole number from 0 to 99,999, in thousandths of a per cent. `sha256`: SHA-256 over the "
    'bytes of "v1", the salt and the unit, each preceded by its length in four big-endian bytes, strings in UTF-8, '
    "integers as decimal text; the first eight bytes of the digest as a big-endian number, times 100,000, divided by "
    "2^64, rounded down. `modulo100`: the unit as an integer, modulo 100 (never negative), times 1,000; the salt plays "
    "no part, and null stands for a unit that is refused because it is no integer."
)
SALTS = ("", "litellm-2025-11", "æøå", "v1")
UNITS = (
    *(0, 1, 9, 10, 42, 99, 100, 12345678901234567890, -1, -142),
    *("", "0", "42", "-1", "u-17", "mette.hansen@example.dk", "Århus C", "日本", "🚂", "a" * 300),
)


def sha256_bucket(salt: str, unit: str | int) -> int:
    parts = (b"v1", salt.encode("utf-8"), str(unit).encode("utf-8"))
    digest = hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()
    (number,) = struct.unpack(">Q", digest[:8])
    return number * 100_000 // 2**64


def modulo100_bucket(unit: str | int) -> int | None:
    """None where the unit is no integer: such a request is refused."""
    try:
        return int(unit) % 100 * 1000
    except ValueError:
        return None


def vectors() -> dict[str, object]:
    return {
        "about": DEFINITION,
        "sha256": [
            {"salt": salt, "unit": unit, "bucket": sha256_bucket(salt, unit)} for salt in SALTS for unit in UNITS
        ],
        "modulo100": [{"unit": unit, "bucket": modulo100_bucket(unit)} for unit in UNITS],
    }


def text() -> str:
    """One vector a line."""
    found = vectors()
    lines = [f'  "about": {json.dumps(found["about"], ensure_ascii=False)}']
    for algorithm in ("sha256", "modulo100"):
        rows = found[algorithm]
        assert isinstance(rows, list)
        body = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows)
        lines.append(f'  "{algorithm}": [\n{body}\n  ]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    print(text(), end="")
