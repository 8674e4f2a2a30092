"""Which parameter a server has refused, read from the words of many servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from locus.core.make_status_error import make_status_error
from locus.core.refused_parameters import (
    NO_REFUSALS,
    Refusals,
    find_chosen_parameters,
    find_refusals,
    read_named_parameters,
)
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.oci_chat import GenericChatBuilder

RULES = ChatCompletionsBuilder.option_rules
OPTIONS: Mapping[str, Any] = {
    "model": "m",
    "max_tokens": 4096,
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.5,
    "stream": True,
    "stream_usage": True,
}
DEFAULTS = frozenset(OPTIONS)


def read_refusals(
    body: Any, status: int = 400, droppable: frozenset[str] = DEFAULTS, **options: Any
) -> Refusals:
    text = body if isinstance(body, str) else json.dumps(body)
    named = read_named_parameters(make_status_error(text, status))
    if named is None:
        return NO_REFUSALS
    return find_refusals(named, RULES, {**OPTIONS, **options}, droppable)


def build_openai_error(message: str, **members: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **members}}


@pytest.mark.parametrize(
    ("body", "left_out"),
    [
        (build_openai_error("no", param="temperature"), {"temperature"}),
        (build_openai_error("Unrecognized request argument supplied: top_p"), {"top_p"}),
        (build_openai_error("`temperature` is deprecated for this model."), {"temperature"}),
        # Moonshot
        (
            build_openai_error("invalid temperature: only 1 is allowed for this model"),
            {"temperature"},
        ),
        # xAI
        (
            {"code": "Client specified an invalid argument", "error": "Argument not supported on "
             "this model: frequencyPenalty"},
            {"frequency_penalty"},
        ),
        # Google
        (
            [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name '
              '"frequency_penalty": Cannot find field.', "status": "INVALID_ARGUMENT"}}],
            {"frequency_penalty"},
        ),
        # FastAPI, and Mistral
        (
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"],
                         "msg": "Extra inputs are not permitted"}]},
            {"stream_usage"},
        ),
        (build_openai_error("property 'top_p' is unsupported"), {"top_p"}),
        ("temperature and top_p are not supported", {"temperature", "top_p"}),
        ("`temperature` and `top_p` cannot both be specified for this model.", {"top_p"}),
        (build_openai_error("messages: roles must alternate"), set()),
        (build_openai_error("the temperature in Rome is unknown"), {"temperature"}),
        (build_openai_error("the prompt is about temperature"), set()),
    ],
)  # fmt: skip
def test_a_parameter_that_is_named_is_left_out(body: Any, left_out: set[str]) -> None:
    assert read_refusals(body) == Refusals(left_out=frozenset(left_out))


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_only_errors_about_the_request_name_parameters(status: int) -> None:
    body = build_openai_error("`temperature` is not supported", param="temperature")
    assert read_refusals(body, status) == NO_REFUSALS
    assert read_refusals(body, 422) != NO_REFUSALS


def test_what_the_caller_chose_stays() -> None:
    body = build_openai_error("'temperature' is not supported with this model")
    assert read_refusals(body, droppable=DEFAULTS - {"temperature"}) == NO_REFUSALS
    both = "`temperature` and `top_p` cannot both be specified for this model."
    for kept, dropped in (("temperature", "top_p"), ("top_p", "temperature")):
        refusals = read_refusals(both, droppable=DEFAULTS - {kept})
        assert refusals == Refusals(left_out=frozenset({dropped}))


def test_a_hint_names_what_the_caller_chose() -> None:
    error = make_status_error(json.dumps(build_openai_error("'seed' is not supported")), 400)
    named = read_named_parameters(error)
    assert named is not None
    options = {"model": "m", "seed": 1, "temperature": 0.5, "stop": ()}
    assert find_chosen_parameters(named, RULES, options, ()) == ["seed"]
    assert find_chosen_parameters(named, RULES, options, {"seed"}) == []


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "Unrecognized request argument supplied: max_completion_tokens",
        "Argument not supported on this model: maxTokens",
    ],
)
def test_a_limit_is_sent_under_its_other_name_once(message: str) -> None:
    body = build_openai_error(message)
    for droppable in (DEFAULTS, DEFAULTS - {"max_tokens"}):
        renamed = read_refusals(body, droppable=droppable)
        assert renamed == Refusals(renamed=frozenset({"max_tokens"}))
        again = read_refusals(body, droppable=droppable, renamed_options={"max_tokens"})
        assert again == NO_REFUSALS


def test_a_default_limit_that_is_too_large_is_left_out() -> None:
    vllm = (
        "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context "
        "length is 4096 tokens and your request has 13 input tokens (4096 > 4096 - 13)."
    )
    assert read_refusals(build_openai_error(vllm)) == Refusals(left_out=frozenset({"max_tokens"}))
    assert read_refusals(vllm, droppable=DEFAULTS - {"max_tokens"}) == NO_REFUSALS
    groq = "`max_tokens` must be less than or equal to `2048`, the maximum value for `max_tokens`"
    openai = (
        "This model's maximum context length is 4096 tokens. However, you requested 4200 tokens "
        "(104 in the messages, 4096 in the completion). Please reduce the length."
    )
    unnamed = "max_tokens is too large: 4096. This model supports at most 2048 completion tokens"
    for text in (groq, openai, unnamed):
        body = build_openai_error(text)
        assert read_refusals(body) == Refusals(left_out=frozenset({"max_tokens"}))
        assert read_refusals(body, droppable=DEFAULTS - {"max_tokens"}) == NO_REFUSALS
    assert read_refusals(groq.replace("2048", "8192")) == NO_REFUSALS
    # A limit that was not ours is not the default's fault.
    assert read_refusals(vllm.replace("4096", "100000")) == NO_REFUSALS


def test_members_of_another_format_are_known_by_their_own_names() -> None:
    text = "maxTokens is not supported by this model, use maxCompletionTokens; topP is not allowed"
    named = read_named_parameters(make_status_error(json.dumps({"message": text}), 400))
    assert named is not None
    found = find_refusals(named, GenericChatBuilder.option_rules, OPTIONS, DEFAULTS)
    assert found == Refusals(frozenset({"top_p"}), frozenset({"max_tokens"}))


def test_refusals_are_applied_to_what_nobody_chose() -> None:
    refusals = Refusals(frozenset({"temperature", "stream_usage"}), frozenset({"max_tokens"}))
    applied = refusals.apply(OPTIONS, DEFAULTS)
    assert "temperature" not in applied
    assert applied["renamed_options"] == {"max_tokens"}
    assert applied["stream_usage"] is False
    assert refusals.apply(OPTIONS, DEFAULTS - {"temperature"})["temperature"] == 0.7
    assert NO_REFUSALS.apply(OPTIONS, DEFAULTS) is OPTIONS
    assert refusals.merge(Refusals(frozenset({"top_p"}))).left_out == {
        *("temperature", "stream_usage", "top_p")
    }


@pytest.mark.parametrize(
    "body", ["", "[]", "null", "{", "3", '{"error": 5}', "[[[", '{"detail": 3}']
)
def test_odd_bodies_name_nothing(body: str) -> None:
    assert read_refusals(body) == NO_REFUSALS
