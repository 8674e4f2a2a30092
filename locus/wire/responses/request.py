"""Builds the JSON body of ``POST /responses`` from a conversation.

The API lacks some parameters: ``stop``, ``seed`` and the penalties are refused, and a user's
``name`` is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs
import msgspec

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, order_tool_results, validate_messages
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import ImagePart, Message, RefusalPart, Role, TextPart, ThinkingPart
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import (
    COMMON_RULES,
    NO_PENALTIES,
    NO_SUCH_PARAMETER,
    ONE_RESPONSE,
    TEXT_ONLY,
    Carried,
    OptionRules,
    Refused,
    Translated,
)
from locus.core.tool_names import ToolNameRule
from locus.wire.openai_model_families import (
    adapt_rules_to_model,
    find_unsupported_options,
    is_reasoning_model,
)
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import to_json_builtins
from locus.wire.request_parts import make_tool_choice_error
from locus.wire.responses.complete_response import STATE_KEY
from locus.wire.responses.input_items import build_input_items
from locus.wire.responses.output_items import NATIVE_STATE_RULE, has_sendable_native_items

ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
"""The value of ``include`` that asks for encrypted reasoning, which no server has to store."""


LOGPROBS: Final = "message.output_text.logprobs"
"""The value of ``include`` that asks for the log probabilities of the response's tokens."""
_REASONING_ERROR_PHRASES: Final = (
    "encrypted",
    "reasoning item",
    "reasoning input item",
    "type 'reasoning'",
)
"""Parts of the error messages, in lower case, for reasoning of another server or another model."""


class _Text(msgspec.Struct, omit_defaults=True):
    format: Mapping[str, Any] | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    input: list[Any]
    store: bool | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    top_logprobs: int | None = None
    service_tier: str | None = None
    metadata: Mapping[str, Any] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    include: tuple[str, ...] = ()
    stream: bool | None = None


