"""``OCIModel``: OCI's own chat API, ``/20231130/actions/chat``, generic and Cohere formats.

Oracle documents it as "Chat" in the Generative AI Inference API. The formats are translated in
``locus.wire.oci_chat``; this module combines them with credentials and a URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeAlias

import attrs

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.defaults_in_signature import with_shown_defaults
from locus.core.error_context import BodyHint
from locus.core.error_words import ErrorWords
from locus.core.errors import APIStatusError
from locus.models.capabilities import ModelCapabilities
from locus.models.http_model import HttpModel
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE, DEFAULT_PROFILE
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import KEY_HINT, OCIAuthType
from locus.models.providers.oci.chat_config import (
    OCIConfig,
    build_regional_endpoint,
    find_default_region,
)
from locus.models.providers.oci.compartment import (
    COMPARTMENT_HEADER,
    find_configured_compartment,
    resolve_compartment,
)
from locus.models.providers.oci.endpoints import resolve_endpoint
from locus.models.providers.oci.error_hints import POLICY_HINT
from locus.transport.custom_client import CustomClient
from locus.transport.http_request import check_headers
from locus.transport.prepared_http_call import HttpCall
from locus.transport.sdk_senders import SdkAdapter
from locus.transport.signer import Signer
from locus.wire.oci_chat import (
    CohereV1ChatBuilder,
    CohereV1ChatParser,
    CohereV2ChatBuilder,
    CohereV2ChatParser,
    GenericChatBuilder,
    GenericChatParser,
)
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS

API_VERSION: Final = "20231130"
"""The version of the API, a part of its URL."""
DEFAULT_MODEL: Final = "cohere.command-r-plus"
EMPTY_RESPONSE_DELAYS: Final = (0.5, 1.0)
"""Seconds to wait before the request is sent again after a response without text and calls."""
_STREAMING_UNSUPPORTED: Final = re.compile(
    r"\b(is)?stream(ing|ed)?\b[^.]{0,60}\b(not|n't|un|cannot be|never)[ -]?"
    r"(yet |currently )?(be )?(supported|allowed|enabled|available|permitted|implemented)"
    r"|\b(not|n't) (yet |currently )?(support|allow|enable|implement|permit)\w*"
    r"[^.]{0,40}\b(is)?stream",
    re.I,
)
"""Matches the service's message that a model cannot stream, whatever the status."""
_Format: TypeAlias = tuple[str, Callable[[], RequestBuilder], Callable[[], ResponseParser]]
_FORMATS: Final[Mapping[str, _Format]] = {
    "GENERIC": ("generic", GenericChatBuilder, GenericChatParser),
    "COHERE": ("cohere", CohereV1ChatBuilder, CohereV1ChatParser),
    "COHEREV2": ("cohere", CohereV2ChatBuilder, CohereV2ChatParser),
}
_CAPABILITIES: Final[Mapping[str, ModelCapabilities]] = {
    "GENERIC": ModelCapabilities(structured_output="always", thinking=True),
    # "not supported when used in combinations with the `documents` or `tools` parameters":
    # Cohere says so of `response_format` (docs.cohere.com/reference/chat).
    "COHERE": ModelCapabilities(structured_output="without_tools"),
    "COHEREV2": ModelCapabilities(structured_output="without_tools", thinking=True),
}


class _InferenceSdkAdapter:
    """Adapter for the ``oci`` package, whose client retries by itself."""

    retries_requests = True

    def make_custom_client(self, sdk_client: Any) -> CustomClient:
        """Make the sender for ``sdk_client=``."""
        from locus.models.providers.oci.sdk_sender import wrap_sdk_client  # imports httpx

        return wrap_sdk_client(sdk_client)


