"""A conversation and its options as the JSON body of ``POST /api/chat``.

Ollama's messages are flatter than those of other APIs: a text, a list of images beside it, and tool
calls whose arguments are an object. Most of its prompt templates do not show tool call ids to the
model, so that only the order of the results says which call they belong to. So the results are sent
directly after the calls, in the order of the calls.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.call_options import CallOptions
from locus.core.conversation import (
    IndexedMessage,
    Messages,
    ToolCallPosition,
    order_tool_results,
    validate_messages,
)
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, ToolCall
from locus.wire.data_urls import parse_if_data_url
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.thinking_and_arguments import build_arguments_object, join_unsigned_thinking

RUNTIME_OPTIONS: Final[Mapping[str, str]] = {
    "num_predict": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Ollama's runtime options that Locus has a keyword for, and the keyword."""


class _RequestStruct(msgspec.Struct, omit_defaults=True):
    """A part of the body; members that have their default value are left out."""


class _FunctionCall(_RequestStruct):
    name: str
    arguments: Mapping[str, Any]


class _ToolCall(_RequestStruct):
    function: _FunctionCall
    id: str


class _Message(_RequestStruct):
    role: str
    content: str
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Request(_RequestStruct):
    model: str
    messages: list[_Message]
    stream: bool
    """Always sent: the server streams if it is left out."""
    tools: Sequence[Mapping[str, Any]] = ()
    format: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None


@attrs.frozen
class OllamaChatBuilder:
    """The ``RequestBuilder`` of Ollama's chat API."""

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` replace Locus's own; those of its ``options`` are merged singly.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        tool_schemas = _select_tool_schemas(call_options, build_tool_schemas(tools))
        request = _Request(
            model=call_options.model,
            messages=_build_messages(order_tool_results(validate_messages(messages))),
            stream=call_options.stream,
            tools=tool_schemas,
            format=_build_format(call_options.response_format),
            options=_build_runtime_options(call_options) or None,
        )
        try:
            body: dict[str, Any] = msgspec.to_builtins(request, enc_hook=_convert_mapping_to_dict)
        except TypeError as exc:
            raise ConfigurationError(f"the request cannot be written as JSON: {exc}") from exc
        return merge_extra_body(body, call_options.extra_body)


def merge_extra_body(
    body: Mapping[str, Any], extra_body: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return ``body`` with the members of ``extra_body``, those of ``options`` merged singly."""
    merged = {**body, **(extra_body or {})}
    ours, theirs = body.get("options"), (extra_body or {}).get("options")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        merged["options"] = {**ours, **theirs}
    return merged


def _convert_mapping_to_dict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


# Options.


def _build_runtime_options(call_options: CallOptions) -> dict[str, Any]:
    """Build the member ``options``: those runtime options that the call sets."""
    values = {name: getattr(call_options, keyword) for name, keyword in RUNTIME_OPTIONS.items()}
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _select_tool_schemas(
    call_options: CallOptions, schemas: tuple[Mapping[str, Any], ...]
) -> tuple[Mapping[str, Any], ...]:
    """Return the tools to send. The API has no ``tool_choice``: for ``"none"``, none are sent."""
    if call_options.tool_choice == "none":
        return ()
    if call_options.tool_choice not in (None, "auto"):
        raise ConfigurationError(
            f"tool_choice={call_options.tool_choice!r}: Ollama can prevent tool calls, but not "
            "force them; it takes 'auto' and 'none'"
        )
    if schemas and call_options.parallel_tool_calls is False:
        raise ConfigurationError(
            "parallel_tool_calls=False: Ollama cannot disable calling several tools at once"
        )
    return schemas


def _build_format(response_format: Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    """Convert OpenAI's ``response_format`` to the member ``format``."""
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return schema
    raise ConfigurationError(
        'response_format is {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}, '
        f'{{"type": "json_object"}} or {{"type": "text"}}, not {response_format!r}'
    )


# Messages.


def _build_messages(conversation: Sequence[IndexedMessage]) -> list[_Message]:
    """Build the messages, with tool results in the order of their calls."""
    call_ids = compute_call_ids(conversation, ANY_ID_RULE)
    by_position = {indexed.position: indexed.message for indexed in conversation}
    messages: list[_Message] = []
    results: list[IndexedMessage] = []  # consecutive ones, to be sorted by their calls

    def append_results() -> None:
        for result in sorted(results, key=lambda indexed: indexed.call_position or ()):
            position, index = result.call_position or (0, 0)
            tool_name = by_position[position].tool_calls[index].name
            messages.append(_build_tool_message(result, tool_name, call_ids[position, index]))
        results.clear()

    for indexed in conversation:
        if indexed.call_position is not None:
            results.append(indexed)
            continue
        append_results()
        messages.append(_build_message(indexed.position, indexed.message, call_ids))
    append_results()
    return messages


def _build_tool_message(indexed_message: IndexedMessage, tool_name: str, call_id: str) -> _Message:
    return _Message(
        role="tool",
        content=indexed_message.message.text,
        images=_encode_images(indexed_message.position, indexed_message.message),
        tool_name=indexed_message.message.name or tool_name,
        tool_call_id=call_id,
    )


def _build_message(
    position: int, message: Message, call_ids: Mapping[ToolCallPosition, str]
) -> _Message:
    return _Message(
        role=str(message.role),
        # The format has no member for a refusal: it becomes part of the assistant's text.
        content="\n\n".join(filter(None, (message.text, message.refusal))),
        thinking=join_unsigned_thinking(message),
        images=_encode_images(position, message),
        tool_calls=[
            _build_tool_call(
                f"messages[{position}].tool_calls[{index}]", call, call_ids[position, index]
            )
            for index, call in enumerate(message.tool_calls)
        ]
        or None,
    )


def _build_tool_call(path: str, call: ToolCall, call_id: str) -> _ToolCall:
    arguments = build_arguments_object(path, call, _convert_mapping_to_dict)
    return _ToolCall(function=_FunctionCall(call.name, arguments), id=call_id)


def _encode_images(position: int, message: Message) -> list[str] | None:
    if not isinstance(message.content, tuple):
        return None
    images = [part for part in message.content if isinstance(part, ImagePart)]
    return [base64.b64encode(_get_image_data(position, image)).decode() for image in images] or None


def _get_image_data(position: int, image: ImagePart) -> bytes:
    """Return the bytes of an image, or raise a ``ConfigurationError`` if it has only a URL."""
    if image.data is not None:
        return image.data
    url = image.url or ""
    try:
        parsed = parse_if_data_url(url)
    except ValueError as exc:
        raise ConfigurationError(
            f"messages[{position}]: the data: URL of an image cannot be read: {exc}"
        ) from exc
    if parsed is None:
        raise ConfigurationError(
            f"messages[{position}]: Ollama does not fetch images, it needs their bytes: load "
            f"{url!r} and pass ImagePart(data=…, media_type=…)"
        )
    return parsed[1]
