"""Messages that the agent's loop adds are told from those of the user."""

from __future__ import annotations

from locus.core.agent_added_message import is_agent_added_message, make_agent_added_message
from locus.core.messages import Message, Role


def test_a_message_of_the_loop_is_marked() -> None:
    message = make_agent_added_message("Try again.", "reflexion")
    assert (message.role, message.text) == (Role.USER, "Try again.")
    assert is_agent_added_message(message)
    for other in (
        Message.user("Try again."),
        Message.user("Try again.", metadata={"mine": 1}),
        Message.assistant("Try again.", metadata=message.metadata),
    ):
        assert not is_agent_added_message(other)
