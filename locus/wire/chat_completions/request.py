"""Builds the JSON body of ``POST /chat/completions`` from a conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, assert_never

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
from locus.core.digest import compute_digest
from locus.core.errors import APIStatusError
from locus.core.frozendict import EMPTY
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import (
    Content,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import (
    COMMON_RULES,
    NO_STORED_CONVERSATION,
    Carried,
    OptionRules,
    Translated,
)
from locus.core.refused_parameters import read_named_parameters
from locus.core.tool_names import ToolNameRule
from locus.wire.chat_completions.native_members import (
    NATIVE_STATE_RULE,
    PLAIN_REASONING_MEMBERS,
    WIRE_FORMAT,
    build_message_members,
    find_call_members,
    find_missing_signature,
    has_native_content,
)
from locus.wire.openai_model_families import (
    adapt_rules_to_model,
    find_unsupported_options,
    is_reasoning_model,
)
from locus.wire.outgoing_images import build_image_url
from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, ToolCallIdRule, compute_call_ids
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.provider_json import to_json_builtins
from locus.wire.request_parts import encode_arguments, make_tool_choice_error

_OPENAI_ID_RULE: Final = ToolCallIdRule(
    re.compile(r".{1,40}", re.DOTALL), lambda call: f"call_{compute_digest(call)}"
)
"""OpenAI rejects ids of tool calls with more than forty characters."""
_MISTRAL_ID_RULE: Final = ToolCallIdRule(
    re.compile(r"[a-zA-Z0-9]{9}"), lambda call: compute_digest(call)[:9], accepts_issued=False
)
"""Mistral rejects ids that are not exactly nine letters and digits, on every server."""
_MISTRAL_MODELS: Final = re.compile(r"(?:mi|mini|code|dev|magi|math)stral|(?:mix|pix|vox)tral")
_ACKNOWLEDGEMENT: Final = "OK."
"""What a Mistral model is made to say between a tool's result and a message of the user. It rejects
a conversation without it: "Unexpected role 'user' after role 'tool'", ``type``
``invalid_request_message_order``, ``code`` 3230."""
_OPAQUE_ID_MODELS: Final = re.compile(r"gemini|kimi")
"""Models whose ids carry data of their own and may be longer: these ids are sent back unchanged."""
_GEMINI_MODELS: Final = re.compile(r"gemini")
"""Models that reject a tool's result without the name of the tool."""
_FORBIDDEN_IN_NAME: Final = re.compile(r"[\s<|\\/>]")
"""Characters that OpenAI rejects in a message's ``name``."""


class _RequestStruct(msgspec.Struct, omit_defaults=True):
    """Base class of the body's parts; members that have their default value are left out."""


class _Function(_RequestStruct):
    name: str
    arguments: str


class _Call(_RequestStruct):
    id: str
    function: _Function
    type: Literal["function"] | None = None


class _ImageURL(_RequestStruct):
    url: str
    detail: str | None = None


class _Part(_RequestStruct):
    type: str
    text: str | None = None
    image_url: _ImageURL | None = None