@attrs.frozen(init=False, getstate_setstate=False)
class OCIModel(HttpModel[OCIConfig]):
    """A model of OCI's Generative AI service, in OCI's own format.

    :param model_id: the model's name, or the OCID of an endpoint on a dedicated AI cluster.
    :param compartment_id: else ``OCI_COMPARTMENT``, ``OCI_COMPARTMENT_ID``, the profile's tenancy.
    :param profile_name: a section of ``config_file``; else ``OCI_PROFILE``, else ``DEFAULT``.
    :param auth_type: an :class:`OCIAuthType` or its string; else ``OCI_AUTH_TYPE``.
    :param service_endpoint: the service's root URL; else ``OCI_ENDPOINT``, else the region's.
    :param max_tokens: the maximum length of the response, in tokens.
    :param temperature: 0 (always the most probable words) and up.
    :param kw: the other fields of :class:`OCIConfig`; ``http_client``, ``request_builder`` and
        ``response_parser``.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid.
    """

    prefix: ClassVar[str] = "oci"
    key_hint: ClassVar[str] = KEY_HINT
    error_words: ClassVar[ErrorWords] = ORACLE_ERROR_WORDS
    body_hints: ClassVar[tuple[BodyHint, ...]] = (POLICY_HINT,)
    sdk_adapter: ClassVar[SdkAdapter | None] = _InferenceSdkAdapter()

    @with_shown_defaults(
        model_id=DEFAULT_MODEL, profile_name=DEFAULT_PROFILE, config_file=DEFAULT_CONFIG_FILE
    )
    def __init__(
        self,
        model_id: str | None = None,
        compartment_id: str | None = None,
        profile_name: str | None = None,
        auth_type: OCIAuthType | str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        service_endpoint: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        fields = self._pop_model_arguments(kw, OCIConfig)
        if "config" not in fields:
            if service_endpoint:
                kw["service_endpoint"] = service_endpoint
            if kw.get("region", "") is None:  # the config finds it: that of the profile, say
                del kw["region"]
            fields["config"] = OCIConfig(
                model=_resolve_model_id(model_id, kw.pop("model", None)),
                compartment_id=compartment_id,
                profile_name=profile_name,
                auth_type=auth_type,
                config_file=config_file,
                max_tokens=max_tokens,
                temperature=temperature,
                **kw,
            )
        _, builder, parser = _FORMATS[fields["config"].format]
        fields.setdefault("request_builder", builder())
        fields.setdefault("response_parser", parser())
        self.__attrs_init__(**fields)

    @property
    def provider(self) -> str:
        """Whose request format is used: ``"cohere"`` or ``"generic"``."""
        return _FORMATS[self.config.format][0]

    @property
    def capabilities(self) -> ModelCapabilities:
        """What this model can do, by its request format.

        ``supports_structured_output`` is False although the service enforces schemas: its
        ``responseFormat`` is not OpenAI's ``response_format``.
        """
        capabilities = _CAPABILITIES[self.config.format]
        if self.config.model.startswith("google."):  # Gemini rejects a schema together with tools
            capabilities = attrs.evolve(capabilities, structured_output="without_tools")
        return self._limit_capabilities(capabilities)

    def build_url(self, *, stream: bool = False) -> str:
        return f"{self.config.service_endpoint}/{API_VERSION}/actions/chat"

    def build_provider_headers(self) -> dict[str, str]:
        headers = {
            "accept": "application/json, text/event-stream",
            COMPARTMENT_HEADER: self._resolve_compartment(),
        }
        check_headers(headers)
        return headers

    def _resolve_compartment(self) -> str:
        """Choose the compartment: the configured one, or else the tenancy of the SDK client."""
        configured = find_configured_compartment(self.config.compartment_id)
        if self.sdk_client is not None and configured is None:
            from locus.models.providers.oci.sdk_sender import find_tenancy  # imports httpx

            tenancy = find_tenancy(self.sdk_client)
            if tenancy:
                return tenancy
        return resolve_compartment(self.config.compartment_id, self.config.resolve_auth())

    def _build_config_members(self) -> Mapping[str, Any]:
        return {"compartmentId": self._resolve_compartment()}

    def get_maker_address(self) -> str | None:
        return super().get_maker_address() or self.config.service_endpoint

    def get_signer(self) -> Signer | None:
        return get_signer(self.config.resolve_auth())

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        http_call = super()._build_http_call_with_options(messages, tools, options)
        return attrs.evolve(
            http_call,
            empty_response_delays=EMPTY_RESPONSE_DELAYS if self.config.max_retries else (),
        )

    def make_parser(self, messages: Messages) -> ResponseParser:
        parser = self.response_parser
        if isinstance(parser, CohereV1ChatParser):  # OCI sends no call ids: the parser makes them
            return parser.with_used_call_ids(messages)
        return parser

    def find_fallback_options(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        if not options["stream"]:
            return None
        return {**options, "stream": False} if _STREAMING_UNSUPPORTED.search(error.body) else None

    def copy(self, **changes: Any) -> Self:
        """Return a copy with other constructor arguments, and the URL and format that fit them."""
        config = self.config
        if "model_id" in changes:
            changes["model"] = changes.pop("model_id")
        credentials = {
            name: changes[name]
            for name in ("profile_name", "auth_type", "config_file", "delegation_token")
            if name in changes
        }
        if credentials and "config" not in changes and config.region == find_default_region(config):
            other_config = attrs.evolve(config, **credentials)
            changes.setdefault("region", find_default_region(other_config))
        region = changes.get("region")
        if region is not None and config.service_endpoint == build_regional_endpoint(config):
            changes.setdefault("service_endpoint", resolve_endpoint(None, region))
        return super().copy(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        """Return a copy with other attributes, and the format of its config's model."""
        config = changes.get("config")
        if config is not None and config.format != self.config.format:
            _, builder, parser = _FORMATS[config.format]
            changes.setdefault("request_builder", builder())
            changes.setdefault("response_parser", parser())
        return super()._evolve(**changes)

    def make_sdk_client(self) -> Any:
        from locus.models.providers.oci.make_inference_client import (
            make_inference_client,  # imports httpx
        )

        config = self.config
        return make_inference_client(
            get_signer(config.resolve_auth()),
            config.service_endpoint,
            config.timeout,
            config.max_retries,
            {COMPARTMENT_HEADER: self._resolve_compartment()},
        )


def _resolve_model_id(model_id: str | None, model: str | None) -> str:
    """Choose the model id from its two arguments, or use the default."""
    if model_id is not None and model is not None and model != model_id:
        raise TypeError("model_id= and model= are two names for one argument: pass one")
    name = model if model_id is None else model_id
    return DEFAULT_MODEL if name is None or name == "" else name
