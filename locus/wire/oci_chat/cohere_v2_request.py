"""A conversation and its options as a ``CohereChatRequestV2``: Cohere's second format.

Messages have roles and typed contents, images among them. Tool calls have ids, and arguments as
JSON text. The models that support images (``cohere.command-a-vision*``) accept no other format, and
the reasoning models (``cohere.command-a-reasoning*``) send their thinking in it. The names of the
JSON members are those of ``oci.generative_ai_inference.models.CohereChatRequestV2``.

Thinking is sent back as it was received, and so is the plan that a model makes before it calls
tools: it is in the message's native state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, assert_never

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.call_options import CallOptions
from locus.core.conversation import (
    IndexedMessage,
    Messages,
    ToolCallPosition,
    order_tool_results,
    validate_messages,
)
from locus.core.json_schema.references import inline_references
from locus.core.messages import (
    ImagePart,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import OptionRules
from locus.wire.chat_completions.request import build_image_url, encode_arguments
from locus.wire.oci_chat.cohere_common import (
    COHERE_V2_OPTION_RULES,
    CohereChatRequestBase,
    build_common_request_members,
    extract_functions,
    join_text_and_refusal,
)
from locus.wire.oci_chat.cohere_v2_complete_response import NATIVE_STATE_RULE, WIRE_FORMAT
from locus.wire.oci_chat.envelope import RequestStruct, build_chat_details
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.thinking_and_arguments import make_tool_choice_error


class _ImageUrl(RequestStruct):
    url: str
    detail: str | None = None


class _ChatContent(RequestStruct):
    type: str
    text: str | None = None
    thinking: str | None = None
    image_url: _ImageUrl | None = None


class _FunctionCall(RequestStruct):
    name: str
    arguments: str


class _ToolCall(RequestStruct):
    id: str
    type: str
    function: _FunctionCall


class _ChatMessage(RequestStruct):
    role: str
    content: list[_ChatContent]
    """Always sent: the service's own classes require it, even beside tool calls."""
    tool_plan: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(RequestStruct):
    name: str
    parameters: Mapping[str, Any]
    description: str | None = None


class _Tool(RequestStruct):
    type: str
    function: _Function


class _CohereChatRequest(CohereChatRequestBase):
    api_format: str
    messages: list[_ChatMessage]
    tools: list[_Tool] | None = None
    tools_choice: str | None = None
    is_strict_tools_enabled: bool | None = None


@attrs.frozen
class CohereV2ChatBuilder:
    """The ``RequestBuilder`` of Cohere's second format.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    """

    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Cohere's second request format",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.CARRIED_IF_UNSIGNED,
        },
    )

    option_rules: ClassVar[OptionRules] = COHERE_V2_OPTION_RULES

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are members of the ``chatRequest`` (``thinking`` for example), and
            replace Locus's own.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        conversation = order_tool_results(
            select_native_state(
                validate_messages(messages, accepted_parts=self.accepted_parts),
                self.native_state_rule.make_maker(call_options.model),
                self.native_state_rule,
            )
        )
        call_ids = compute_call_ids(conversation, ANY_ID_RULE)
        functions = extract_functions(build_tool_schemas(tools))
        self.option_rules.remove_refused(options, has_tools=bool(functions))
        tools_choice, functions = _select_tools_choice_and_functions(call_options, functions)
        is_strict = bool(functions) and all(
            function.get("strict") is True for function in functions
        )
        request = _CohereChatRequest(
            api_format="COHEREV2",
            messages=[_build_message(indexed, call_ids) for indexed in conversation],
            tools=[_build_tool(function) for function in functions] or None,
            tools_choice=tools_choice,
            is_strict_tools_enabled=True if is_strict else None,
            **build_common_request_members(call_options),
        )
        return build_chat_details(
            call_options.model, request, self.compartment_id, call_options.extra_body
        )


# Tools.


def _select_tools_choice_and_functions(
    call_options: CallOptions, functions: list[Mapping[str, Any]]
) -> tuple[str | None, list[Mapping[str, Any]]]:
    """Return the ``toolsChoice``, and the functions to send.

    The format can require some tool, but not a certain one. So if one is chosen, only that is
    sent.
    """
    if not functions:
        return None, functions
    match call_options.tool_choice:
        case None | "auto":
            return None, functions
        case "none":
            return "NONE", functions
        case "required":
            return "REQUIRED", functions
        case str(name) | {"type": "function", "function": {"name": str(name)}}:
            selected = [function for function in functions if function["name"] == name]
            if selected:
                return "REQUIRED", selected
    names = (function["name"] for function in functions)
    raise make_tool_choice_error(call_options.tool_choice, names)


def _build_tool(function: Mapping[str, Any]) -> _Tool:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    parameters = inline_references(schema)
    return _Tool("FUNCTION", _Function(function["name"], parameters, function.get("description")))


# Messages.


def _build_message(
    indexed_message: IndexedMessage, call_ids: Mapping[ToolCallPosition, str]
) -> _ChatMessage:
    message = indexed_message.message
    match message.role:
        case Role.USER:
            return _ChatMessage("USER", _build_contents(indexed_message))
        case Role.ASSISTANT:
            state = message.native_state
            plan = None
            if state is not None and state.maker.wire_format == WIRE_FORMAT:
                plan = state.data.get("tool_plan")
            return _ChatMessage(
                "ASSISTANT",
                _build_contents(indexed_message),
                tool_plan=plan if isinstance(plan, str) and plan else None,
                tool_calls=[
                    _ToolCall(
                        call_ids[indexed_message.position, index],
                        "FUNCTION",
                        _FunctionCall(
                            call.name,
                            encode_arguments(
                                f"messages[{indexed_message.position}].tool_calls[{index}]", call
                            ),
                        ),
                    )
                    for index, call in enumerate(message.tool_calls)
                ]
                or None,
            )
        case Role.TOOL:
            call_id = indexed_message.call_position and call_ids[indexed_message.call_position]
            return _ChatMessage(
                "TOOL",
                [_make_text_content(join_text_and_refusal(message))],
                tool_call_id=call_id,
            )
    return _ChatMessage("SYSTEM", [_make_text_content(join_text_and_refusal(message))])


def _make_text_content(text: str) -> _ChatContent:
    return _ChatContent("TEXT", text=text)


def _build_contents(indexed_message: IndexedMessage) -> list[_ChatContent]:
    content = indexed_message.message.content
    if content is None or isinstance(content, str):
        if content or not indexed_message.message.tool_calls:
            return [_make_text_content(content or "")]
        return []
    contents = (_build_content(indexed_message.position, part) for part in content)
    return [chat_content for chat_content in contents if chat_content is not None]


def _build_content(position: int, part: Part) -> _ChatContent | None:
    """Build the content of a part; None for thinking that belongs to another provider."""
    match part:
        case TextPart() | RefusalPart():  # a refusal becomes part of the assistant's text
            return _make_text_content(part.text)
        case ImagePart():
            detail = part.detail.upper() if part.detail else None
            image_url = _ImageUrl(build_image_url(position, part), detail)
            return _ChatContent("IMAGE_URL", image_url=image_url)
        case ThinkingPart(signature=None, redacted=None):
            return _ChatContent("THINKING", thinking=part.text)
        case ThinkingPart():
            return None  # another provider's, which alone can verify its signature
        case _:
            assert_never(part)
