"""What every wire format has to carry: conversations, tools, options, answers and byte splits.

One set of strategies for all formats. :func:`conversations` gives what any provider could accept;
:func:`answers` gives an answer as plain values, for each format's tests to put into its own JSON.
Each module here holds one of these ideas; tests import all of them from this place.
"""

from tests.support.strategies.answers import Answered, Said, SaidCall, answers, said
from tests.support.strategies.conversations import (
    assistant_messages,
    conversations,
    images,
    system_messages,
    tool_calls,
    tool_results,
    user_messages,
)
from tests.support.strategies.cuts import pieces, splits
from tests.support.strategies.plain import (
    ODD,
    arguments,
    call_ids,
    halves,
    json_objects,
    json_values,
    malformed,
    names,
    texts,
    written_arguments,
)
from tests.support.strategies.tools import options, schemas, tools
from tests.support.strategies.values import events, messages, responses

__all__ = [
    "ODD",
    "Answered",
    "Said",
    "SaidCall",
    "answers",
    "arguments",
    "assistant_messages",
    "call_ids",
    "conversations",
    "events",
    "halves",
    "images",
    "json_objects",
    "json_values",
    "malformed",
    "messages",
    "names",
    "options",
    "pieces",
    "responses",
    "said",
    "schemas",
    "splits",
    "system_messages",
    "texts",
    "tool_calls",
    "tool_results",
    "tools",
    "user_messages",
    "written_arguments",
]
