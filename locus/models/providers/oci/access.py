"""How the two OpenAI-style models of OCI get in: one of three ways, the same for both.

A profile, a principal (``auth_type=``), or an API key of the Generative AI service, which is sent
as a bearer token. The first two sign every request.

Whichever it is, a request says so once. Headers with credentials from elsewhere are left out:
those of a client that was brought, its ``auth=``, and an ``Authorization`` among
``extra_headers=`` (see ``locus.transport.http.CREDENTIAL_HEADERS`` for all of them).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, Protocol, Self

from locus.core.errors import ConfigurationError
from locus.models.http_model import HttpModel
from locus.models.providers.oci._bearer import Bearer
from locus.models.providers.oci._credentials import check_token
from locus.models.providers.oci._profile import DEFAULT_CONFIG_FILE
from locus.models.providers.oci._signing import signer_for
from locus.models.providers.oci.settings import (
    AUTH_TYPES,
    OCIAuth,
    auth_of,
    compartment_given,
    compartment_of,
    openai_base_url_of,
)
from locus.transport.brought import SdkMethod
from locus.transport.call import Signer, check_headers
from locus.transport.http import CREDENTIAL_HEADERS

COMPARTMENT_HEADER: Final = "opc-compartment-id"
KEY_HINT: Final = (
    "check the profile and that its key is known to OCI, that a policy lets its group or dynamic "
    "group use generative-ai-family, and the clock of this machine"
)


def model_of(model: str | None) -> str:
    """The model's name: what was said, else ``OCI_MODEL_ID``.

    :raises ConfigurationError: there is none.
    """
    named = model or os.environ.get("OCI_MODEL_ID")
    if not named:
        raise ConfigurationError("say which model: pass model=, or set OCI_MODEL_ID")
    return named


def path_of(config_file: str | os.PathLike[str] | None) -> str:
    """Where profiles are.

    :raises ConfigurationError: it is no path.
    """
    path = config_file or DEFAULT_CONFIG_FILE
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        raise ConfigurationError(f"config_file must be a path, not {type(path).__name__}")
    return path


def check_texts(**said: Any) -> None:
    """Refuse arguments that are no text, or blank, without showing one: it may be a secret.

    :raises ConfigurationError: names the argument.
    """
    for name, value in said.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
        if value != value.strip():
            raise ConfigurationError(f"{name} has white space at its ends")


def base_url_in_region(config: Any) -> str:
    """The address of a config that was given none."""
    return openai_base_url_of(None, config.region)


class Access(Protocol):
    """What a config says about credentials."""

    @property
    def profile(self) -> str | None: ...
    @property
    def auth_type(self) -> str | None: ...
    @property
    def api_key(self) -> str | None: ...
    @property
    def compartment_id(self) -> str | None: ...
    @property
    def config_file(self) -> str: ...
    @property
    def delegation_token(self) -> str | None: ...


def check_access(config: Access, made: str) -> None:
    """Refuse a config that names no way in, or several.

    :param made: the name of the class that is made, for the error.
    :raises ConfigurationError: shows the ways.
    """
    ways = {name: getattr(config, name) for name in ("profile", "auth_type", "api_key")}
    given = [f"{name}=" for name, value in ways.items() if value]
    if len(given) != 1:
        raise _unclear(f"got {' and '.join(given) or 'none of them'}", made)
    if not config.auth_type:
        return
    try:
        auth_of(auth_type=config.auth_type)
    except ConfigurationError as error:
        raise _unclear(str(error), made) from None
    word = str(getattr(config.auth_type, "value", config.auth_type))
    if word == "api_key":
        raise _unclear(f"an API key is a profile's, not auth_type={word!r}", made)
    if word not in AUTH_TYPES:
        raise _unclear(f"auth_type={word!r} is OCIModel's older name of 'security_token'", made)
    if compartment_given(config.compartment_id) is None:
        raise _unclear("auth_type= needs compartment_id=, or OCI_COMPARTMENT", made)


def _unclear(why: str, made: str) -> ConfigurationError:
    return ConfigurationError(
        f"{made} wants exactly one of profile=, auth_type= and api_key=; {why}. The ways:\n"
        f'  {made}("openai.gpt-4.1", profile="DEFAULT")  # a section of ~/.oci/config\n'
        f'  {made}("openai.gpt-4.1", auth_type="instance_principal", '
        f'compartment_id="ocid1.compartment…")  # on OCI; or {", ".join(AUTH_TYPES[1:])}\n'
        f'  {made}("openai.gpt-4.1", api_key="…")  # a key of the Generative AI service'
    )


def auth_for(config: Access) -> OCIAuth | None:
    """The credentials that sign, or None where a bearer token goes instead."""
    if config.api_key:
        return None
    return auth_of(
        profile=config.profile,
        auth_type=config.auth_type,
        config_file=config.config_file,
        delegation_token=config.delegation_token,
    )


def check_config(config: Access) -> None:
    """Refuse values that cannot work, whichever way in they are for.

    :raises ConfigurationError: names one.
    """
    check_texts(
        profile=config.profile,
        api_key=config.api_key,
        compartment_id=config.compartment_id,
        delegation_token=config.delegation_token,
    )
    for name in ("api_key", "delegation_token"):
        if getattr(config, name):
            check_token(getattr(config, name), name)
    if config.compartment_id:
        check_headers({COMPARTMENT_HEADER: config.compartment_id})


def headers_for(config: Access) -> dict[str, str]:
    """The headers that every request has, before it is signed or given its bearer token.

    :raises ConfigurationError: a signed request has no compartment, or the profile cannot be read.
    """
    auth = auth_for(config)
    if auth is None:
        compartment = compartment_given(config.compartment_id)
    else:
        compartment = compartment_of(config.compartment_id, auth)
    headers = {COMPARTMENT_HEADER: compartment} if compartment else {}
    check_headers(headers)
    return headers


class OpenAIStyle(HttpModel[Any]):
    """What the two models share. A mixin: it comes before the model of the wire format."""

    __slots__ = ()

    prefix = "oci"
    key_hint = KEY_HINT

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
        from locus.transport.signing import signed_auth

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
