"""``OCIChatCompletionsModel``: chat completions through OCI's OpenAI-compatible endpoint, signed.

Oracle documents it under "OpenAI-Compatible Endpoints" of the Generative AI service. The wire
format, streaming included, is that of all other chat completions models of Locus.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from locus.core.defaults_in_signature import with_shown_defaults
from locus.core.frozendict import EMPTY
from locus.models.keyed_model import KeyedConfig
from locus.models.native.openai import OpenAIConfig, OpenAIModel
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE
from locus.models.providers.oci.endpoints import DEFAULT_OCI_GENAI_REGION
from locus.models.providers.oci.openai_compatible_config import (
    OpenAICompatibleConfig,
    check_strings_and_headers,
)
from locus.models.providers.oci.openai_compatible_model import (
    CHAT_SDK_ADAPTER,
    OpenAICompatibleModel,
)
from locus.transport.sdk_senders import RawResponseAdapter


@attrs.frozen
class OCIChatCompletionsConfig(OpenAICompatibleConfig, OpenAIConfig):
    """The options of this model: those of :class:`~locus.models.native.openai.OpenAIConfig`, and of
    :class:`~locus.models.providers.oci.openai_compatible_config.OpenAICompatibleConfig`.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        check_strings_and_headers(self)


@attrs.frozen(init=False, getstate_setstate=False)
class OCIChatCompletionsModel(OpenAICompatibleModel, OpenAIModel):
    """A model of OCI's Generative AI service, through its OpenAI-compatible endpoint.

    It is an :class:`~locus.models.native.openai.OpenAIModel` with other credentials, and reads none
    of OpenAI's environment variables.

    Pass exactly one of ``profile``, ``auth_type`` and ``api_key``.

    :param model: the model's name, such as ``"openai.gpt-4.1"``; else ``OCI_MODEL_ID``.
    :param profile: a section of ``config_file``, with an API key or a session token.
    :param auth_type: a principal, where there is no config file.
    :param compartment_id: required with ``auth_type``; else ``OCI_COMPARTMENT``, else
        ``OCI_COMPARTMENT_ID``, else the profile's tenancy.
    :param region: else ``OCI_REGION``, else ``us-chicago-1``.
    :param base_url: the API's root URL; else ``OCI_ENDPOINT``, else the region's.
    :param max_tokens: the maximum length of the response, in tokens.
    :param temperature: 0 and up; no sampling parameters are sent to reasoning models.
    :param kw: ``api_key`` and the other fields of :class:`OCIChatCompletionsConfig`;
        ``http_client``, ``sdk_client`` (an ``openai`` client that signs by itself),
        ``request_builder`` and ``response_parser``.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid, or if there is not exactly one way to
        authenticate.
    """

    title: ClassVar[str] = "OCI"
    config_class: ClassVar[type[KeyedConfig]] = OCIChatCompletionsConfig
    environment: ClassVar[Mapping[str, str]] = EMPTY
    sdk_adapter: ClassVar[RawResponseAdapter | None] = CHAT_SDK_ADAPTER

    @with_shown_defaults(region=DEFAULT_OCI_GENAI_REGION, config_file=DEFAULT_CONFIG_FILE)
    def __init__(
        self,
        model: str | None = None,
        *,
        profile: str | None = None,
        auth_type: str | None = None,
        compartment_id: str | None = None,
        region: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        base_url: str | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        fields = self._build_oci_init_arguments(
            OCIChatCompletionsConfig,
            kw,
            model=model,
            profile=profile,
            auth_type=auth_type,
            compartment_id=compartment_id,
            region=region,
            config_file=config_file,
            base_url=base_url,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        self._init_with_defaults(fields)


OCIOpenAIModel = OCIChatCompletionsModel
"""The same class, under its older name."""
