"""A conversation as the JSON body of ``POST /v1/messages``.

The API has turns of two parties, where Locus has messages of four roles: ``turns`` does that part.
Here is the rest of the body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.frozendict import frozen_dict
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.anthropic_messages.content_blocks import holds_blocks
from locus.wire.anthropic_messages.model_families import (
    takes_forced_tools,
    takes_sampling,
    takes_system_turns,
)
from locus.wire.anthropic_messages.structured_output import (
    JSON_ONLY,
    RESPOND,
    as_object,
    respond_tool,
    schema_of,
)
from locus.wire.anthropic_messages.turns import EPHEMERAL, Turns, plain

Thinking = Mapping[str, Any] | None


def thinking_of(value: Any) -> Thinking:
    """The API's ``thinking`` parameter: as given, from a budget in tokens, or from its type alone.

    :raises ConfigurationError: it is something else.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return frozen_dict({"type": value})
    if isinstance(value, int) and not isinstance(value, bool):
        return frozen_dict({"type": "enabled", "budget_tokens": value})
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return frozen_dict(value)
    raise ConfigurationError(
        f"thinking takes a number of tokens, 'adaptive', or the API's own mapping; not {value!r}"
    )


@attrs.frozen
class AnthropicMessagesBuilder:
    """The ``RequestBuilder`` of the messages format.

    :param prompt_cache: mark the system prompt and the last tool for the prompt cache.
    :param thinking: the API's ``thinking`` parameter, a budget in tokens, or None.
    :param sampling: whether the model takes ``temperature`` or ``top_p``. This and the other two
        are known from the model's name where they are None.
    :param forced_tools: whether ``response_format`` may use a tool that the model is made to
        call. Otherwise the API's own ``output_config`` is used, which newer models have.
    :param system_turns: whether a system message may stand among the others.
    """

    prompt_cache: bool = False
    thinking: Thinking = attrs.field(default=None, converter=thinking_of, hash=False)
    sampling: bool | None = None
    forced_tools: bool | None = None
    system_turns: bool | None = None

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. Of
        ``temperature``
            and ``top_p`` the first is sent where both are given: the newer of the models that
            take them refuse the two together.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        extra = said.extra_body or {}
        thinking = extra.get("thinking", self.thinking)
        thinks = isinstance(thinking, Mapping) and thinking.get("type") != "disabled"
        offered = [_tool(schema) for schema in tool_schemas(tools)]
        choice = _tool_choice(said, offered)
        spoken = in_order(conversation(messages, holds_blocks))
        turns = Turns(spoken, _either(self.system_turns, takes_system_turns, said.model))

        body: dict[str, Any] = {"model": said.model, "max_tokens": _max_tokens(said.max_tokens)}
        if said.response_format is not None:
            asked = schema_of(said.response_format)
            if asked is not None and not thinks and self._may_force(said.model):
                offered.append(respond_tool(*asked))
                # Once: an answer in two pieces would be none.
                choice = {"type": "tool", "name": RESPOND, "disable_parallel_tool_use": True}
            elif asked is not None:
                body["output_config"] = {"format": {"type": "json_schema", "schema": asked[0]}}
            elif said.response_format["type"] == "json_object":
                turns.instruct(JSON_ONLY)
        body["messages"] = turns.messages()
        system = turns.system(self.prompt_cache)
        if system:
            body["system"] = system
        if offered:
            if self.prompt_cache:
                offered[-1].setdefault("cache_control", EPHEMERAL)
            body["tools"] = offered
        if choice is not None:
            body["tool_choice"] = choice
        if said.stop:
            body["stop_sequences"] = _stop(said.stop)
        if not thinks and _either(self.sampling, takes_sampling, said.model):
            if said.temperature is not None:
                body["temperature"] = said.temperature
            elif said.top_p is not None:
                body["top_p"] = said.top_p
        if thinking is not None:
            body["thinking"] = thinking
        if said.stream:
            body["stream"] = True
        whole: dict[str, Any] = plain(_merged(body, extra), "the request")
        return whole

    def _may_force(self, model: str) -> bool:
        return _either(self.forced_tools, takes_forced_tools, model)


def _either(said: bool | None, known: Callable[[str], bool], model: str) -> bool:
    return known(model) if said is None else said


def _merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the caller's extras. Both may have a say in ``output_config``."""
    ours, theirs = body.get("output_config"), extra.get("output_config")
    body.update(extra)
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        body["output_config"] = {**ours, **theirs}
    return body


def _max_tokens(said: int | None) -> int:
    if said is None:
        raise ConfigurationError(
            "Anthropic's API wants to be told max_tokens, the longest answer: it cannot be None"
        )
    return said


def _stop(sequences: tuple[str, ...]) -> list[str]:
    for sequence in sequences:
        if not sequence or sequence.isspace():
            raise ConfigurationError(
                f"stop={sequence!r}: Anthropic's API takes no stop sequence without a visible "
                "character"
            )
    return list(sequences)


_CARRIED: Final = ("description", "cache_control")


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI's format as the API has it; any other kind is the API's own already."""
    function = schema.get("function")
    if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
        tool = dict(schema)
    else:
        tool = {"name": function["name"]}
        for name in _CARRIED:
            value = function.get(name, schema.get(name))
            if value is not None:
                tool[name] = value
        tool["input_schema"] = as_object(function.get("parameters") or {"properties": {}})
    if tool.get("name") == RESPOND:
        raise ConfigurationError(f"no tool may be called {RESPOND!r}: Locus answers by that name")
    return tool


def _tool_choice(said: CallOptions, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    choice, alone = said.tool_choice, said.parallel_tool_calls is False
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, Mapping):
            choice = function.get("name")  # OpenAI's way to name one
        else:
            alone = alone and choice.get("type") != "none"  # has no such member
            return {**choice, "disable_parallel_tool_use": True} if alone else {**choice}
    if choice in (None, "auto"):
        found = {"type": "auto"} if tools and (choice or alone) else None
    elif choice == "none":
        return {"type": "none"} if tools else None
    elif choice == "required":
        if not tools:
            raise ConfigurationError("tool_choice='required', and there are no tools in this call")
        found = {"type": "any"}
    else:
        names = [str(tool.get("name")) for tool in tools]
        if choice not in names:
            raise ConfigurationError(
                f"tool_choice={choice!r} is neither 'auto', 'none' or 'required', nor the name of "
                f"a tool of this call ({', '.join(names) or 'there are none'})"
            )
        found = {"type": "tool", "name": choice}
    return {**found, "disable_parallel_tool_use": True} if found and alone else found
