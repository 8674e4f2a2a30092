"""Which layer of options wins: the call's, the bound one, the config's."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from locus.core.errors import ConfigurationError
from locus.core.option_rules import COMMON_RULES, Carried, OptionRules, Refused
from locus.models.config import ModelConfig
from locus.models.option_layers import OptionLayers, check_keywords

CONFIG = ModelConfig("m", seed=1, extra_body={"a": 1, "b": 1}, extra_headers={"X-A": "1"})
RULES = OptionRules("the API", seed=Carried("seed"), top_p=Refused("has none"), **COMMON_RULES)


@pytest.mark.parametrize(
    ("name", "bound", "call", "expected"),
    [
        ("seed", {}, {}, 1),
        ("seed", {"seed": 2}, {}, 2),
        ("seed", {"seed": 2}, {"seed": None}, None),
        ("stop", {}, {"stop": ("x",)}, ("x",)),
        (
            "extra_body",
            {"extra_body": {"b": 2}},
            {"extra_body": {"c": 3}},
            {"a": 1, "b": 2, "c": 3},
        ),
        ("extra_body", {"extra_body": None}, {"extra_body": {"c": 3}}, {"c": 3}),
        ("extra_headers", {}, {"extra_headers": {"x-a": "2"}}, {"x-a": "2"}),
    ],
)
def test_the_topmost_layer_wins(
    name: str, bound: dict[str, Any], call: dict[str, Any], expected: object
) -> None:
    assert OptionLayers(CONFIG, bound, call).merge()[name] == expected


def test_members_of_a_group_are_merged() -> None:
    bound, call = ({"extra_body": {"g": {name: 1}}} for name in "xy")
    layers = OptionLayers(CONFIG, bound, call, member_groups=("g",))
    assert layers.merge()["extra_body"]["g"] == {"x": 1, "y": 1}


def test_what_nobody_chose_is_a_default_and_may_be_refused() -> None:
    layers = OptionLayers(attrs.evolve(CONFIG, temperature=0.0), {"max_tokens": 5}, {"seed": 3})
    assert layers.find_default_options() & {"top_p", "temperature", "max_tokens"} == {"top_p"}
    left = layers.remove_refused({"top_p": 0.9, "seed": 3}, RULES, has_tools=False)
    assert left == {"seed": 3}


@pytest.mark.parametrize(
    ("layers", "source"),
    [
        (OptionLayers(ModelConfig("m", top_p=0.5)), "of the model's config"),
        (OptionLayers(CONFIG, {"top_p": 0.5}), "bound to the model"),
        (OptionLayers(CONFIG, {}, {"top_p": 0.5}), "top_p=0.5: the API"),
    ],
)
def test_an_error_says_which_layer_asks_for_what_is_refused(
    layers: OptionLayers, source: str
) -> None:
    with pytest.raises(ConfigurationError, match=source):
        layers.remove_refused(layers.merge() | {"temperature": None}, RULES, has_tools=False)


def test_a_keyword_of_the_config_says_where_it_belongs() -> None:
    with pytest.raises(TypeError, match=r"model\.copy"):
        check_keywords({"max_retries": 1}, "a call", ModelConfig)