class _Message(_RequestStruct):
    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call | dict[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _StreamOptions(_RequestStruct):
    include_usage: bool | None = None


class _Request(_RequestStruct):
    model: str
    messages: list[_Message | dict[str, Any]]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Mapping[str, float] | None = None
    modalities: tuple[str, ...] = ()
    prediction: Mapping[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Mapping[str, Any] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_UNCHANGED_OPTIONS: Final = frozenset(
    {
        *("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed"),
        *("reasoning_effort", "verbosity", "n", "logprobs", "top_logprobs", "logit_bias"),
        *("modalities", "prediction", "service_tier", "store", "metadata", "user"),
        *("prompt_cache_key", "safety_identifier", "response_format"),
    }
)
"""The options that are members of the same name."""


@attrs.frozen
class ChatCompletionsBuilder:
    """The ``RequestBuilder`` of the chat completions format.

    :param sends_plain_reasoning: whether the reasoning beside earlier calls is sent back to the
        server that sent it.
    """

    option_rules: ClassVar[OptionRules] = OptionRules(
        "the chat completions API",
        max_tokens=Carried(
            "max_tokens", "reasoning models: `max_completion_tokens`", "max_completion_tokens"
        ),
        temperature=Carried("temperature", "not to reasoning models"),
        top_p=Carried("top_p", "not to reasoning models"),
        stop=Carried("stop", "not to reasoning models but o1"),
        seed=Carried("seed"),
        frequency_penalty=Carried("frequency_penalty", "not 0, nor to reasoning models"),
        presence_penalty=Carried("presence_penalty", "not 0, nor to reasoning models"),
        reasoning_effort=Carried("reasoning_effort"),
        verbosity=Carried("verbosity"),
        n=Carried("n"),
        logprobs=Carried("logprobs"),
        top_logprobs=Carried("top_logprobs"),
        logit_bias=Carried("logit_bias"),
        modalities=Carried("modalities"),
        prediction=Carried("prediction"),
        service_tier=Carried("service_tier"),
        store=Carried("store"),
        metadata=Carried("metadata"),
        user=Carried("user"),
        prompt_cache_key=Carried("prompt_cache_key"),
        safety_identifier=Carried("safety_identifier"),
        response_format=Carried("response_format"),
        tool_choice=Translated("`tool_choice`; a tool's name as a mapping", ("tool_choice",)),
        parallel_tool_calls=Carried("parallel_tool_calls"),
        provider_state=NO_STORED_CONVERSATION,
        **COMMON_RULES,
    )
    member_groups: ClassVar[frozenset[str]] = frozenset({"stream_options"})
    """The members of ``extra_body`` whose own members are merged."""

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,64}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "the chat completions format",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.CARRIED,
            ThinkingPart: PartHandling.DROPPED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.MOVED},
    )

    lasting_changes: ClassVar[frozenset[str]] = frozenset({"sends_plain_reasoning"})
    """The fields whose change after an error concerns the server, not only one conversation."""

    sends_plain_reasoning: bool = True

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`.
        :raises ConfigurationError: if the format cannot express something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        schemas = build_outgoing_tools(tools)
        self.option_rules.remove_refused(options, has_tools=bool(schemas))
        model = call_options.model
        unsupported = find_unsupported_options(model, options)
        # Only those that were passed: the defaults of both classes are the same.
        supported = {
            name: getattr(call_options, name)
            for name in _UNCHANGED_OPTIONS & options.keys()
            if name not in unsupported
        }
        wants_completion_limit = is_reasoning_model(model) is not (
            "max_tokens" in call_options.renamed_options
        )
        usage = call_options.stream and call_options.stream_usage
        conversation = select_native_state(
            validate_messages(messages, has_native_content, accepted_parts=self.accepted_parts),
            self.native_state_rule.make_maker(call_options.model),
            self.native_state_rule,
        )
        body: dict[str, Any] = to_json_builtins(
            _Request(
                model=call_options.model,
                messages=_build_messages(
                    order_tool_results(
                        conversation, moves_images=self.accepted_parts.moves_result_images
                    ),
                    call_options.model,
                    sends_plain_reasoning=self.sends_plain_reasoning,
                ),
                max_tokens=None if wants_completion_limit else call_options.max_tokens,
                max_completion_tokens=call_options.max_tokens if wants_completion_limit else None,
                # Some providers reject a penalty of any value; 0 has no effect and is not sent.
                frequency_penalty=supported.pop("frequency_penalty", None) or None,
                presence_penalty=supported.pop("presence_penalty", None) or None,
                **supported,
                tools=schemas,
                tool_choice=build_tool_choice(call_options.tool_choice, schemas)
                if schemas
                else None,
                parallel_tool_calls=call_options.parallel_tool_calls if schemas else None,
                stream=True if call_options.stream else None,
                stream_options=_StreamOptions(include_usage=True) if usage else None,
            ),
        )
        return add_extra_members(
            body, call_options.config_members, call_options.extra_body, self.member_groups
        )

    def find_changes_after_error(self, error: APIStatusError) -> Mapping[str, Any]:
        """Return the fields of the builder to change after an error, to send the request again.

        Some servers send plain reasoning, and refuse it in the history: Groq's
        (https://github.com/janhq/jan/issues/8136).
        """
        named = read_named_parameters(error)
        if named is None or not named.is_refusal or not self.sends_plain_reasoning:
            return EMPTY
        is_named = named.mentions(PLAIN_REASONING_MEMBERS)
        return {"sends_plain_reasoning": False} if is_named else EMPTY

    def get_option_rules(self, options: Mapping[str, Any]) -> OptionRules:
        """Return ``option_rules``, with those options refused that the model does not accept."""
        return adapt_rules_to_model(self.option_rules, options)


@lru_cache(maxsize=256)
def select_call_id_rule(model: str) -> ToolCallIdRule:
    """Select the rule for the ids of tool calls that ``model`` accepts."""
    model = model.lower()
    if _MISTRAL_MODELS.search(model):
        return _MISTRAL_ID_RULE
    return ANY_ID_RULE if _OPAQUE_ID_MODELS.search(model) else _OPENAI_ID_RULE


@lru_cache(maxsize=256)
def _needs_tool_names(model: str) -> bool:
    return _GEMINI_MODELS.search(model.lower()) is not None


def _build_messages(
    messages: Sequence[IndexedMessage], model: str, *, sends_plain_reasoning: bool
) -> list[_Message | dict[str, Any]]:
    """Build the messages of a request, with the native state of those that have it."""
    id_rule = select_call_id_rule(model)
    ids = compute_call_ids(messages, id_rule, WIRE_FORMAT)
    names_tools = _needs_tool_names(model)
    built: list[_Message | dict[str, Any]] = []
    has_calls = False
    role_before: Role | None = None
    for indexed in messages:
        message = indexed.message
        if message.role is Role.USER and role_before is Role.TOOL and id_rule is _MISTRAL_ID_RULE:
            built.append(_Message(role="assistant", content=_ACKNOWLEDGEMENT))
        role_before = message.role
        if message.role is Role.ASSISTANT:
            # Servers that demand plain reasoning do so from the first tool call on; some refuse it
            # in a conversation without any.
            has_calls = has_calls or bool(message.tool_calls)
            with_reasoning = has_calls and sends_plain_reasoning
            built.append(_build_assistant_message(indexed, ids, model, with_reasoning))
        elif message.role is Role.TOOL:
            built.append(
                _Message(
                    role="tool",
                    content=message.text,
                    tool_call_id=indexed.call_position and ids[indexed.call_position],
                    name=_find_tool_name(indexed, messages) if names_tools else None,
                )
            )
        elif message.role is Role.SYSTEM:
            built.append(
                _Message(
                    role="system",
                    content=message.text,
                    name=get_normalized_participant_name(message),
                )
            )
        else:
            built.append(
                _Message(
                    role="user",
                    content=_build_content(indexed.position, message.all_content),
                    name=get_normalized_participant_name(message),
                )
            )
    return built


def _find_tool_name(result: IndexedMessage, messages: Sequence[IndexedMessage]) -> str | None:
    """Return the name of the tool whose result a message is."""
    if result.message.name or result.call_position is None:
        return result.message.name
    position, index = result.call_position
    return next(
        indexed.message.tool_calls[index].name
        for indexed in messages
        if indexed.position == position and indexed.call_position is None
    )


def _build_assistant_message(
    indexed_message: IndexedMessage,
    ids: Mapping[ToolCallPosition, str],
    model: str,
    with_plain_reasoning: bool,
) -> _Message | dict[str, Any]:
    position, message = indexed_message.position, indexed_message.message
    built = _Message(
        role="assistant",
        content=message.text or None,
        refusal=message.refusal,
        name=get_normalized_participant_name(message),
    )
    calls = [
        _build_call(f"messages[{position}].tool_calls[{index}]", call, ids[position, index])
        for index, call in enumerate(message.tool_calls)
    ]
    members = build_message_members(message, with_plain_reasoning=with_plain_reasoning)
    signature = find_missing_signature(model, message) if calls else None
    if signature is not None:
        calls[0] = {**to_json_builtins(calls[0]), "extra_content": signature}
    built.tool_calls = calls or None
    return {**to_json_builtins(built), **members} if members else built


def get_normalized_participant_name(message: Message) -> str | None:
    """Return the message's ``name`` in the form that OpenAI accepts."""
    return _FORBIDDEN_IN_NAME.sub("_", message.name)[:64] if message.name else None


def _build_content(position: int, content: Content) -> str | list[_Part]:
    if content is None or isinstance(content, str):
        return content or ""
    return [built for part in content if (built := _build_part(position, part)) is not None]


def _build_part(position: int, part: Part) -> _Part | None:
    """Build a part of a user message; None for the parts that only the assistant has."""
    match part:
        case TextPart():
            return _Part(type="text", text=part.text)
        case ImagePart():
            url = build_image_url(f"messages[{position}]", part)
            return _Part(type="image_url", image_url=_ImageURL(url=url, detail=part.detail))
        case RefusalPart() | ThinkingPart():
            return None
        case _:
            assert_never(part)


def _build_call(path: str, call: ToolCall, call_id: str) -> _Call | dict[str, Any]:
    members = find_call_members(call)
    if members.get("type") == "custom" and call.malformed_arguments is not None:
        return {
            "id": call_id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.malformed_arguments},
        }
    function = _Function(call.name, encode_arguments(path, call))
    built = _Call(id=call_id, type="function", function=function)
    others = {name: value for name, value in members.items() if name not in ("id", "type")}
    if not others:
        return built
    in_function = others.pop("function", {})
    document = to_json_builtins(built)
    document["function"] |= in_function
    return {**document, **others}


def build_tool_choice(
    choice: str | Mapping[str, Any] | None, schemas: Sequence[Mapping[str, Any]]
) -> str | Mapping[str, Any] | None:
    """Build ``tool_choice``: a tool's name becomes a mapping, all other values stay unchanged.

    :raises ConfigurationError: if ``choice`` is neither a value of the API nor the name of a tool.
    """
    if choice is None or isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    names = []
    for schema in schemas:
        tool_type = schema.get("type", "function")
        tool = schema.get(tool_type)
        if isinstance(tool, Mapping):
            names.append(str(tool.get("name")))
            if names[-1] == choice:
                return {"type": tool_type, tool_type: {"name": choice}}
    raise make_tool_choice_error(choice, names)
