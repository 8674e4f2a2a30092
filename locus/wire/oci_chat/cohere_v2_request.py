"""A conversation and its options as a ``CohereChatRequestV2``: Cohere's second format.

It is Cohere's own format (``locus.wire.cohere_chat``) in Oracle's spelling. The models that support
images (``cohere.command-a-vision*``) accept no other format, and the reasoning models
(``cohere.command-a-reasoning*``) send their thinking in it. The names of the JSON members are those
of ``oci.generative_ai_inference.models.CohereChatRequestV2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages
from locus.core.json_schema.references import inline_references
from locus.core.native_state_routing import NativeStateRule
from locus.core.option_rules import OptionRules
from locus.core.tool_names import ToolNameRule
from locus.core.validate_and_order_conversation import prepare_conversation
from locus.wire.cohere_chat.messages import build_chat_messages
from locus.wire.cohere_chat.request import CohereChatBuilder
from locus.wire.cohere_chat.tools_and_messages import (
    are_strict,
    extract_functions,
    select_tool_choice_and_functions,
)
from locus.wire.oci_chat.cohere_common import (
    COHERE_V2_OPTION_RULES,
    CohereChatRequestBase,
    build_common_request_members,
)
from locus.wire.oci_chat.cohere_v2_complete_response import NATIVE_STATE_RULE
from locus.wire.oci_chat.envelope import CHAT_MEMBER_GROUPS, RequestStruct, build_chat_details
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools


class _Function(RequestStruct):
    name: str
    parameters: Mapping[str, Any]
    description: str | None = None


class _Tool(RequestStruct):
    type: str
    function: _Function


class _CohereChatRequest(CohereChatRequestBase):
    api_format: str
    messages: list[dict[str, Any]]
    tools: list[_Tool] | None = None
    tools_choice: str | None = None
    is_strict_tools_enabled: bool | None = None
    is_log_probs_enabled: bool | None = None


@attrs.frozen
class CohereV2ChatBuilder:
    """The ``RequestBuilder`` of Cohere's second format.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    """

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,64}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = attrs.evolve(
        CohereChatBuilder.accepted_parts, format_name="Cohere's second request format"
    )

    option_rules: ClassVar[OptionRules] = COHERE_V2_OPTION_RULES

    member_groups: ClassVar[frozenset[str]] = CHAT_MEMBER_GROUPS
    """The members of ``extra_body`` whose own members are merged."""

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
        conversation = prepare_conversation(
            messages, self.accepted_parts, self.native_state_rule, call_options.model
        )
        call_ids = compute_call_ids(conversation, ANY_ID_RULE)
        functions = extract_functions(build_outgoing_tools(tools))
        self.option_rules.remove_refused(options, has_tools=bool(functions))
        tools_choice, functions = select_tool_choice_and_functions(call_options, functions)
        request = _CohereChatRequest(
            api_format="COHEREV2",
            messages=[
                _spell_message(message)
                for message in build_chat_messages(
                    conversation, call_ids, NATIVE_STATE_RULE, results_as_documents=False
                )
            ],
            tools=[_build_tool(function) for function in functions] or None,
            tools_choice=tools_choice,
            is_strict_tools_enabled=True if are_strict(functions) else None,
            is_log_probs_enabled=call_options.logprobs,
            **build_common_request_members(call_options),
        )
        return build_chat_details(call_options, request, self.compartment_id)


# Tools.


def _build_tool(function: Mapping[str, Any]) -> _Tool:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    parameters = inline_references(schema)
    return _Tool("FUNCTION", _Function(function["name"], parameters, function.get("description")))


# Messages.

_SPELLED_MEMBERS: Final = {
    "image_url": "imageUrl",
    "tool_call_id": "toolCallId",
    "tool_calls": "toolCalls",
    "tool_plan": "toolPlan",
}
_SPELLED_VALUES: Final = frozenset({"role", "type", "detail"})
"""The members whose values Oracle spells in capitals."""


def _spell_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a message from Cohere's spelling to Oracle's.

    Its ``content`` is always sent: the service's own classes require it, even beside tool calls.
    """
    spelled: dict[str, Any] = _spell(message)
    spelled.setdefault("content", [])
    return spelled


def _spell(value: Any) -> Any:
    """Convert names and values of a message, which holds nothing of the caller's but texts."""
    if isinstance(value, list):
        return [_spell(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        _SPELLED_MEMBERS.get(name, name): member.upper()
        if name in _SPELLED_VALUES
        else _spell(member)
        for name, member in value.items()
    }
