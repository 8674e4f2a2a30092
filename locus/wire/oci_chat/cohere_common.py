"""What Cohere's two formats share: request members, tools, token counts, errors and call ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from locus.core.call_options import CallOptions
from locus.core.json_schema.references import inline_references
from locus.core.make_status_error import make_status_error
from locus.core.option_rules import (
    ABSENT_OPTION_RULES,
    COMMON_RULES,
    Carried,
    OptionRules,
    Refused,
    Translated,
)
from locus.wire.chat_completions import complete_response as openai
from locus.wire.oci_chat.envelope import RequestStruct, StreamOptions
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS
from locus.wire.oci_chat.generic_complete_response import Usage, convert_usage_to_openai
from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import convert_body_to_text

# Requests.

COHERE_V1_OPTION_RULES: Final = OptionRules(
    "Cohere's first request format",
    max_tokens=Carried("chatRequest.maxTokens"),
    temperature=Carried("chatRequest.temperature"),
    top_p=Carried("chatRequest.topP"),
    stop=Carried("chatRequest.stopSequences"),
    seed=Carried("chatRequest.seed"),
    frequency_penalty=Carried("chatRequest.frequencyPenalty", "not 0"),
    presence_penalty=Carried("chatRequest.presencePenalty", "not 0"),
    response_format=Translated(
        "`chatRequest.responseFormat` in Cohere's form", ("chatRequest.responseFormat",)
    ),
    tool_choice=Translated("`none`: no tools; others than `auto` raise", ("chatRequest.tools",)),
    parallel_tool_calls=Refused("cannot disable calling several tools at once", (True,)),
    **ABSENT_OPTION_RULES,
    **COMMON_RULES,
)
COHERE_V2_OPTION_RULES: Final = COHERE_V1_OPTION_RULES.evolve(
    "Cohere's second request format",
    tool_choice=Translated(
        "`chatRequest.toolsChoice`; for a tool's name, that tool only, and `REQUIRED`",
        ("chatRequest.toolsChoice", "chatRequest.tools"),
    ),
    logprobs=Carried("chatRequest.isLogProbsEnabled"),
)


class ResponseFormat(RequestStruct):
    type: str
    schema: Mapping[str, Any] | None = None


class CohereChatRequestBase(RequestStruct, kw_only=True):
    """The members that the requests of both formats have; they follow the format's own members."""

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


def build_common_request_members(call_options: CallOptions) -> dict[str, Any]:
    """Build the members of :class:`CohereChatRequestBase` from the options of a call."""
    include_usage = call_options.stream and call_options.stream_usage
    return {
        "response_format": convert_response_format(call_options.response_format),
        "max_tokens": call_options.max_tokens,
        "temperature": call_options.temperature,
        "top_p": call_options.top_p,
        "stop_sequences": call_options.stop,
        "seed": call_options.seed,
        "frequency_penalty": call_options.frequency_penalty or None,  # 0 is the same as none
        "presence_penalty": call_options.presence_penalty or None,
        "is_stream": True if call_options.stream else None,
        "stream_options": StreamOptions(is_include_usage=True) if include_usage else None,
    }


def convert_response_format(response_format: Mapping[str, Any] | None) -> ResponseFormat | None:
    """Convert OpenAI's ``response_format`` to Cohere's, which has the schema in ``JSON_OBJECT``.

    :raises ConfigurationError: if its type is unknown, or its schema is missing.
    """
    output = parse_response_format(response_format)
    if output is None:
        return None
    return ResponseFormat("JSON_OBJECT", inline_references(output.schema))


# Responses.


def normalize_usage(usage: Usage | None) -> Mapping[str, int]:
    """Return the token counts under Locus's names."""
    return openai.normalize_usage(convert_usage_to_openai(usage))


_ERRORS_BY_FINISH_REASON: Final[Mapping[str, Mapping[str, Any]]] = {
    "ERROR_LIMIT": {"code": "context_length_exceeded", "status": 400},
    "ERROR_TOXIC": {"code": "content_filter", "status": 400},
}


def raise_for_finish_reason(
    finish_reason: str | None,
    error_message: str | None,
    is_empty: bool,
    body: bytes | str | Mapping[str, Any],
) -> None:
    """Raise an error if the ``finishReason`` and the ``errorMessage`` of a response mean one.

    ``ERROR`` is always an error, and so is an ``errorMessage`` without a reason. ``ERROR_LIMIT``
    and ``ERROR_TOXIC`` are reasons for a response to end early, and it is for the caller to judge
    them. They are errors only if the response is empty and has an ``errorMessage``.

    :param is_empty: whether the response so far has no content.
    :raises APIStatusError: if the response is an error.
    """
    reason = (finish_reason or "").upper()
    if reason == "ERROR" or (error_message and not reason):
        members: Mapping[str, Any] = {"status": 500}
    elif error_message and is_empty and reason in _ERRORS_BY_FINISH_REASON:
        members = _ERRORS_BY_FINISH_REASON[reason]
    else:
        return
    raise make_status_error(
        convert_body_to_text(body),
        error_object={"message": error_message or "the model failed", **members},
        error_words=ORACLE_ERROR_WORDS,
    )
