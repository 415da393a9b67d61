"""A further key in a TOML text, written as its neighbour is.

tomlkit puts a new key at the very end of its table, below the comment that belongs to the next one.
"""

import re

from pointsman.toml_positions import Path, locate

_KEY_AND_VALUE = re.compile(
    r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)\s*=\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|\{[^{}]*\}|[^,{}\s]+)"""
)


def with_key(text: str, neighbour: Path, words: str) -> str:
    """The text with `words`, such as `off = true`, right after a key of the same table.

    They get its indentation, the names of a dotted key before its last one, and its end of line.
    """
    at = locate(text)[neighbour]
    lines = text.split("\n")
    line = lines[at.line - 1]
    before = line[: at.column - 1]
    if "{" in before:
        found = _KEY_AND_VALUE.match(line, at.column - 1)
        end = found.end() if found else len(line)
        dotted = re.split(r"[{,\s]", before)[-1]
        lines[at.line - 1] = f"{line[:end]}, {dotted}{words}{line[end:]}"
    else:
        lines.insert(at.line, before + words + "\r" * line.endswith("\r"))
        if at.line == len(lines) - 1:
            lines.append("")
    return "\n".join(lines)
