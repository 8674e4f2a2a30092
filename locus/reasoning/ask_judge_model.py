"""Asks a judge model for a value of a type, and again if its answer does not fit the type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from locus.core.errors import APIStatusError, ConfigurationError, StructuredOutputError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message
from locus.core.refused_schema import read_schema_refusal
from locus.core.structured import build_response_format, parse_structured
from locus.models.capabilities import get_capabilities, remember_schema_refusal
from locus.models.protocols import ModelProtocol
from locus.reasoning.reasoning_requests import ModelRequest, ReasoningGenerator

T = TypeVar("T")

_SCHEMA: Final = "Answer with JSON that fits this JSON Schema, and with nothing else:\n{schema}"
_RETRY: Final = (
    "Your answer could not be used: {error}\n"
    "Answer again, with JSON that fits the schema and nothing else."
)
DEFAULT_RETRIES: Final = 2


def ask_judge_model_in_steps(
    model: ModelProtocol,
    instructions: str,
    content: str,
    type: type[T],
    *,
    retries: int = DEFAULT_RETRIES,
    options: Mapping[str, Any] = EMPTY,
) -> ReasoningGenerator[T]:
    """Ask a model for a value of a type.

    The schema is in the instructions, and enforced by the provider if the model's capabilities say
    that it can, and its server does not refuse it.

    :param content: what the model has to judge.
    :param retries: how often the model is asked again if its answer does not fit.
    :raises StructuredOutputError: if none of its answers fits, or it refuses.
    """
    loose_format = build_response_format(type, strict=False)
    schema = msgspec.json.encode(loose_format["json_schema"]["schema"]).decode()
    question = (
        Message.system(f"{instructions}\n\n{_SCHEMA.format(schema=schema)}"),
        Message.user(content),
    )
    if get_capabilities(model).structured_output != "never":
        options = {"response_format": _build_strictest_format(type, loose_format), **options}
    messages = question
    for attempt in range(retries + 1):
        try:
            response = yield ModelRequest(model, messages, options)
        except APIStatusError as exc:
            refusal = read_schema_refusal(exc, has_tools=False)
            if refusal is None or "response_format" not in options:
                raise
            options = {name: options[name] for name in options if name != "response_format"}
            response = yield ModelRequest(model, messages, options)
            remember_schema_refusal(model, refusal)
        if not response.content and response.refusal is not None:
            raise StructuredOutputError(f"the judge model refused: {response.refusal}")
        output = parse_structured(response.content, type)
        if output.error is None or attempt == retries:
            break
        answer = (Message.assistant(response.content),) if response.content else ()
        messages = (*question, *answer, Message.user(_RETRY.format(error=output.error)))
    return output.unwrap()


def _build_strictest_format(type: Any, loose_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """Build the strictest ``response_format`` that can express a type."""
    try:
        return build_response_format(type)
    except ConfigurationError:
        return loose_format
