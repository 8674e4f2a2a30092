"""``OpenAICompatibleModel``: base class of the two models of OCI's OpenAI-compatible API.

It has their constructor, headers, signer and SDK client. A request carries the credentials of the
config and no others: those of the caller's own client, its ``auth=``, and an ``Authorization``
among ``extra_headers=`` are removed (``locus.transport.httpx_common.CREDENTIAL_HEADERS`` lists
them all).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from locus.core.error_context import BodyHint
from locus.core.errors import ConfigurationError
from locus.models.http_model import HttpModel
from locus.models.providers.oci._bearer_signer import BearerSigner
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci._tokens import clean_token
from locus.models.providers.oci.authentication import KEY_HINT
from locus.models.providers.oci.compartment import COMPARTMENT_HEADER
from locus.models.providers.oci.credentials_region import warn_of_other_region
from locus.models.providers.oci.endpoints import (
    DEFAULT_OCI_GENAI_REGION,
    build_oci_openai_base_url,
    find_environment_region,
    resolve_openai_base_url,
    resolve_region,
)
from locus.models.providers.oci.error_hints import (
    NATIVE_API_ONLY_HINT,
    POLICY_HINT,
    RESPONSES_ONLY_HINT,
)
from locus.models.providers.oci.openai_compatible_config import (
    OpenAICompatibleConfig,
    build_compartment_headers,
    build_regional_base_url,
    check_auth_arguments,
    find_signing_auth,
)
from locus.transport.http_request import check_headers
from locus.transport.httpx_common import CREDENTIAL_HEADERS
from locus.transport.key_function_signer import KeySigner
from locus.transport.sdk_senders import RawResponseAdapter
from locus.transport.signer import Signer
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS


class OpenAICompatibleModel(HttpModel[Any]):
    """A mixin: in a list of bases it comes before the model of the wire format."""

    __slots__ = ()

    prefix = "oci"
    key_hint = KEY_HINT
    error_words = ORACLE_ERROR_WORDS
    body_hints: ClassVar[tuple[BodyHint, ...]] = (
        POLICY_HINT,
        RESPONSES_ONLY_HINT,
        NATIVE_API_ONLY_HINT,
    )

    @classmethod
    def _build_oci_init_arguments(
        cls, config_class: type[OpenAICompatibleConfig], kw: dict[str, Any], **named_arguments: Any
    ) -> dict[str, Any]:
        """Build the model's attributes, ``config`` included, from the constructor's arguments.

        :param named_arguments: the arguments that the constructor names; all belong to the config.
        :param kw: the other keyword arguments.
        """
        _merge_project_names(kw)
        fields = cls._pop_model_arguments(kw, config_class)
        if "config" not in fields:
            region = resolve_region(named_arguments["region"])
            config_arguments = {
                **named_arguments,
                "model": _resolve_model_name(named_arguments["model"]),
                "region": region,
                "base_url": resolve_openai_base_url(named_arguments["base_url"], region),
            }
            fields["config"] = config_class(**config_arguments, **kw)
        config = fields["config"]
        if fields.get("sdk_client") is None:
            check_auth_arguments(config, cls.__name__)
            if named_arguments.get("region") is None and _uses_default_region(config):
                auth = find_signing_auth(config)
                if auth is not None:
                    # The caller of the constructor, which called this function.
                    warn_of_other_region(auth, config.region, stacklevel=3)
        return fields

    def build_provider_headers(self) -> dict[str, str]:
        # Of the callers' own clients, only those of an SDK authenticate by themselves.
        headers = build_compartment_headers(self.config)
        headers.update(self.config.build_project_headers())
        return headers

    def _build_headers(self, extra_headers: Mapping[str, str] | None) -> Mapping[str, str]:
        if self.sdk_client is not None:  # it has headers of its own: add only the explicit ones
            allowed = {
                name: value
                for name, value in (extra_headers or {}).items()
                if name.lower() not in CREDENTIAL_HEADERS
            }
            extra_headers = {**self._build_argument_headers(), **allowed}
        return super()._build_headers(extra_headers)

    def _build_argument_headers(self) -> dict[str, str]:
        """Build the headers for the model's own arguments, without credentials."""
        compartment_id = self.config.compartment_id
        headers = {COMPARTMENT_HEADER: compartment_id} if compartment_id else {}
        headers.update(self.config.build_project_headers())
        return headers

    def get_signer(self) -> Signer:
        auth, api_key = find_signing_auth(self.config), self.config.api_key
        if auth is not None:
            return get_signer(auth)
        if callable(api_key):
            return KeySigner(api_key, _build_bearer_headers, keeps_other_credentials=False)
        return BearerSigner(api_key)

    def make_sdk_client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise ConfigurationError(
                'model.client is the openai SDK\'s: pip install "locus-llm[oci,openai]"'
            ) from None
        from locus.transport.httpx_auth import build_signing_auth, find_httpx_library

        config = self.config
        library = find_httpx_library(openai.DefaultAsyncHttpxClient)
        auth = build_signing_auth(self.get_signer(), library)
        client = openai.AsyncOpenAI(
            api_key=config.api_key if isinstance(config.api_key, str) else "signed",
            base_url=config.base_url,
            timeout=config.timeout,
            max_retries=config.max_retries,
            default_headers=self.build_provider_headers(),
            http_client=openai.DefaultAsyncHttpxClient(auth=auth),
        )
        client.organization = None  # OpenAI's environment variables are not for OCI
        client.project = config.project
        return client

    def copy(self, **changes: Any) -> Self:
        """Return a copy with other constructor arguments; another region gets its own URL."""
        _merge_project_names(changes)
        config, region = self.config, changes.get("region")
        if region is not None and config.base_url == build_regional_base_url(config):
            changes.setdefault("base_url", resolve_openai_base_url(None, region))
        return super().copy(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        """Return a copy with other attributes. Check how it authenticates."""
        config, sdk_client = (
            changes.get(name, getattr(self, name)) for name in ("config", "sdk_client")
        )
        if sdk_client is None and (config is not self.config or "sdk_client" in changes):
            check_auth_arguments(config, type(self).__name__)
        return super()._evolve(**changes)


def _merge_project_names(arguments: dict[str, Any]) -> None:
    """Replace ``project_ocid`` in ``arguments`` by ``project``: two names for one argument.

    :raises TypeError: if the two have different values.
    """
    older_value = arguments.pop("project_ocid", None)
    if older_value is None:
        return
    if arguments.get("project") not in (None, older_value):
        raise TypeError("project= and project_ocid= are two names for one argument: pass one")
    arguments["project"] = older_value


def _uses_default_region(config: OpenAICompatibleConfig) -> bool:
    """Return whether nobody has chosen the region, or a URL."""
    return find_environment_region() is None and config.base_url == build_oci_openai_base_url(
        DEFAULT_OCI_GENAI_REGION
    )


def _build_bearer_headers(key: str) -> dict[str, str]:
    """Build the header with a key that a function has returned.

    :raises ConfigurationError: if it cannot be sent.
    """
    headers = {"authorization": f"Bearer {clean_token(key, 'api_key')}"}
    check_headers(headers)
    return headers


def _resolve_model_name(model: str | None) -> str:
    """Return the argument, else ``OCI_MODEL_ID``."""
    name = model or os.environ.get("OCI_MODEL_ID")
    if not name:
        raise ConfigurationError("no model is named: pass model=, or set OCI_MODEL_ID")
    return name


CHAT_SDK_ADAPTER: Final = RawResponseAdapter(
    "openai", "OpenAIError", lambda client: client.chat.completions.with_raw_response.create
)
RESPONSES_SDK_ADAPTER: Final = RawResponseAdapter(
    "openai", "OpenAIError", lambda client: client.responses.with_raw_response.create
)
