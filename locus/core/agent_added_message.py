"""Messages that an agent's loop adds to the conversation itself, such as advice to its model.

They have the user's role, which every provider accepts at any place. Their metadata say who added
them, so that nobody takes them for the user's words: neither a conversation manager, which keeps
what the user said last, nor a reader of the thread.
"""

from __future__ import annotations

from typing import Final

from locus.core.messages import Message, Role

ADDED_BY: Final = "locus_added_by"
"""The metadata key of such a message: the part of the agent that added it."""


def make_agent_added_message(text: str, added_by: str) -> Message:
    """Make a message of the loop.

    :param added_by: the part of the agent that adds it, such as ``"reflexion"``.
    """
    return Message.user(text, metadata={ADDED_BY: added_by})


def is_agent_added_message(message: Message) -> bool:
    """Whether the loop added the message, and not the user."""
    return message.role is Role.USER and ADDED_BY in message.metadata
