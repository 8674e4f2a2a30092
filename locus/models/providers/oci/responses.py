"""``OCIResponsesModel``: OpenAI's responses API on OCI; the service may store the conversation.

Oracle documents it under "OpenAI-Compatible Endpoints" of the Generative AI service; the format is
OpenAI's. Opt-in: ``get_model`` never chooses it. An error is raised and never leads to chat
completions, where the conversation would continue without what the service has stored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages
from locus.core.defaults_in_signature import with_shown_defaults
from locus.core.error_context import BodyHint
from locus.core.errors import APIError, ConfigurationError
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE
from locus.models.providers.oci.endpoints import DEFAULT_OCI_GENAI_REGION
from locus.models.providers.oci.error_hints import (
    CHAT_ONLY_HINT,
    NATIVE_API_ONLY_HINT,
    POLICY_HINT,
    ZERO_RETENTION_HINT,
)
from locus.models.providers.oci.openai_compatible_config import (
    OpenAICompatibleConfig,
    check_strings_and_headers,
)
from locus.models.providers.oci.openai_compatible_model import (
    RESPONSES_SDK_ADAPTER,
    OpenAICompatibleModel,
)
from locus.models.providers.oci.responses_errors import (
    OCIProjectRequiredError,
    OCIResponsesStateLostError,
    make_responses_error,
)
from locus.models.responses_model import ResponsesConfig, ResponsesModel
from locus.transport.prepared_http_call import HttpCall
from locus.transport.sdk_senders import RawResponseAdapter
from locus.wire.responses import ResponsesParser

_STORE_VARIABLE: Final = "OCI_RESPONSES_STORE"
_BOOLEAN_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _resolve_store(store: bool | None) -> bool:
    """Return the argument, else ``OCI_RESPONSES_STORE``, else True."""
    if isinstance(store, bool):
        return store
    if store is not None:
        raise ConfigurationError(f"store must be True or False, not {store!r}")
    setting = os.environ.get(_STORE_VARIABLE, "").strip() or "true"
    # An error, not a default: a misspelled "false" must not cause conversations to be stored.
    if setting.lower() not in _BOOLEAN_WORDS:
        raise ConfigurationError(f"{_STORE_VARIABLE} must be true or false, not {setting!r}")
    return _BOOLEAN_WORDS[setting.lower()]


@attrs.frozen
class OCIResponsesConfig(OpenAICompatibleConfig, ResponsesConfig):
    """The options of this model besides those of :class:`~locus.models.ModelConfig` and
    :class:`~locus.models.providers.oci.openai_compatible_config.OpenAICompatibleConfig`.

    :param store: whether the service stores the conversation; else ``OCI_RESPONSES_STORE``, else it
        does. False is for zero data retention: every request carries the complete conversation.
    """

    store: bool = attrs.field(default=None, converter=_resolve_store)

    def __attrs_post_init__(self) -> None:
        check_strings_and_headers(self)


@attrs.frozen(init=False, getstate_setstate=False)
class OCIResponsesModel(OpenAICompatibleModel, ResponsesModel[OCIResponsesConfig]):
    """A model of OCI's Generative AI service, through its responses API.

    Pass exactly one of ``profile``, ``auth_type`` and ``api_key``. Arguments that are not described
    here mean the same as with :class:`~locus.models.providers.oci.OCIChatCompletionsModel`.

    :param model: the model's name, such as ``"openai.gpt-4.1"``; else ``OCI_MODEL_ID``.
    :param project_ocid: the project that conversations belong to, if the service requires one;
        ``project`` is the same argument. Else ``OCI_GENAI_PROJECT``.
    :param store: whether the service stores the conversation. If so, each response has a
        ``provider_state`` (``{"previous_response_id": "resp_…"}``); when it is passed to the next
        call, only the messages after the last assistant message are sent.
    :param kw: the other fields of :class:`OCIResponsesConfig`; ``http_client``, ``sdk_client``,
        ``request_builder`` and ``response_parser``.
    :raises TypeError: if a keyword is unknown; the message suggests the most similar one.
    :raises ConfigurationError: if a value is not valid, or if there is not exactly one way to
        authenticate.
    """

    sdk_adapter: ClassVar[RawResponseAdapter | None] = RESPONSES_SDK_ADAPTER
    body_hints: ClassVar[tuple[BodyHint, ...]] = (
        ZERO_RETENTION_HINT,
        POLICY_HINT,
        CHAT_ONLY_HINT,
        NATIVE_API_ONLY_HINT,
    )

    @with_shown_defaults(
        region=DEFAULT_OCI_GENAI_REGION, config_file=DEFAULT_CONFIG_FILE, store=True
    )
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
        if project_ocid is not None:
            kw["project_ocid"] = project_ocid
        fields = self._build_oci_init_arguments(
            OCIResponsesConfig,
            kw,
            model=model,
            profile=profile,
            auth_type=auth_type,
            compartment_id=compartment_id,
            region=region,
            config_file=config_file,
            base_url=base_url,
            store=store,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        fields.setdefault("response_parser", ResponsesParser(error_factory=make_responses_error))
        self._init_with_defaults(fields)

    def build_url(self, *, stream: bool = False) -> str:
        return f"{self.config.base_url}/responses"

    def get_error_hints(self) -> Mapping[type[APIError], str]:
        return {
            OCIProjectRequiredError: "pass project_ocid= or set OCI_GENAI_PROJECT, the OCID of a "
            "project of this compartment and region",
            OCIResponsesStateLostError: "pass the whole conversation without provider_state=; "
            "an agent's thread goes on once its state is saved without it",
        }

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        http_call = super()._build_http_call_with_options(messages, tools, options)
        return attrs.evolve(http_call, error_factory=make_responses_error)