@attrs.frozen
class ResponsesBuilder:
    """The ``RequestBuilder`` of the responses format.

    :param store: whether the server stores the conversation. Then ``provider_state`` names the
        previous response, and only the messages after the assistant's last message are sent. If
        ``extra_body`` has a ``conversation``, that names what the server has, and not the previous
        response.
        Otherwise every request holds the complete conversation, and ``provider_state`` is ignored.
    :param encrypted_reasoning: whether encrypted reasoning is requested and sent back to the
        server.
    """

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,64}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "the responses API",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.CARRIED,
            ThinkingPart: PartHandling.DROPPED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "the responses API",
        max_tokens=Carried("max_output_tokens"),
        temperature=Carried("temperature", "not to reasoning models"),
        top_p=Carried("top_p", "not to reasoning models"),
        stop=Refused("has no stop sequences"),
        seed=NO_SUCH_PARAMETER,
        frequency_penalty=NO_PENALTIES,
        presence_penalty=NO_PENALTIES,
        reasoning_effort=Carried("reasoning.effort"),
        verbosity=Carried("text.verbosity"),
        n=ONE_RESPONSE,
        logprobs=Translated("`include`: `message.output_text.logprobs`", ("include",)),
        top_logprobs=Carried("top_logprobs"),
        logit_bias=NO_SUCH_PARAMETER,
        modalities=TEXT_ONLY,
        prediction=NO_SUCH_PARAMETER,
        service_tier=Carried("service_tier"),
        store=Carried("store", required=True),
        metadata=Carried("metadata"),
        user=Carried("user"),
        prompt_cache_key=Carried("prompt_cache_key"),
        safety_identifier=Carried("safety_identifier"),
        response_format=Translated("`text.format`, not nested", ("text.format",)),
        tool_choice=Translated(
            "`tool_choice`; a tool's name as a mapping, not nested", ("tool_choice",)
        ),
        parallel_tool_calls=Carried("parallel_tool_calls"),
        provider_state=Translated(
            "`previous_response_id`, and the new messages only; with `store=False`, the complete "
            "conversation",
            ("previous_response_id", "input"),
        ),
        **COMMON_RULES,
    )
    member_groups: ClassVar[frozenset[str]] = frozenset({"text", "reasoning", "stream_options"})
    """The members of ``extra_body`` whose own members are merged."""

    store: bool = True
    encrypted_reasoning: bool = True

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` replace Locus's own. Its ``text`` is merged member by member, and its
            ``include`` is added to Locus's.
        :raises ConfigurationError: if the format cannot express something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        extra_body = call_options.extra_body or {}
        configured_store = self.store if call_options.store is None else call_options.store
        store = bool(extra_body.get("store", configured_store))
        if extra_body.get(STATE_KEY) and not store:
            raise ConfigurationError(
                f"extra_body[{STATE_KEY!r}] names a response that the server stores, and with "
                "store=False it stores none: leave it out, the complete conversation is sent"
            )
        previous_id = _find_previous_response_id(call_options.provider_state) if store else None
        conversation = validate_messages(
            messages,
            has_sendable_native_items,
            server_has_history=previous_id is not None,
            accepted_parts=self.accepted_parts,
        )
        conversation = select_native_state(
            conversation,
            self.native_state_rule.make_maker(call_options.model),
            self.native_state_rule,
        )
        last_sent = -1 if previous_id is None else _find_last_assistant_position(conversation)
        flat_tools = tuple(_flatten_tool(schema) for schema in build_outgoing_tools(tools))
        self.option_rules.remove_refused(options, has_tools=bool(flat_tools))
        reasoning = is_reasoning_model(call_options.model)
        unsupported = find_unsupported_options(call_options.model, options)
        include = (LOGPROBS,) if call_options.logprobs else ()
        if reasoning and self.encrypted_reasoning and not store:
            include = (ENCRYPTED_REASONING, *include)
        body: dict[str, Any] = to_json_builtins(
            _Request(
                model=call_options.model,
                input=build_input_items(
                    order_tool_results(conversation),
                    last_sent,
                    encrypted_reasoning=self.encrypted_reasoning,
                ),
                store=store,
                # The API takes one of the two: a conversation contains the previous response.
                previous_response_id=None if extra_body.get("conversation") else previous_id,
                max_output_tokens=call_options.max_tokens,
                temperature=None if "temperature" in unsupported else call_options.temperature,
                top_p=None if "top_p" in unsupported else call_options.top_p,
                text=_build_text(call_options),
                reasoning=None
                if call_options.reasoning_effort is None
                else _Reasoning(call_options.reasoning_effort),
                top_logprobs=call_options.top_logprobs,
                service_tier=call_options.service_tier,
                metadata=call_options.metadata,
                user=call_options.user,
                prompt_cache_key=call_options.prompt_cache_key,
                safety_identifier=call_options.safety_identifier,
                tools=flat_tools,
                tool_choice=_build_tool_choice(call_options.tool_choice, flat_tools)
                if flat_tools
                else None,
                parallel_tool_calls=call_options.parallel_tool_calls if flat_tools else None,
                include=include,
                stream=True if call_options.stream else None,
            ),
        )
        merged = add_extra_members(
            body, call_options.config_members, extra_body, self.member_groups
        )
        if "include" in body and isinstance(extra_body.get("include"), (list, tuple)):
            merged["include"] = list(dict.fromkeys([*body["include"], *extra_body["include"]]))
        return merged

    def get_option_rules(self, options: Mapping[str, Any]) -> OptionRules:
        """Return ``option_rules``, with those options refused that the model does not accept."""
        return adapt_rules_to_model(self.option_rules, options)

    def find_changes_after_error(self, error: APIStatusError) -> Mapping[str, Any]:
        """Return the fields of the builder to change after an error, to send the request again.

        The server may be unable to read the reasoning of another server, or the model not reason.
        """
        body = error.body.lower()
        if not self.encrypted_reasoning or error.status_code not in (400, 404, 422):
            return EMPTY
        is_known = any(phrase in body for phrase in _REASONING_ERROR_PHRASES)
        return {"encrypted_reasoning": False} if is_known else EMPTY


# The conversation that the server stores.


def _find_previous_response_id(state: Mapping[str, Any] | None) -> str | None:
    """Return the id in ``provider_state``; None if there is no state.

    :raises ConfigurationError: if the state is not one of this API.
    """
    if not state:
        return None
    previous_id = state.get(STATE_KEY)
    if not isinstance(previous_id, str) or not previous_id:
        raise ConfigurationError(
            "provider_state is what a response of this API had there, "
            f"{{{STATE_KEY!r}: 'resp_…'}}; not {dict(state)!r}"
        )
    return previous_id


def _find_last_assistant_position(messages: Sequence[Message]) -> int:
    """Return the position of the assistant's last message.

    The messages after it are new to the server.
    """
    positions = [
        position for position, message in enumerate(messages) if message.role is Role.ASSISTANT
    ]
    last = positions[-1] if positions else -1
    if last == len(messages) - 1:
        raise ConfigurationError(
            f"messages[{last}] is the response that provider_state= stands for, and no message "
            "follows it: there is nothing new to send"
        )
    return last


# Tools, and the format of the response.

_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def _flatten_tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a tool from the nested form of chat completions. Other tools stay unchanged."""
    tool_type = schema.get("type", "function")
    inner = schema.get(tool_type)
    if not isinstance(inner, Mapping):
        return dict(schema)
    flat = {
        "type": tool_type,
        **{name: value for name, value in inner.items() if value is not None},
    }
    if tool_type == "function":
        flat.setdefault("parameters", _NO_PARAMETERS)
        flat.setdefault("strict", False)  # the default of chat completions
    grammar = flat.get("format")
    if isinstance(grammar, Mapping) and isinstance(grammar.get("grammar"), Mapping):
        flat["format"] = {"type": "grammar", **grammar["grammar"]}
    return flat


def _build_tool_choice(
    choice: str | Mapping[str, Any] | None, flat_tools: Sequence[Mapping[str, Any]]
) -> str | Mapping[str, Any] | None:
    """Convert OpenAI's ``tool_choice``, or the name of a tool, to this API's form."""
    if isinstance(choice, Mapping):
        tool_type = choice.get("type")
        inner = choice.get(tool_type) if isinstance(tool_type, str) else None
        if not isinstance(inner, Mapping):
            return choice
        flat = {"type": tool_type, **inner}
        if isinstance(flat.get("tools"), (list, tuple)):  # of allowed_tools
            flat["tools"] = [_flatten_tool_reference(tool) for tool in flat["tools"]]
        return flat
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    for tool in flat_tools:
        if tool.get("name") == choice:
            return {"type": tool["type"], "name": choice}
    raise make_tool_choice_error(choice, (tool["name"] for tool in flat_tools if "name" in tool))


def _flatten_tool_reference(tool: Any) -> Any:
    """Convert a tool in ``allowed_tools`` from its nested form."""
    tool_type = tool.get("type") if isinstance(tool, Mapping) else None
    inner = tool.get(tool_type) if isinstance(tool_type, str) else None
    return {"type": tool_type, **inner} if isinstance(inner, Mapping) else tool


def _build_text(call_options: CallOptions) -> _Text | None:
    """Build the member ``text``: the format of the response, and how long it is."""
    response_format, verbosity = call_options.response_format, call_options.verbosity
    if response_format is None and verbosity is None:
        return None
    return _Text(
        None if response_format is None else _build_text_format(response_format), verbosity
    )


def _build_text_format(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert ``response_format`` to ``text.format``, which is not nested."""
    if response_format.get("type") != "json_schema":
        return response_format
    if "json_schema" not in response_format:  # already in this API's form
        response_format = {"type": "json_schema", "json_schema": response_format}
    output = parse_response_format(response_format)
    inner = (output and output.json_schema) or EMPTY
    members = ("name", "schema", "description", "strict")
    return {
        "type": "json_schema",
        **{name: inner[name] for name in members if inner.get(name) is not None},
    }
