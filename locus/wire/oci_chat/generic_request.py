"""A conversation and its options as a ``GenericChatRequest``, for all models but command-r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages
from locus.core.messages import ImagePart, RefusalPart, TextPart, ThinkingPart
from locus.core.native_state_routing import NativeStateRule
from locus.core.option_rules import (
    ABSENT_OPTION_RULES,
    COMMON_RULES,
    Carried,
    OptionRules,
    Translated,
)
from locus.core.tool_names import ToolNameRule
from locus.core.validate_and_order_conversation import prepare_conversation
from locus.wire.chat_completions.request import select_call_id_rule
from locus.wire.oci_chat.envelope import (
    CHAT_MEMBER_GROUPS,
    RequestStruct,
    StreamOptions,
    build_chat_details,
)
from locus.wire.oci_chat.generic_complete_response import NATIVE_STATE_RULE, WIRE_FORMAT
from locus.wire.oci_chat.generic_messages import ChatMessage, build_chat_messages
from locus.wire.oci_chat.generic_tools import (
    convert_response_format,
    convert_tool_choice,
    convert_tools,
)
from locus.wire.openai_model_families import adapt_rules_to_model, find_unsupported_options
from locus.wire.outgoing_tool_call_ids import compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools

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
    reasoning_effort: str | None = None
    verbosity: str | None = None
    num_generations: int | None = None
    log_probs: int | None = None
    logit_bias: Mapping[str, float] | None = None
    prediction: Mapping[str, Any] | None = None
    service_tier: str | None = None
    metadata: Mapping[str, Any] | None = None


@attrs.frozen
class GenericChatBuilder:
    """The ``RequestBuilder`` of the generic format.

    :param compartment_id: the compartment that is billed. Without it, whoever sends the body has to
        add it.
    """

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,64}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "OCI's generic format",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.CARRIED,
            ThinkingPart: PartHandling.CARRIED_IF_UNSIGNED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.MOVED},
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "OCI's generic chat format",
        max_tokens=Carried(
            "chatRequest.maxTokens",
            "OpenAI's models: `chatRequest.maxCompletionTokens`",
            "chatRequest.maxCompletionTokens",
        ),
        temperature=Carried("chatRequest.temperature", "not to reasoning models"),
        top_p=Carried("chatRequest.topP", "not to reasoning models"),
        stop=Carried("chatRequest.stop", "not to reasoning models but o1"),
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
        **{
            **ABSENT_OPTION_RULES,
            **COMMON_RULES,
            "reasoning_effort": Translated(
                "`chatRequest.reasoningEffort`, in capitals", ("chatRequest.reasoningEffort",)
            ),
            "verbosity": Translated(
                "`chatRequest.verbosity`, in capitals", ("chatRequest.verbosity",)
            ),
            "n": Carried("chatRequest.numGenerations"),
            "logprobs": Translated(
                "`chatRequest.logProbs`: `top_logprobs`, or 1", ("chatRequest.logProbs",)
            ),
            "top_logprobs": Carried("chatRequest.logProbs"),
            "logit_bias": Carried("chatRequest.logitBias"),
            "prediction": Translated(
                "`chatRequest.prediction` in Oracle's form", ("chatRequest.prediction",)
            ),
            "service_tier": Translated(
                "`chatRequest.serviceTier`, in capitals", ("chatRequest.serviceTier",)
            ),
            "metadata": Carried("chatRequest.metadata"),
        },
    )

    member_groups: ClassVar[frozenset[str]] = CHAT_MEMBER_GROUPS
    """The members of ``extra_body`` whose own members are merged."""

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
        conversation = prepare_conversation(
            messages, self.accepted_parts, self.native_state_rule, model
        )
        call_ids = compute_call_ids(conversation, select_call_id_rule(model), WIRE_FORMAT)
        definitions = convert_tools(build_outgoing_tools(tools))
        self.option_rules.remove_refused(options, has_tools=bool(definitions))
        is_openai = model.lower().startswith(_OPENAI_PREFIX)
        unsupported = find_unsupported_options(model, options)
        wants_completion_limit = is_openai is not ("max_tokens" in call_options.renamed_options)
        include_usage = call_options.stream and call_options.stream_usage
        request = _GenericChatRequest(
            api_format="GENERIC",
            messages=build_chat_messages(conversation, call_ids, model),
            is_stream=True if call_options.stream else None,
            stream_options=StreamOptions(is_include_usage=True) if include_usage else None,
            seed=call_options.seed,
            top_p=None if "top_p" in unsupported else call_options.top_p,
            temperature=None if "temperature" in unsupported else call_options.temperature,
            # Some models reject a penalty at any value: 0 is the same as none.
            frequency_penalty=None
            if "frequency_penalty" in unsupported
            else call_options.frequency_penalty or None,
            presence_penalty=None
            if "presence_penalty" in unsupported
            else call_options.presence_penalty or None,
            stop=() if "stop" in unsupported else call_options.stop,
            max_tokens=None if wants_completion_limit else call_options.max_tokens,
            max_completion_tokens=call_options.max_tokens if wants_completion_limit else None,
            response_format=convert_response_format(call_options.response_format),
            tools=definitions or None,
            tool_choice=(
                convert_tool_choice(call_options.tool_choice, definitions) if definitions else None
            ),
            is_parallel_tool_calls=call_options.parallel_tool_calls if definitions else None,
            reasoning_effort=_to_capitals(call_options.reasoning_effort),
            verbosity=_to_capitals(call_options.verbosity),
            num_generations=call_options.n,
            log_probs=_select_log_probs(call_options),
            logit_bias=call_options.logit_bias,
            prediction=_convert_prediction(call_options.prediction),
            service_tier=_to_capitals(call_options.service_tier),
            metadata=call_options.metadata,
        )
        return build_chat_details(call_options, request, self.compartment_id)

    def get_option_rules(self, options: Mapping[str, Any]) -> OptionRules:
        """Return ``option_rules``, with those options refused that the model does not accept."""
        return adapt_rules_to_model(self.option_rules, options)


def _to_capitals(word: str | None) -> str | None:
    return None if word is None else word.upper()


def _select_log_probs(call_options: CallOptions) -> int | None:
    """Return how many of the likeliest tokens to list at each position; None for none."""
    if call_options.top_logprobs is not None:
        return call_options.top_logprobs
    return 1 if call_options.logprobs else None


def _convert_prediction(prediction: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Convert OpenAI's ``prediction`` to Oracle's, whose types are in capitals."""
    if prediction is None or not isinstance(prediction.get("type"), str):
        return prediction
    content = prediction.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if isinstance(parts, (list, tuple)):
        parts = [
            {**part, "type": part["type"].upper()}
            if isinstance(part, Mapping) and isinstance(part.get("type"), str)
            else part
            for part in parts
        ]
    return {**prediction, "type": prediction["type"].upper(), "content": parts}
