"""Parses a complete response of ``POST /responses``; streams share most functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

from locus.core.error_body import says_error
from locus.core.errors import APIStatusError, ResponseParseError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.make_status_error import make_status_error
from locus.core.messages import Message, RefusalPart, Role, TextPart
from locus.core.response import ModelResponse
from locus.wire.provider_json import ResponseStruct, StructDecoder, convert_body_to_text
from locus.wire.response_errors import make_incomplete_response_error
from locus.wire.response_parts import build_usage
from locus.wire.responses.output_items import (
    NATIVE_STATE_RULE,
    Item,
    ParsedOutput,
    parse_items,
    select_items_to_store,
)

STATE_KEY: Final = "previous_response_id"
"""The only member of ``provider_state``: the id of the previous response, stored by the server."""

_UNFINISHED_STATUSES: Final = ("queued", "in_progress")
"""Statuses of a response that goes on in the background:
https://platform.openai.com/docs/guides/background."""
_INVALID_REQUEST_PREFIXES: Final = (
    "invalid_",
    "image_",
    "empty_image",
    "unsupported_image",
    "failed_to_dow",
)
"""Prefixes of error codes which mean that the request was wrong."""


class InputTokensDetails(ResponseStruct):
    cached_tokens: Any = None
    cache_write_tokens: Any = None


class OutputTokensDetails(ResponseStruct):
    reasoning_tokens: Any = None


class Usage(ResponseStruct):
    input_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None


class IncompleteDetails(ResponseStruct):
    reason: str | None = None


class ResponseObject(ResponseStruct):
    """A complete response; or, where it failed, an error."""

    needed_members: ClassVar = frozenset({"output"})

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    usage: Usage | None = None
    incomplete_details: IncompleteDetails | None = None
    store: bool | None = None
    error: Any = None


response_decoder: Final = StructDecoder(ResponseObject)

StatusErrorFactory: TypeAlias = Callable[..., APIStatusError]
"""Makes the exception for an error body: :func:`locus.core.make_status_error.make_status_error`,
or a function of a provider with the same parameters."""


def parse_response(
    body: bytes | str | Mapping[str, Any],
    store: bool = True,
    error_factory: StatusErrorFactory = make_status_error,
) -> ModelResponse:
    """Parse the body of a complete response.

    :param store: whether the server stores the response. Then it has a ``provider_state``.
    :raises APIStatusError: if the response failed, or the body is an error object.
    :raises ResponseParseError: if the body does not follow the format.
    """
    response = response_decoder.decode(body)
    raise_for_error(response, body, error_factory)
    if response.output is None:
        raise make_incomplete_response_error("the response has no output", body, error_factory)
    try:
        output = parse_items(response.output)
        return build_model_response(response, output, response.output, store).with_source(body)
    except ResponseParseError as exc:
        exc.body = convert_body_to_text(body)[:2000]
        raise


def raise_for_error(
    response: ResponseObject,
    body: bytes | str | Mapping[str, Any],
    error_factory: StatusErrorFactory,
    *,
    is_event: bool = False,
) -> None:
    """Raise an ``APIStatusError`` if the response failed, or if it is an error object.

    :param is_event: whether it is from an event at the beginning of a stream. A complete response
        that is not finished is an error.
    :raises ResponseParseError: if the response is not finished.
    """
    if response.status in _UNFINISHED_STATUSES and response.output is not None and not is_event:
        raise ResponseParseError(
            f"the response is {response.status}: it goes on in the background, and there is "
            "nothing of it yet; leave background= out, or get it by its id with model.client",
            body=convert_body_to_text(body),
        )
    if says_error(response.error) or response.status == "failed":
        raise make_response_error(
            response.error or {"message": "the response failed"}, body, error_factory
        )


def make_response_error(
    error: Any,
    body: bytes | str | Mapping[str, Any],
    error_factory: StatusErrorFactory = make_status_error,
) -> APIStatusError:
    """Make the exception for an error object of this format."""
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, str) and code.startswith(_INVALID_REQUEST_PREFIXES):
        error = {**error, "type": "invalid_request_error"}
    return error_factory(convert_body_to_text(body), error_object=error)


def build_model_response(
    response: ResponseObject,
    output: ParsedOutput,
    items: list[Item],
    store: bool,
    *,
    is_partial: bool = False,
) -> ModelResponse:
    """Build the ``ModelResponse`` from the response object and the parsed output.

    :param items: the output items; they are stored on the message if it cannot express them.
    :param is_partial: whether the stream was interrupted. Then there is no ``provider_state``.
    """
    metadata: dict[str, Any] = {}
    if output.annotations:
        metadata["annotations"] = output.annotations
    native_items = select_items_to_store(items, output)
    state = None
    if store and response.store is not False and response.id and not is_partial:
        state = FrozenDict({STATE_KEY: response.id})
    return ModelResponse(
        message=Message(
            Role.ASSISTANT,
            _build_message_content(output),
            output.calls,
            metadata=metadata or EMPTY,
            native_state=NATIVE_STATE_RULE.make_state({"items": native_items})
            if native_items
            else None,
        ),
        usage=normalize_usage(response.usage),
        stop_reason=_get_stop_reason(response),
        provider_state=state,
        reasoning=output.reasoning or None,
        model=response.model or None,
        response_id=response.id or None,
        logprobs={"content": output.logprobs} if output.logprobs else None,
    )


def _build_message_content(output: ParsedOutput) -> Any:
    if output.refusal:
        refusal = RefusalPart(output.refusal)
        return (TextPart(output.text), refusal) if output.text else (refusal,)
    return output.text if output.text or not output.calls else None


def _get_stop_reason(response: ResponseObject) -> str | None:
    """Return the reason why the response is incomplete, or else its status."""
    reason = response.incomplete_details.reason if response.incomplete_details else None
    return (reason if response.status == "incomplete" else None) or response.status or None


def normalize_usage(usage: Usage | None) -> Mapping[str, int]:
    """Translate token counts to Locus's names."""
    if usage is None:
        return EMPTY
    input_details, output_details = usage.input_tokens_details, usage.output_tokens_details
    return build_usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        cached_tokens=input_details.cached_tokens if input_details else None,
        cache_creation_input_tokens=input_details.cache_write_tokens if input_details else None,
        reasoning_tokens=output_details.reasoning_tokens if output_details else None,
    )
