"""A conversation as the input items of a request.

System messages stay where they stand, as items of the role ``system``: ``instructions`` could hold
those at the beginning only, and a server that keeps the conversation does not keep it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from locus.core.conversation import Place, Turn
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, Part, Role, TextPart, ToolCall
from locus.wire.data_urls import in_address, kind_of
from locus.wire.responses.items import Item, kept_by, without_reasoning
from locus.wire.tool_call_ids import IdRule, call_ids, checksum

_IDS: Final = IdRule(re.compile(r".{1,64}", re.DOTALL), lambda call: f"call_{checksum(call)}")
"""The API refuses the id of a tool call that has more than 64 characters."""


class Shape(msgspec.Struct, omit_defaults=True, tag_field="type"):
    """A part of the body; members at their default are left out."""


class InputText(Shape, tag="input_text"):
    text: str


class InputImage(Shape, tag="input_image"):
    image_url: str
    detail: str


class InputMessage(Shape, tag="message"):
    role: Literal["system", "user"]
    content: list[InputText | InputImage]


class OutputText(Shape, tag="output_text"):
    text: str
    annotations: Sequence[Any]


class Refusal(Shape, tag="refusal"):
    refusal: str


class OutputMessage(Shape, tag="message"):
    id: str
    role: Literal["assistant"]
    status: Literal["completed"]
    content: list[OutputText | Refusal]


class FunctionCall(Shape, tag="function_call"):
    call_id: str
    name: str
    arguments: str


class FunctionOutput(Shape, tag="function_call_output"):
    call_id: str
    output: str | list[InputText | InputImage]


class CustomOutput(Shape, tag="custom_tool_call_output"):
    call_id: str
    output: str | list[InputText | InputImage]


def input_items(turns: Sequence[Turn], after: int = -1, *, sealed: bool = True) -> list[Any]:
    """The items of the turns that stand behind the position ``after``.

    :param sealed: whether encrypted reasoning goes back to the server.
    :raises ConfigurationError: the format cannot carry something; says what and where.
    """
    writer = _Writer(turns, after, sealed)
    return [item for turn in turns for item in writer.items(turn) if turn.position > after]


class _Writer:
    """Writes turns one by one; knows what each of their calls was."""

    def __init__(self, turns: Sequence[Turn], after: int, sealed: bool) -> None:
        self._ids = call_ids(turns, _IDS)
        self._after = after
        self._sealed = sealed
        self._custom: set[Place] = set()
        self._taken: set[str] = set()

    def items(self, turn: Turn) -> list[Any]:
        where, message = f"messages[{turn.position}]", turn.message
        match message.role:
            case Role.ASSISTANT:
                return self._kept(turn) or self._spoken(where, turn)
            case Role.TOOL:
                return [self._result(where, turn)]
            case Role.SYSTEM:
                return [InputMessage("system", _words(where, message))]
        return [InputMessage("user", _seen(where, message))]

    def _result(self, where: str, turn: Turn) -> FunctionOutput | CustomOutput:
        identity = turn.message.tool_call_id or ""
        if turn.answers and turn.answers[0] > self._after:
            identity = self._ids[turn.answers]  # otherwise the server has it, by the id it gave
        content = turn.message.content
        said = content if isinstance(content, str) else _seen(where, turn.message)
        if turn.answers in self._custom:
            return CustomOutput(identity, said)
        return FunctionOutput(identity, said)

    def _spoken(self, where: str, turn: Turn) -> list[Any]:
        message = turn.message
        _words(where, message)
        content: list[OutputText | Refusal] = []
        if message.text:
            content.append(OutputText(message.text, ()))
        if message.refusal:
            content.append(Refusal(message.refusal))
        calls = [
            _call(f"{where}.tool_calls[{at}]", call, self._ids[turn.position, at])
            for at, call in enumerate(message.tool_calls)
        ]
        if not content:
            return [*calls]
        made = _made_id(turn.position, message.text)
        return [OutputMessage(made, "assistant", "completed", content), *calls]

    def _kept(self, turn: Turn) -> list[Item]:
        """The items of an answer of this API as they came; none for any other message."""
        kept = kept_by(turn.message)
        own = {item["id"] for item in kept if isinstance(item.get("id"), str)}
        if not self._sealed or own & self._taken:
            kept = without_reasoning(kept)
            # The same answer twice: what the server's own tools did is told once, by its id.
            kept = [item for item in kept if item.get("id") not in self._taken]
        self._taken |= own
        calls = 0
        for item in kept:
            match item.get("type"):
                case "function_call" | "custom_tool_call" as kind:
                    place = (turn.position, calls)
                    calls += 1
                    item["call_id"] = self._ids[place]
                    if kind == "custom_tool_call":
                        self._custom.add(place)
                case "message":
                    item.setdefault("id", _made_id(turn.position, item.get("content")))
                    item.setdefault("status", "completed")
        return kept


def _made_id(position: int, said: Any) -> str:
    """The id that the API wants each message of the assistant to have, and no two the same."""
    return f"msg_{checksum(f'{position} {said}')}"


def _parts(message: Message) -> tuple[Part, ...]:
    content = message.content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _words(where: str, message: Message) -> list[InputText | InputImage]:
    """The text of a message that may hold no image in this format."""
    if any(isinstance(part, ImagePart) for part in _parts(message)):
        raise ConfigurationError(
            f"{where}: the responses API takes images from users and tools only, "
            f"not in a {message.role} message"
        )
    return [InputText(part.text) for part in _parts(message) if isinstance(part, TextPart)]


def _seen(where: str, message: Message) -> list[InputText | InputImage]:
    """What a user or a tool says and shows."""
    found: list[InputText | InputImage] = []
    for part in _parts(message):
        if isinstance(part, ImagePart):
            found.append(InputImage(_address(where, part), part.detail or "auto"))
        else:
            found.append(InputText(part.text))
    return found


def _address(where: str, image: ImagePart) -> str:
    if image.data is not None:
        return _inline(image.media_type or "", image.data)
    try:
        held = in_address(image.url or "")
        if held is not None and not held[0]:
            raise ValueError("it does not say the media type")
    except ValueError as why:
        raise ConfigurationError(
            f"{where}: the data: address of an image cannot be read: {why}"
        ) from None
    return (image.url or "") if held is None else _inline(*held)


def _inline(media_type: str, data: bytes) -> str:
    return f"data:{kind_of(media_type)};base64,{base64.b64encode(data).decode()}"


def _call(where: str, call: ToolCall, identity: str) -> FunctionCall:
    try:
        arguments = call.arguments_json()
    except (TypeError, ValueError, RecursionError) as why:
        raise ConfigurationError(f"{where}: the arguments are no JSON: {why}") from why
    return FunctionCall(identity, call.name, arguments)


def plain(value: Any) -> Any:
    """For msgspec: what is a mapping of some other class, as a dictionary."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigurationError(
        f"the request cannot be written as JSON: {type(value).__name__} has no place in it"
    )
