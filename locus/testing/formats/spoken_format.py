"""``SpokenFormat``: the half of a format's record that speaks as its server does.

Contents of responses are drawn in no format, written by the record as a body and as a stream, and
parsed by Locus: what comes out has to be what was drawn.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import attrs
from hypothesis import strategies as st

from locus.core.errors import APIError, APIStatusError, ResponseParseError
from locus.core.messages import Message, Part, RefusalPart, Role, TextPart, ToolCall
from locus.core.response import FinishReason, ModelResponse
from locus.models.protocols import ResponseParser
from locus.testing.formats.framing import are_complete_frames, encode_ndjson, encode_sse
from locus.testing.formats.strategies.basic_values import json_values
from locus.testing.formats.strategies.response_contents import (
    CandidateContent,
    ResponseContent,
    response_contents,
)
from locus.testing.formats.strategies.splits import byte_splits, text_splits
from locus.testing.formats.stream_reader import StreamReader
from locus.testing.server import Reply

Frame: TypeAlias = dict[str, Any] | str
"""One frame of a stream: its JSON, or text that is sent unchanged."""

Split: TypeAlias = Callable[[str], Sequence[str]]
"""Splits a text into the texts of several frames. Joined, they are the text again."""

TEXT_CHUNKS: Final = ("Zürich", " costs", " 10 €", " ✓", " today")
TEXT: Final = "".join(TEXT_CHUNKS)
"""The text of the replies that a record builds by default, a word in each chunk of a stream."""

THOUGHT: Final = "zq-thought"
"""The reasoning in the response of the test of :attr:`~SpokenFormat.wants_back`."""

ERROR_TEXT: Final = "slow\u2028down"
"""The text of an error, with a line separator that only Unicode knows."""

ODD_IDS: Final = (
    *("a:b", "a/b", "a_b", "a b", "functions.t:0", "é", "\u2028", "1", "call_0", "\0"),
    *("x" * 40, "x" * 41, "x" * 42, "x" * 400, "123456789", "chatcmpl-tool-" + "0f" * 16),
)
"""Ids that some provider rejects; some of them differ only in characters that are replaced."""


@attrs.frozen
class Example:
    """One response as a body and as a stream, and the value that Locus has to parse.

    :ivar argument_texts: the arguments of the first candidate's calls as they are in the stream,
        by the ids of the calls. A call that a stream never splits needs none.
    """

    expected: ModelResponse
    body: dict[str, Any]
    stream: bytes
    argument_texts: Mapping[str, str]


class SpokenFormat(ABC):
    """How a format's server speaks. :class:`WireFormat` is the complete record."""

    name: ClassVar[str]
    """The format's name in the ids of tests, a Python name: ``"chat_completions"``."""
    parser: ClassVar[ResponseParser]
    """The response parser."""
    base_options: ClassVar[Mapping[str, Any]]
    """The options that every request of the tests has: ``model``, and what the format requires."""

    # -- what a response can have ----------------------------------------------------------------

    stop_reasons: ClassVar[Mapping[str, FinishReason]]
    """The provider's words for why a response ended, and what each means; empty if it says none."""
    call_stop_reason: ClassVar[str] = "tool_calls"
    """The provider's word in a response with tool calls."""
    usage: ClassVar[Mapping[str, int]] = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
    }
    """The token counts of :meth:`build_reply` and :meth:`build_stream_reply`."""
    token_counts: ClassVar[tuple[str, ...]] = (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    )
    """The token counts that the provider reports, under Locus's names."""
    thinks: ClassVar[bool] = True
    """Whether a response may have reasoning; a model's capabilities have to say so."""
    wants_back: ClassVar[tuple[str, ...]] = ()
    """What a response with the reasoning :data:`THOUGHT` and a call has that only this server reads
    again: texts that the next request to it has to have, and that no other server may get. The
    reasoning itself, a signature that :meth:`build_body` and :meth:`build_frames` give."""
    sends_call_ids: ClassVar[bool] = True
    """Whether the calls of a response have ids; else Locus makes some."""
    sends_argument_objects: ClassVar[bool] = False
    """Whether the arguments of a call are an object, which cannot be malformed."""
    sends_response_id: ClassVar[bool] = True
    """Whether a response has an id."""
    sends_model: ClassVar[bool] = True
    """Whether a response has the name of its model."""
    sends_refusals: ClassVar[bool] = False
    """Whether a response can have a refusal in a member of its own."""

    # -- its JSON --------------------------------------------------------------------------------

    @abstractmethod
    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        """Build the body of a response with this content (that of its first candidate)."""

    @abstractmethod
    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        """Build the frames of the same response as a stream, up to the end marker.

        :param split: splits the text, the reasoning, and the arguments of calls, where the
            provider sends them in parts. Where an index or an id tells calls apart, mix the frames
            of several calls (:func:`~locus.testing.formats.interleave`).
        """

    @abstractmethod
    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        """Build the frames with these texts, one frame for each, and no end."""

    end_frames: ClassVar[tuple[Frame, ...]]
    """The frames that end a stream after some text; none if it ends where the server closes it."""
    has_end_marker: ClassVar[bool] = True
    """Whether a stream without its end is known to be an interrupted one. False if a stream is
    complete wherever the server closes it between two frames: nothing can then tell a cut."""
    ignored_frames: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Frames without content, also of types that do not exist yet. They change nothing."""
    malformed_frames: ClassVar[tuple[str, ...]] = ("{", "[3]", "hello")
    """Frames that do not follow the format."""
    error_frames: ClassVar[tuple[tuple[dict[str, Any], type[APIStatusError], int], ...]]
    """Frames that report the error "boom", with the type of the exception and its status."""
    error_body: ClassVar[tuple[dict[str, Any], type[APIError]]]
    """An error object with the message :data:`ERROR_TEXT`, and the type of the exception."""
    unparsable_bodies: ClassVar[Mapping[bytes, str]] = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
    }
    """Bodies that cannot be parsed at all, and what the parse error quotes of them."""
    body_indents: ClassVar[tuple[int | None, ...]] = (None, 2)
    """How a JSON body in place of a stream may be indented."""
    parse_errors: ClassVar[tuple[type[APIError], ...]] = (APIStatusError, ResponseParseError)
    """The exceptions that the parser may raise for an invalid body."""
    stream_type: ClassVar[str] = "text/event-stream"
    """The content type of a stream: ``text/event-stream``, or ``application/x-ndjson``."""

    def encode_frames(self, *frames: Frame) -> bytes:
        """Encode the frames of a stream."""
        return (encode_sse if self.stream_type == "text/event-stream" else encode_ndjson)(*frames)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        """Return whether the first ``length`` bytes of a stream are a complete response.

        Decided without Locus: by default they are if they hold all of the JSON, because the last
        frame with JSON has the end marker. Without an end marker they are if they hold some frames
        completely. Override it where an earlier frame ends the response already.
        """
        if self.has_end_marker:
            return length > stream.rindex(b"}")
        return are_complete_frames(stream[:length])

    # -- its replies -----------------------------------------------------------------------------

    def make_content(self, text: str = TEXT, **more: Any) -> ResponseContent:
        """Make the content of a response with a text, and the token counts of :attr:`usage`.

        :param more: other fields of its candidate: ``calls=`` for example.
        """
        words = [word for word, reason in self.stop_reasons.items() if reason == "stop"]
        stop = self.call_stop_reason if more.get("calls") else next(iter(words), None)
        fields = {field.name for field in attrs.fields(ResponseContent)}
        counts: dict[str, Any] = {
            name: count for name, count in self.usage.items() if name in fields
        }
        stop = stop if self.stop_reasons else None
        candidate = CandidateContent(text, **{"stop": stop, **more})
        total = "total_tokens" in self.usage
        model = self.base_options["model"]
        return ResponseContent((candidate,), model=model, has_total=total, **counts)

    def build_reply(self, text: str = TEXT) -> Reply:
        """Build the reply with a complete response."""
        return self.make_body_reply(self.build_body(self.make_content(text)))

    def make_body_reply(self, body: Any) -> Reply:
        """Make the reply with a body that is not streamed."""
        return Reply.json(body)

    def build_stream_reply(self) -> Reply:
        """Build the reply that streams the same response, a word in each chunk."""
        return self.make_stream_reply(*self.build_frames(self.make_content(), split_into_chunks))

    def make_stream_reply(self, *frames: Frame) -> Reply:
        """Make the reply that streams these frames, each in a chunk of its own."""
        chunks = [self.encode_frames(frame) for frame in frames]
        return Reply.stream(chunks, headers={"content-type": self.stream_type})

    # -- random responses ------------------------------------------------------------------------

    def contents(self, valid_arguments: bool = False) -> st.SearchStrategy[ResponseContent]:
        """Return a strategy for the contents that a response of the format can have.

        :param valid_arguments: whether malformed arguments are left out.
        """
        return _contents(self, valid_arguments or self.sends_argument_objects)

    def examples(self, valid_arguments: bool = False) -> st.SearchStrategy[Example]:
        """Return a strategy for responses with everything that the format can express.

        :param valid_arguments: whether malformed arguments are left out.
        """
        return _examples(self, valid_arguments)

    def messages(self, first_number: int) -> st.SearchStrategy[Message]:
        """Return a strategy for the messages of responses, parsed by Locus.

        The calls are named ``t{first_number}`` and on. Their ids are those that the provider, or an
        unusual server of the format, gives.
        """
        return _messages(self, first_number)

    def invalid_frames(self) -> st.SearchStrategy[dict[str, Any]]:
        """Return a strategy for frames with members of wrong types."""
        return _invalid_frames(self)

    def invalid_bodies(self) -> st.SearchStrategy[Any]:
        """Return a strategy for bodies with members of wrong types."""
        return self.contents().flatmap(lambda content: _corrupt(self.build_body(content)))

    # -- what Locus has to decode ----------------------------------------------------------------

    @property
    def stream_reader(self) -> StreamReader:
        """A reader of the format's streams."""
        return StreamReader(self.parser)

    def build_expected_response(self, content: ResponseContent) -> ModelResponse:
        """Build the response that Locus has to parse, as :meth:`normalize_response` returns it."""
        candidate = content.first
        refusal = [RefusalPart(candidate.refusal)] if candidate.refusal else []
        calls = tuple(
            ToolCall.from_json(f"call_{index}", call.name, call.text)
            for index, call in enumerate(candidate.calls)
        )
        return ModelResponse(
            _make_message(candidate.text or "", refusal, calls),
            content.usage,
            candidate.stop,
            reasoning=candidate.reasoning,
            model=content.model if self.sends_model else None,
            response_id=content.id if self.sends_response_id else None,
        )

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        """Return a response without what an example's ``expected`` does not contain.

        By default that is what only the provider reads again, and ids that Locus made.
        """
        content = response.message.all_content
        parts: Sequence[Any] = content if isinstance(content, tuple) else ()
        calls = tuple(
            ToolCall(
                call.id if self.sends_call_ids else f"call_{index}",
                call.name,
                call.arguments,
                malformed_arguments=call.malformed_arguments,
            )
            for index, call in enumerate(response.tool_calls)
        )
        refusals = [part for part in parts if isinstance(part, RefusalPart)]
        return ModelResponse(
            _make_message(response.content, refusals, calls),
            response.usage,
            response.stop_reason,
            response.provider_state,
            response.reasoning,
            response.model,
            response.response_id,
        )

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        """Check the response of a stream that was cut where it counts as complete."""
        if not self.has_end_marker:
            assert example.expected.content.startswith(response.content)
            self.check_partial(response, example)
            return
        assert self.normalize_response(response) == example.expected

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        """Check that each call is complete, or has the beginning of its arguments."""
        calls = {call.id: call for call in example.expected.tool_calls}
        for call in self.normalize_response(partial).tool_calls:
            if call.malformed_arguments is None and call.arguments:
                assert call == calls[call.id]
            else:
                assert example.argument_texts[call.id].startswith(call.malformed_arguments or "")


