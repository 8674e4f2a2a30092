"""A conversation and its options as the JSON body of ``POST /api/chat``.

Ollama's messages are flatter than those of other APIs: a text, a list of images beside it, and tool
calls whose arguments are an object. Most of its prompt templates do not show tool call ids to the
model, so that only the order of the results says which call they belong to. So the results are sent
directly after the calls, in the order of the calls.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, assert_never

import attrs
import msgspec

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import (
    IndexedMessage,
    Messages,
    ToolCallPosition,
    order_tool_results,
    validate_messages,
)
from locus.core.errors import ConfigurationError
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import ImagePart, Message, RefusalPart, TextPart, ThinkingPart, ToolCall
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import (
    ABSENT_OPTION_RULES,
    COMMON_RULES,
    Carried,
    OptionRules,
    Refused,
    Translated,
)
from locus.wire.ollama_chat.complete_response import NATIVE_STATE_RULE
from locus.wire.ollama_chat.schemas import convert_schema, convert_tool
from locus.wire.outgoing_images import read_image_bytes
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import to_json_builtins
from locus.wire.request_parts import build_arguments_object, join_unsigned_thinking

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
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


@attrs.frozen
class OllamaChatBuilder:
    """The ``RequestBuilder`` of Ollama's chat API."""

    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    option_rules: ClassVar[OptionRules] = OptionRules(
        "Ollama",
        max_tokens=Carried("options.num_predict"),
        temperature=Carried("options.temperature"),
        top_p=Carried("options.top_p"),
        stop=Carried("options.stop"),
        seed=Carried("options.seed"),
        frequency_penalty=Carried("options.frequency_penalty"),
        presence_penalty=Carried("options.presence_penalty"),
        response_format=Translated("`format`: the schema, or `json`", ("format",)),
        tool_choice=Translated("`none`: no tools; others than `auto` raise", ("tools",)),
        parallel_tool_calls=Refused("cannot disable calling several tools at once", (True,)),
        **{
            **ABSENT_OPTION_RULES,
            **COMMON_RULES,
            "reasoning_effort": Translated("`think`; `none`: `false`", ("think",)),
            "logprobs": Carried("logprobs"),
            "top_logprobs": Carried("top_logprobs"),
        },
    )
    member_groups: ClassVar[frozenset[str]] = frozenset({"options"})
    """The members of ``extra_body`` whose own members are merged."""

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Ollama",
        system={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            ImagePart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.CARRIED_IF_UNSIGNED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
    )

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
        effort = call_options.reasoning_effort
        tool_schemas = _select_tool_schemas(call_options, build_outgoing_tools(tools))
        self.option_rules.remove_refused(options, has_tools=bool(tool_schemas))
        conversation = select_native_state(
            validate_messages(messages, accepted_parts=self.accepted_parts),
            self.native_state_rule.make_maker(call_options.model),
            self.native_state_rule,
        )
        body: dict[str, Any] = to_json_builtins(
            _Request(
                model=call_options.model,
                messages=_build_messages(order_tool_results(conversation)),
                stream=call_options.stream,
                tools=tuple(map(convert_tool, tool_schemas)),
                format=_build_format(call_options.response_format),
                options=_build_runtime_options(call_options) or None,
                think=False if effort == "none" else effort,
                logprobs=call_options.logprobs,
                top_logprobs=call_options.top_logprobs,
            ),
        )
        return add_extra_members(
            body, call_options.config_members, call_options.extra_body, self.member_groups
        )


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
    return schemas


def _build_format(response_format: Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    """Convert OpenAI's ``response_format`` to the member ``format``."""
    output = parse_response_format(response_format)
    if output is None:
        return None
    return "json" if output.schema is None else convert_schema(output.schema)


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
    arguments = build_arguments_object(path, call)
    return _ToolCall(function=_FunctionCall(call.name, arguments), id=call_id)


def _encode_images(position: int, message: Message) -> list[str] | None:
    if not isinstance(message.all_content, tuple):
        return None
    images: list[str] = []
    for part in message.all_content:
        match part:
            case ImagePart():
                _, data = read_image_bytes(
                    f"messages[{position}]", part, "Ollama", needs_type=False
                )
                images.append(base64.b64encode(data).decode())
            case TextPart() | RefusalPart() | ThinkingPart():
                pass  # other members of the message hold them
            case _:
                assert_never(part)
    return images or None
