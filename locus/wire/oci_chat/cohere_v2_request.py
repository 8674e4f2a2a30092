"""A conversation as a ``CohereChatRequestV2``, the second of Cohere's two formats.

Messages with roles and typed contents, images among them; tool calls with ids, and arguments as
JSON text. The models that see images (``cohere.command-a-vision*``) take no other, those that
reason (``cohere.command-a-reasoning*``) think in it. The names on the wire are those of
``oci.generative_ai_inference.models.CohereChatRequestV2``.

Thinking goes back as it came, and so does the plan that a model makes before it calls tools: it is
kept in the message's ``metadata["tool_plan"]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, Place, Turn, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.chat_completions.request import arguments_of, image_address
from locus.wire.oci_chat.cohere_shared import Settings, functions, settings, words
from locus.wire.oci_chat.envelope import Written, chat_details
from locus.wire.oci_chat.generic_tools import inlined
from locus.wire.tool_call_ids import ANY, call_ids

_NO_IMAGES: Final = "Cohere takes images from the user only"


class _ImageURL(Written):
    url: str
    detail: str | None = None


class _Content(Written):
    type: str
    text: str | None = None
    thinking: str | None = None
    image_url: _ImageURL | None = None


class _CalledFunction(Written):
    name: str
    arguments: str


class _Call(Written):
    id: str
    type: str
    function: _CalledFunction


class _Message(Written):
    role: str
    content: list[_Content]
    """Always said: the service's own classes require it, even of who only calls tools."""
    tool_plan: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Function(Written):
    name: str
    parameters: Mapping[str, Any]
    description: str | None = None


class _Tool(Written):
    type: str
    function: _Function


class _Request(Settings):
    api_format: str
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tools_choice: str | None = None
    is_strict_tools_enabled: bool | None = None


@attrs.frozen
class CohereV2ChatBuilder:
    """The ``RequestBuilder`` of Cohere's second format.

    :param compartment_id: who pays; without it, whoever sends the body has to put it in.
    """

    compartment_id: str | None = None

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` are those of the ``chatRequest`` (``thinking`` for one), and win over
            Locus's own.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        turns = in_order(conversation(messages))
        ids = call_ids(turns, ANY)
        offered = functions(tool_schemas(tools))
        choice, offered = _choice(said, offered)
        strict = bool(offered) and all(function.get("strict") is True for function in offered)
        request = _Request(
            api_format="COHEREV2",
            messages=[_message(turn, ids) for turn in turns],
            tools=[_tool(function) for function in offered] or None,
            tools_choice=choice,
            is_strict_tools_enabled=True if strict else None,
            **settings(said),
        )
        return chat_details(said.model, request, self.compartment_id, said.extra_body)


# Tools.


def _choice(
    said: CallOptions, offered: list[Mapping[str, Any]]
) -> tuple[str | None, list[Mapping[str, Any]]]:
    """``toolsChoice``, and the tools to offer.

    The format requires some tool, not a certain one: to offer no other comes to the same.
    """
    if not offered:
        return None, offered
    if said.parallel_tool_calls is False:
        raise ConfigurationError(
            "parallel_tool_calls=False: Cohere cannot be kept from calling several tools at once"
        )
    match said.tool_choice:
        case None | "auto":
            return None, offered
        case "none":
            return "NONE", offered
        case "required":
            return "REQUIRED", offered
        case str(name) | {"type": "function", "function": {"name": str(name)}}:
            pinned = [function for function in offered if function["name"] == name]
            if pinned:
                return "REQUIRED", pinned
    names = ", ".join(function["name"] for function in offered)
    raise ConfigurationError(
        f"tool_choice={said.tool_choice!r} is neither 'auto', 'none' or 'required', nor the name "
        f"of a tool of this call ({names})"
    )


def _tool(function: Mapping[str, Any]) -> _Tool:
    parameters = inlined(function.get("parameters") or {"type": "object", "properties": {}})
    return _Tool("FUNCTION", _Function(function["name"], parameters, function.get("description")))


# Messages.


def _message(turn: Turn, ids: Mapping[Place, str]) -> _Message:
    message = turn.message
    match message.role:
        case Role.USER:
            return _Message("USER", _contents(turn))
        case Role.ASSISTANT:
            _words(turn)
            plan = message.metadata.get("tool_plan")
            return _Message(
                "ASSISTANT",
                _contents(turn),
                tool_plan=plan if isinstance(plan, str) and plan else None,
                tool_calls=[
                    _Call(
                        ids[turn.position, at],
                        "FUNCTION",
                        _CalledFunction(
                            call.name,
                            arguments_of(f"messages[{turn.position}].tool_calls[{at}]", call),
                        ),
                    )
                    for at, call in enumerate(message.tool_calls)
                ]
                or None,
            )
        case Role.TOOL:
            answered = turn.answers and ids[turn.answers]
            return _Message("TOOL", [_text(_words(turn))], tool_call_id=answered)
    return _Message("SYSTEM", [_text(_words(turn))])


def _words(turn: Turn) -> str:
    return words(turn.position, turn.message, _NO_IMAGES)


def _text(text: str) -> _Content:
    return _Content("TEXT", text=text)


def _contents(turn: Turn) -> list[_Content]:
    content = turn.message.content
    if content is None or isinstance(content, str):
        return [_text(content or "")] if content or not turn.message.tool_calls else []
    return [found for part in content if (found := _content(turn.position, part)) is not None]


def _content(position: int, part: Part) -> _Content | None:
    match part:
        case TextPart() | RefusalPart():  # a refusal is what the assistant said
            return _text(part.text)
        case ImagePart():
            detail = part.detail.upper() if part.detail else None
            address = _ImageURL(image_address(position, part), detail)
            return _Content("IMAGE_URL", image_url=address)
        case ThinkingPart(signature=None, redacted=None):
            return _Content("THINKING", thinking=part.text)
    return None  # sealed thinking is another provider's, and for its eyes only
