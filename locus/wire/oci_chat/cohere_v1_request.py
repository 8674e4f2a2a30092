"""A conversation and its options as a ``CohereChatRequest``: Cohere's first format.

The models ``cohere.command-r*`` use it. The names of the JSON members are those of
``oci.generative_ai_inference.models.CohereChatRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, order_tool_results, validate_messages
from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import ImagePart, RefusalPart, TextPart, ThinkingPart
from locus.core.option_rules import OptionRules
from locus.core.tool_names import ToolNameRule
from locus.wire.oci_chat.cohere_common import (
    COHERE_V1_OPTION_RULES,
    CohereChatRequestBase,
    build_common_request_members,
)
from locus.wire.oci_chat.cohere_v1_messages import (
    CohereToolResult,
    HistoryEntry,
    split_conversation,
)
from locus.wire.oci_chat.cohere_v1_tools import CohereTool, convert_tools
from locus.wire.oci_chat.envelope import CHAT_MEMBER_GROUPS, build_chat_details
from locus.wire.outgoing_tools import build_outgoing_tools


class _CohereChatRequest(CohereChatRequestBase):
    api_format: str
    message: str
    preamble_override: str | None = None
    chat_history: list[HistoryEntry] | None = None
    tool_results: list[CohereToolResult] | None = None
    tools: list[CohereTool] | None = None


@attrs.frozen
class CohereV1ChatBuilder:
    """The ``RequestBuilder`` of Cohere's first format.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    """

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Cohere's first request format",
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.DROPPED,
        },
        advice=FrozenDict(
            {
                ImagePart: "Models that support images use the second format (COHEREV2) or the "
                "generic one"
            }
        ),
    )

    option_rules: ClassVar[OptionRules] = COHERE_V1_OPTION_RULES

    member_groups: ClassVar[frozenset[str]] = CHAT_MEMBER_GROUPS
    """The members of ``extra_body`` whose own members are merged."""

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are members of the ``chatRequest``, and replace Locus's own.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        tool_schemas = _select_tool_schemas(call_options, build_outgoing_tools(tools))
        self.option_rules.remove_refused(options, has_tools=bool(tool_schemas))
        conversation = split_conversation(
            order_tool_results(validate_messages(messages, accepted_parts=self.accepted_parts))
        )
        request = _CohereChatRequest(
            api_format="COHERE",
            message=conversation.message,
            preamble_override=conversation.preamble,
            chat_history=conversation.chat_history or None,
            tool_results=conversation.tool_results,
            tools=convert_tools(tool_schemas) or None,
            **build_common_request_members(call_options),
        )
        return build_chat_details(call_options, request, self.compartment_id)


def _select_tool_schemas(
    call_options: CallOptions, schemas: tuple[Mapping[str, Any], ...]
) -> tuple[Mapping[str, Any], ...]:
    """Return the tools to send. The format has no ``tool_choice``: for ``"none"``, none are sent.

    ``isForceSingleStep`` is not such a choice: it makes the model answer directly after its first
    results. ``extra_body`` accepts it.
    """
    if call_options.tool_choice == "none":
        return ()
    if schemas and call_options.tool_choice not in (None, "auto"):
        raise ConfigurationError(
            f"tool_choice={call_options.tool_choice!r}: Cohere's first request format can "
            "prevent tool calls, but not force them; it takes 'auto' and 'none'"
        )
    return schemas
