"""Builds the JSON body of ``generateContent`` from a conversation and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages
from locus.core.errors import ConfigurationError
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import ImagePart, RefusalPart, Role, TextPart, ThinkingPart
from locus.core.model_family import strip_model_snapshot
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
from locus.wire.google_gemini.contents import build_contents
from locus.wire.google_gemini.native_parts import NATIVE_STATE_RULE, has_native_parts
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import to_json_builtins
from locus.wire.request_parts import make_tool_choice_error

_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""The thinking of Gemini 2.5, in tokens. Google's own table, for its OpenAI-compatible endpoint:
https://ai.google.dev/gemini-api/docs/openai#thinking."""
_LEVELS: Final = ("minimal", "low", "medium", "high")
"""The thinking of Gemini 3 and later: https://ai.google.dev/gemini-api/docs/thinking."""


@attrs.frozen
class GeminiBuilder:
    """The ``RequestBuilder`` of Google's Gemini API."""

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Google's Gemini API",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.DROPPED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.MOVED},
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "Google's Gemini API",
        **{
            **ABSENT_OPTION_RULES,
            **COMMON_RULES,
            "n": Refused("returns one response, as Locus reads it", (1,)),
            "logprobs": Refused("has log probabilities that Locus does not read", (False,)),
            "top_logprobs": Refused("has log probabilities that Locus does not read"),
            "reasoning_effort": Translated(
                "`thinkingConfig`: `thinkingLevel`, or Gemini 2.5's `thinkingBudget`, and "
                "`includeThoughts`",
                ("generationConfig.thinkingConfig",),
            ),
        },
        max_tokens=Carried("generationConfig.maxOutputTokens"),
        temperature=Carried("generationConfig.temperature"),
        top_p=Carried("generationConfig.topP"),
        stop=Carried("generationConfig.stopSequences"),
        seed=Carried("generationConfig.seed"),
        frequency_penalty=Carried("generationConfig.frequencyPenalty"),
        presence_penalty=Carried("generationConfig.presencePenalty"),
        response_format=Translated(
            "`responseMimeType`, and the schema as `responseJsonSchema`",
            ("generationConfig.responseMimeType", "generationConfig.responseJsonSchema"),
        ),
        tool_choice=Translated(
            "`functionCallingConfig`: `AUTO`, `NONE` or `ANY`; for a tool's name, `ANY` of that "
            "tool only",
            ("toolConfig.functionCallingConfig",),
        ),
        parallel_tool_calls=Refused("cannot disable calling several tools at once", (True,)),
    )

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` (``safetySettings`` and ``cachedContent`` for example) replace Locus's
            own.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        schemas = build_outgoing_tools(tools)
        functions = [schema["function"] for schema in schemas if "function" in schema]
        server_tools = [_build_server_tool(one) for one in schemas if "function" not in one]
        self.option_rules.remove_refused(options, has_tools=bool(schemas))
        conversation = prepare_conversation(
            messages,
            self.accepted_parts,
            self.native_state_rule,
            call_options.model,
            has_native_parts,
        )
        call_ids = compute_call_ids(conversation, ANY_ID_RULE)
        systems = [one.message.text for one in conversation if one.message.role is Role.SYSTEM]
        system = "\n\n".join(text for text in systems if text.strip())
        declarations = [_build_tool(function) for function in functions]
        body = _drop_missing(
            systemInstruction={"parts": [{"text": system}]} if system else None,
            contents=build_contents(conversation, call_ids, call_options.model),
            tools=[
                *([{"functionDeclarations": declarations}] if declarations else ()),
                *server_tools,
            ]
            or None,
            toolConfig=_build_tool_config(call_options.tool_choice, functions),
            generationConfig=_build_generation_config(call_options) or None,
        )
        built: dict[str, Any] = to_json_builtins(body)
        return add_extra_members(built, call_options.config_members, call_options.extra_body)


def _drop_missing(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _build_server_tool(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Build a tool of Google's: ``{"google_search": {}}``, or ``{"type": "google_search"}``."""
    if "type" not in schema:
        return schema
    return {schema["type"]: {name: schema[name] for name in schema if name != "type"}}


def _build_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    return _drop_missing(
        name=function["name"],
        description=function.get("description"),
        parametersJsonSchema=function.get("parameters") or _NO_PARAMETERS,
    )


def _build_tool_config(
    choice: Any, functions: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Build ``toolConfig``; None if there are no tools, or nothing is chosen."""
    if choice is None or not functions:
        return None
    names = [function["name"] for function in functions]
    match choice:
        case {"functionCallingConfig": Mapping()} | {"retrievalConfig": Mapping()}:
            return dict(choice)  # Google's own form
        case str(name) | {"type": "function", "function": {"name": str(name)}} if name in names:
            return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}
        case str(mode) if mode in _MODES:
            return {"functionCallingConfig": {"mode": _MODES[mode]}}
        case _:
            raise make_tool_choice_error(choice, names)


def _build_generation_config(call_options: CallOptions) -> dict[str, Any]:
    output = parse_response_format(call_options.response_format)
    return _drop_missing(
        maxOutputTokens=call_options.max_tokens,
        temperature=call_options.temperature,
        topP=call_options.top_p,
        stopSequences=call_options.stop or None,
        seed=call_options.seed,
        frequencyPenalty=call_options.frequency_penalty,
        presencePenalty=call_options.presence_penalty,
        responseMimeType="application/json" if output else None,
        responseJsonSchema=output.schema if output else None,
        thinkingConfig=_build_thinking_config(call_options),
    )


def _build_thinking_config(call_options: CallOptions) -> dict[str, Any] | None:
    """Build ``thinkingConfig``; None without a ``reasoning_effort``.

    :raises ConfigurationError: if the model has no such effort.
    """
    effort = call_options.reasoning_effort
    if effort is None:
        return None
    if strip_model_snapshot(call_options.model).startswith("gemini-2"):
        if effort in _BUDGETS:
            budget = _BUDGETS[effort]
            return {"thinkingBudget": budget, "includeThoughts": budget > 0}
        efforts: Sequence[str] = tuple(_BUDGETS)
    else:
        if effort in _LEVELS:
            return {"thinkingLevel": effort, "includeThoughts": True}
        efforts = _LEVELS
    raise ConfigurationError(
        f"reasoning_effort={effort!r}: {call_options.model} has {', '.join(efforts)}"
    )
