"""A conversation as a generic chat request: what every model takes but Cohere's command-r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, conversation, in_order
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.chat_completions.request import id_rule, is_reasoning_model
from locus.wire.oci_chat.envelope import StreamOptions, Written, chat_details
from locus.wire.oci_chat.generic_tools import response_format, tool_choice, tool_definitions
from locus.wire.oci_chat.generic_turns import ChatMessage, chat_messages
from locus.wire.tool_call_ids import call_ids

_OPENAI: Final = "openai."


class _GenericRequest(Written):
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

    :param compartment_id: who pays; without it, whoever sends the body has to put it in.
    """

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are members of the ``chatRequest``, in Oracle's spelling
            (``topK``, ``numGenerations``, ``reasoningEffort``, ``logProbs``), and win there.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        turns = in_order(conversation(messages))
        definitions = tool_definitions(tool_schemas(tools))
        completion = said.model.lower().startswith(_OPENAI)
        reasoning = is_reasoning_model(said.model)
        usage = said.stream and said.stream_usage
        request = _GenericRequest(
            api_format="GENERIC",
            messages=chat_messages(turns, call_ids(turns, id_rule(said.model)), said.model),
            is_stream=True if said.stream else None,
            stream_options=StreamOptions(is_include_usage=True) if usage else None,
            seed=said.seed,
            top_p=None if reasoning else said.top_p,
            temperature=None if reasoning else said.temperature,
            # Some models reject a penalty at any value: 0 is the same as none.
            frequency_penalty=None if reasoning else said.frequency_penalty or None,
            presence_penalty=None if reasoning else said.presence_penalty or None,
            stop=said.stop,
            max_tokens=None if completion else said.max_tokens,
            max_completion_tokens=said.max_tokens if completion else None,
            response_format=response_format(said.response_format),
            tools=definitions or None,
            tool_choice=tool_choice(said.tool_choice, definitions) if definitions else None,
            is_parallel_tool_calls=said.parallel_tool_calls if definitions else None,
        )
        return chat_details(said.model, request, self.compartment_id, said.extra_body)
