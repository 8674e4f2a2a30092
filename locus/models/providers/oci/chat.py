"""OCI's own chat API, ``/20231130/actions/chat``: the generic format and Cohere's two.

Oracle documents it as "Chat" in the Generative AI Inference API. What each format looks like is in
``locus.wire.oci_chat``; this puts credentials, an address and the right format together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, Self, TypeAlias

import attrs

from locus.core.conversation import Messages
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.tool_schemas import Tool
from locus.models.base import ModelConfig, RequestBuilder, ResponseParser
from locus.models.http_model import HttpModel
from locus.models.providers.oci._profile import DEFAULT_CONFIG_FILE, DEFAULT_PROFILE
from locus.models.providers.oci._signing import signer_for
from locus.models.providers.oci.authentication import (
    COMPARTMENT_HEADER,
    KEY_HINT,
    check_texts,
    path_of,
)
from locus.models.providers.oci.settings import (
    OCIAuth,
    auth_of,
    compartment_given,
    compartment_of,
    endpoint_of,
    region_of,
)
from locus.transport.custom_client import Brought, Sdk
from locus.transport.http_call import Call, Signer, check_headers
from locus.wire.oci_chat import (
    CohereChatBuilder,
    CohereChatParser,
    CohereV2ChatBuilder,
    CohereV2ChatParser,
    GenericChatBuilder,
    GenericChatParser,
)

API_VERSION: Final = "20231130"
"""The version of the API, as it stands in the address."""
DEFAULT_MODEL: Final = "cohere.command-r-plus"
PAUSES: Final = (0.5, 1.0)
"""Seconds before an answer with neither text nor calls is asked for again."""


_NO_STREAM: Final = re.compile(
    r"\b(is)?stream(ing|ed)?\b[^.]{0,60}\b(not|n't|un|cannot be|never)[ -]?"
    r"(yet |currently )?(be )?(supported|allowed|enabled|available|permitted|implemented)"
    r"|\b(not|n't) (yet |currently )?(support|allow|enable|implement|permit)\w*"
    r"[^.]{0,40}\b(is)?stream",
    re.I,
)
"""How the service says, whatever the status, that it will not stream this model."""


class OCIAuthType(StrEnum):
    """Whose credentials sign. A profile's shape decides between the first three by itself."""

    API_KEY = "api_key"
    SECURITY_TOKEN = "security_token"
    SESSION_TOKEN = "session_token"
    INSTANCE_PRINCIPAL = "instance_principal"
    RESOURCE_PRINCIPAL = "resource_principal"
    DELEGATION_TOKEN = "delegation_token"
    OKE_WORKLOAD_IDENTITY = "oke_workload_identity"


_Format: TypeAlias = tuple[str, Callable[[], RequestBuilder], Callable[[], ResponseParser]]
_FORMATS: Final[Mapping[str, _Format]] = {
    "GENERIC": ("generic", GenericChatBuilder, GenericChatParser),
    "COHERE": ("cohere", CohereChatBuilder, CohereChatParser),
    "COHEREV2": ("cohere", CohereV2ChatBuilder, CohereV2ChatParser),
}


def _auth_type(value: str | None) -> OCIAuthType:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"auth_type must be one of {', '.join(OCIAuthType)}; not {value!r}"
        )
    said = value or os.environ.get("OCI_AUTH_TYPE") or OCIAuthType.API_KEY
    try:
        return OCIAuthType(said)
    except ValueError:
        raise ConfigurationError(
            f"auth_type must be one of {', '.join(OCIAuthType)}, not {said!r}"
        ) from None


def _one_name(model_id: str | None, model: str | None) -> str:
    if model_id is not None and model is not None and model != model_id:
        raise TypeError("model_id= and model= are two names for one thing: say one")
    said = model if model_id is None else model_id
    return DEFAULT_MODEL if said is None or said == "" else said


def _profile(name: str | None) -> str:
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"profile_name must be a name; not {name!r}")
    return name or os.environ.get("OCI_PROFILE") or DEFAULT_PROFILE


