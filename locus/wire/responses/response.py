"""A whole answer of ``POST /responses``, and what streamed ones share with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from locus.core.error_factory import make_status_error
from locus.core.errors import APIStatusError, ResponseParseError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message, RefusalPart, Role, TextPart
from locus.core.response import ModelResponse
from locus.wire.decoding import token_counts
from locus.wire.json import Read, Reader, text_of
from locus.wire.responses.items import KEPT, Item, Output, read, to_keep
from locus.wire.stream_decoder import StreamDecoder

STATE: Final = "previous_response_id"
"""The one member of ``provider_state``: which answer, kept by the server, comes before."""

_OF_THE_REQUEST: Final = ("invalid_", "image_", "empty_image", "unsupported_image", "failed_to_dow")
"""How the codes begin that blame the request."""


class InputDetails(Read):
    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class OutputDetails(Read):
    reasoning_tokens: float | None = None


class Usage(Read):
    input_tokens: float | None = None
    output_tokens: float | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Incomplete(Read):
    reason: str | None = None


class Whole(Read):
    """A whole answer; or, where it failed, an error."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    usage: Usage | None = None
    incomplete_details: Incomplete | None = None
    store: bool | None = None
    error: Any = None


reader: Final = Reader(Whole)

Refusal: TypeAlias = Callable[..., APIStatusError]
"""Makes the error of a refusal: :func:`locus.core.error_factory.refused`, or a provider's own."""


@attrs.frozen
class ResponsesParser:
    """The ``ResponseParser`` of the responses format.

    :param store: whether the server keeps the answers: then each has a ``provider_state``.
    :param refusal: the error for an error object inside an answer.
    """

    store: bool = True
    refusal: Refusal = make_status_error

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the answer failed, or the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        """
        return response_of(reader.read(response), response, self.store, self.refusal)

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.responses.stream import ResponsesDecoder

        return ResponsesDecoder(self.store, self.refusal)


def response_of(
    whole: Whole,
    body: bytes | str | Mapping[str, Any],
    store: bool,
    refusal: Refusal = make_status_error,
) -> ModelResponse:
    """The answer in a decoded body; ``body`` is quoted in errors."""
    check(whole, body, refusal)
    if whole.output is None:
        text = text_of(body)
        if '"message"' in text:  # gateways that name an error by nothing else
            raise refusal(text)
        raise ResponseParseError("the answer has no output", body=text)
    try:
        return assemble(whole, read(whole.output), whole.output, store)
    except ResponseParseError as error:
        error.body = text_of(body)[:2000]
        raise


def check(whole: Whole, body: bytes | str | Mapping[str, Any], refusal: Refusal) -> None:
    """Refuse an answer that failed, or that is no answer but an error object."""
    if whole.error or whole.status == "failed":
        raise failure(whole.error or {"message": "the answer failed"}, body, refusal)


def failure(
    error: Any, body: bytes | str | Mapping[str, Any], refusal: Refusal = make_status_error
) -> APIStatusError:
    """The error that an error object of this format stands for."""
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, str) and code.startswith(_OF_THE_REQUEST):
        error = {**error, "type": "invalid_request_error"}
    return refusal(text_of(body), error=error)


def assemble(
    whole: Whole, output: Output, items: list[Item], store: bool, *, unfinished: bool = False
) -> ModelResponse:
    """The response, from what stands around the items and what they say.

    :param items: those to keep where the message cannot repeat them.
    :param unfinished: whether the rest has not arrived; such an answer has no state.
    """
    notes: dict[str, Any] = {}
    if output.annotations:
        notes["annotations"] = output.annotations
    kept = to_keep(items, output)
    if kept:
        notes[KEPT] = kept
    state = None
    if store and whole.store is not False and whole.id and not unfinished:
        state = FrozenDict({STATE: whole.id})
    return ModelResponse(
        message=Message(Role.ASSISTANT, _content(output), output.calls, metadata=notes or EMPTY),
        usage=usage_of(whole.usage),
        stop_reason=_stop_reason(whole),
        provider_state=state,
        reasoning=output.reasoning or None,
        model=whole.model or None,
        response_id=whole.id or None,
        logprobs={"content": output.logprobs} if output.logprobs else None,
    )


def _content(output: Output) -> Any:
    if output.refusal:
        refusal = RefusalPart(output.refusal)
        return (TextPart(output.text), refusal) if output.text else (refusal,)
    return output.text if output.text or not output.calls else None


def _stop_reason(whole: Whole) -> str | None:
    reason = whole.incomplete_details.reason if whole.incomplete_details else None
    return (reason if whole.status == "incomplete" else None) or whole.status or None


def usage_of(usage: Usage | None) -> Mapping[str, int]:
    """Token counts under Locus's names."""
    if usage is None:
        return EMPTY
    taken, spent = usage.input_tokens_details, usage.output_tokens_details
    return token_counts(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cached_tokens=taken.cached_tokens if taken else None,
        cache_creation_input_tokens=taken.cache_write_tokens if taken else None,
        reasoning_tokens=spent.reasoning_tokens if spent else None,
    )