def split_into_chunks(text: str) -> Sequence[str]:
    """Split :data:`TEXT` into its words, and no other text."""
    return TEXT_CHUNKS if text == TEXT else (text,)


def _make_message(text: str, refusals: Sequence[Part], calls: tuple[ToolCall, ...]) -> Message:
    """Make a message in one of the forms that mean the same."""
    parts = [*([TextPart(text)] if text else []), *refusals]
    content: Any = tuple(parts) if refusals else text
    return Message(Role.ASSISTANT, content, calls)


# -- strategies ------------------------------------------------------------------------------------


@st.composite
def _contents(draw: st.DrawFn, wire: SpokenFormat, valid_arguments: bool) -> ResponseContent:
    content = draw(response_contents(valid_arguments=valid_arguments))
    candidate = content.first
    words = [word for word, reason in wire.stop_reasons.items() if reason != "tool_calls"]
    stop = None
    if words:
        stop = wire.call_stop_reason if candidate.calls else draw(st.sampled_from(words))
    candidate = attrs.evolve(
        candidate,
        reasoning=candidate.reasoning if wire.thinks else None,
        refusal=candidate.refusal if wire.sends_refusals else None,
        stop=stop,
    )
    counts = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    unknown: dict[str, Any] = {name: None for name in counts if name not in wire.token_counts}
    total = "total_tokens" in wire.token_counts
    return attrs.evolve(content, candidates=(candidate,), has_total=total, **unknown)


