"""What the two OpenAI-style models of OCI share: their constructor, headers, signer and client.

However a model gets in (see ``access``), a request says so once. Headers with credentials from
elsewhere are left out: those of a client that was brought, its ``auth=``, and an
``Authorization`` among ``extra_headers=`` (see
``locus.transport.httpx_compat.CREDENTIAL_HEADERS`` for all of them).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, Self

from locus.core.errors import ConfigurationError
from locus.models.http_model import HttpModel
from locus.models.providers.oci._bearer import Bearer
from locus.models.providers.oci._signing import signer_for
from locus.models.providers.oci.authentication import (
    COMPARTMENT_HEADER,
    KEY_HINT,
    AccessConfig,
    auth_for,
    base_url_in_region,
    check_access,
    headers_for,
)
from locus.models.providers.oci.settings import openai_base_url_of, region_of
from locus.transport.custom_client import SdkMethod
from locus.transport.http_call import Signer, check_headers
from locus.transport.httpx_compat import CREDENTIAL_HEADERS


class OpenAIStyle(HttpModel[Any]):
    """What the two models share. A mixin: it comes before the model of the wire format."""

    __slots__ = ()

    prefix = "oci"
    key_hint = KEY_HINT

    @classmethod
    def _told(cls, config: type[AccessConfig], kw: dict[str, Any], **named: Any) -> dict[str, Any]:
        """The model's own arguments and its config, from what its constructor was told.

        :param named: the arguments that the constructor names, all of them the config's.
        :param kw: the others.
        """
        own = cls._take_own(kw, config)
        if "config" not in own:
            region = region_of(named["region"])
            said = {
                **named,
                "model": _model_of(named["model"]),
                "region": region,
                "base_url": openai_base_url_of(named["base_url"], region),
            }
            own["config"] = config(**said, **kw)
        if own.get("sdk_client") is None:
            check_access(own["config"], cls.__name__)
        return own

    def _headers(self) -> dict[str, str]:
        # A client that was brought authenticates by itself only if it is an SDK's.
        return headers_for(self.config)

    def _request_headers(self, extra: Mapping[str, str] | None) -> Mapping[str, str]:
        if self.sdk_client is not None:  # its headers are its own, but for what was said here
            check_headers(extra or {})
            said = {
                name: value
                for name, value in (extra or {}).items()
                if name.lower() not in CREDENTIAL_HEADERS
            }
            extra = {**self._said_headers(), **said}
        return super()._request_headers(extra)

    def _said_headers(self) -> dict[str, str]:
        """The headers for what the model was told by its arguments, besides the credentials."""
        given = self.config.compartment_id
        return {COMPARTMENT_HEADER: given} if given else {}

    def _signer(self) -> Signer:
        auth = auth_for(self.config)
        return Bearer(self.config.api_key) if auth is None else signer_for(auth)

    def _make_client(self) -> Any:
        try:
            import openai
        except ImportError:
            raise ConfigurationError(
                'model.client is the openai SDK\'s: pip install "locus-llm[oci,openai]"'
            ) from None
        from locus.transport.httpx_auth import signed_auth

        config = self.config
        library = _library_under(openai.DefaultAsyncHttpxClient)
        auth = signed_auth(self._signer(), library)
        client = openai.AsyncOpenAI(
            api_key=config.api_key or "signed",
            base_url=config.base_url,
            timeout=config.timeout,
            max_retries=config.max_retries,
            default_headers=self._headers(),
            http_client=openai.DefaultAsyncHttpxClient(auth=auth),
        )
        client.organization = client.project = None  # of OpenAI's environment: no business of OCI
        return client

    def copy(self, **changes: Any) -> Self:
        """A copy with other constructor arguments; another region is asked at its own address."""
        config, region = self.config, changes.get("region")
        if region is not None and config.base_url == base_url_in_region(config):
            changes.setdefault("base_url", openai_base_url_of(None, region))
        return super().copy(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        config, brought = (
            changes.get(name, getattr(self, name)) for name in ("config", "sdk_client")
        )
        if brought is None and (config is not self.config or "sdk_client" in changes):
            check_access(config, type(self).__name__)
        return super()._evolve(**changes)


def _model_of(model: str | None) -> str:
    named = model or os.environ.get("OCI_MODEL_ID")
    if not named:
        raise ConfigurationError("say which model: pass model=, or set OCI_MODEL_ID")
    return named


def _library_under(kind: type) -> ModuleType:
    """``httpx`` or ``httpx2``: whichever the installed SDK sends with."""
    root = next(
        base.__module__.partition(".")[0]
        for base in kind.__mro__
        if base.__module__.partition(".")[0] in ("httpx", "httpx2")
    )
    return sys.modules[root]


CHAT_SDK: Final = SdkMethod(
    "openai", "OpenAIError", lambda client: client.chat.completions.with_raw_response.create
)
RESPONSES_SDK: Final = SdkMethod(
    "openai", "OpenAIError", lambda client: client.responses.with_raw_response.create
)
