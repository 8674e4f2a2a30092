"""A conversation as a ``CohereChatRequest``, the first of Cohere's two formats.

``cohere.command-r*`` is asked with it. The names on the wire are those of
``oci.generative_ai_inference.models.CohereChatRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.oci_chat.cohere_shared import Settings, settings
from locus.wire.oci_chat.cohere_tools import CohereTool, cohere_tools
from locus.wire.oci_chat.cohere_turns import Entry, Result, places
from locus.wire.oci_chat.envelope import chat_details


class _Request(Settings):
    api_format: str
    message: str
    preamble_override: str | None = None
    chat_history: list[Entry] | None = None
    tool_results: list[Result] | None = None
    tools: list[CohereTool] | None = None


@attrs.frozen
class CohereChatBuilder:
    """The ``RequestBuilder`` of Cohere's first format.

    :param compartment_id: who pays; without it, whoever sends the body has to put it in.
    """

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are those of the ``chatRequest``, and win over Locus's own.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        schemas = _offered(said, tool_schemas(tools))
        at = places(in_order(conversation(messages)))
        request = _Request(
            api_format="COHERE",
            message=at.message,
            preamble_override=at.preamble,
            chat_history=at.history or None,
            tool_results=at.results,
            tools=cohere_tools(schemas) or None,
            **settings(said),
        )
        return chat_details(said.model, request, self.compartment_id, said.extra_body)


def _offered(
    said: CallOptions, schemas: tuple[Mapping[str, Any], ...]
) -> tuple[Mapping[str, Any], ...]:
    """The tools to send. The format has no choice of tools: not to offer them is all it can do.

    ``isForceSingleStep`` is no such choice: it has the model answer at once after its first
    results, and ``extra_body`` takes it.
    """
    if said.tool_choice == "none":
        return ()
    if schemas and said.tool_choice not in (None, "auto"):
        raise ConfigurationError(
            f"tool_choice={said.tool_choice!r}: Cohere's first request format cannot make the "
            "model call a tool, only keep it from that; it takes 'auto' and 'none'"
        )
    if schemas and said.parallel_tool_calls is False:
        raise ConfigurationError(
            "parallel_tool_calls=False: Cohere cannot be kept from calling several tools at once"
        )
    return schemas
