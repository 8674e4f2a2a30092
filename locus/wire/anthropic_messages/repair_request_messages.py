"""Makes the messages of a request keep to the API's rules about calls and their results.

The API rejects a conversation with a call that has no result right behind it, whether the call is
one of the caller's tools or of a tool that the API runs itself (its page "Handle tool calls"). Such
calls are in conversations that were broken off, and in those that another provider began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from locus.core.errors import ConfigurationError
from locus.wire.anthropic_messages.model_capabilities import (
    is_claude,
    rejects_prefill,
)

Block: TypeAlias = dict[str, Any]
RequestMessage: TypeAlias = dict[str, Any]

NO_RESULT: Final = "Error: there is no result, because this call was not run."
_SERVER_CALL_TYPES: Final = frozenset({"server_tool_use", "mcp_tool_use"})
_PREFILL_TYPES: Final = frozenset({"text", "thinking", "redacted_thinking"})


def complete_calls(messages: Sequence[RequestMessage]) -> list[RequestMessage]:
    """Return the messages with a result for each call, without the API's own that have none."""
    return _add_missing_results(_remove_unanswered_server_calls(messages))


def check_last_message(messages: Sequence[RequestMessage], model: str, *, thinks: bool) -> None:
    """Check that the conversation does not end with the beginning of the response.

    :param thinks: whether the model is to think before it responds.
    :raises ConfigurationError: if it does, and the model does not continue such a beginning. A turn
        that the API paused is no such beginning.
    """
    last = messages[-1]
    if last["role"] != "assistant":
        return
    types = {block.get("type") for block in _get_blocks(last)}
    if not types <= _PREFILL_TYPES:
        return
    if rejects_prefill(model) or (thinks and is_claude(model)):
        reason = "that thinks before it responds" if thinks else "from version 4.6 on"
        raise ConfigurationError(
            f"the conversation ends with an assistant message, and a Claude model {reason} does "
            "not continue one: end it with a user message, or ask for a format with "
            "response_format="
        )


def _get_blocks(message: Mapping[str, Any]) -> list[Block]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _remove_unanswered_server_calls(messages: Sequence[RequestMessage]) -> list[RequestMessage]:
    """Remove the calls of the API's own tools that have no result, where the turn is over.

    The turn that is still open is what follows the last message of the user, results of tools
    apart. There the API itself goes on with the call.
    """
    if not any(_has_block(message, _SERVER_CALL_TYPES) for message in messages):
        return list(messages)
    answered = {block.get("tool_use_id") for message in messages for block in _get_blocks(message)}
    turn_start = max(
        (index for index, message in enumerate(messages) if _is_user_input(message)), default=0
    )
    kept: list[RequestMessage] = []
    for index, message in enumerate(messages):
        if index < turn_start and _has_block(message, _SERVER_CALL_TYPES):
            blocks = [
                block
                for block in _get_blocks(message)
                if block.get("type") not in _SERVER_CALL_TYPES or block.get("id") in answered
            ]
            if not blocks:
                continue
            message = {**message, "content": blocks}
        kept.append(message)
    return kept


def _has_block(message: Mapping[str, Any], types: frozenset[str]) -> bool:
    content = message["content"]
    return not isinstance(content, str) and any(block.get("type") in types for block in content)


def _is_user_input(message: Mapping[str, Any]) -> bool:
    """Return whether a message holds anything of the user besides results of tools."""
    return message["role"] == "user" and any(
        block.get("type") != "tool_result" for block in _get_blocks(message)
    )


def _add_missing_results(messages: Sequence[RequestMessage]) -> list[RequestMessage]:
    """Add a result that says that there is none for each call without one."""
    answered = {
        block.get("tool_use_id")
        for message in messages
        for block in _get_blocks(message)
        if block.get("type") == "tool_result"
    }
    result: list[RequestMessage] = []
    missing: list[Block] = []
    for message in messages:
        if missing:
            if message["role"] == "user":
                message = {**message, "content": _insert_results(missing, _get_blocks(message))}
            else:
                result.append({"role": "user", "content": missing})
            missing = []
        result.append(message)
        if message["role"] == "assistant":
            missing = _make_missing_results(message, answered)
    if missing:
        result.append({"role": "user", "content": missing})
    return result


def _make_missing_results(message: Mapping[str, Any], answered_ids: Collection[Any]) -> list[Block]:
    """Make the results of the calls of a message that are not among those with a result."""
    if not _has_block(message, frozenset({"tool_use"})):
        return []
    return [
        {
            "type": "tool_result",
            "tool_use_id": block["id"],
            "content": NO_RESULT,
            "is_error": True,
        }
        for block in _get_blocks(message)
        if block.get("type") == "tool_use" and block.get("id") not in answered_ids
    ]


def _insert_results(results: list[Block], blocks: list[Block]) -> list[Block]:
    """Insert results behind those at the beginning: the API requires them before all else."""
    count = sum(block.get("type") == "tool_result" for block in blocks)
    return [*blocks[:count], *results, *blocks[count:]]
