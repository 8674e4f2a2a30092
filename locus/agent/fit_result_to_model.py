"""Describes the images in the results of tools that a model cannot be shown.

The run goes on: a request with such an image would be an error of the whole run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    ResultContent,
    Role,
    TextPart,
    ToolCall,
    ToolResult,
)
from locus.core.state import AgentState
from locus.models.capabilities import get_capabilities
from locus.tools.result_renderer import describe_image

_NO_IMAGES: Final = "this model cannot be shown images in the results of tools"
_POSITION: Final = re.compile(r"messages\[\d+\]\S*:? (?:is of the class \w+: )?")


def fit_result_to_model(model: Any, content: ResultContent) -> ResultContent:
    """Return the content of a tool's result, with text for each image that a model refuses."""
    if isinstance(content, str):
        return content
    fitting = tuple(_fit_part(model, part) for part in content)
    if all(isinstance(part, TextPart) for part in fitting):
        return describe_content(fitting)
    return fitting


def find_result_images(state: AgentState) -> tuple[ImagePart, ...]:
    """Find the images in the results of a state, each once."""
    results = [message.content for message in state.messages if message.role is Role.TOOL]
    contents = [*results, *(execution.parts for execution in state.tool_executions)]
    parts = (part for content in contents if isinstance(content, tuple) for part in content)
    return tuple(dict.fromkeys(part for part in parts if isinstance(part, ImagePart)))


def describe_refused_images(
    model: Any, images: Sequence[ImagePart]
) -> Mapping[ImagePart, TextPart]:
    """Describe those of the images that a model refuses."""
    fitting = ((image, _fit_part(model, image)) for image in images)
    return {image: part for image, part in fitting if isinstance(part, TextPart)}


def describe_images(
    messages: tuple[Message, ...], descriptions: Mapping[ImagePart, TextPart]
) -> tuple[Message, ...]:
    """Return messages with text for some of the images in the results of tools.

    :param descriptions: the text for each of these images.
    """
    if not descriptions:
        return messages
    return tuple(
        attrs.evolve(message, content=_replace_images(message.content, descriptions))
        if message.role is Role.TOOL and isinstance(message.content, tuple)
        else message
        for message in messages
    )


def _replace_images(
    content: tuple[Part, ...], descriptions: Mapping[ImagePart, TextPart]
) -> ResultContent:
    parts = tuple(
        descriptions.get(part, part) if isinstance(part, ImagePart) else part for part in content
    )
    return describe_content(parts) if all(isinstance(p, TextPart) for p in parts) else parts


def describe_content(content: ResultContent) -> str:
    """Return the content of a tool's result as text, in which images are described."""
    if isinstance(content, str):
        return content
    texts = (part.text if isinstance(part, TextPart) else _describe(part) for part in content)
    return "".join(texts)


def _describe(part: Part, reason: str = "") -> str:
    assert isinstance(part, ImagePart)  # the only other part of a tool's result
    return describe_image(part, reason)


def _fit_part(model: Any, part: Part) -> Part:
    """Return a part that a model can be sent: the part itself, or a description of it."""
    if isinstance(part, TextPart):
        return part
    if not get_capabilities(model).can_send(type(part), Role.TOOL):
        return TextPart(_describe(part, _NO_IMAGES))
    error = _find_part_rejection_reason(model, part)
    return part if error is None else TextPart(_describe(part, error))


def _find_part_rejection_reason(model: Any, part: Part) -> str | None:
    """Return why a model's request cannot hold a part; None if it can, or if nobody knows.

    A wire format may have no images by URL, or not of this type.
    """
    build_request = getattr(model, "request", None)
    if build_request is None:
        return None
    try:
        build_request(_make_conversation(part))
    except ConfigurationError as exc:
        error = str(exc)
    else:
        return None
    try:
        build_request(_make_conversation(TextPart("x")))
    except ConfigurationError:  # not because of the part
        return None
    return _POSITION.sub("", error)


def _make_conversation(part: Part) -> list[Message]:
    """Make the shortest conversation with a part in the result of a tool."""
    call = ToolCall("call_1", "look")
    result = Message.tool(ToolResult(call.id, call.name, [part]))
    return [Message.user("?"), Message.assistant(None, [call]), result]
