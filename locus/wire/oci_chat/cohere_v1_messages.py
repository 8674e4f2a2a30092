"""Splits a conversation into the request members of Cohere's first format.

They are the ``preambleOverride`` (instructions), the ``chatHistory``, the current ``message`` of
the user, and the ``toolResults`` that the model waits for. There are no call ids: a result contains
the name and the parameters of its call, and the results are in the order of the calls.

What the service requires, according to its own error messages (oracle/langchain-oracle, pull
requests 8 and 9 and issue 10; cohere-python, issue 525):

- *"cannot specify both message and tool_results in multistep mode"*: results are sent with an
  empty message; the user's question is in the history.
- *"cannot specify message if the last entry in chat history contains tool results"*: if a user
  message follows results without an assistant message in between, an assistant message with a
  placeholder is inserted.
- *"all elements in history must have a message"*: an assistant message that only has tool calls
  gets a blank text, and so does any other message without text.
- The calls must be directly before their results. A system message at the end, after the user's
  message or after results, is moved before the message that is to be answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.errors import ConfigurationError
from locus.core.messages import Role
from locus.wire.cohere_chat.tools_and_messages import join_text_and_refusal
from locus.wire.oci_chat.envelope import RequestStruct
from locus.wire.request_parts import build_arguments_object

BLANK_TEXT: Final = " "
"""The text in the history of a message without text."""

PLACEHOLDER_ANSWER: Final = "."
"""The text of an assistant message inserted between tool results and a user message."""


class CohereToolCall(RequestStruct):
    name: str
    parameters: dict[str, Any]


class CohereToolResult(RequestStruct):
    call: CohereToolCall
    outputs: list[dict[str, str]]


class HistoryEntry(RequestStruct):
    role: str
    message: str | None = None
    tool_calls: list[CohereToolCall] | None = None
    tool_results: list[CohereToolResult] | None = None


@attrs.frozen
class SplitConversation:
    """A conversation as the members of a request."""

    preamble: str | None
    chat_history: list[HistoryEntry]
    message: str
    tool_results: list[CohereToolResult] | None


def split_conversation(conversation: Sequence[IndexedMessage]) -> SplitConversation:
    """Split a conversation into the members of a request.

    :param conversation: as :func:`locus.core.conversation.order_tool_results` returns it.
    :raises ConfigurationError: if the format cannot represent it; the message names the reason and
        the position.
    """
    start = 0
    while start < len(conversation) and conversation[start].message.role is Role.SYSTEM:
        start += 1
    system_texts = (join_text_and_refusal(indexed.message) for indexed in conversation[:start])
    preamble = "\n\n".join(filter(None, system_texts)) or None
    conversation = conversation[start:]
    end = len(conversation)
    while end and conversation[end - 1].message.role is Role.SYSTEM:
        end -= 1
    conversation, trailing_system = conversation[:end], conversation[end:]
    history = _HistoryBuilder()
    match conversation[-1].message.role if conversation else None:
        case Role.USER:
            history.add_messages(conversation[:-1])
            history.add_messages(trailing_system)
            history.add_placeholder_answer_if_needed()
            return SplitConversation(
                preamble, history.entries, join_text_and_refusal(conversation[-1].message), None
            )
        case Role.TOOL:
            while conversation[end - 1].call_position is not None:
                end -= 1
            history.add_messages(conversation[: end - 1])
            history.add_messages(trailing_system)
            history.add_messages(conversation[end - 1 : end])
            results = history.build_tool_results(conversation[end:])
            return SplitConversation(preamble, history.entries, "", results)
    position = max((indexed.position for indexed in conversation), default=start - 1)
    raise ConfigurationError(
        f"messages[{position}]: Cohere answers user messages and tool results; the "
        "conversation ends with neither"
    )


class _HistoryBuilder:
    """Builds the ``chatHistory``, and remembers the calls, which their results repeat."""

    def __init__(self) -> None:
        self.entries: list[HistoryEntry] = []
        self._calls: dict[ToolCallPosition, CohereToolCall] = {}
        self._has_unanswered_results = False

    def add_messages(self, messages: Sequence[IndexedMessage]) -> None:
        """Append the messages to the history."""
        results: list[IndexedMessage] = []
        for indexed in messages:
            if indexed.call_position is not None:
                results.append(indexed)
                continue
            self._add_tool_results(results)
            results = []
            self._add_message(indexed)
        self._add_tool_results(results)

    def add_placeholder_answer_if_needed(self) -> None:
        """Append an assistant message with a placeholder if none follows the last results."""
        if self._has_unanswered_results:
            self.entries.append(HistoryEntry("CHATBOT", PLACEHOLDER_ANSWER))
        self._has_unanswered_results = False

    def build_tool_results(self, messages: Sequence[IndexedMessage]) -> list[CohereToolResult]:
        """Build the tool results, each with its call, in the order of the calls."""
        results = []
        for indexed in sorted(messages, key=lambda indexed: indexed.call_position or ()):
            # The text of a failed call describes the error; the member's name marks it as one.
            is_error = indexed.message.metadata.get("error") is not None
            output = {"error" if is_error else "output": join_text_and_refusal(indexed.message)}
            call = self._calls[indexed.call_position or (0, 0)]
            results.append(CohereToolResult(call, [output]))
        return results

    def _add_tool_results(self, messages: list[IndexedMessage]) -> None:
        if messages:
            entry = HistoryEntry("TOOL", tool_results=self.build_tool_results(messages))
            self.entries.append(entry)
            self._has_unanswered_results = True

    def _add_message(self, indexed_message: IndexedMessage) -> None:
        text = join_text_and_refusal(indexed_message.message) or BLANK_TEXT
        match indexed_message.message.role:
            case Role.SYSTEM:
                self.entries.append(HistoryEntry("SYSTEM", text))
            case Role.USER:
                self.add_placeholder_answer_if_needed()
                self.entries.append(HistoryEntry("USER", text))
            case Role.ASSISTANT:
                calls = [
                    self._build_and_record_call(indexed_message, index)
                    for index in range(len(indexed_message.message.tool_calls))
                ]
                self.entries.append(HistoryEntry("CHATBOT", text, calls or None))
                self._has_unanswered_results = False

    def _build_and_record_call(self, indexed_message: IndexedMessage, index: int) -> CohereToolCall:
        call = indexed_message.message.tool_calls[index]
        path = f"messages[{indexed_message.position}].tool_calls[{index}]"
        parameters = build_arguments_object(path, call)
        cohere_call = self._calls[indexed_message.position, index] = CohereToolCall(
            call.name, parameters
        )
        return cohere_call
