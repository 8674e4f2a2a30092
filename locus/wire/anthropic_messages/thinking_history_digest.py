"""Compares the conversation before signed thinking with the one that it was made in.

Newer Claude models bind the signature of thinking to what stood before it in the request: the
system prompt, the tools, and all messages. They reject the thinking after anything else. Marks for
the cache do not count. See https://platform.claude.com/docs/en/build-with-claude/preserved-thinking.

So a digest of each request is stored with the thinking in its response, and when the thinking is
to be sent again, the digest of what now stands before it has to be the same. It does not matter who
has changed the conversation: a conversation manager, a fact in the system prompt, the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

THINKING_TYPES: Final = ("thinking", "redacted_thinking")
"""The types of the blocks that hold thinking."""

_encoder: Final = msgspec.json.Encoder(order="sorted")


@attrs.frozen
class ResponseBlocks:
    """The blocks of one response, among those of a message in a request.

    :param message_index: the index of the message in the request.
    :param start: the index of the first block.
    :param stop: the index after the last block.
    :param history: the digest of the conversation that the response was made in.
    """

    message_index: int
    start: int
    stop: int
    history: str


def compute_history(body: Mapping[str, Any]) -> str:
    """Compute the digest of the conversation in a request."""
    digest = _HistoryDigest(body)
    for message in body["messages"]:
        digest.add_blocks(message["role"], _get_blocks(message))
    return digest.compute()


def remove_thinking_of_other_histories(
    body: Mapping[str, Any], responses: Sequence[ResponseBlocks]
) -> list[dict[str, Any]]:
    """Return the messages of a request without thinking that was made in another conversation.

    :param responses: the responses in them whose thinking is bound to a conversation, in order.
    """
    digest = _HistoryDigest(body)
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(body["messages"]):
        blocks, kept, position = _get_blocks(message), list[Any](), 0
        for response in (response for response in responses if response.message_index == index):
            before = blocks[position : response.start]
            digest.add_blocks(message["role"], before)
            own = blocks[response.start : response.stop]
            if response.history != digest.compute():
                own = [block for block in own if block.get("type") not in THINKING_TYPES]
            digest.add_blocks(message["role"], own)
            kept += [*before, *own]
            position = response.stop
        digest.add_blocks(message["role"], blocks[position:])
        kept += blocks[position:]
        if len(kept) == len(blocks):
            messages.append(message)
        elif kept:
            messages.append({**message, "content": kept})
    return messages


class _HistoryDigest:
    """The digest of a conversation that grows block by block."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        system = body.get("system") or ""
        if not isinstance(system, str):
            system = "\n\n".join(str(block.get("text")) for block in system)
        self._hash = hashlib.sha256()
        self._role: str | None = None
        self._update([system, _strip_cache_control(body.get("tools") or [])])

    def add_blocks(self, role: str, blocks: Iterable[Mapping[str, Any]]) -> None:
        """Add blocks of a message. Consecutive messages of one role count as one."""
        for block in blocks:
            if role != self._role:
                self._role = role
                self._update(role)
            self._update(_strip_cache_control(block))

    def compute(self) -> str:
        """Return the digest of what was added so far."""
        return self._hash.hexdigest()[:24]

    def _update(self, value: Any) -> None:
        self._hash.update(_encoder.encode(value))


def _get_blocks(message: Mapping[str, Any]) -> list[Any]:
    """Return the blocks of a message; text alone is one block."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _strip_cache_control(value: Any) -> Any:
    """Return a copy of blocks or tools without marks for the cache."""
    if isinstance(value, Mapping):
        members = {name: member for name, member in value.items() if name != "cache_control"}
        if isinstance(members.get("content"), (list, tuple)):
            members["content"] = _strip_cache_control(members["content"])
        return members
    if isinstance(value, (list, tuple)):
        return [_strip_cache_control(item) for item in value]
    return value
