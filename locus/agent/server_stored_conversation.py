"""Records which messages a server that stores the conversation has, and finds the unsent ones."""

from __future__ import annotations

from typing import Any

from locus.core.digest import compute_digest
from locus.core.messages import Message, Role
from locus.core.model_family import strip_model_snapshot
from locus.core.state import AgentState, ServerKnowledge


def make_server_knowledge(
    model: Any, system_message: Message | None, message_count: int
) -> ServerKnowledge:
    """Make the record that the model's server has the first ``message_count`` messages.

    :param system_message: the system message that the server has as well, if any.
    """
    return ServerKnowledge(
        message_count, _compute_server_digest(model), _compute_prompt_digest(system_message)
    )


def find_unsent_messages(
    state: AgentState, model: Any, system_message: Message | None
) -> tuple[Message, ...] | None:
    """Return what the model's server does not have yet; None if it cannot continue.

    It cannot continue

    - if another server or model gave the ``provider_state``;
    - if an assistant message is new to it: models with a server that stores the conversation send
      what comes after the last one of those;
    - if it has something that is no longer part of the conversation: messages, or a system prompt.

    A system message that has changed is sent again.
    """
    knowledge = state.server_knowledge or ServerKnowledge()
    messages, start = state.messages, knowledge.messages
    if start is None:
        start = len(messages)
        while start and messages[start - 1].role is not Role.ASSISTANT:
            start -= 1
    unsent = messages[start:]
    server = _compute_server_digest(model)
    if knowledge.server not in (None, server, _compute_digest_without_model(model)):
        return None
    if not unsent or start < 0 or any(message.role is Role.ASSISTANT for message in unsent):
        return None
    if knowledge.system_prompt in (None, _compute_prompt_digest(system_message)):
        return unsent
    return None if system_message is None else (system_message, *unsent)


def _compute_server_digest(model: Any) -> str:
    """Compute a digest of the model's class and name, the server's address and the project.

    Where it differs, the ``provider_state`` of one is of no use to the other: a server refuses to
    continue with a model that cannot read the reasoning of the one before.
    """
    name = strip_model_snapshot(str(getattr(getattr(model, "config", None), "model", "")))
    return compute_digest(f"{_compute_digest_without_model(model)} {name}")


def _compute_digest_without_model(model: Any) -> str:
    """Compute the digest that earlier versions of Locus have saved."""
    config, cls = getattr(model, "config", None), type(model)
    address = getattr(getattr(model, "sdk_client", None), "base_url", None)
    address = address or getattr(config, "base_url", "")
    project = getattr(config, "project_ocid", None)
    return compute_digest(f"{cls.__module__}.{cls.__qualname__} {address} {project}")


def _compute_prompt_digest(system_message: Message | None) -> str:
    """Compute a digest of the text of the system message; empty if there is none."""
    return "" if system_message is None else compute_digest(system_message.text)