def _in_region(config: Any) -> str:
    return endpoint_of(None, config.region)


def _api_format(value: str | None) -> str | None:
    if value is None or value in _FORMATS:
        return value
    raise ConfigurationError(f"api_format is one of {', '.join(_FORMATS)}, not {value!r}")


@attrs.frozen
class OCIConfig(ModelConfig):
    """What this model can be told besides :class:`~locus.models.base.ModelConfig`.

    :param compartment_id: the OCID of the compartment; else ``OCI_COMPARTMENT``, else
        ``OCI_COMPARTMENT_ID``, else the profile's tenancy, all at the time of a request.
    :param profile_name: a section of ``config_file``; else ``OCI_PROFILE``, else ``DEFAULT``.
    :param auth_type: an :class:`OCIAuthType`; else ``OCI_AUTH_TYPE``, else ``api_key``.
    :param config_file: where profiles are.
    :param region: where the service is asked; else ``OCI_REGION``, else ``us-chicago-1``.
    :param service_endpoint: the service's root; else ``OCI_ENDPOINT``, else the region's.
    :param delegation_token: the token of ``auth_type="delegation_token"``; else
        ``OCI_DELEGATION_TOKEN``. Never shown.
    :param api_format: ``"GENERIC"``, ``"COHERE"`` or ``"COHEREV2"``, where the model's name does
        not tell: on a dedicated AI cluster, or for a model that wants the newer Cohere format.
    :param seed: for answers that repeat, where the model can.
    :param frequency_penalty: against words used often.
    :param presence_penalty: against words used at all.
    :param stream_usage: ask for token counts at the end of a stream.
    """

    compartment_id: str | None = None
    profile_name: str = attrs.field(default=None, converter=_profile)
    auth_type: OCIAuthType = attrs.field(default=None, converter=_auth_type)
    config_file: str = attrs.field(default=DEFAULT_CONFIG_FILE, converter=path_of)
    region: str = attrs.field(default=None, converter=region_of)
    service_endpoint: str = attrs.field(
        default=attrs.Factory(_in_region, takes_self=True), converter=endpoint_of
    )
    delegation_token: str | None = attrs.field(default=None, repr=False)
    api_format: str | None = attrs.field(default=None, converter=_api_format)
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stream_usage: bool = True

    def __attrs_post_init__(self) -> None:
        check_texts(
            compartment_id=self.compartment_id,
            profile_name=self.profile_name,
            delegation_token=self.delegation_token,
        )
        if self.compartment_id:
            check_headers({COMPARTMENT_HEADER: self.compartment_id})

    @property
    def model_id(self) -> str:
        """The model's name, or the OCID of an endpoint."""
        return self.model

    @property
    def format(self) -> str:
        """The format of requests: what was said, else what the model's name tells."""
        cohere = self.model.lower().startswith("cohere.command-r")
        return self.api_format or ("COHERE" if cohere else "GENERIC")

    def auth(self) -> OCIAuth:
        """The credentials that sign."""
        return auth_of(
            profile=self.profile_name,
            auth_type=self.auth_type,
            config_file=self.config_file,
            delegation_token=self.delegation_token,
        )


class _InferenceSdk:
    """The ``oci`` package, whose client tries again by itself."""

    retries = True

    def brought(self, sdk_client: Any) -> Brought:
        from locus.models.providers.oci.sdk_client import brought  # imports httpx

        return brought(sdk_client)


