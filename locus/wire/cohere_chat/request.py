"""Builds the JSON body of ``POST /v2/chat`` from a conversation and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import msgspec

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages
from locus.core.json_schema.references import inline_references
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import ImagePart, RefusalPart, TextPart, ThinkingPart
from locus.core.native_state_routing import NativeStateRule
from locus.core.option_rules import (
    ABSENT_OPTION_RULES,
    COMMON_RULES,
    Carried,
    OptionRules,
    Refused,
    Translated,
)
from locus.core.tool_names import ToolNameRule
from locus.core.validate_and_order_conversation import prepare_conversation
from locus.wire.cohere_chat.complete_response import NATIVE_STATE_RULE
from locus.wire.cohere_chat.messages import build_chat_messages
from locus.wire.cohere_chat.tools_and_messages import (
    are_strict,
    extract_functions,
    select_tool_choice_and_functions,
)
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import to_json_builtins

_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


class _ResponseFormat(msgspec.Struct, omit_defaults=True):
    type: str
    json_schema: Mapping[str, Any] | None = None


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None
    strict_tools: bool | None = None
    response_format: _ResponseFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    stream: bool = False


@attrs.frozen
class CohereChatBuilder:
    """The ``RequestBuilder`` of Cohere's chat API."""

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,64}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Cohere's chat API",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.CARRIED_IF_UNSIGNED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.MOVED},
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "Cohere's chat API",
        max_tokens=Carried("max_tokens"),
        temperature=Carried("temperature"),
        top_p=Carried("p"),
        stop=Carried("stop_sequences"),
        seed=Carried("seed"),
        frequency_penalty=Carried("frequency_penalty", "not 0"),
        presence_penalty=Carried("presence_penalty", "not 0"),
        response_format=Translated("`response_format` in Cohere's form", ("response_format",)),
        tool_choice=Translated(
            "`tool_choice`; for a tool's name, that tool only, and `REQUIRED`",
            ("tool_choice", "tools"),
        ),
        parallel_tool_calls=Refused("cannot disable calling several tools at once", (True,)),
        **{**ABSENT_OPTION_RULES, **COMMON_RULES, "logprobs": Carried("logprobs")},
    )

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` (``documents`` and ``citation_options`` for example) replace Locus's own.
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
        tool_choice, functions = select_tool_choice_and_functions(call_options, functions)
        body: dict[str, Any] = to_json_builtins(
            _Request(
                model=call_options.model,
                messages=build_chat_messages(
                    conversation, call_ids, NATIVE_STATE_RULE, results_as_documents=True
                ),
                tools=[_build_tool(function) for function in functions] or None,
                tool_choice=tool_choice,
                strict_tools=True if are_strict(functions) else None,
                response_format=_convert_response_format(call_options.response_format),
                max_tokens=call_options.max_tokens,
                temperature=call_options.temperature,
                p=call_options.top_p,
                stop_sequences=call_options.stop,
                seed=call_options.seed,
                # 0 is the same as none, and newer models reject the two together.
                frequency_penalty=call_options.frequency_penalty or None,
                presence_penalty=call_options.presence_penalty or None,
                logprobs=call_options.logprobs,
                stream=call_options.stream,
            )
        )
        return add_extra_members(body, call_options.config_members, call_options.extra_body)


def _build_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    built = {"name": function["name"]}
    if function.get("description") is not None:
        built["description"] = function["description"]
    built["parameters"] = inline_references(function.get("parameters") or _NO_PARAMETERS)
    return {"type": "function", "function": built}


def _convert_response_format(response_format: Mapping[str, Any] | None) -> _ResponseFormat | None:
    """Convert OpenAI's ``response_format`` to Cohere's, which has the schema in ``json_object``.

    :raises ConfigurationError: if its type is unknown, or its schema is missing.
    """
    output = parse_response_format(response_format)
    if output is None:
        return None
    return _ResponseFormat("json_object", inline_references(output.schema))
