"""Models by name: ``"provider:model"``, whatever the provider is called.

Providers come from three places: Locus itself, :func:`register_provider`, and other packages by
the entry-point group ``locus.providers``. A provider's module is imported when a model of it is
first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from locus.core.errors import ConfigurationError
from locus.models.base import ModelProtocol

Factory: TypeAlias = Callable[..., ModelProtocol]
"""Makes a model from the part of the name after the colon, and the caller's keywords."""

ENTRY_POINTS: Final = "locus.providers"

_BUILT_IN: Final = {
    "anthropic": "locus.models.native.anthropic:AnthropicModel",
    "local": "locus.models.llama_cpp:LocalModel",
    "ollama": "locus.models.native.ollama:OllamaModel",
    "oci": "locus.models.providers.oci.routing:oci_model",
    "openai": "locus.models.native.openai:OpenAIModel",
}
_registered: dict[str, Factory] = {}


def get_model(name: str, **kwargs: Any) -> Any:
    """The model called ``name``.

    :param name: ``"provider:model"``. Only the first colon splits.
    :param kwargs: what the provider's model class takes.
    :raises ConfigurationError: (a ``ValueError``) there is no colon, no such provider, or
        something that the provider needs is not installed.
    """
    if not isinstance(name, str):
        raise TypeError(f"a model's name is a string, not {type(name).__name__}")
    prefix, colon, model = name.partition(":")
    if not colon or not model:
        raise ConfigurationError(
            f"{name!r} is not 'provider:model'; the providers are {', '.join(list_providers())}"
        )
    return _factory(prefix)(model, **kwargs)


def list_providers() -> list[str]:
    """The prefixes that :func:`get_model` knows, sorted; whether installed or not."""
    return sorted({*_BUILT_IN, *_registered, *_from_packages()})


def register_provider(prefix: str, factory: Factory) -> None:
    """Make ``get_model(f"{prefix}:…")`` call ``factory``. A later registration wins.

    :raises ConfigurationError: the prefix is empty or holds a colon.
    :raises TypeError: the factory cannot be called.
    """
    if not prefix or ":" in prefix:
        raise ConfigurationError(f"a provider's prefix is a word without a colon, not {prefix!r}")
    if not callable(factory):
        raise TypeError(f"the factory of {prefix!r} cannot be called")
    _registered[prefix] = factory


def _factory(prefix: str) -> Factory:
    if prefix in _registered:
        return _registered[prefix]
    if prefix in _BUILT_IN:
        module, _, attribute = _BUILT_IN[prefix].partition(":")
        factory: Factory = getattr(import_module(module), attribute)
        return factory
    if prefix in _from_packages():
        loaded: Factory = _from_packages()[prefix].load()
        return loaded
    known = list_providers()
    near = get_close_matches(prefix.lower(), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(
        f"there is no provider {prefix!r}; the providers are {', '.join(known)}{hint}"
    )


@cache
def _from_packages() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
