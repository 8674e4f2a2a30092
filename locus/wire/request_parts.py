"""Builds parts of requests that several formats have: thinking, and the arguments of calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, ThinkingPart, ToolCall
from locus.wire.provider_json import convert_mapping_to_dict


def join_unsigned_thinking(message: Message) -> str | None:
    """Join the texts of the thinking without a signature; None if there is none.

    Signed thinking is for its provider only.
    """
    if not isinstance(message.all_content, tuple):
        return None
    texts = [
        part.text
        for part in message.all_content
        if isinstance(part, ThinkingPart) and part.signature is None and part.redacted is None
    ]
    return "".join(texts) or None


def build_arguments_object(path: str, call: ToolCall) -> Any:
    """Build the arguments of a call for a format that accepts only a JSON object.

    Malformed arguments become the member of an object, so that the model sees what it wrote next to
    the error message in the result.

    :param path: the position of the call in the conversation, for error messages.
    :raises ConfigurationError: if the arguments cannot be represented in JSON.
    """
    arguments = call.arguments
    if call.malformed_arguments is not None and call.malformed_arguments.strip():
        arguments = {"malformed_arguments": call.malformed_arguments}
    try:
        return msgspec.to_builtins(arguments, enc_hook=convert_mapping_to_dict)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(
            f"{path}: the arguments cannot be represented in JSON: {exc}"
        ) from exc


def encode_arguments(path: str, call: ToolCall) -> str:
    """Encode a call's arguments as JSON text, always that of an object.

    Servers parse the arguments of earlier calls, and fail where they are not JSON. So malformed
    arguments become a member of an object, as in :func:`build_arguments_object`.

    :param path: the position of the call in the conversation, for error messages.
    :raises ConfigurationError: if the arguments cannot be represented in JSON.
    """
    arguments = build_arguments_object(path, call)
    try:
        return msgspec.json.encode(arguments).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(
            f"{path}: the arguments cannot be represented in JSON: {exc}"
        ) from exc


def make_tool_choice_error(choice: object, names: Iterable[object]) -> ConfigurationError:
    """Make the error for a ``tool_choice`` that is none of the common values and no tool's name.

    :param names: the names of the tools of the call.
    """
    listed_names = ", ".join(map(str, names)) or "there are none"
    return ConfigurationError(
        f"tool_choice={choice!r} is neither 'auto', 'none' or 'required', nor the name of a tool "
        f"of this call ({listed_names})"
    )
