"""A conversation and its options as the JSON body of ``POST /v1/messages``.

``messages`` builds the members ``messages`` and ``system``; this module builds the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, order_tool_results, validate_messages
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.merge_extra_body import add_extra_members
from locus.core.messages import ImagePart, Message, RefusalPart, TextPart, ThinkingPart
from locus.core.native_state_routing import NativeStateRule, select_native_state
from locus.core.option_rules import (
    ABSENT_OPTION_RULES,
    COMMON_RULES,
    NO_PENALTIES,
    NO_SUCH_PARAMETER,
    Carried,
    OptionRules,
    Refused,
    Translated,
)
from locus.core.tool_names import ToolNameRule
from locus.wire.anthropic_messages.cache_marks import (
    CacheLife,
    add_cache_marks,
    normalize_prompt_cache,
)
from locus.wire.anthropic_messages.check_thinking import (
    ThinkingConfig,
    check_thinking,
    is_thinking_enabled,
    normalize_thinking,
)
from locus.wire.anthropic_messages.convert_assistant_blocks import (
    NATIVE_STATE_RULE,
    find_state,
    has_matching_native_blocks,
)
from locus.wire.anthropic_messages.messages import MessageListBuilder
from locus.wire.anthropic_messages.model_capabilities import (
    accepts_unsigned_thinking,
    checks_thinking_history,
    is_claude,
    rejects_forced_tool_choice,
    supports_forced_tool_choice,
    supports_inline_system_messages,
    supports_output_config,
    supports_sampling,
)
from locus.wire.anthropic_messages.output_schemas import convert_output_schema, fit_strict_tool
from locus.wire.anthropic_messages.repair_request_messages import (
    check_last_message,
    complete_calls,
)
from locus.wire.anthropic_messages.structured_output import (
    JSON_ONLY_INSTRUCTION,
    RESPOND_TOOL_NAME,
    build_respond_tool,
    build_schema_instruction,
    find_output_schema_and_description,
)
from locus.wire.anthropic_messages.thinking_history_digest import remove_thinking_of_other_histories
from locus.wire.anthropic_messages.tools import build_tool, build_tool_choice
from locus.wire.outgoing_tools import build_outgoing_tools
from locus.wire.provider_json import to_json_builtins


def _validate_prompt_cache(_: Any, __: Any, value: Any) -> None:
    normalize_prompt_cache(value)


@attrs.frozen
class AnthropicMessagesBuilder:
    """The ``RequestBuilder`` of Anthropic's Messages API.

    :param prompt_cache: mark the end of the conversation, the system prompt and the tools for the
        prompt cache: True, or how long the marked prompt stays there, ``"5m"`` or ``"1h"``.
    :param thinking: the API's ``thinking`` parameter, a budget in tokens, or None.
    :param sampling: whether the model accepts ``temperature`` or ``top_p``. If this or one of the
        other three is None, the model's name decides.
    :param forced_tool_choice: whether ``response_format`` may use a tool that the model is forced
        to call. Otherwise the API's own ``output_config`` is used, which newer models have.
    :param output_config: whether the model has ``output_config.format``. Otherwise, or if the API
        does not accept the schema, it is requested in words.
    :param inline_system_messages: whether system messages may stand among the others.
    :param sends_thinking: whether earlier thinking of the model is sent back to it.
    :param sends_container: whether the container in which earlier code has run is named, so that
        the API uses it again. It expires after some weeks; without it, the API makes another.
    """

    tool_name_rule: ClassVar[ToolNameRule] = ToolNameRule(r"[a-zA-Z0-9_-]{1,128}")
    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE

    accepted_parts: ClassVar[AcceptedParts] = AcceptedParts(
        "Anthropic's Messages API",
        user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
        assistant={
            TextPart: PartHandling.CARRIED,
            RefusalPart: PartHandling.AS_TEXT,
            ThinkingPart: PartHandling.CARRIED_IF_SIGNED,
        },
        tool={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
    )

    option_rules: ClassVar[OptionRules] = OptionRules(
        "Anthropic's API",
        max_tokens=Carried("max_tokens", "required", required=True),
        temperature=Carried("temperature", "not to Claude 4.7 or later, nor with thinking"),
        top_p=Carried("top_p", "not beside `temperature`, nor where that is not sent"),
        stop=Carried("stop_sequences", "a blank one raises"),
        seed=NO_SUCH_PARAMETER,
        frequency_penalty=NO_PENALTIES,
        presence_penalty=NO_PENALTIES,
        response_format=Translated(
            "a schema: a tool that the model is forced to call, `output_config`, or an "
            "instruction; `json_object`: an instruction",
            ("tools", "tool_choice", "output_config", "system"),
        ),
        tool_choice=Translated("`tool_choice` in Anthropic's form", ("tool_choice",)),
        parallel_tool_calls=Translated(
            "`False`: `tool_choice.disable_parallel_tool_use`", ("tool_choice",)
        ),
        **{
            **ABSENT_OPTION_RULES,
            **COMMON_RULES,
            "reasoning_effort": Carried("output_config.effort"),
            "service_tier": Carried("service_tier"),
            "metadata": Carried("metadata"),
            "user": Carried("metadata.user_id"),
        },
    )
    member_groups: ClassVar[frozenset[str]] = frozenset({"output_config", "metadata"})
    """The members of ``extra_body`` whose own members are merged."""
    lasting_changes: ClassVar[frozenset[str]] = frozenset(
        {"forced_tool_choice", "inline_system_messages", "output_config"}
    )
    """The fields that a model remembers if an error has changed them."""

    prompt_cache: bool | CacheLife = attrs.field(default=False, validator=_validate_prompt_cache)
    thinking: ThinkingConfig = attrs.field(default=None, converter=normalize_thinking, hash=False)
    sampling: bool | None = None
    forced_tool_choice: bool | None = None
    output_config: bool | None = None
    inline_system_messages: bool | None = None
    sends_thinking: bool = True
    sends_container: bool = True

    def build(
        self, messages: Messages, tools: Sequence[ToolLike] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Build the JSON body, made of builtin dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. If both
            ``temperature`` and ``top_p`` are set, only ``temperature`` is sent: the newer of the
            models that accept them reject the two together.
        :raises ConfigurationError: if the format cannot represent something; the message names it
            and its position.
        """
        call_options = CallOptions(**options)
        extra_body = call_options.extra_body or {}
        thinking = extra_body.get("thinking", self.thinking)
        thinks = is_thinking_enabled(thinking)
        takes_strict = self._has_output_config(call_options.model)
        available_tools = [
            build_tool(schema, takes_strict=takes_strict) for schema in build_outgoing_tools(tools)
        ]
        self.option_rules.remove_refused(options, has_tools=bool(available_tools))
        tool_choice = build_tool_choice(call_options, available_tools)
        max_tokens = _require_max_tokens(extra_body.get("max_tokens", call_options.max_tokens))
        if "thinking" not in extra_body:
            check_thinking(
                self.thinking,
                call_options.model,
                max_tokens,
                is_interleaved=_is_thinking_interleaved(call_options, available_tools),
            )
        self._check_tool_choice(tool_choice, call_options.model, thinks)
        conversation = select_native_state(
            validate_messages(
                messages, has_matching_native_blocks, accepted_parts=self.accepted_parts
            ),
            self.native_state_rule.make_maker(call_options.model),
            self.native_state_rule,
        )
        if not self.sends_thinking:
            conversation = tuple(map(self.native_state_rule.remove_model_state, conversation))
        message_list = MessageListBuilder(
            order_tool_results(conversation),
            _is_feature_supported(
                self.inline_system_messages, supports_inline_system_messages, call_options.model
            ),
            unsigned_thinking=accepts_unsigned_thinking(call_options.model),
        )

        body: dict[str, Any] = {
            "model": call_options.model,
            "max_tokens": max_tokens,
        }
        if call_options.response_format is not None:
            schema = find_output_schema_and_description(call_options.response_format)
            if schema is not None and not thinks and self._can_force_tool(call_options.model):
                available_tools.append(build_respond_tool(*schema))
                # Once only: two calls would be two JSON objects, which is no valid response.
                tool_choice = {
                    "type": "tool",
                    "name": RESPOND_TOOL_NAME,
                    "disable_parallel_tool_use": True,
                }
            elif schema is not None:
                output_schema = (
                    convert_output_schema(schema[0])
                    if self._has_output_config(call_options.model)
                    else None
                )
                if output_schema is None:
                    message_list.add_system_instruction(build_schema_instruction(*schema))
                else:
                    body["output_config"] = {
                        "format": {"type": "json_schema", "schema": output_schema}
                    }
            elif call_options.response_format["type"] == "json_object":
                message_list.add_system_instruction(JSON_ONLY_INSTRUCTION)
        body["messages"] = message_list.build_messages()
        system = message_list.build_system_prompt()
        if system:
            body["system"] = system
        if available_tools:
            body["tools"] = [fit_strict_tool(tool) for tool in available_tools]
        elif "tools" not in extra_body:
            called_tools = _declare_called_tools(body["messages"])
            if called_tools:
                body["tools"] = called_tools
                tool_choice = {"type": "none"}
        if tool_choice is not None:
            body["tool_choice"] = tool_choice
        if call_options.stop:
            _check_stop_sequences(call_options.stop)
            body["stop_sequences"] = list(call_options.stop)
        if not thinks and _is_feature_supported(
            self.sampling, supports_sampling, call_options.model
        ):
            if call_options.temperature is not None:
                body["temperature"] = call_options.temperature
            elif call_options.top_p is not None:
                body["top_p"] = call_options.top_p
        if thinking is not None:
            body["thinking"] = thinking
        container = _find_container(conversation) if self.sends_container else None
        if container is not None:
            body["container"] = container
        if call_options.reasoning_effort is not None:
            body.setdefault("output_config", {})["effort"] = call_options.reasoning_effort
        if call_options.service_tier is not None:
            body["service_tier"] = call_options.service_tier
        if call_options.metadata is not None or call_options.user is not None:
            user = {} if call_options.user is None else {"user_id": call_options.user}
            body["metadata"] = {**(call_options.metadata or {}), **user}
        if call_options.stream:
            body["stream"] = True
        merged: dict[str, Any] = to_json_builtins(
            add_extra_members(body, call_options.config_members, extra_body, self.member_groups)
        )
        if "messages" not in extra_body:
            if message_list.bound_responses and checks_thinking_history(call_options.model):
                merged["messages"] = remove_thinking_of_other_histories(
                    merged, message_list.bound_responses
                )
            merged["messages"] = complete_calls(merged["messages"])
            check_last_message(merged["messages"], call_options.model, thinks=thinks)
        cache_life = normalize_prompt_cache(self.prompt_cache)
        if cache_life is not None:
            add_cache_marks(merged, cache_life)
        return merged

    def _check_tool_choice(
        self, tool_choice: Mapping[str, Any] | None, model: str, thinks: bool
    ) -> None:
        """Raise a ``ConfigurationError`` if the model rejects a call that it is forced to make."""
        if tool_choice is None or tool_choice.get("type") not in ("any", "tool"):
            return
        if thinks and is_claude(model):
            raise ConfigurationError(
                "tool_choice: a model that thinks before it responds cannot be made to call a "
                "tool; use 'auto', or thinking=None"
            )
        if self.forced_tool_choice is None and rejects_forced_tool_choice(model):
            raise ConfigurationError(
                f"tool_choice: {model} cannot be made to call a tool; use 'auto', and say in the "
                "prompt that it has to"
            )

    def _has_output_config(self, model: str) -> bool:
        if self.output_config is None and self.forced_tool_choice is False:
            return True  # a newer model under a name that does not tell
        return _is_feature_supported(self.output_config, supports_output_config, model)

    def get_option_rules(self, options: Mapping[str, Any]) -> OptionRules:
        """Return ``option_rules``, with those options refused that the model does not accept."""
        extra_body, model = options.get("extra_body"), options.get("model")
        thinking = self.thinking
        if isinstance(extra_body, Mapping):
            thinking = extra_body.get("thinking", thinking)
        if not isinstance(model, str) or not _is_feature_supported(
            self.sampling, supports_sampling, model
        ):
            return _get_rules_without_sampling(self.option_rules, _NO_SAMPLING)
        if is_thinking_enabled(thinking):
            return _get_rules_without_sampling(self.option_rules, _NO_SAMPLING_WHILE_THINKING)
        if options.get("temperature") is not None and options.get("top_p") is not None:
            return self.option_rules.evolve(top_p=_ONE_OF_TWO)
        return self.option_rules

    def find_changes_after_error(self, error: APIStatusError) -> Mapping[str, Any]:
        """Return the fields of the builder to change after an error, to send the request again."""
        body = error.body.lower()
        if error.status_code not in (400, 404, 422):
            return EMPTY
        if self.sends_container and _CONTAINER.search(body):
            return {"sends_container": False}
        if error.status_code == _NOT_FOUND:
            return EMPTY
        if self.sends_thinking and _REJECTED_THINKING.search(body):
            return {"sends_thinking": False}
        if "output_config" in body or "output_format" in body:
            return {"forced_tool_choice": False, "output_config": False}
        if "tool_choice" in body and self.forced_tool_choice is not False:
            return {"forced_tool_choice": False}
        if "role" in body and "system" in body and self.inline_system_messages is not False:
            return {"inline_system_messages": False}
        return EMPTY

    def _can_force_tool(self, model: str) -> bool:
        return _is_feature_supported(self.forced_tool_choice, supports_forced_tool_choice, model)


