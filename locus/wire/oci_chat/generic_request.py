"""A conversation and its options as a ``GenericChatRequest``, for all models but command-r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, order_tool_results, validate_messages
from locus.core.messages import ImagePart, RefusalPart, TextPart, ThinkingPart
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import (
    EXTRA_BODY_RULE,
    EXTRA_HEADERS_RULE,
    NO_STORED_CONVERSATION,
    TIMEOUT_RULE,
    Carried,
    OptionRules,
    Translated,
)
from locus.wire.chat_completions.request import is_reasoning_model, select_call_id_rule
from locus.wire.oci_chat.envelope import RequestStruct, StreamOptions, build_chat_details
from locus.wire.oci_chat.generic_complete_response import NATIVE_STATE_RULE, WIRE_FORMAT
from locus.wire.oci_chat.generic_messages import ChatMessage, build_chat_messages
from locus.wire.oci_chat.generic_tools import (
    convert_response_format,
    convert_tool_choice,
    convert_tools,
)
from locus.wire.outgoing_tool_call_ids import compute_call_ids

_OPENAI_PREFIX: Final = "openai."


class _GenericChatRequest(RequestStruct):
    api_format: str
    messages: list[ChatMessage]
    is_stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: Mapping[str, Any] | None = None
    is_parallel_tool_calls: bool | None = None


@attrs.frozen
class GenericChatBuilder:
    """The ``RequestBuilder`` of the generic format.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    """

    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "OCI's generic format",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.CARRIED,
            ThinkingPart: PartHandling.CARRIED_IF_UNSIGNED,
        },
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "OCI's generic chat format",
        max_tokens=Carried(
            "chatRequest.maxTokens", "OpenAI's models: `chatRequest.maxCompletionTokens`"
        ),
        temperature=Carried("chatRequest.temperature", "not to reasoning models"),
        top_p=Carried("chatRequest.topP", "not to reasoning models"),
        stop=Carried("chatRequest.stop"),
        seed=Carried("chatRequest.seed"),
        frequency_penalty=Carried("chatRequest.frequencyPenalty", "not 0, nor to reasoning models"),
        presence_penalty=Carried("chatRequest.presencePenalty", "not 0, nor to reasoning models"),
        response_format=Translated(
            "`chatRequest.responseFormat` in Oracle's form", ("chatRequest.responseFormat",)
        ),
        tool_choice=Translated(
            "`chatRequest.toolChoice` in Oracle's form", ("chatRequest.toolChoice",)
        ),
        parallel_tool_calls=Carried("chatRequest.isParallelToolCalls"),
        timeout=TIMEOUT_RULE,
        extra_headers=EXTRA_HEADERS_RULE,
        extra_body=EXTRA_BODY_RULE,
        provider_state=NO_STORED_CONVERSATION,
    )

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are members of the ``chatRequest``, with Oracle's names
            (``topK``, ``numGenerations``, ``reasoningEffort``, ``logProbs``), and replace those
            in it.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        model = call_options.model
        conversation = order_tool_results(
            select_native_state(
                validate_messages(messages, accepted_parts=self.accepted_parts),
                self.native_state_rule.make_maker(model),
                self.native_state_rule,
            )
        )
        call_ids = compute_call_ids(conversation, select_call_id_rule(model), WIRE_FORMAT)
        definitions = convert_tools(build_tool_schemas(tools))
        self.option_rules.remove_refused(options, has_tools=bool(definitions))
        is_openai = model.lower().startswith(_OPENAI_PREFIX)
        is_reasoning = is_reasoning_model(model)
        include_usage = call_options.stream and call_options.stream_usage
        # Some models reject a penalty at any value: 0 is the same as none.
        frequency_penalty = call_options.frequency_penalty or None
        presence_penalty = call_options.presence_penalty or None
        request = _GenericChatRequest(
            api_format="GENERIC",
            messages=build_chat_messages(conversation, call_ids, model),
            is_stream=True if call_options.stream else None,
            stream_options=StreamOptions(is_include_usage=True) if include_usage else None,
            seed=call_options.seed,
            top_p=None if is_reasoning else call_options.top_p,
            temperature=None if is_reasoning else call_options.temperature,
            frequency_penalty=None if is_reasoning else frequency_penalty,
            presence_penalty=None if is_reasoning else presence_penalty,
            stop=call_options.stop,
            max_tokens=None if is_openai else call_options.max_tokens,
            max_completion_tokens=call_options.max_tokens if is_openai else None,
            response_format=convert_response_format(call_options.response_format),
            tools=definitions or None,
            tool_choice=(
                convert_tool_choice(call_options.tool_choice, definitions) if definitions else None
            ),
            is_parallel_tool_calls=call_options.parallel_tool_calls if definitions else None,
        )
        return build_chat_details(model, request, self.compartment_id, call_options.extra_body)
