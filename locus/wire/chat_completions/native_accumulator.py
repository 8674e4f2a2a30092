"""Accumulates what a server wants to see again of a message, from its deltas or all at once."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from locus.core.native_state import NativeState
from locus.wire.chat_completions.gemini_thoughts import ThoughtSeparator, is_marked_as_thought
from locus.wire.chat_completions.native_members import (
    CALL_MEMBERS,
    LIST_MEMBERS,
    OBJECT_MEMBERS,
    PLAIN_REASONING_MEMBERS,
    REPLACED_MEMBERS,
    make_message_state,
    remove_thought_marks,
)
from locus.wire.chat_completions.parse_content_parts import is_other_than_text, parse_content_parts
from locus.wire.chat_completions.response_structs import ChoiceMessage, ToolCallDelta
from locus.wire.merge_pieces import ListMerger, ObjectMerger

_get_native_members: Final = attrgetter(
    *PLAIN_REASONING_MEMBERS, *REPLACED_MEMBERS, *LIST_MEMBERS, *OBJECT_MEMBERS
)
"""Returns the native members of a message, all at once."""


class NativeAccumulator:
    """Accumulates the native members of one message."""

    __slots__ = (
        "_content_parts",
        "_lists",
        "_objects",
        "_reasoning_chunks",
        "_seen_text_chunks",
        "_texts",
        "thoughts",
    )

    def __init__(self) -> None:
        self.thoughts = ThoughtSeparator()
        self._reasoning_chunks: dict[str, list[str]] = {}
        self._texts: dict[str, str] = {}
        self._lists: dict[str, ListMerger] = {}
        self._objects: dict[str, ObjectMerger] = {}
        self._content_parts = ListMerger()
        """The content, if it has typed parts that a message cannot express."""
        self._seen_text_chunks = 0
        """How many of the text chunks of the response are in them."""

    def add_message(self, message: ChoiceMessage, *, is_complete: bool) -> str:
        """Add the native members of a message or a delta; return the reasoning in them.

        Some servers send the same reasoning under several names.
        """
        reasoning = ""
        if not any(_get_native_members(message)):  # as in most messages
            return reasoning
        for name in PLAIN_REASONING_MEMBERS:
            text = getattr(message, name)
            if isinstance(text, str) and text:
                self._reasoning_chunks.setdefault(name, []).append(text)
                reasoning = reasoning or text
        for name in REPLACED_MEMBERS:
            text = getattr(message, name)
            if isinstance(text, str) and text:
                self._texts[name] = text
        for name in LIST_MEMBERS:
            items = getattr(message, name)
            if isinstance(items, list) and items:
                if is_complete:
                    self._lists[name] = ListMerger(items)
                else:
                    self._lists.setdefault(name, ListMerger()).add(items)
                reasoning = reasoning or "".join(map(_get_reasoning_text, items))
        for name in OBJECT_MEMBERS:
            members = getattr(message, name)
            if isinstance(members, Mapping):
                if name == "extra_content":
                    members = remove_thought_marks(members)
                if members:
                    self._objects.setdefault(name, ObjectMerger()).add(members)
        return reasoning

    def split_thought(self, content: str, extra_content: object) -> tuple[str, str]:
        """Return the text of the answer in ``content``, and the thoughts that are marked in it."""
        return self.thoughts.split(content, is_marked=is_marked_as_thought(extra_content))

    def add_content_parts(self, parts: list[Any], text_chunks: list[str]) -> None:
        """Add content that is a list of typed parts.

        :param text_chunks: all chunks of text in the response before these parts.
        """
        if self._content_parts or any(map(is_other_than_text, parts)):
            self._add_text_chunks(text_chunks)
            self._content_parts.add(parts)
            self._seen_text_chunks += 1 if parse_content_parts(parts)[0] else 0

    def _add_text_chunks(self, text_chunks: list[str]) -> None:
        """Add the chunks of text since the last time."""
        text = "".join(text_chunks[self._seen_text_chunks :])
        self._seen_text_chunks = len(text_chunks)
        if text:
            self._content_parts.add([{"type": "text", "text": text}])

    def build_state(
        self, text_chunks: list[str], audio_id: object, *, has_images: bool
    ) -> NativeState | None:
        """Build the native state of the message; None if the server needs nothing back.

        :param text_chunks: all chunks of text in the response.
        :param audio_id: the id of a spoken answer, by which the next request refers to it.
        """
        data: dict[str, Any] = {
            **{name: "".join(chunks) for name, chunks in self._reasoning_chunks.items()},
            **self._texts,
            **{name: items.build() for name, items in self._lists.items()},
            **{name: members.build() for name, members in self._objects.items()},
        }
        if self._content_parts:
            self._add_text_chunks(text_chunks)
            data["content"] = self._content_parts.build()
        if isinstance(audio_id, str):
            data["audio"] = {"id": audio_id}
        if has_images:
            data["images"] = True  # they are among the message's attachments
        return make_message_state(data)


def collect_call_members(members: ObjectMerger, delta: ToolCallDelta) -> None:
    """Add the native members of a call's delta to those so far."""
    for name in CALL_MEMBERS:
        value = getattr(delta, name)
        if value is not None:
            members.add({name: value})
        in_function = None if delta.function is None else getattr(delta.function, name)
        if in_function is not None:
            members.add({"function": {name: in_function}})


def _get_reasoning_text(item: Any) -> str:
    """Return the readable text of one of OpenRouter's ``reasoning_details``, or of LiteLLM's
    ``thinking_blocks``."""
    if not isinstance(item, Mapping):
        return ""
    for name in ("text", "summary", "thinking"):
        text = item.get(name)
        if isinstance(text, str):
            return text
    return ""
