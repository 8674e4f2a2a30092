"""The base class of the descriptions of wire formats, which the tests of every format use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import strategies as st

from locus.core.errors import APIError, APIStatusError, ResponseParseError
from locus.core.response import ModelResponse
from locus.models.base import ResponseParser
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT
from tests.support.decoding import StreamReader

Frame = dict[str, Any] | str
"""One frame of a stream: its JSON, or text that is sent unchanged."""

ERROR_TEXT = "slow\u2028down"
"""The text of an error, with a line separator that only Unicode knows."""


@attrs.frozen
class Example:
    """One response as a body and as a stream, and the value that Locus has to parse.

    :ivar argument_texts: the arguments of the first candidate's calls as they are in the stream,
        by the ids of the calls.
    """

    expected: ModelResponse
    body: dict[str, Any]
    stream: bytes
    argument_texts: Mapping[str, str]


class Format(ABC):
    """A wire format."""

    name: ClassVar[str]
    """The format's name in the ids of tests."""
    provider: ClassVar[str]
    """The provider's name in errors."""
    environment_prefixes: ClassVar[tuple[str, ...]]
    """The prefixes of the environment variables that the format's models read."""
    usage: ClassVar[Mapping[str, int]]
    """The token counts of :meth:`build_reply` and :meth:`build_stream_reply`."""
    parser: ClassVar[ResponseParser]
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    """The marks of the tests that send requests."""

    end_frames: ClassVar[tuple[Frame, ...]]
    """The frames that end a stream after some text."""
    ignored_frames: ClassVar[tuple[dict[str, Any], ...]]
    """Frames without content, also of types that do not exist yet. They change nothing."""
    malformed_frames: ClassVar[tuple[str, ...]]
    """Frames that do not follow the format."""
    error_frames: ClassVar[tuple[tuple[dict[str, Any], type[APIStatusError], int], ...]]
    """Frames that report the error "boom", with the type of the exception and its status."""
    error_body: ClassVar[tuple[dict[str, Any], type[APIError]]]
    """An error object with the message :data:`ERROR_TEXT`, and the type of the exception."""
    unparsable_bodies: ClassVar[Mapping[bytes, str]]
    """Bodies that cannot be parsed at all, and what the parse error quotes of them."""
    body_indents: ClassVar[tuple[int | None, ...]] = (None, 2)
    """How a JSON body in place of a stream may be indented."""
    parse_errors: ClassVar[tuple[type[APIError], ...]] = (APIStatusError, ResponseParseError)
    """The exceptions that the parser may raise for an invalid body."""

    def __repr__(self) -> str:
        return self.name

    # -- over HTTP: a response with the text ``tests.support.chat_replies.TEXT``, a word per chunk

    @abstractmethod
    def make_model(self, server: LoopbackServer, **kw: Any) -> Any:
        """Make a model of the loopback server: one attempt and no time limit by default."""

    @abstractmethod
    def build_reply(self, text: str = TEXT) -> Reply:
        """Build the reply with a complete response."""

    @abstractmethod
    def build_stream_reply(self) -> Reply:
        """Build the reply that streams the same response."""

    # -- as bytes --------------------------------------------------------------------------------

    @abstractmethod
    def encode_frames(self, *frames: Frame) -> bytes:
        """Encode the frames of a stream."""

    @abstractmethod
    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        """Build the frames with these texts, one frame for each."""

    @abstractmethod
    def is_complete_at(self, stream: bytes, length: int) -> bool:
        """Return whether the first ``length`` bytes of a stream are a complete response.

        Decided without Locus.
        """

    @abstractmethod
    def examples(self, valid_arguments: bool = False) -> st.SearchStrategy[Example]:
        """Return a strategy for responses with everything that the format can express.

        :param valid_arguments: whether malformed arguments are left out.
        """

    @abstractmethod
    def invalid_frames(self) -> st.SearchStrategy[dict[str, Any]]:
        """Return a strategy for frames with members of wrong types."""

    def invalid_bodies(self) -> st.SearchStrategy[Any]:
        """Return a strategy for bodies with members of wrong types."""
        return self.invalid_frames()

    # -- what Locus has to decode ------------------------------------------------------------------

    @property
    def stream_reader(self) -> StreamReader:
        """A reader of the format's streams."""
        return StreamReader(self.parser)

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        """Return a response without what an example's ``expected`` does not contain."""
        return response

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        """Check the response of a stream that was cut where it counts as complete."""
        assert self.normalize_response(response) == example.expected

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        """Check that each call is complete, or has the beginning of its arguments."""
        calls = {call.id: call for call in example.expected.tool_calls}
        for call in partial.tool_calls:
            if call.malformed_arguments is None:
                assert call == calls[call.id]
            else:
                assert example.argument_texts[call.id].startswith(call.malformed_arguments)
