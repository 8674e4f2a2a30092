"""What a wire format's tests have to be told about it."""

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
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT
from tests.support.decoding import StreamReader

Frame = dict[str, Any] | str
"""One event of a stream: its JSON, or text that goes as it is."""

SLOW = "slow\u2028down"
"""An error's words, with what only Unicode takes for the end of a line."""


@attrs.frozen
class Example:
    """One answer in both its forms, and what Locus has to make of it.

    :ivar written: the arguments of the first candidate's calls as the stream writes them, by id.
    """

    expected: ModelResponse
    whole: dict[str, Any]
    stream: bytes
    written: Mapping[str, str]


class Format(ABC):
    """A wire format."""

    name: ClassVar[str]
    """The format's name in the ids of tests."""
    provider: ClassVar[str]
    """The provider's name in errors."""
    variables: ClassVar[tuple[str, ...]]
    """How the environment variables begin that speak to the format's models."""
    usage: ClassVar[Mapping[str, int]]
    """The token counts of :meth:`whole` and :meth:`streamed`."""
    parser: ClassVar[ResponseParser]
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    """The marks of the tests that send something."""

    ending: ClassVar[tuple[Frame, ...]]
    """What ends a stream that has said something."""
    noise: ClassVar[tuple[dict[str, Any], ...]]
    """What says nothing in a stream that has begun, be it of today or of next year."""
    broken: ClassVar[tuple[str, ...]]
    """Frames that are not of the format."""
    errors: ClassVar[tuple[tuple[dict[str, Any], type[APIStatusError], int], ...]]
    """Frames that report an error, saying "boom"; what that is, and its status."""
    refusal: ClassVar[tuple[dict[str, Any], type[APIError]]]
    """A body that is no stream and reports an error, saying :data:`SLOW`; and what that is."""
    pages: ClassVar[Mapping[bytes, str]]
    """Bodies that are neither stream, answer nor error, and what a parse error quotes of them."""
    indents: ClassVar[tuple[int | None, ...]] = (None, 2)
    """How a JSON body may be indented where a stream was asked for."""
    refuses: ClassVar[tuple[type[APIError], ...]] = (APIStatusError, ResponseParseError)
    """What the parser may make of a whole answer that is no good."""

    def __repr__(self) -> str:
        return self.name

    # -- over HTTP: an answer that says ``tests.support.chat_replies.TEXT``, a piece a word

    @abstractmethod
    def model_of(self, server: LoopbackServer, **kw: Any) -> Any:
        """A model of the loopback server. One try and five seconds, where nothing else is said."""

    @abstractmethod
    def whole(self, text: str = TEXT) -> Reply:
        """A whole answer."""

    @abstractmethod
    def streamed(self) -> Reply:
        """The same answer as a stream."""

    # -- as bytes --------------------------------------------------------------------------------

    @abstractmethod
    def frames(self, *frames: Frame) -> bytes:
        """The bytes of a stream."""

    @abstractmethod
    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        """The frames that say these words, a piece each."""

    @abstractmethod
    def ended(self, stream: bytes, cut: int) -> bool:
        """Whether the first ``cut`` bytes of a stream can be believed; decided without Locus."""

    @abstractmethod
    def examples(self, valid_arguments: bool = False) -> st.SearchStrategy[Example]:
        """Answers with all that the format can say; ``valid_arguments`` has no malformed
        arguments."""

    @abstractmethod
    def odd_frames(self) -> st.SearchStrategy[dict[str, Any]]:
        """Frames with something in the wrong place."""

    def odd_answers(self) -> st.SearchStrategy[Any]:
        """Whole answers with something in the wrong place."""
        return self.odd_frames()

    # -- what Locus has to make of it --------------------------------------------------------------

    @property
    def reading(self) -> StreamReader:
        return StreamReader(self.parser)

    def essence(self, answer: ModelResponse) -> ModelResponse:
        """What of an answer an example's ``expected`` speaks of."""
        return answer

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        """A stream that is cut right after its end is the whole answer."""
        assert self.essence(answer) == example.expected

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        """Each call of a stream that was cut is whole, or has the beginning of its arguments."""
        calls = {call.id: call for call in example.expected.tool_calls}
        for call in partial.tool_calls:
            if call.malformed_arguments is None:
                assert call == calls[call.id]
            else:
                assert example.written[call.id].startswith(call.malformed_arguments)
