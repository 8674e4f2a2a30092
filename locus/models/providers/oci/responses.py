"""OCI's OpenAI-compatible responses API: conversations that the service keeps, or does not.

Oracle documents it under "OpenAI-Compatible Endpoints" of the Generative AI service; the format is
OpenAI's. Opt-in: ``get_model`` never picks it. An error here stays here: nothing falls back to
chat completions, where the conversation would go on without what the service remembers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.conversation import Messages
from locus.core.errors import APIError, ConfigurationError
from locus.core.tool_schemas import Tool
from locus.models.providers.oci.authentication import AccessConfig, check_config, check_texts
from locus.models.providers.oci.errors import (
    OCIProjectRequiredError,
    OCIResponsesStateLostError,
    responses_refused,
)
from locus.models.providers.oci.openai_compatible import RESPONSES_SDK, OpenAIStyle
from locus.models.responses_model import ResponsesConfig, ResponsesModel
from locus.transport.custom_client import SdkMethod
from locus.transport.http_call import Call, check_headers
from locus.wire.responses import ResponsesParser

_VARIABLE: Final = "OCI_RESPONSES_STORE"
_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _stored(value: bool | None) -> bool:
    if isinstance(value, bool):
        return value
    if value is not None:
        raise ConfigurationError(f"store must be True or False, not {value!r}")
    said = os.environ.get(_VARIABLE, "").strip() or "true"
    if said.lower() not in _WORDS:  # what was meant to keep nothing must not be kept by mistake
        raise ConfigurationError(f"{_VARIABLE} must be true or false, not {said!r}")
    return _WORDS[said.lower()]


@attrs.frozen
class OCIResponsesConfig(AccessConfig, ResponsesConfig):
    """What this model can be told besides :class:`~locus.models.base.ModelConfig` and
    :class:`~locus.models.providers.oci.authentication.AccessConfig`.

    :param store: whether the service keeps the conversation; else ``OCI_RESPONSES_STORE``, else it
        does. False is for zero data retention: every request carries the whole conversation.
    :param project_ocid: sent as ``opc-project-id`` where it is given.
    """

    store: bool = attrs.field(default=None, converter=_stored)
    project_ocid: str | None = None

    def __attrs_post_init__(self) -> None:
        check_config(self)
        check_texts(project_ocid=self.project_ocid)
        check_headers(self.project())

    def project(self) -> dict[str, str]:
        """The header that names the project, where there is one."""
        return {"opc-project-id": self.project_ocid} if self.project_ocid else {}


@attrs.frozen(init=False, getstate_setstate=False)
class OCIResponsesModel(OpenAIStyle, ResponsesModel[OCIResponsesConfig]):
    """A model of OCI's Generative AI service, through its responses API.

    Give exactly one of ``profile``, ``auth_type`` and ``api_key``. What is not said here is as with
    :class:`~locus.models.providers.oci.OCIChatCompletionsModel`.

    :param model: the model's name, such as ``"openai.gpt-4.1"``; else ``OCI_MODEL_ID``.
    :param project_ocid: the project that conversations belong to, where the service wants one.
    :param store: whether the service keeps the conversation. Then each answer has a
        ``provider_state`` (``{"previous_response_id": "resp_…"}``); passed to the next call, only
        the messages after the last assistant turn are sent.
    :param kw: the other fields of :class:`OCIResponsesConfig`; ``http_client``, ``sdk_client``,
        ``request_builder`` and ``response_parser``.
    :raises TypeError: an unknown keyword; says the nearest.
    :raises ConfigurationError: a value that cannot work, or none or several ways in.
    """

    sdk: ClassVar[SdkMethod | None] = RESPONSES_SDK

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
        project_ocid: str | None = None,
        store: bool | None = None,
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        own = self._told(
            OCIResponsesConfig,
            kw,
            model=model,
            profile=profile,
            auth_type=auth_type,
            compartment_id=compartment_id,
            region=region,
            config_file=config_file,
            base_url=base_url,
            project_ocid=project_ocid,
            store=store,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        own.setdefault("response_parser", ResponsesParser(refusal=responses_refused))
        self._start(own)

    def _url(self) -> str:
        return f"{self.config.base_url}/responses"

    def _headers(self) -> dict[str, str]:
        return super()._headers() | self.config.project()

    def _said_headers(self) -> dict[str, str]:
        return super()._said_headers() | self.config.project()

    def _hints(self) -> Mapping[type[APIError], str]:
        return {
            OCIProjectRequiredError: "pass project_ocid=, the OCID of a project of this "
            "compartment and region",
            OCIResponsesStateLostError: "pass the whole conversation without provider_state=; "
            "an agent's thread goes on once its state is saved without it",
        }

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        call = super()._call_with(messages, tools, options)
        return attrs.evolve(call, refused=responses_refused)
