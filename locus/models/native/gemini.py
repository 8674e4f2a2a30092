"""``GeminiModel``: Google's own Gemini API, ``generateContent``.

The API is documented at https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from locus.models.capabilities import ModelCapabilities
from locus.models.keyed_model import KeyedConfig, KeyedModel
from locus.models.protocols import RequestBuilder, ResponseParser
from locus.wire.google_gemini import GeminiBuilder, GeminiParser


@attrs.frozen
class GeminiConfig(KeyedConfig):
    """The options of a Gemini model.

    :param api_key: sent as ``x-goog-api-key``. Never shown.
    :param base_url: the API's root, with its version; ``/models/{model}:generateContent`` is added
        to it.
    """

    def build_credential_headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.known_api_key} if self.known_api_key else {}


@attrs.frozen(init=False, getstate_setstate=False)
class GeminiModel(KeyedModel[GeminiConfig]):
    """A Gemini model of Google's own API.

    :param model: such as ``"gemini-3-flash-preview"``; a tuned model as ``"tunedModels/…"``.
    :param api_key: by default ``GEMINI_API_KEY``, else ``GOOGLE_API_KEY``.
    """

    prefix: ClassVar[str] = "gemini"
    title: ClassVar[str] = "Google's Gemini API"
    config_class: ClassVar[type[KeyedConfig]] = GeminiConfig
    default_base_url: ClassVar[str] = "https://generativelanguage.googleapis.com/v1beta"
    environment: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "api_key": ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    }
    builder_class: ClassVar[type[RequestBuilder]] = GeminiBuilder
    parser_class: ClassVar[type[ResponseParser]] = GeminiParser
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="without_tools", thinking=True
    )

    def build_url(self, *, stream: bool = False) -> str:
        """Build the URL, which names the model."""
        name = self.config.model
        path = name if name.startswith(("models/", "tunedModels/")) else f"models/{name}"
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{self.config.base_url}/{path}:{action}"
