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
    from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
    from locus.core.call_options import CallOptions
    from locus.core.conversation import (
        IndexedMessage,
        Messages,
        ToolCallPosition,
        order_tool_results,
        validate_messages,
    )
    from locus.core.digest import compute_digest
    from locus.core.error_words import ErrorWords
    from locus.core.events import make_chunk_event
    from locus.core.json_schema.references import inline_references
    from locus.core.make_status_error import find_error_in_response, make_status_error
    from locus.core.merge_extra_body import add_extra_members
    from locus.core.messages import Part
    from locus.core.model_family import get_model_family, strip_model_snapshot
    from locus.core.native_state import NativeState
    from locus.core.native_state_routing import (
        NativeStateRule,
        remove_native_state,
        select_native_state,
    )
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
    from locus.core.response import FinishReason
    from locus.core.tool_names import ToolNameRule
    from locus.core.validate_and_order_conversation import prepare_conversation
    from locus.wire.data_urls import normalize_media_type, parse_if_data_url
    from locus.wire.outgoing_images import build_image_url, read_image, read_image_bytes
    from locus.wire.outgoing_tool_call_ids import ANY_ID_RULE, ToolCallIdRule, compute_call_ids
    from locus.wire.outgoing_tools import build_outgoing_tools
    from locus.wire.parse_output_format import JsonOutput, parse_response_format
    from locus.wire.provider_json import (
        ResponseStruct,
        StructDecoder,
        convert_body_to_text,
        encode_json,
        to_json_builtins,
    )
    from locus.wire.request_parts import (
        build_arguments_object,
        encode_arguments,
        join_unsigned_thinking,
        make_tool_choice_error,
    )
    from locus.wire.response_errors import make_incomplete_response_error
    from locus.wire.response_parts import build_usage, make_tool_call, make_tool_call_id
    from locus.wire.stream_decoder import StreamDecoder, is_done_marker, is_keep_alive
    from locus.wire.stream_framing import Framing, NDJSONFraming, SSEFraming

_LAZY_MODULES: Final = {
    **dict.fromkeys(("AcceptedParts", "PartHandling"), "locus.core.accepted_parts"),
    **dict.fromkeys(("ToolLike", "build_tool_schemas"), "locus.core.build_tool_schemas"),
    "CallOptions": "locus.core.call_options",
    **dict.fromkeys(
        (
            "IndexedMessage",
            "Messages",
            "ToolCallPosition",
            "order_tool_results",
            "validate_messages",
        ),
        "locus.core.conversation",
    ),
    "compute_digest": "locus.core.digest",
    "ErrorWords": "locus.core.error_words",
    "make_chunk_event": "locus.core.events",
    "inline_references": "locus.core.json_schema.references",
    **dict.fromkeys(
        ("find_error_in_response", "make_status_error"), "locus.core.make_status_error"
    ),
    "add_extra_members": "locus.core.merge_extra_body",
    "Part": "locus.core.messages",
    **dict.fromkeys(("get_model_family", "strip_model_snapshot"), "locus.core.model_family"),
    "NativeState": "locus.core.native_state",
    **dict.fromkeys(
        ("NativeStateRule", "remove_native_state", "select_native_state"),
        "locus.core.native_state_routing",
    ),
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
    "prepare_conversation": "locus.core.validate_and_order_conversation",
    "FinishReason": "locus.core.response",
    "ToolNameRule": "locus.core.tool_names",
    **dict.fromkeys(("normalize_media_type", "parse_if_data_url"), "locus.wire.data_urls"),
    **dict.fromkeys(
        ("build_image_url", "read_image", "read_image_bytes"), "locus.wire.outgoing_images"
    ),
    "build_outgoing_tools": "locus.wire.outgoing_tools",
    **dict.fromkeys(
        ("ANY_ID_RULE", "ToolCallIdRule", "compute_call_ids"), "locus.wire.outgoing_tool_call_ids"
    ),
    **dict.fromkeys(("JsonOutput", "parse_response_format"), "locus.wire.parse_output_format"),
    **dict.fromkeys(
        (
            "ResponseStruct",
            "StructDecoder",
            "convert_body_to_text",
            "encode_json",
            "to_json_builtins",
        ),
        "locus.wire.provider_json",
    ),
    "make_incomplete_response_error": "locus.wire.response_errors",
    **dict.fromkeys(
        ("StreamDecoder", "is_done_marker", "is_keep_alive"), "locus.wire.stream_decoder"
    ),
    **dict.fromkeys(("Framing", "NDJSONFraming", "SSEFraming"), "locus.wire.stream_framing"),
    **dict.fromkeys(
        (
            "build_arguments_object",
            "encode_arguments",
            "join_unsigned_thinking",
            "make_tool_choice_error",
        ),
        "locus.wire.request_parts",
    ),
    **dict.fromkeys(
        ("build_usage", "make_tool_call", "make_tool_call_id"), "locus.wire.response_parts"
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
    "FinishReason",
    "Framing",
    "HandledByLocus",
    "IndexedMessage",
    "JsonOutput",
    "Messages",
    "NDJSONFraming",
    "NativeState",
    "NativeStateRule",
    "OptionRules",
    "Part",
    "PartHandling",
    "Refused",
    "ResponseStruct",
    "SSEFraming",
    "StreamDecoder",
    "StructDecoder",
    "ToolCallIdRule",
    "ToolCallPosition",
    "ToolLike",
    "ToolNameRule",
    "Translated",
    "add_extra_members",
    "build_arguments_object",
    "build_image_url",
    "build_outgoing_tools",
    "build_tool_schemas",
    "build_usage",
    "compute_call_ids",
    "compute_digest",
    "convert_body_to_text",
    "encode_arguments",
    "encode_json",
    "find_error_in_response",
    "get_model_family",
    "inline_references",
    "is_done_marker",
    "is_keep_alive",
    "join_unsigned_thinking",
    "make_chunk_event",
    "make_incomplete_response_error",
    "make_status_error",
    "make_tool_call",
    "make_tool_call_id",
    "make_tool_choice_error",
    "normalize_media_type",
    "order_tool_results",
    "parse_if_data_url",
    "parse_response_format",
    "prepare_conversation",
    "read_image",
    "read_image_bytes",
    "remove_native_state",
    "select_native_state",
    "strip_model_snapshot",
    "to_json_builtins",
    "validate_messages",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
