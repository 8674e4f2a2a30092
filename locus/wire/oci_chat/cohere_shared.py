"""What Cohere's two formats have in common: settings, tools, token counts, failures, and ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from locus.core.call_options import CallOptions
from locus.core.error_factory import make_status_error
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, ToolCall
from locus.wire.chat_completions import response as openai
from locus.wire.json import text_of
from locus.wire.oci_chat.envelope import StreamOptions, Written
from locus.wire.oci_chat.generic_response import Usage, counts_of

# Written.


class ResponseFormat(Written):
    type: str
    schema: Mapping[str, Any] | None = None


class Settings(Written, kw_only=True):
    """What may be set in a request of either format; it stands behind the format's own members."""

    response_format: ResponseFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    is_stream: bool | None = None
    stream_options: StreamOptions | None = None


def settings(said: CallOptions) -> dict[str, Any]:
    """The members of :class:`Settings` for a call."""
    return {
        "response_format": response_format(said.response_format),
        "max_tokens": said.max_tokens,
        "temperature": said.temperature,
        "top_p": said.top_p,
        "stop_sequences": said.stop,
        "seed": said.seed,
        "frequency_penalty": said.frequency_penalty or None,  # 0 is the same as none
        "presence_penalty": said.presence_penalty or None,
        "is_stream": True if said.stream else None,
        "stream_options": StreamOptions(True) if said.stream and said.stream_usage else None,
    }


def response_format(wanted: Mapping[str, Any] | None) -> ResponseFormat | None:
    """OpenAI's ``response_format`` in Cohere's words: a schema is a kind of JSON object."""
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ResponseFormat("JSON_OBJECT")
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return ResponseFormat("JSON_OBJECT", schema)
    raise ConfigurationError(
        'response_format is {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}, '
        f'{{"type": "json_object"}} or {{"type": "text"}}, not {wanted!r}'
    )


def words(position: int, message: Message, instead: str) -> str:
    """The text of a message that may hold no image; ``instead`` says who takes them.

    A refusal has no place of its own here: it is what the assistant said. Thinking is left out.
    """
    if isinstance(message.content, tuple):
        if any(isinstance(part, ImagePart) for part in message.content):
            raise ConfigurationError(f"messages[{position}]: {instead}")
        return "\n\n".join(filter(None, (message.text, message.refusal)))
    return message.text


def functions(schemas: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The function of each tool.

    :raises ConfigurationError: a tool is of a provider's built-in kind.
    """
    found = []
    for position, schema in enumerate(schemas):
        function = schema.get("function")
        if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise ConfigurationError(
                f"tools[{position}]: Cohere takes functions only, not {schema.get('type')!r}"
            )
        found.append(function)
    return found


# Read.


def usage_of(usage: Usage | None) -> Mapping[str, int]:
    """Token counts under Locus's names."""
    return openai.usage_of(counts_of(usage))


_INSTEAD_OF_AN_ANSWER: Mapping[str, Mapping[str, Any]] = {
    "ERROR_LIMIT": {"code": "context_length_exceeded", "status": 400},
    "ERROR_TOXIC": {"code": "content_filter", "status": 400},
}


def check_finish(
    reason: str | None,
    message: str | None,
    said_nothing: bool,
    body: bytes | str | Mapping[str, Any],
) -> None:
    """Refuse an answer that is an error by its own ``finishReason`` and ``errorMessage``.

    ``ERROR`` always is one, and so is an ``errorMessage`` without a reason. ``ERROR_LIMIT`` and
    ``ERROR_TOXIC`` are why an answer stops short, which is for the caller to judge; only where
    nothing was said, and the service says why, are they errors.

    :raises APIStatusError: it is one.
    """
    word = (reason or "").upper()
    if word == "ERROR" or (message and not word):
        kind: Mapping[str, Any] = {"status": 500}
    elif message and said_nothing and word in _INSTEAD_OF_AN_ANSWER:
        kind = _INSTEAD_OF_AN_ANSWER[word]
    else:
        return
    raise make_status_error(text_of(body), error={"message": message or "the model failed", **kind})


def distinct(calls: Iterable[ToolCall], taken: Collection[str] = ()) -> tuple[ToolCall, ...]:
    """The calls, each with an id that neither another of them has nor one in ``taken``."""
    found: list[ToolCall] = []
    seen = set(taken)
    for call in calls:
        identity, more = call.id, 1
        while identity in seen:
            identity, more = f"{call.id}_{more}", more + 1
        seen.add(identity)
        found.append(call if identity == call.id else attrs.evolve(call, id=identity))
    return tuple(found)
