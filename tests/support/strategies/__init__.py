"""Strategies for conversations, tools, options, responses, and splits of byte streams.

:func:`conversations` has what any provider can accept. :func:`response_contents` has responses as
plain values, of which the tests of each format build its JSON.
"""

from locus.testing.formats.strategies.basic_values import (
    UNUSUAL_CHARACTERS,
    argument_texts,
    arguments,
    call_ids,
    json_objects,
    json_values,
    malformed_arguments,
    names,
    texts,
    texts_with_lone_surrogates,
)
from locus.testing.formats.strategies.conversations import (
    assistant_messages,
    conversations,
    images,
    system_messages,
    tool_calls,
    tool_results,
    user_messages,
)
from locus.testing.formats.strategies.response_contents import (
    CallContent,
    CandidateContent,
    ResponseContent,
    candidate_contents,
    response_contents,
)
from locus.testing.formats.strategies.splits import byte_splits, text_splits
from locus.testing.formats.strategies.tools_and_options import options, schemas, tools
from tests.support.strategies.locus_values import events, messages, responses

__all__ = [
    "UNUSUAL_CHARACTERS",
    "CallContent",
    "CandidateContent",
    "ResponseContent",
    "argument_texts",
    "arguments",
    "assistant_messages",
    "byte_splits",
    "call_ids",
    "candidate_contents",
    "conversations",
    "events",
    "images",
    "json_objects",
    "json_values",
    "malformed_arguments",
    "messages",
    "names",
    "options",
    "response_contents",
    "responses",
    "schemas",
    "system_messages",
    "text_splits",
    "texts",
    "texts_with_lone_surrogates",
    "tool_calls",
    "tool_results",
    "tools",
    "user_messages",
]