@attrs.frozen(init=False, getstate_setstate=False)
class OCIModel(HttpModel[OCIConfig]):
    """A model of OCI's Generative AI service, in OCI's own format.

    :param model_id: the model's name, or the OCID of an endpoint on a dedicated AI cluster.
    :param compartment_id: else ``OCI_COMPARTMENT``, ``OCI_COMPARTMENT_ID``, the profile's tenancy.
    :param profile_name: a section of ``config_file``; else ``OCI_PROFILE``, else ``DEFAULT``.
    :param auth_type: an :class:`OCIAuthType` or its string; else ``OCI_AUTH_TYPE``.
    :param service_endpoint: the service's root; else ``OCI_ENDPOINT``, else the region's.
    :param max_tokens: the longest answer, in tokens.
    :param temperature: 0 (the likeliest words) and up.
    :param kw: the other fields of :class:`OCIConfig`; ``http_client``, ``request_builder`` and
        ``response_parser``.
    :raises TypeError: an unknown keyword; says the nearest.
    :raises ConfigurationError: a value that cannot work.
    """

    prefix: ClassVar[str] = "oci"
    key_hint: ClassVar[str] = KEY_HINT
    sdk: ClassVar[Sdk | None] = _InferenceSdk()

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
        own = self._take_own(kw, OCIConfig)
        if "config" not in own:
            region = region_of(kw.pop("region", None))
            own["config"] = OCIConfig(
                model=_one_name(model_id, kw.pop("model", None)),
                compartment_id=compartment_id,
                profile_name=profile_name,
                auth_type=auth_type,
                config_file=config_file,
                region=region,
                service_endpoint=endpoint_of(service_endpoint, region),
                max_tokens=max_tokens,
                temperature=temperature,
                **kw,
            )
        _, builder, parser = _FORMATS[own["config"].format]
        own.setdefault("request_builder", builder())
        own.setdefault("response_parser", parser())
        self.__attrs_init__(**own)

    @property
    def provider(self) -> str:
        """Whose format requests are in: ``"cohere"`` or ``"generic"``."""
        return _FORMATS[self.config.format][0]

    def _url(self) -> str:
        return f"{self.config.service_endpoint}/{API_VERSION}/actions/chat"

    def _headers(self) -> dict[str, str]:
        headers = {
            "accept": "application/json, text/event-stream",
            COMPARTMENT_HEADER: self._compartment(),
        }
        check_headers(headers)
        return headers

    def _compartment(self) -> str:
        if self.sdk_client is not None and compartment_given(self.config.compartment_id) is None:
            from locus.models.providers.oci.sdk_client import tenancy_of  # imports httpx

            tenancy = tenancy_of(self.sdk_client)
            if tenancy:
                return tenancy
        return compartment_of(self.config.compartment_id, self.config.auth())

    def _signer(self) -> Signer | None:
        return signer_for(self.config.auth())

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        extra = {"compartmentId": self._compartment(), **(options.get("extra_body") or {})}
        call = super()._call_with(messages, tools, {**options, "extra_body": extra})
        parser = self.response_parser
        if isinstance(parser, CohereChatParser):  # its calls have no ids but those it makes
            parser = parser.within(messages)
        return attrs.evolve(
            call,
            read=parser.parse,
            decoder=parser.decoder,
            pauses=PAUSES if self.config.max_retries else (),
        )

    def _otherwise(
        self, error: APIStatusError, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        if not options["stream"]:
            return None
        refusal = error.body
        if "streamoptions" in refusal.lower() and options["stream_usage"]:
            return {**options, "stream_usage": False}
        return {**options, "stream": False} if _NO_STREAM.search(refusal) else None

    def copy(self, **changes: Any) -> Self:
        """A copy with other constructor arguments, its address and format agreeing with them."""
        config = self.config
        if "model_id" in changes:
            changes["model"] = changes.pop("model_id")
        region = changes.get("region")
        if region is not None and config.service_endpoint == endpoint_of(None, config.region):
            changes.setdefault("service_endpoint", endpoint_of(None, region))
        return super().copy(**changes)

    __replace__ = copy

    def _evolve(self, **changes: Any) -> Self:
        config = changes.get("config")
        if config is not None and config.format != self.config.format:
            _, builder, parser = _FORMATS[config.format]
            changes.setdefault("request_builder", builder())
            changes.setdefault("response_parser", parser())
        return super()._evolve(**changes)

    def _make_client(self) -> Any:
        from locus.models.providers.oci.sdk_client import inference_client  # imports httpx

        config = self.config
        return inference_client(
            signer_for(config.auth()),
            config.service_endpoint,
            config.timeout,
            config.max_retries,
            {COMPARTMENT_HEADER: self._compartment()},
        )
