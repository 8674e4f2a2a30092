"""Messages of four roles as the turns of two parties, with the system prompt beside them.

Consecutive messages of one party are one turn, in which the results of tools come first: the API
wants them right behind the calls. System messages go into the system prompt, in their order. The
newer models let one stand where it is, behind a user's turn, which keeps the prompt before it in
the cache, and the thinking after it valid; a system message that stands elsewhere moves behind the
next user's turn.
"""

from __future__ import annotations

import base64
import hashlib
import re
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, Part, Role, TextPart
from locus.wire.anthropic_messages.blocks import Block, blocks_of, is_blank

EPHEMERAL: Final[Mapping[str, str]] = {"type": "ephemeral"}
_IDS: Final = re.compile(r"[a-zA-Z0-9_-]+")
_UNSEALABLE: Final = ("thinking", "redacted_thinking")
"""Blocks that take no ``cache_control``."""


class Turns:
    """Takes in messages one by one, and gives the turns."""

    def __init__(self, system_turns: bool) -> None:
        self._system_turns = system_turns
        self._system: list[Block] = []
        self._turns: list[tuple[str, list[Block], list[Block]]] = []
        self._waiting: list[Block] = []
        self._ids = _Ids()
        self._silent: str | None = None

    def add(self, position: int, message: Message) -> None:
        """Take in the next message.

        :raises ConfigurationError: the format cannot carry it.
        """
        where = f"messages[{position}]"
        if message.role is not Role.SYSTEM:
            self._silent = None
        match message.role:
            case Role.SYSTEM:
                self._add_system(where, message)
            case Role.ASSISTANT:
                self._assistant(where, message)
            case Role.TOOL:
                result = self._result(where, message)
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

    def _assistant(self, where: str, message: Message) -> None:
        try:
            blocks = blocks_of(message)
        except ValueError as why:
            raise ConfigurationError(f"{where}: {why}") from None
        uses = [block for block in blocks if block.get("type") == "tool_use"]
        for at, (use, call) in enumerate(zip(uses, message.tool_calls, strict=True)):
            use["id"] = self._ids.of_call(call.id)
            use["input"] = plain(use.get("input", {}), f"{where}.tool_calls[{at}]")
        _mark(where, message, blocks)
        if blocks:
            self._blocks_of("assistant")[1].extend(blocks)

    def _result(self, where: str, message: Message) -> Block:
        result: Block = {
            "type": "tool_result",
            "tool_use_id": self._ids.of_result(message.tool_call_id or ""),
        }
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
        return _inline(image.media_type or "", image.data)
    url = image.url or ""
    if url[:5].lower() != "data:":
        return {"type": "url", "url": url}
    head, comma, body = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    try:
        if not comma or not media_type:
            raise ValueError
        data = unquote_to_bytes(body)
        if "base64" in map(str.lower, map(str.strip, parameters)):
            data = base64.b64decode(data, validate=True)
    except (ValueError, Base64Error):
        raise ConfigurationError(
            f"{where}: an image's data: address is not 'data:image/…;base64,…'"
        ) from None
    return _inline(media_type, data)


def _inline(media_type: str, data: bytes) -> Block:
    encoded = base64.b64encode(data).decode()
    return {"type": "base64", "media_type": media_type, "data": encoded}


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


class _Ids:
    """Ids of tool calls as the API takes them: of its alphabet, and no two calls with the same.

    An id that will do stays as it is. The others are told apart by a checksum of themselves, so
    that the same conversation makes the same request.
    """

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._taken: set[str] = set()

    def of_call(self, identity: str) -> str:
        """The id of a call that the assistant makes now."""
        fits = _IDS.fullmatch(identity) is not None
        found = identity if fits else f"{re.sub('[^a-zA-Z0-9_-]', '_', identity)}_{_sum(identity)}"
        again = 1
        while found in self._taken:
            again += 1
            found = f"{identity if fits else 'toolu'}_{_sum(f'{identity} {again}')}"
        self._taken.add(found)
        self._now[identity] = found
        return found

    def of_result(self, identity: str) -> str:
        """The id in the result of the latest call that has this one."""
        return self._now.get(identity, identity)


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]
