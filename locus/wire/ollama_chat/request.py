"""A conversation as the JSON body of ``POST /api/chat``.

Ollama's messages are flatter than others': text, a list of images beside it, and tool calls whose
arguments are an object. Most of its prompt templates show the model no tool call ids, so that the
order of the results is all that says which call they answer: they are put in the order of the
calls, right behind them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, Place, Turn, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, ToolCall
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.data_urls import in_address
from locus.wire.encoding import arguments_object, open_thinking
from locus.wire.tool_call_ids import ANY, call_ids

OPTIONS: Final[Mapping[str, str]] = {
    "num_predict": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Ollama's runtime options that Locus has a keyword for, and the keyword."""


class _Shape(msgspec.Struct, omit_defaults=True):
    """A part of the body; members at their default are left out."""


class _Function(_Shape):
    name: str
    arguments: Mapping[str, Any]


class _Call(_Shape):
    function: _Function
    id: str


class _Message(_Shape):
    role: str
    content: str
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Request(_Shape):
    model: str
    messages: list[_Message]
    stream: bool
    """Always said: the server streams where it is left out."""
    tools: Sequence[Mapping[str, Any]] = ()
    format: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None


@attrs.frozen
class OllamaChatBuilder:
    """The ``RequestBuilder`` of Ollama's chat format."""

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` win over Locus's own; those of its ``options`` do so one by one.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        schemas = _offered(said, tool_schemas(tools))
        body: dict[str, Any] = msgspec.to_builtins(
            _Request(
                model=said.model,
                messages=_messages(in_order(conversation(messages))),
                stream=said.stream,
                tools=schemas,
                format=_format(said.response_format),
                options=_runtime(said) or None,
            ),
            enc_hook=_plain,
        )
        return merged(body, said.extra_body)


def merged(body: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """``body`` with the members of ``extra``, and with those of both their ``options``."""
    both = {**body, **(extra or {})}
    ours, theirs = body.get("options"), (extra or {}).get("options")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        both["options"] = {**ours, **theirs}
    return both


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


# Options.


def _runtime(said: CallOptions) -> dict[str, Any]:
    values = {name: getattr(said, keyword) for name, keyword in OPTIONS.items()}
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _offered(
    said: CallOptions, schemas: tuple[Mapping[str, Any], ...]
) -> tuple[Mapping[str, Any], ...]:
    """The tools to send. The API has no ``tool_choice``: not to offer them is all it can do."""
    if said.tool_choice == "none":
        return ()
    if said.tool_choice not in (None, "auto"):
        raise ConfigurationError(
            f"tool_choice={said.tool_choice!r}: Ollama cannot be made to call a tool, only kept "
            "from it; it takes 'auto' and 'none'"
        )
    if schemas and said.parallel_tool_calls is False:
        raise ConfigurationError(
            "parallel_tool_calls=False: Ollama cannot be kept from calling several tools at once"
        )
    return schemas


def _format(wanted: Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return schema
    raise ConfigurationError(
        'response_format is {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}, '
        f'{{"type": "json_object"}} or {{"type": "text"}}, not {wanted!r}'
    )


# Messages.


def _messages(turns: Sequence[Turn]) -> list[_Message]:
    ids = call_ids(turns, ANY)
    said = {turn.position: turn.message for turn in turns}
    found: list[_Message] = []
    results: list[Turn] = []  # in a row, to be put in the order of their calls

    def put_results() -> None:
        for turn in sorted(results, key=lambda turn: turn.answers or ()):
            made, at = turn.answers or (0, 0)
            found.append(_result(turn, said[made].tool_calls[at].name, ids[made, at]))
        results.clear()

    for turn in turns:
        if turn.answers is not None:
            results.append(turn)
            continue
        put_results()
        found.append(_said(turn.position, turn.message, ids))
    put_results()
    return found


def _result(turn: Turn, tool: str, identity: str) -> _Message:
    return _Message(
        role="tool",
        content=turn.message.text,
        images=_images(turn.position, turn.message),
        tool_name=turn.message.name or tool,
        tool_call_id=identity,
    )


def _said(position: int, message: Message, ids: Mapping[Place, str]) -> _Message:
    return _Message(
        role=str(message.role),
        # A refusal has no place of its own here; it is what the assistant said.
        content="\n\n".join(filter(None, (message.text, message.refusal))),
        thinking=open_thinking(message),
        images=_images(position, message),
        tool_calls=[
            _call(f"messages[{position}].tool_calls[{at}]", call, ids[position, at])
            for at, call in enumerate(message.tool_calls)
        ]
        or None,
    )


def _call(where: str, call: ToolCall, identity: str) -> _Call:
    arguments = arguments_object(where, call, _plain)
    return _Call(function=_Function(call.name, arguments), id=identity)


def _images(position: int, message: Message) -> list[str] | None:
    if not isinstance(message.content, tuple):
        return None
    parts = [part for part in message.content if isinstance(part, ImagePart)]
    return [base64.b64encode(_bytes(position, part)).decode() for part in parts] or None


def _bytes(position: int, part: ImagePart) -> bytes:
    if part.data is not None:
        return part.data
    url = part.url or ""
    try:
        held = in_address(url)
    except ValueError as why:
        raise ConfigurationError(
            f"messages[{position}]: the data: address of an image cannot be read: {why}"
        ) from why
    if held is None:
        raise ConfigurationError(
            f"messages[{position}]: Ollama does not fetch images, it takes their bytes: load "
            f"{url!r} and pass ImagePart(data=…, media_type=…)"
        )
    return held[1]
