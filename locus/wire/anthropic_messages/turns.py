"""Messages of four roles as the turns of two parties, with the system prompt beside them.

Consecutive messages of one party are one turn, in which the results of tools come first: the API
wants them right behind the calls. System messages go into the system prompt, in their order. The
newer models let one stand where it is, behind a user's turn, which keeps the prompt before it in
the cache, and the thinking after it valid; a system message that stands elsewhere moves behind the
next user's turn.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from locus.core.conversation import Turn
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, Part, Role, TextPart
from locus.wire.anthropic_messages.content_blocks import Block, blocks_of, is_blank
from locus.wire.data_urls import in_address, kind_of
from locus.wire.tool_call_ids import IdRule, call_ids, checksum

EPHEMERAL: Final[Mapping[str, str]] = {"type": "ephemeral"}
_IDS: Final = IdRule(
    re.compile(r"[a-zA-Z0-9_-]+"),
    lambda call: f"{re.sub('[^a-zA-Z0-9_-]', '_', call)[:40]}_{checksum(call)[:12]}",
)
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_UNSEALABLE: Final = ("thinking", "redacted_thinking")
"""Blocks that take no ``cache_control``."""


class Turns:
    """Takes in a conversation, message by message, and gives the turns.

    :raises ConfigurationError: the format cannot carry a message.
    """

    def __init__(self, spoken: Sequence[Turn], system_turns: bool) -> None:
        self._system_turns = system_turns
        self._system: list[Block] = []
        self._turns: list[tuple[str, list[Block], list[Block]]] = []
        self._waiting: list[Block] = []
        self._ids = call_ids(spoken, _IDS)
        self._silent: str | None = None
        for turn in spoken:
            self._add(turn)

    def _add(self, turn: Turn) -> None:
        message, where = turn.message, f"messages[{turn.position}]"
        if message.role is not Role.SYSTEM:
            self._silent = None
        match message.role:
            case Role.SYSTEM:
                self._add_system(where, message)
            case Role.ASSISTANT:
                self._assistant(where, turn)
            case Role.TOOL:
                result = self._result(where, turn)
                _mark(where, message, [result])
                self._blocks_of("user")[0].append(result)
            case _:
                blocks = _spoken(where, message)
                _mark(where, message, blocks)
                if blocks:
                    self._blocks_of("user")[1].extend(blocks)
                else:
                    self._silent = where

    def instruct(self, text: str) -> None:
        """Add a sentence of Locus's own to the system prompt."""
        self._system.append({"type": "text", "text": text})

    def messages(self) -> list[dict[str, Any]]:
        """The turns.

        :raises ConfigurationError: there are none, or the last one says nothing.
        """
        if self._silent:
            raise ConfigurationError(
                f"{self._silent} holds no visible character: there is nothing to answer"
            )
        self._flush()
        if self._waiting:  # no user's turn came after these
            self._system += self._waiting
            self._waiting = []
        found: list[dict[str, Any]] = []
        last = len(self._turns) - 1
        for at, (role, results, others) in enumerate(self._turns):
            blocks = [*results, *others]
            if role == "assistant" and at == last:
                blocks = _without_trailing_space(blocks)
            found.append({"role": role, "content": _simplest(blocks)})
        if not found:
            raise ConfigurationError(
                "there is nothing to answer: Anthropic's API wants a message besides system ones"
            )
        return found

    def system(self, cached: bool) -> str | list[Block]:
        """The system prompt: text, or its blocks where one is marked for the cache."""
        blocks = self._system
        if cached and blocks and "cache_control" not in blocks[-1]:
            blocks = [*blocks[:-1], {**blocks[-1], "cache_control": EPHEMERAL}]
        if any("cache_control" in block for block in blocks):
            return blocks
        return "\n\n".join(block["text"] for block in blocks)

    def _blocks_of(self, role: str) -> tuple[list[Block], list[Block]]:
        """The two halves of the current turn, if it is of this role, or of a new one."""
        if not self._turns or self._turns[-1][0] != role:
            self._flush()
            self._turns.append((role, [], []))
        return self._turns[-1][1:]

    def _flush(self) -> None:
        """Let the system messages that wait stand behind the user's turn that has just ended."""
        if self._waiting and self._turns and self._turns[-1][0] == "user":
            self._turns.append(("system", [], self._waiting))
            self._waiting = []

    def _add_system(self, where: str, message: Message) -> None:
        if any(isinstance(part, ImagePart) for part in _parts(message)):
            raise ConfigurationError(f"{where}: a system message holds no image on this API")
        if is_blank(message.text):
            return
        block: Block = {"type": "text", "text": message.text}
        _mark(where, message, [block])
        if self._system_turns and self._turns:
            self._waiting.append(block)
        else:
            self._system.append(block)

    def _assistant(self, where: str, turn: Turn) -> None:
        message = turn.message
        try:
            blocks = blocks_of(message)
        except ValueError as why:
            raise ConfigurationError(f"{where}: {why}") from None
        uses = [block for block in blocks if block.get("type") == "tool_use"]
        for at, use in enumerate(uses):
            use["id"] = self._ids[turn.position, at]
            use["input"] = plain(use.get("input", {}), f"{where}.tool_calls[{at}]")
        _mark(where, message, blocks)
        if blocks:
            self._blocks_of("assistant")[1].extend(blocks)

    def _result(self, where: str, turn: Turn) -> Block:
        message = turn.message
        result: Block = {"type": "tool_result"}
        if turn.answers is not None:
            result["tool_use_id"] = self._ids[turn.answers]
        blocks = _spoken(where, message)
        if blocks:
            result["content"] = _simplest(blocks)
        if "error" in message.metadata:
            result["is_error"] = True
        return result


