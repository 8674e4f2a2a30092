"""Wire formats: each package builds the requests and parses the responses of one JSON API.

The names here are what a package for a format of your own needs: framing and the base class of
stream decoders, the structs of its JSON, what it declares about options and parts, and what
several formats encode or parse alike. ``docs/providers.md`` shows how they fit together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir

if TYPE_CHECKING:
    from locus.core.accepted_parts import AcceptedParts, PartHandling
    from locus.core.build_tool_schemas import build_tool_schemas
    from locus.core.call_options import CallOptions
    from locus.core.conversation import IndexedMessage, order_tool_results, validate_messages
    from locus.core.error_words import ErrorWords
    from locus.core.events import make_chunk_event
    from locus.core.make_status_error import make_status_error
    from locus.core.option_rules import (
        ABSENT_OPTION_RULES,
        COMMON_RULES,
        EXTRA_BODY_RULE,
        EXTRA_HEADERS_RULE,
        NO_PENALTIES,
        NO_STORED_CONVERSATION,
        NO_SUCH_PARAMETER,
        TIMEOUT_RULE,
        Carried,
        HandledByLocus,
        OptionRules,
        Refused,
        Translated,
    )
    from locus.wire.data_urls import normalize_media_type, parse_if_data_url
    from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, ToolCallIdRule, compute_call_ids
    from locus.wire.parse_output_format import JsonOutput, parse_response_format
    from locus.wire.provider_json import (
        ResponseStruct,
        StructDecoder,
        encode_json,
        to_json_builtins,
    )
    from locus.wire.stream_decoder import StreamDecoder
    from locus.wire.stream_framing import Framing, NDJSONFraming, SSEFraming
    from locus.wire.thinking_and_arguments import (
        build_arguments_object,
        join_unsigned_thinking,
        make_tool_choice_error,
    )
    from locus.wire.usage_and_tool_calls import build_usage, make_tool_call, make_tool_call_id

_LAZY_MODULES: Final = {
    **dict.fromkeys(
        (
            "AcceptedParts",
            "PartHandling",
        ),
        "locus.core.accepted_parts",
    ),
    "build_tool_schemas": "locus.core.build_tool_schemas",
    "CallOptions": "locus.core.call_options",
    **dict.fromkeys(
        (
            "IndexedMessage",
            "order_tool_results",
            "validate_messages",
        ),
        "locus.core.conversation",
    ),
    "ErrorWords": "locus.core.error_words",
    "make_chunk_event": "locus.core.events",
    "make_status_error": "locus.core.make_status_error",
    **dict.fromkeys(
        (
            "ABSENT_OPTION_RULES",
            "COMMON_RULES",
            "EXTRA_BODY_RULE",
            "EXTRA_HEADERS_RULE",
            "NO_PENALTIES",
            "NO_STORED_CONVERSATION",
            "NO_SUCH_PARAMETER",
            "TIMEOUT_RULE",
            "Carried",
            "HandledByLocus",
            "OptionRules",
            "Refused",
            "Translated",
        ),
        "locus.core.option_rules",
    ),
    **dict.fromkeys(("normalize_media_type", "parse_if_data_url"), "locus.wire.data_urls"),
    **dict.fromkeys(
        (
            "ANY_ID_RULE",
            "ToolCallIdRule",
            "compute_call_ids",
        ),
        "locus.wire.outgoing_tool_call_ids",
    ),
    **dict.fromkeys(
        (
            "ResponseStruct",
            "StructDecoder",
            "encode_json",
            "to_json_builtins",
        ),
        "locus.wire.provider_json",
    ),
    **dict.fromkeys(
        (
            "JsonOutput",
            "parse_response_format",
        ),
        "locus.wire.parse_output_format",
    ),
    "StreamDecoder": "locus.wire.stream_decoder",
    **dict.fromkeys(
        (
            "Framing",
            "NDJSONFraming",
            "SSEFraming",
        ),
        "locus.wire.stream_framing",
    ),
    **dict.fromkeys(
        (
            "build_arguments_object",
            "join_unsigned_thinking",
            "make_tool_choice_error",
        ),
        "locus.wire.thinking_and_arguments",
    ),
    **dict.fromkeys(
        (
            "build_usage",
            "make_tool_call",
            "make_tool_call_id",
        ),
        "locus.wire.usage_and_tool_calls",
    ),
}

__all__ = [
    "ABSENT_OPTION_RULES",
    "ANY_ID_RULE",
    "COMMON_RULES",
    "EXTRA_BODY_RULE",
    "EXTRA_HEADERS_RULE",
    "NO_PENALTIES",
    "NO_STORED_CONVERSATION",
    "NO_SUCH_PARAMETER",
    "TIMEOUT_RULE",
    "AcceptedParts",
    "CallOptions",
    "Carried",
    "ErrorWords",
    "Framing",
    "HandledByLocus",
    "IndexedMessage",
    "JsonOutput",
    "NDJSONFraming",
    "OptionRules",
    "PartHandling",
    "Refused",
    "ResponseStruct",
    "SSEFraming",
    "StreamDecoder",
    "StructDecoder",
    "ToolCallIdRule",
    "Translated",
    "build_arguments_object",
    "build_tool_schemas",
    "build_usage",
    "compute_call_ids",
    "encode_json",
    "join_unsigned_thinking",
    "make_chunk_event",
    "make_status_error",
    "make_tool_call",
    "make_tool_call_id",
    "make_tool_choice_error",
    "normalize_media_type",
    "order_tool_results",
    "parse_if_data_url",
    "parse_response_format",
    "to_json_builtins",
    "validate_messages",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
