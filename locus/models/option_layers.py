"""``OptionLayers``: where the options of a call come from, and which of them win.

There are three layers. The config is the lowest, what ``bind_tools`` has bound lies over it, and
the keywords of the call lie over both. Each option is that of the topmost layer that has it; the
members of ``extra_body`` and ``extra_headers`` are merged singly. How they become members of the
JSON body is in :mod:`locus.core.merge_extra_body`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import attrs

from locus.core.call_options import CALL_KEYWORDS, STOP_ALIAS, normalize_call_keywords
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.merge_extra_body import merge_members
from locus.core.option_rules import OptionRules
from locus.models.config import ModelConfig
from locus.transport.http_request import check_extra_headers

_COPY_ADVICE: Final = "it belongs to the model: pass it to the constructor, or to model.copy(…)"


@attrs.frozen
class ConfigOptions:
    """The options of a config. They depend on it alone, so a model collects them once.

    :param options: the options, by the names of a call's keywords.
    :param default_names: the names of those whose value is the default of the config's class.
    """

    options: Mapping[str, Any]
    default_names: frozenset[str]

    @classmethod
    def collect(cls, config: ModelConfig) -> ConfigOptions:
        """Collect the options of a config."""
        options, defaults = get_config_options(config), _get_config_defaults(config)
        default_names = (n for n in options if n in defaults and options[n] == defaults[n])
        return cls(options, frozenset(default_names))


def _collect_config_options(layers: OptionLayers) -> ConfigOptions:
    return ConfigOptions.collect(layers.config)


@attrs.frozen
class OptionLayers:
    """The options of the config, the bound ones, and those of a call, before they are merged.

    :param config: the model's config.
    :param bound: what was bound to the model.
    :param call: the keywords of the call, by their main names.
    :param member_groups: the members of ``extra_body`` whose own members are merged.
    :param config_options: the options of the config, if they are collected already.
    """

    config: ModelConfig
    bound: Mapping[str, Any] = EMPTY
    call: Mapping[str, Any] = EMPTY
    member_groups: Collection[str] = ()
    config_options: ConfigOptions = attrs.field(
        repr=False, default=attrs.Factory(_collect_config_options, takes_self=True)
    )

    def merge(self) -> dict[str, Any]:
        """Merge the layers; the topmost wins.

        None for ``extra_body`` or ``extra_headers`` takes back all that lower layers have of them.
        """
        merged = dict(self.config_options.options)
        for layer in (self.bound, self.call):
            if layer:
                merged = add_layer(merged, layer, self.member_groups)
        return merged

    def has_chosen(self, name: str) -> bool:
        """Return whether the call or ``bind_tools`` sets an option."""
        return name in self.call or name in self.bound

    @property
    def has_own_config_values(self) -> bool:
        """Whether the config has an option that is not the default of its class."""
        defaults = _get_config_defaults(self.config)
        options = self.config_options.options
        return any(options[name] != defaults.get(name) for name in options if name != "model")

    def find_configured_options(self) -> set[str]:
        """Return the options whose value is the config's, be it chosen or a default."""
        return self.config_options.options.keys() - self.bound.keys() - self.call.keys()

    def find_default_options(self) -> frozenset[str]:
        """Return the options that nobody chose: their value is the config's default."""
        return self.config_options.default_names.difference(self.bound, self.call)

    def remove_refused(
        self, options: Mapping[str, Any], rules: OptionRules | None, *, has_tools: bool
    ) -> Mapping[str, Any]:
        """Return the merged options without those that the rules refuse.

        :param options: the merged options.
        :param rules: what the format does with each option; None takes all.
        :raises ConfigurationError: if the call, ``bind_tools`` or the config asks for a refused
            option. A value that is the config's default asks for nothing.
        """
        if rules is None or options.keys() <= rules.accepted:
            return options
        configured = self.find_configured_options()
        return rules.remove_refused(
            options,
            has_tools=has_tools,
            defaults=self.find_default_options(),
            configured=configured,
            sources={
                **dict.fromkeys(configured, "of the model's config"),
                **dict.fromkeys(self.bound.keys() - self.call.keys(), "bound to the model"),
            },
        )


def add_layer(
    below: Mapping[str, Any], above: Mapping[str, Any], member_groups: Collection[str] = ()
) -> dict[str, Any]:
    """Return the options of both layers; those of ``above`` win."""
    merged = dict(below)
    for name, value in above.items():
        covered = merged.get(name)
        if name == "extra_body" and isinstance(value, Mapping) and covered:
            merged[name] = merge_members(covered, value, member_groups)
        elif name == "extra_headers" and isinstance(value, Mapping) and covered:
            merged[name] = lower_names(covered) | lower_names(value)
        else:
            merged[name] = value
    return merged


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def check_keywords(
    keywords: Mapping[str, Any], owner: str, config_class: type[ModelConfig]
) -> dict[str, Any]:
    """Check the keywords of a call or of ``bind_tools``; return them under their main names.

    :param owner: the function that got them, for errors.
    :param config_class: the class of the model's config, whose fields are keywords elsewhere.
    :raises TypeError: if one is unknown; the message says where it belongs.
    :raises ConfigurationError: if ``extra_headers`` are not headers.
    """
    try:
        keywords = normalize_call_keywords(keywords, owner)
    except TypeError:
        config_fields = {field.name for field in attrs.fields(config_class)}
        elsewhere = {_COPY_ADVICE: config_fields | {"http_client", "sdk_client"}}
        keywords = normalize_call_keywords(keywords, owner, elsewhere)
    if keywords.get("extra_headers"):
        extra_headers = keywords["extra_headers"]
        if not isinstance(extra_headers, Mapping):
            raise ConfigurationError(
                f"extra_headers takes a mapping, not {type(extra_headers).__name__}"
            )
        check_extra_headers(extra_headers)
    return keywords


def get_config_options(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of a config that are call options, by the names of a call's keywords.

    A field that is None, or empty, and is so by default, is not there.
    """
    config_class: Any = type(config)
    optional, always = _get_option_fields(config_class)
    options = {name: getattr(config, name) for name in always}
    for name in optional:
        value = getattr(config, name)
        if value is not None and value != ():
            options[name] = value
    options["stop"] = config.stop_sequences
    return options


@cache
def _get_option_fields(config_class: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the call options of a config: those with no value by default, and the others."""
    names = CALL_KEYWORDS | {"model", "stream_usage"}
    fields = [field for field in attrs.fields(config_class) if field.name in names]
    optional = tuple(field.name for field in fields if field.default in (None, ()))
    return optional, tuple(field.name for field in fields if field.name not in optional)


def _get_config_defaults(config: ModelConfig) -> Mapping[str, Any]:
    """Return the default values of a config, by the names of a call's keywords."""
    config_class: Any = type(config)
    return _get_class_defaults(config_class)


@cache
def _get_class_defaults(config_class: Any) -> Mapping[str, Any]:
    return {
        "stop" if field.name == STOP_ALIAS else field.name: field.default
        for field in attrs.fields(config_class)
    }
