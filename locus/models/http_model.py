"""``HttpModel``: the base class of models that send HTTP requests.

It combines a config, a wire format (request builder and response parser), and connections. A
provider is a subclass that defines the URL, the headers, and the wire format.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar, Unpack

import attrs

from locus.core.accepted_parts import AcceptedParts
from locus.core.build_tool_schemas import ToolLike, find_server_tools
from locus.core.call_options import check_seconds
from locus.core.conversation import Messages
from locus.core.decoder_protocol import Decoder
from locus.core.error_context import BodyHint, ErrorContext
from locus.core.error_words import COMMON_ERROR_WORDS, ErrorWords
from locus.core.errors import APIError, APIStatusError, ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import make_status_error
from locus.core.messages import Message
from locus.core.native_state_routing import NativeStateRule
from locus.core.option_rules import OptionRule, OptionRules
from locus.core.refused_parameters import Refusals, find_refusals_in_error
from locus.core.response import ModelResponse
from locus.core.structured_output_support import StructuredOutputSupport
from locus.core.tool_names import RenamedRequest, ToolNameRule, rename_refused_tools
from locus.core.typed_call_keywords import CallKeywords
from locus.models.capabilities import ModelCapabilities
from locus.models.config import ModelConfig
from locus.models.immutable_model import ImmutableModel
from locus.models.native_state_binder import NativeStateBinder
from locus.models.option_layers import (
    ConfigOptions,
    OptionLayers,
    add_layer,
    check_keywords,
    lower_names,
)
from locus.models.protocols import ResponseParser
from locus.models.request_secrets import find_request_secrets
from locus.models.transforming_parser import TransformingParser
from locus.transport import async_driver, blocking_driver
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream
from locus.transport.custom_client import wrap_http_client
from locus.transport.http_request import HttpRequest
from locus.transport.prepared_http_call import HttpCall
from locus.transport.sdk_senders import SdkAdapter
from locus.transport.senders import AsyncSender, BlockingSender
from locus.transport.signer import Signer
from locus.version import USER_AGENT
from locus.wire.provider_json import encode_json
from locus.wire.response_errors import make_nesting_error

C = TypeVar("C", bound=ModelConfig)
_DEFAULT_TIMEOUT: Final = attrs.fields(ModelConfig).timeout.default


@attrs.frozen(init=False, getstate_setstate=False)
class HttpModel(ImmutableModel[C]):
    """The base of every model that sends HTTP requests. Immutable, and equal by value.

    :cvar prefix: the provider's prefix in the registry and in error messages.
    :cvar key_hint: how a user sets the credentials, for error messages.
    :cvar error_words: the provider's own words for errors, beside the common ones.
    :cvar body_hints: advice for errors, by what their body says.
    :cvar sdk_adapter: makes ``sdk_client=`` usable; None if the model takes none.
    """

    prefix: ClassVar[str]
    key_hint: ClassVar[str] = "check the API key"
    error_words: ClassVar[ErrorWords] = COMMON_ERROR_WORDS
    body_hints: ClassVar[tuple[BodyHint, ...]] = ()
    sdk_adapter: ClassVar[SdkAdapter | None] = None

    def __attrs_post_init__(self) -> None:
        if self.http_client is not None and self.sdk_client is not None:
            raise ConfigurationError("http_client= and sdk_client= exclude each other")
        custom_client = None
        if self.http_client is not None:
            custom_client = wrap_http_client(self.http_client)
        elif self.sdk_client is not None:
            if self.sdk_adapter is None:
                raise ConfigurationError(f"{self.prefix} models take no sdk_client=")
            custom_client = self.sdk_adapter.make_custom_client(self.sdk_client)
        object.__setattr__(self, "_custom_client", custom_client)
        object.__setattr__(self, "_config_options", ConfigOptions.collect(self.config))
        layers = self._make_option_layers()
        if self.options or layers.has_own_config_values:
            self._remove_refused_options(self._merge_options(layers), layers, bool(self.tools))

    @property
    def provider(self) -> str:
        """The provider's prefix in the registry."""
        return self.prefix

    @property
    def _sdk_retries_requests(self) -> bool:
        """Whether requests go through an SDK that retries them itself."""
        adapter = self.sdk_adapter
        return self.sdk_client is not None and adapter is not None and adapter.retries_requests

    @property
    def capabilities(self) -> ModelCapabilities:
        """What this model can do: structured output, tools, parts of messages, and so on.

        Structured output that its server has refused in an agent's run is not among it any more.
        """
        return self._limit_capabilities(super().capabilities)

    def remember_refused_schema(self, left: StructuredOutputSupport) -> None:
        """Note that the server does not hold its responses to a schema; see :attr:`capabilities`.

        :param left: the structured output that it still has.
        """
        self.refusals.add(Refusals(structured_output=left))

    def _limit_capabilities(self, capabilities: ModelCapabilities) -> ModelCapabilities:
        """Return the capabilities without what the wire format or the server refuses."""
        capabilities = capabilities.limit_structured_output(self.refusals.get().structured_output)
        accepted_parts = getattr(self.request_builder, "accepted_parts", None)
        if isinstance(accepted_parts, AcceptedParts):
            return capabilities.limit_parts(accepted_parts)
        return capabilities

    # What a subclass defines.

    @abstractmethod
    def build_url(self, *, stream: bool = False) -> str:
        """Build the URL of a request.

        :param stream: whether the request asks for a stream, which some providers have elsewhere.
        """

    @abstractmethod
    def build_provider_headers(self) -> dict[str, str]:
        """Build the provider's own headers, credentials included.

        :raises ConfigurationError: if there are no credentials.
        """

    def get_signer(self) -> Signer | None:
        """Return the signer of the requests, or None if the provider needs none."""
        return None

    def get_error_hints(self) -> Mapping[type[APIError], str]:
        """Return advice for error messages, by class of error, beside the general advice."""
        return EMPTY

    def find_fallback_options(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the options to try instead after a status error, or None."""
        return None

    # Calls.

    def complete_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one complete response, blocking."""
        http_call = self._build_http_call(messages, tools, kwargs, stream=False)
        return blocking_driver.fetch_response(self._get_blocking_sender(http_call), http_call)

    def stream_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> BlockingStream:
        """Return the events of one response, blocking.

        The stream is an iterator and a context manager.
        """
        http_call = self._build_http_call(messages, tools, kwargs, stream=True)
        return blocking_driver.stream_response(self._get_blocking_sender, http_call)

    async def complete(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one complete response, under asyncio or trio."""
        http_call = self._build_http_call(messages, tools, kwargs, stream=False)
        return await async_driver.fetch_response(await self._get_async_sender(http_call), http_call)

    def stream(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> AsyncStream:
        """Return the events of one response, under asyncio or trio.

        The stream is an async iterator and an async context manager.
        """
        http_call = self._build_http_call(messages, tools, kwargs, stream=True)
        return async_driver.stream_response(self._get_async_sender, http_call)

    def request(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        *,
        stream: bool = False,
        **kwargs: Unpack[CallKeywords],
    ) -> dict[str, Any]:
        """Build the JSON body that a call with these arguments would send. Nothing is sent.

        :param stream: build the body that :meth:`stream` sends, not that of :meth:`complete`.
        :raises Exception: whatever such a call raises before it sends anything.
        """
        http_call = self._build_http_call(messages, tools, kwargs, stream=stream)
        body: dict[str, Any] = json.loads(http_call.request.content)
        return body

    def _get_blocking_sender(self, http_call: HttpCall) -> BlockingSender:
        if self._custom_client is not None:
            return self._custom_client.get_blocking_sender()
        return self.connections.blocking_pool.get_or_open_sender(http_call.request)

    async def _get_async_sender(self, http_call: HttpCall) -> AsyncSender:
        if self._custom_client is not None:
            return self._custom_client.get_async_sender()
        return await self.connections.async_pool.get_or_open_sender(http_call.request)

    def _build_http_call(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None,
        call_options: Mapping[str, Any],
        *,
        stream: bool,
    ) -> HttpCall:
        """Build the HTTP call. Every error that can be found before sending is raised here."""
        owner = f"a call of {type(self).__name__}"
        layers = self._make_option_layers(check_keywords(call_options, owner, type(self.config)))
        options = self._merge_options(layers)
        options["stream"] = stream
        # Iterators become tuples, because a fallback reads messages and tools once more.
        if not isinstance(messages, (str, Message)) and isinstance(messages, Iterable):
            messages = tuple(messages)
        if tools is None:
            tools = self.tools
        elif not isinstance(tools, (str, Mapping)) and isinstance(tools, Iterable):
            tools = tuple(tools)
        # The caller's own client has a timeout of its own; only an explicit one replaces it.
        if (
            self._custom_client is not None
            and not layers.has_chosen("timeout")
            and options["timeout"] == _DEFAULT_TIMEOUT
        ):
            del options["timeout"]
        requested_options = self._remove_refused_options(options, layers, bool(tools))
        config_members = self._build_config_members()
        if config_members:
            requested_options = {**requested_options, "config_members": config_members}
        droppable = layers.find_default_options()
        return self._build_adaptable_http_call(
            messages, tools, requested_options, droppable, self.refusals.get()
        )

    def _make_option_layers(self, call_options: Mapping[str, Any] = EMPTY) -> OptionLayers:
        """Make the layers of options: those of the config, the bound ones, and those of a call."""
        groups = getattr(self.request_builder, "member_groups", ())
        return OptionLayers(self.config, self.options, call_options, groups, self._config_options)

    def _merge_options(self, layers: OptionLayers) -> dict[str, Any]:
        """Merge the layers of options."""
        return layers.merge()

    def _build_config_members(self) -> Mapping[str, Any]:
        """Build the members of the JSON body that only the config knows: the lowest layer."""
        return self.config.build_members()

    def _get_option_rules(self, options: Mapping[str, Any]) -> OptionRules | None:
        """Return what the wire format, and the model where its name tells, do with each option.

        None if the request builder declares nothing: then it gets all options.
        """
        get_rules = getattr(self.request_builder, "get_option_rules", None)
        if get_rules is not None:
            rules: OptionRules = get_rules(options)
            return rules
        return getattr(self.request_builder, "option_rules", None)

    def _remove_refused_options(
        self, options: Mapping[str, Any], layers: OptionLayers, has_tools: bool
    ) -> Mapping[str, Any]:
        """Return the merged options without those that the wire format or the model refuses.

        :raises ConfigurationError: if the call, :meth:`bind_tools` or the config asks for a refused
            option.
        """
        return layers.remove_refused(options, self._get_option_rules(options), has_tools=has_tools)

    def _build_adaptable_http_call(
        self,
        messages: Messages,
        tools: Sequence[ToolLike],
        options: Mapping[str, Any],
        droppable: Collection[str],
        refusals: Refusals,
    ) -> HttpCall:
        """Build the HTTP call, with a fallback that does without what the server refuses by name.

        The fallback is remembered by the model once the server has accepted it.

        :param options: all options that are requested.
        :param droppable: the options that nobody chose.
        :param refusals: what the server is known to refuse.
        """
        model = self
        if refusals.builder_changes:
            builder: Any = self.request_builder
            model = self._evolve(request_builder=attrs.evolve(builder, **refusals.builder_changes))
        applied = refusals.apply(options, droppable)
        http_call = model._build_http_call_with_options(messages, tools, applied)

        def make_fallback_call(error: APIStatusError) -> HttpCall | None:
            other_call = http_call.find_fallback_call(error)
            if other_call is not None:
                return other_call
            found = model._find_refusals(error, applied, droppable)
            if found is None:
                return None
            merged = refusals.merge(found)
            other_call = self._build_adaptable_http_call(
                messages, tools, options, droppable, merged
            )
            if other_call.request.content == http_call.request.content:
                return None
            lasting = getattr(self.request_builder, "lasting_changes", ())
            return self.refusals.remember_on_success(merged.select_lasting(lasting), other_call)

        return attrs.evolve(http_call, make_fallback_call=make_fallback_call)

    def _find_refusals(
        self, error: APIStatusError, options: Mapping[str, Any], droppable: Collection[str]
    ) -> Refusals | None:
        """Return what to do without after a status error; None if there is nothing.

        If the server names an option that the caller chose, the error gets a hint.
        """
        adapt = getattr(self.request_builder, "find_changes_after_error", None)
        changes: Mapping[str, Any] = EMPTY if adapt is None else adapt(error)
        rules: Mapping[str, OptionRule] = self._get_option_rules(options) or EMPTY
        return find_refusals_in_error(error, rules, options, droppable, changes)

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        """Build the HTTP call from all options: those of the config, the bound ones, the call's."""
        timeout = None
        if "timeout" in options:
            seconds = check_seconds("timeout", options["timeout"])
            timeout = math.inf if seconds is None else seconds
        renamed = self._rename_refused_tools(messages, tools, options)
        sent_messages = renamed.messages
        binding = self._make_native_state_binder(options)
        if binding is not None:
            sent_messages = binding.select(sent_messages)
        try:
            body = self.request_builder.build(sent_messages, renamed.tools, **renamed.options)
        except RecursionError as exc:
            raise ConfigurationError(
                "the request is nested too deeply: simplify the schemas of its tools and of "
                "response_format"
            ) from exc
        content = encode_json(body)
        url = self.build_url(stream=bool(options.get("stream")))
        headers = self._build_headers(options.get("extra_headers"))
        parser = self.make_parser(sent_messages)
        if binding is not None:
            parser = binding.bind_parser(parser, body)
        if renamed.original_names:
            parser = TransformingParser(parser, renamed.restore_names)
        signer = None if self.sdk_client is not None else self.get_signer()
        max_answer_bytes = self.config.max_answer_bytes

        def parse_body(body: bytes) -> ModelResponse:
            try:
                return parser.parse(body)
            except RecursionError:
                raise make_nesting_error(body) from None

        def make_decoder() -> Decoder:
            decoder = parser.make_decoder()
            decoder.limit_frames(max_answer_bytes)
            return decoder

        def make_fallback_call(error: APIStatusError) -> HttpCall | None:
            other_options = self.find_fallback_options(error, options)
            if other_options is None:
                return None
            return self._build_http_call_with_options(messages, tools, other_options)

        return HttpCall(
            request=HttpRequest(url, headers, content, timeout),
            error_context=self._build_error_context(
                url, headers, signer, (options.get("extra_body"), *find_server_tools(tools))
            ),
            parse_body=parse_body,
            make_decoder=make_decoder,
            error_factory=make_status_error,
            max_retries=0 if self._sdk_retries_requests else self.config.max_retries,
            make_fallback_call=make_fallback_call,
            signer=signer,
            deadline=check_seconds("deadline", options.get("deadline")),
            max_answer_bytes=max_answer_bytes,
        )

    def _rename_refused_tools(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> RenamedRequest:
        """Give tools whose names the provider refuses other ones, for this request."""
        rule: ToolNameRule | None = getattr(self.request_builder, "tool_name_rule", None)
        if rule is None or (not tools and isinstance(messages, str)):  # no names to check
            return RenamedRequest(messages, tools, options)
        return rename_refused_tools(messages, tools, options, rule)

    def make_parser(self, messages: Messages) -> ResponseParser:
        """Return the parser of the response to these messages: :attr:`response_parser`."""
        return self.response_parser

    def _make_native_state_binder(self, options: Mapping[str, Any]) -> NativeStateBinder | None:
        """Make what binds the native state of a call to this model's server.

        None if the request builder declares no ``native_state_rule``.
        """
        rule: NativeStateRule | None = getattr(self.request_builder, "native_state_rule", None)
        if rule is None:
            return None
        maker = rule.make_maker(str(options["model"]), self.get_maker_address())
        return NativeStateBinder(rule, maker)

    def get_maker_address(self) -> str | None:
        """Return the server's address, as what native state is bound to; None if unknown."""
        base_url = getattr(self.sdk_client, "base_url", None) or getattr(
            self.config, "base_url", None
        )
        return str(base_url).partition("?")[0].rstrip("/") if base_url else None

    def _build_headers(self, extra_headers: Mapping[str, str] | None) -> Mapping[str, str]:
        """Build the headers of a request: Locus's, the provider's, and ``extra_headers``."""
        if self.sdk_client is not None:  # the SDK adds its own headers and credentials
            headers: dict[str, str] = {}
        else:
            headers = {
                "content-type": "application/json",
                "user-agent": USER_AGENT,
                **self.build_provider_headers(),
            }
        if extra_headers:
            headers.update(lower_names(extra_headers))
        return headers

    def _build_error_context(
        self,
        url: str,
        headers: Mapping[str, str],
        signer: Signer | None,
        members: Collection[Any],
    ) -> ErrorContext:
        """Collect what error messages show of the request, and the secrets to hide in them."""
        base_url = str(getattr(self.sdk_client, "base_url", url))
        own_objects = (self.http_client, self.sdk_client, *members)
        secrets: tuple[str, ...] = ()
        if any(own is not None for own in own_objects):
            # Read at once: the caller may change its objects before there is an error.
            secrets = find_request_secrets({}, self.http_client, self.sdk_client, members)

        def find_more_secrets() -> Iterator[str]:
            yield from find_request_secrets(headers)
            if signer is not None:
                yield from signer.get_secrets()

        return ErrorContext(
            provider=self.prefix,
            model=self.config.model,
            url=(url if "@" in base_url else base_url).partition("?")[0],
            key_hint=self.key_hint,
            hints=self.get_error_hints(),
            body_hints=self.body_hints,
            error_words=self.error_words,
            secrets=secrets,
            find_more_secrets=find_more_secrets,
        )

    # Copies.

    def bind_tools(self, tools: Sequence[ToolLike], **kwargs: Unpack[CallKeywords]) -> Self:
        """Return a copy with ``tools`` and call options as defaults for its calls.

        :raises TypeError: if a keyword is unknown.
        :raises ConfigurationError: if the model has no such option.
        """
        owner = f"{type(self).__name__}.bind_tools"
        layers = self._make_option_layers(check_keywords(kwargs, owner, type(self.config)))
        return self._evolve(
            tools=tools, options=add_layer(layers.bound, layers.call, layers.member_groups)
        )

    # Connections.

    @property
    def client(self) -> Any:
        """The provider's official SDK client, with this model's credentials and settings.

        :raises ConfigurationError: if the SDK is not installed; the message names what to install.
        """
        if self.sdk_client is not None:
            return self.sdk_client
        return self.connections.get_or_make_sdk_client(self.config, self.make_sdk_client)

    def make_sdk_client(self) -> Any:
        """Make the provider's official SDK client, for :attr:`client`.

        :raises ConfigurationError: if the provider has none, or if the SDK is not installed.
        """
        raise ConfigurationError(f"{self.prefix} has no SDK client")

    def close_sync(self) -> None:
        """Release the blocking connections. The model may be used again, and reconnects."""
        self.connections.blocking_pool.close()

    async def aclose(self) -> None:
        """Release all connections, blocking ones and those of the running loop."""
        await self.connections.aclose()
