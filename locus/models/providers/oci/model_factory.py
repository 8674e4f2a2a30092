"""Makes the model for ``get_model("oci:…")``: the model id decides which class it is.

OCI's own ``/actions/chat`` is used for what only it serves: Cohere's command-r family, and
endpoints on dedicated AI clusters. All other models use the OpenAI-compatible endpoint, so a model
that Oracle publishes today works today. The responses API is never chosen here: users name its
class.
"""

from __future__ import annotations

import os
from typing import Any, Final

from locus.models.providers.oci.chat import OCIModel
from locus.models.providers.oci.chat_completions import OCIChatCompletionsModel
from locus.wire.oci_chat.envelope import is_endpoint_ocid

_CHAT_NAMES: Final = {"profile": "profile_name", "base_url": "service_endpoint"}
"""Keywords of ``OCIModel``, by their names in ``OCIChatCompletionsModel``."""
_CHAT_COMPLETIONS_NAMES: Final = {name: alias for alias, name in _CHAT_NAMES.items()}
_ENVIRONMENT_DEFAULTS: Final = (
    ("profile", "OCI_PROFILE"),
    ("auth_type", "OCI_AUTH_TYPE"),
    ("api_key", "OCI_GENAI_API_KEY"),
)


def make_oci_model(model: str, **kw: Any) -> OCIModel | OCIChatCompletionsModel:
    """Make the model for ``get_model(f"oci:{model}", **kw)``.

    :param kw: the keywords of the class; for the profile and the URL, the other class's names work
        as well.
    :raises TypeError: if a keyword was passed under both of its names.
    """
    if model.lower().startswith("cohere.command-r") or is_endpoint_ocid(model):
        return OCIModel(model_id=model, **_rename_keywords(kw, _CHAT_NAMES))
    kw = _rename_keywords(kw, _CHAT_COMPLETIONS_NAMES)
    authenticated = kw.get("sdk_client") is not None or "config" in kw
    if not authenticated and not any(kw.get(name) for name in ("profile", "auth_type", "api_key")):
        for name, variable in _ENVIRONMENT_DEFAULTS:
            if os.environ.get(variable):
                kw[name] = os.environ[variable]
                break
    if kw.get("auth_type") == "api_key":  # OCIModel's name for a profile
        del kw["auth_type"]
        kw.setdefault("profile", os.environ.get("OCI_PROFILE") or "DEFAULT")
    elif kw.get("auth_type") == "session_token":  # OCIModel's older name
        kw["auth_type"] = "security_token"
    return OCIChatCompletionsModel(model=model, **kw)


def _rename_keywords(kw: dict[str, Any], new_names: dict[str, str]) -> dict[str, Any]:
    """Return the keywords with other names, for a class that has another name for them."""
    for name, new_name in new_names.items():
        if name in kw and new_name in kw:
            raise TypeError(f"{name}= and {new_name}= are two names for one argument: pass one")
    return {new_names.get(name, name): value for name, value in kw.items()}