def plain(value: Any, what: str) -> Any:
    """``value`` as plain dictionaries and lists, shared with nobody.

    :param what: what the error says cannot be written.
    :raises ConfigurationError: it is no JSON.
    """
    try:
        return msgspec.to_builtins(value, enc_hook=_mapping)
    except (TypeError, ValueError, RecursionError) as why:
        raise ConfigurationError(f"{what} cannot be written as JSON: {why}") from why


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _parts(message: Message) -> tuple[Part, ...]:
    content = message.content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _spoken(where: str, message: Message) -> list[Block]:
    """The blocks of what a user or a tool says. Blank text is left out: the API takes none."""
    blocks: list[Block] = []
    for part in _parts(message):
        if isinstance(part, ImagePart):
            blocks.append({"type": "image", "source": _source(where, part)})
        elif not is_blank(part.text):
            blocks.append({"type": "text", "text": part.text})
    return blocks


def _source(where: str, image: ImagePart) -> Block:
    if image.data is not None:
        return _inline(where, image.media_type or "", image.data)
    url = image.url or ""
    try:
        held = in_address(url)
    except ValueError:
        held = ("", b"")
    if held is None:
        return {"type": "url", "url": url}
    if not held[0]:
        raise ConfigurationError(
            f"{where}: an image's data: address is not 'data:image/…;base64,…'"
        )
    return _inline(where, *held)


def _inline(where: str, media_type: str, data: bytes) -> Block:
    kind = kind_of(media_type)
    if kind not in _IMAGES:
        raise ConfigurationError(
            f"{where}: the API takes images of the types {', '.join(_IMAGES)}, not {media_type}"
        )
    return {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode()}


def _mark(where: str, message: Message, blocks: list[Block]) -> None:
    """Put the message's ``cache_control`` on the last of its blocks that can have one."""
    mark = message.metadata.get("cache_control")
    if mark is None:
        return
    if not isinstance(mark, Mapping):
        raise ConfigurationError(
            f"{where}: metadata['cache_control'] is a mapping such as {dict(EPHEMERAL)!r}, "
            f"not {mark!r}"
        )
    for block in reversed(blocks):
        if block.get("type") not in _UNSEALABLE:
            block["cache_control"] = mark
            return


def _simplest(blocks: list[Block]) -> str | list[Block]:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks


def _without_trailing_space(blocks: list[Block]) -> list[Block]:
    """The answer goes on from the assistant's last turn, and the API takes no space at its end."""
    if blocks and blocks[-1].get("type") == "text":
        return [*blocks[:-1], {**blocks[-1], "text": blocks[-1]["text"].rstrip()}]
    return blocks
