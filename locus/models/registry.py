"""The registry of providers: makes models from names of the form ``"provider:model"``.

Providers come from three places: Locus itself, :func:`register_provider`, and other packages by
the entry-point group ``locus.providers``. A provider's module is imported when its first model is
made.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from locus.core.errors import ConfigurationError
from locus.models.protocols import ModelProtocol

Factory: TypeAlias = Callable[..., ModelProtocol]
"""Makes a model from the part of the name after the colon and the caller's keywords."""

ENTRY_POINT_GROUP: Final = "locus.providers"

_BUILT_IN_FACTORIES: Final = {
    "anthropic": "locus.models.native.anthropic:AnthropicModel",
    "cohere": "locus.models.native.cohere:CohereModel",
    "gemini": "locus.models.native.gemini:GeminiModel",
    "local": "locus.models.local:LocalModel",
    "ollama": "locus.models.native.ollama:OllamaModel",
    "oci": "locus.models.providers.oci.model_factory:make_oci_model",
    "openai": "locus.models.native.openai:OpenAIModel",
}
_registered_factories: dict[str, Factory] = {}


def get_model(name: str | None = None, *, model_string: str | None = None, **kwargs: Any) -> Any:
    """Make the model with this name.

    :param name: ``"provider:model"``, split at the first colon.
    :param model_string: the same, under the name that it had first.
    :param kwargs: the keyword arguments of the provider's model class.
    :raises ConfigurationError: (a ``ValueError``) if there is no colon or no such provider, or if a
        package that the provider needs is not installed.
    """
    if name is not None and model_string is not None:
        raise TypeError("name= and model_string= are two names for one argument: pass one")
    name = model_string if name is None else name
    if not isinstance(name, str):
        raise TypeError(f"a model's name is a string, not {type(name).__name__}")
    prefix, colon, model = name.partition(":")
    if not colon or not model:
        raise ConfigurationError(
            f"{name!r} is not 'provider:model'; the providers are {', '.join(list_providers())}"
        )
    return _load_factory(prefix)(model, **kwargs)


def list_providers() -> list[str]:
    """Return the prefixes that :func:`get_model` knows, sorted, installed or not."""
    return sorted({*_BUILT_IN_FACTORIES, *_registered_factories, *_get_entry_points()})


def register_provider(prefix: str, factory: Factory) -> None:
    """Make ``get_model(f"{prefix}:…")`` call ``factory``; a later registration wins.

    :raises ConfigurationError: if the prefix is empty or holds a colon.
    :raises TypeError: if the factory cannot be called.
    """
    if not prefix or ":" in prefix:
        raise ConfigurationError(f"a provider's prefix is a word without a colon, not {prefix!r}")
    if not callable(factory):
        raise TypeError(f"the factory of {prefix!r} cannot be called")
    _registered_factories[prefix] = factory


def _load_factory(prefix: str) -> Factory:
    """Return the factory for a prefix; import the module that has it."""
    if prefix in _registered_factories:
        return _registered_factories[prefix]
    if prefix in _BUILT_IN_FACTORIES:
        module, _, attribute = _BUILT_IN_FACTORIES[prefix].partition(":")
        factory: Factory = getattr(import_module(module), attribute)
        return factory
    if prefix in _get_entry_points():
        loaded: Factory = _get_entry_points()[prefix].load()
        return loaded
    prefixes = list_providers()
    matches = get_close_matches(prefix.lower(), prefixes, n=1)
    hint = f"; did you mean {matches[0]!r}?" if matches else ""
    raise ConfigurationError(
        f"there is no provider {prefix!r}; the providers are {', '.join(prefixes)}{hint}"
    )


@cache
def _get_entry_points() -> dict[str, Any]:
    """Return the entry points of other packages, by prefix."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
