"""The tool calls of an answer, whole ones and those that come in pieces."""

import json
from collections.abc import Mapping, Sequence

from attrs import define

from pointsman.chat import ToolCall, ToolCallDelta

from .untrusted import as_list, as_mapping, as_text


def asked_for(message: Mapping[str, object]) -> Sequence[object]:
    """The tool calls of a message or of a piece of one, whichever way they are written."""
    asked = as_list(message.get("tool_calls"))
    old_style = as_mapping(message.get("function_call"))
    return [{"function": old_style}] if old_style and not asked else asked


def whole_calls(message: Mapping[str, object]) -> tuple[ToolCall, ...]:
    """The calls of a whole message. What names no function is none."""
    told = [(as_mapping(one), _function(as_mapping(one))) for one in asked_for(message)]
    return tuple(
        ToolCall(id=as_text(call.get("id")), name=name, arguments=_arguments(function))
        for call, function in told
        if (name := as_text(function.get("name")))
    )


@define
class _Begun:
    index: int
    id: str | None = None
    named: bool = False
    held: str = ""
    """Arguments that came before the name."""


class CallPieces:
    """Tells to which call a piece belongs: by its index, and where servers give none or always 0, by its id."""

    def __init__(self) -> None:
        self._calls: list[_Begun] = []
        self._latest: dict[int, _Begun] = {}
        """By the index that the server gave, or the piece's place in its event where it gave none."""

    def add(self, told: Sequence[object]) -> tuple[ToolCallDelta, ...]:
        """What the pieces of one event add. A call is nothing until it has a name."""
        deltas = (self._delta(place, as_mapping(one)) for place, one in enumerate(told))
        return tuple(delta for delta in deltas if delta is not None)

    def _delta(self, place: int, piece: Mapping[str, object]) -> ToolCallDelta | None:
        function = _function(piece)
        told_id, name, arguments = as_text(piece.get("id")), as_text(function.get("name")), _arguments(function)
        if not (told_id or name or arguments):
            return None
        index = piece.get("index")
        call = self._call(index if isinstance(index, int) else place, told_id, begins=name is not None)
        call.id = call.id or told_id
        if not call.named and name is None:
            call.held += arguments
            return None
        if call.named and not arguments:
            return None  # what is known already
        arguments, call.held = call.held + arguments, ""
        known_id = told_id if call.named else call.id
        call.named = True
        return ToolCallDelta(index=call.index, id=known_id, name=name, arguments=arguments)

    def _call(self, place: int, told_id: str | None, *, begins: bool) -> _Begun:
        call = self._latest.get(place)
        if call is None or (told_id and call.id and told_id != call.id):
            same = next((one for one in self._calls if call is not None and one.id == told_id), None)
            if same is not None:
                call = same
            elif call is None or begins:  # some servers give every piece of a call an id of its own
                call = _Begun(self._free(place))
                self._calls.append(call)
        self._latest[place] = call
        return call

    def _free(self, index: int) -> int:
        taken = {call.index for call in self._calls}
        return index if index not in taken else max(taken) + 1


def _function(call: Mapping[str, object]) -> Mapping[str, object]:
    return as_mapping(call.get("function")) or as_mapping(call.get("custom"))


def _arguments(function: Mapping[str, object]) -> str:
    """The arguments as text: some servers give the object itself."""
    told = function.get("arguments", function.get("input"))
    if isinstance(told, str):
        return told
    return "" if told is None else json.dumps(told, ensure_ascii=False)