def _is_feature_supported(
    configured: bool | None, supports_feature: Callable[[str], bool], model: str
) -> bool:
    """Return ``configured``, or what the name of the model tells if that is None."""
    return supports_feature(model) if configured is None else configured


def _declare_called_tools(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Declare the tools that were called in a conversation; their parameters are not known.

    The API rejects calls and results of tools in a request without any tools:
    https://github.com/anthropics/anthropic-sdk-python/issues/494.
    """
    names = {
        block["name"]: None
        for message in messages
        if not isinstance(message["content"], str)
        for block in message["content"]
        if block.get("type") == "tool_use"
    }
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


def _find_container(conversation: Sequence[Message]) -> str | None:
    """Return the id of the container in which the latest code of the conversation has run."""
    for message in reversed(conversation):
        state = find_state(message)
        container = None if state is None else state.data.get("container")
        if isinstance(container, str):
            return container
    return None


def _is_thinking_interleaved(call_options: CallOptions, tools: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the model may think between tool calls, which a beta header allows."""
    return bool(tools) and any(
        name.lower() == "anthropic-beta" and "interleaved-thinking" in str(value)
        for name, value in (call_options.extra_headers or {}).items()
    )


_NOT_FOUND: Final = 404
_CONTAINER: Final = re.compile(r"\bcontainer\b")  # and not container_upload, a block
_REJECTED_THINKING: Final = re.compile(
    r"invalid `?\\?\"?signature`?.{0,40}thinking|thinking.{0,20}signature: field required"
)
"""Errors for thinking of another model or conversation, or without a signature, in lower case."""
_SEND_IT_ANYWAY: Final = "leave it out, or pass it in extra_body to send it all the same"
_NO_SAMPLING: Final = Refused(
    "accepts it for Claude models before 4.7 only", (), _SEND_IT_ANYWAY, by_model=True
)
_NO_SAMPLING_WHILE_THINKING: Final = Refused(
    "accepts none while the model thinks", (1,), _SEND_IT_ANYWAY, by_model=True
)
_ONE_OF_TWO: Final = Refused(
    "accepts either temperature or top_p", (), "pass one of the two", by_model=True
)


@lru_cache(maxsize=16)
def _get_rules_without_sampling(rules: OptionRules, refusal: Refused) -> OptionRules:
    return rules.evolve(temperature=refusal, top_p=refusal)


def _require_max_tokens(max_tokens: int | None) -> int:
    """Return ``max_tokens``, or raise a ``ConfigurationError`` if it is None."""
    if max_tokens is None:
        raise ConfigurationError(
            "Anthropic's API requires max_tokens, the limit of the response: it cannot be None"
        )
    return max_tokens


def _check_stop_sequences(sequences: tuple[str, ...]) -> None:
    """Raise a ``ConfigurationError`` if a stop sequence is blank."""
    for sequence in sequences:
        if not sequence or sequence.isspace():
            raise ConfigurationError(
                f"stop={sequence!r}: Anthropic's API accepts no stop sequence without a visible "
                "character"
            )
