"""``WireFormat``: the one record of a wire format, from which the tests know all about it.

A record says how to read the format's requests, how to speak as its server does, what the format
cannot say, and which model sends it where. It says so by the provider's documentation, and shares
no code with the format's own builder and parser: the suites compare the two.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from re import Pattern
from typing import Any, ClassVar

import pytest

from locus.core.accepted_parts import TEXT_PARTS_ONLY, AcceptedParts
from locus.core.messages import Role
from locus.core.option_rules import OptionRules
from locus.core.structured_output_support import StructuredOutputSupport
from locus.models.protocols import RequestBuilder
from locus.testing.formats.decoded_messages import ReadMessage
from locus.testing.formats.option_samples import LOOK_TOOL, SAMPLE_VALUES
from locus.testing.formats.spoken_format import SpokenFormat
from locus.testing.server import LoopbackServer, Received
from locus.wire.provider_json import encode_json


class WireFormat(SpokenFormat):
    """A wire format. Make a subclass with what has no default here, and one object of it."""

    # -- what it is ------------------------------------------------------------------------------

    title: ClassVar[str]
    """The format's name in the tables of the documentation: ``"chat completions"``."""
    provider: ClassVar[str]
    """The provider's prefix, by which errors name it."""
    prefixes: ClassVar[tuple[str, ...]] = ()
    """The prefixes in the registry whose models use the format, beside ``provider``."""
    builder: ClassVar[RequestBuilder]
    """The request builder."""
    environment_prefixes: ClassVar[tuple[str, ...]]
    """The prefixes of the environment variables that the format's models read."""
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    """The marks of the tests that send requests."""

    # -- its server ------------------------------------------------------------------------------

    path: ClassVar[str]
    """Where requests of :meth:`make_model` arrive: the path of the URL, without its query."""
    stream_path: ClassVar[str | None] = None
    """Where those for a stream arrive, if it is elsewhere."""
    query: ClassVar[str] = ""
    """The query of the URL, without the question mark."""
    stream_query: ClassVar[str | None] = None
    """The query of the URL for a stream, if it is another."""
    credentials: ClassVar[Mapping[str, Pattern[str]]]
    """The headers with the credentials of :meth:`make_model`, and what their values match."""
    stream_members: ClassVar[Mapping[str, Any]]
    """What only a request for a stream has: the members' paths, with dots, and their values."""
    structured_output: ClassVar[StructuredOutputSupport]
    """How far ``response_format`` is sure to be followed; a model's capabilities have to say so."""

    @abstractmethod
    def make_model(self, server: LoopbackServer, **kw: Any) -> Any:
        """Make a model of the loopback server.

        :param kw: keywords of the model; ``max_retries=0`` and ``timeout=FOREVER`` by default.
        """

    def check_received(self, received: Received, *, stream: bool) -> None:
        """Check that a request arrived at the right address, with the credentials."""
        path, query = self.path, self.query
        if stream:
            path = path if self.stream_path is None else self.stream_path
            query = query if self.stream_query is None else self.stream_query
        assert (received.method, received.path) == ("POST", path)
        assert received.target.partition("?")[2] == query
        for header, pattern in self.credentials.items():
            assert pattern.fullmatch(received.headers.get(header, "")), f"no credentials: {header}"

    # -- how to read its requests ----------------------------------------------------------------

    @abstractmethod
    def read_request(self, body: bytes) -> list[ReadMessage]:
        """Read the messages of a request as the provider would, and check what it would check.

        :return: the messages in their order; each result of a tool is one. ``name`` is None unless
            :attr:`keeps_names`, for results too: check the name of a result's tool here, where
            the format has it.
        """

    @abstractmethod
    def read_tools(self, body: bytes) -> list[tuple[str, str | None, Any]]:
        """Read the tools of a request: name, description and JSON Schema of the parameters."""

    sent_options: ClassVar[Mapping[str, str | Mapping[str, Any]]]
    """Where each option is in a request, by the provider's documentation: the path of the member
    that has the value unchanged, with dots; or, for the sample of the option, the values of the
    members by their paths (``...`` for any). An option that is not here is one that the format
    cannot express."""
    option_samples: ClassVar[Mapping[str, Any]] = {}
    """Values for options, where those of ``SAMPLE_VALUES`` do not show what the format does."""
    sampling_options: ClassVar[Mapping[str, Any]] = {}
    """Options of the tests of options beside :attr:`base_options`: a ``model`` that takes them."""
    extra_body_path: ClassVar[str] = ""
    """The member whose members ``extra_body`` replaces; by default the body itself."""

    # -- what it cannot say ----------------------------------------------------------------------

    id_pattern: ClassVar[Pattern[str] | None]
    """The ids of tool calls that the provider accepts; None if requests have no ids."""
    system_position: ClassVar[str] = "in place"
    """``"in place"``; ``"first"`` if all system messages become one prompt; ``"opening"`` if only
    those at the beginning do."""
    merged_roles: ClassVar[tuple[str, ...]] = ()
    """The roles whose consecutive messages are merged."""
    accepts_blank_text: ClassVar[bool] = True
    """Whether text without a visible character is accepted. If not, such texts are left out, and so
    are messages that have nothing else, their native state included: it is nothing to be seen."""
    empty_text: ClassVar[str | None] = None
    """The text that is sent in place of an empty one, if the format requires text."""
    filler_text: ClassVar[str | None] = None
    """What the assistant says between results and a user's message, if it has to say something."""
    keeps_part_order: ClassVar[bool] = True
    """Whether text and images keep their order; else the text comes first, in one part."""
    accepts_image_urls: ClassVar[bool] = True
    """Whether an image may be a URL."""
    image_types: ClassVar[tuple[str, ...] | None] = None
    """The accepted media types of images; None for any, ``()`` if the type is not sent."""
    image_roles: ClassVar[tuple[str, ...]] = ("user",)
    """The roles whose messages may hold images."""
    moves_result_images: ClassVar[bool] = False
    """Whether the images of a tool's result are sent in messages of the user's after the results:
    a number stands in their place, and before each of them."""
    refusal_form: ClassVar[str] = "paragraph"
    """``"apart"`` if a refusal has its own member; else it is text, in its own ``"part"`` or
    ``"paragraph"``."""
    thinking_form: ClassVar[str | None] = None
    """Whether ``"signed"`` or ``"unsigned"`` thinking is sent back; None if neither is."""
    marks_failures: ClassVar[bool] = False
    """Whether a failed result is marked by more than its text."""
    keeps_names: ClassVar[bool] = False
    """Whether a message's name is sent."""
    orders_results: ClassVar[bool] = False
    """Whether results have to have the order of their calls."""

    def can_hold_images(self, role: Role) -> bool:
        """Return whether images in a message of this role are sent."""
        return str(role) in self.image_roles or (role is Role.TOOL and self.moves_result_images)

    # -- with Locus ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self.name

    @property
    def rules(self) -> OptionRules | None:
        """What the builder declares about options; None if nothing."""
        return getattr(self.builder, "option_rules", None)

    @property
    def accepted_parts(self) -> AcceptedParts:
        """What the builder declares about parts."""
        return getattr(self.builder, "accepted_parts", TEXT_PARTS_ONLY)

    def get_sample(self, keyword: str) -> Any:
        """Return a value for an option.

        :raises AssertionError: if there is none; the message says where to add it.
        """
        assert keyword in SAMPLE_VALUES, f"add a value of {keyword} to SAMPLE_VALUES"
        return self.option_samples.get(keyword, SAMPLE_VALUES[keyword])

    def build_request(self, tools: Sequence[Any] = (LOOK_TOOL,), **options: Any) -> dict[str, Any]:
        """Build a request with one tool, and return its body as the server decodes it."""
        body: dict[str, Any] = json.loads(
            self.encode_request("x", tools, **{**self.sampling_options, **options})
        )
        return body

    def encode_request(
        self, messages: Any, tools: Sequence[Any] | None = None, **options: Any
    ) -> bytes:
        """Build the body of a request, and encode it."""
        built = self.builder.build(messages, tools, **{**self.base_options, **options})
        return encode_json(built)
