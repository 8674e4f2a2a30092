"""``oci:`` in a model's name: which of the transports a model id is for.

OCI's own ``/actions/chat`` is for what only it serves: Cohere's command-r family, and endpoints on
dedicated AI clusters. Everything else goes through the OpenAI-compatible endpoint, so that a model
published today works today. The responses API is never picked: a caller asks for it by its class.
"""

from __future__ import annotations

import os
from typing import Any, Final

from locus.models.providers.oci.chat import OCIModel
from locus.models.providers.oci.chat_completions import OCIChatCompletionsModel
from locus.wire.oci_chat.envelope import is_endpoint

_NATIVE: Final = {"profile": "profile_name", "base_url": "service_endpoint"}
"""Keywords of the one class, by their names in the other."""
_COMPATIBLE: Final = {name: alias for alias, name in _NATIVE.items()}


def oci_model(model: str, **kw: Any) -> OCIModel | OCIChatCompletionsModel:
    """The model behind ``get_model(f"oci:{model}", **kw)``.

    :param kw: what the class takes; either class's names for the profile and the address will do.
    :raises TypeError: the same thing was said under both of its names.
    """
    if model.lower().startswith("cohere.command-r") or is_endpoint(model):
        return OCIModel(model_id=model, **_renamed(kw, _NATIVE))
    kw = _renamed(kw, _COMPATIBLE)
    brought = kw.get("sdk_client") is not None or "config" in kw
    if not brought and not any(kw.get(name) for name in ("profile", "auth_type", "api_key")):
        for name, variable in _FALLBACKS:
            if os.environ.get(variable):
                kw[name] = os.environ[variable]
                break
    if kw.get("auth_type") == "api_key":  # a profile, in the words of the other class
        del kw["auth_type"]
        kw.setdefault("profile", os.environ.get("OCI_PROFILE") or "DEFAULT")
    elif kw.get("auth_type") == "session_token":  # likewise
        kw["auth_type"] = "security_token"
    return OCIChatCompletionsModel(model=model, **kw)


_FALLBACKS: Final = (
    ("profile", "OCI_PROFILE"),
    ("auth_type", "OCI_AUTH_TYPE"),
    ("api_key", "OCI_GENAI_API_KEY"),
)


def _renamed(kw: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    for name, other in names.items():
        if name in kw and other in kw:
            raise TypeError(f"{name}= and {other}= are two names for one thing: say one")
    return {names.get(name, name): value for name, value in kw.items()}