@st.composite
def _examples(draw: st.DrawFn, wire: SpokenFormat, valid_arguments: bool) -> Example:
    content = draw(wire.contents(valid_arguments))
    frames = wire.build_frames(content, lambda text: draw(text_splits(text)))
    return Example(
        wire.build_expected_response(content),
        wire.build_body(content),
        wire.encode_frames(*frames),
        {f"call_{index}": call.text for index, call in enumerate(content.first.calls)},
    )


@st.composite
def _messages(draw: st.DrawFn, wire: SpokenFormat, first_number: int) -> Message:
    content = draw(wire.contents())
    ids = st.from_regex(r"\Acall_[a-zA-Z0-9]{24}\Z") | st.sampled_from(ODD_IDS)
    drawn_ids = draw(st.lists(ids, min_size=4, max_size=4, unique=True))
    calls = [
        attrs.evolve(call, id=drawn_ids[index], name=f"t{first_number + index}")
        for index, call in enumerate(content.first.calls)
    ]
    candidate = attrs.evolve(content.first, calls=tuple(calls))
    content = attrs.evolve(content, candidates=(candidate,))
    if draw(st.booleans()):
        return wire.parser.parse(json.dumps(wire.build_body(content))).message
    frames = wire.build_frames(content, lambda text: draw(text_splits(text)))
    stream = draw(byte_splits(wire.encode_frames(*frames)))
    return wire.stream_reader.decode_response(stream).message


_WRONG_VALUES: Final = json_values() | st.sampled_from(
    [float("nan"), 1e300, "\ud800", 2**70, -1, [{}], {"index": 0}, [{"name": 0}], {"type": "text"}]
)


@st.composite
def _invalid_frames(draw: st.DrawFn, wire: SpokenFormat) -> dict[str, Any]:
    frames = wire.build_frames(draw(wire.contents()), lambda text: (text,))
    objects = [frame for frame in frames if isinstance(frame, dict)]
    corrupted: dict[str, Any] = draw(_corrupt(draw(st.sampled_from(objects))))
    return corrupted


@st.composite
def _corrupt(draw: st.DrawFn, value: Any) -> Any:
    """``value`` with wrong values in place of one or several members, at any depth."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        parent = value
        while parent:
            key = draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else [0]))
            if not isinstance(parent[key], dict | list) or not parent[key] or draw(st.booleans()):
                parent[key] = copy.deepcopy(draw(_WRONG_VALUES))  # a later round may change it
                break
            parent = parent[key]
    return value
