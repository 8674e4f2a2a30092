"""Advice for errors whose cause a provider names in words."""

from __future__ import annotations

import json

import pytest

from locus.core.error_context import ErrorContext
from locus.core.make_status_error import make_status_error

CONTEXT = ErrorContext("toy", "m", "https://x", key_hint="check TOY_KEY")


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (400, "API key not valid. Please pass a valid API key.", "check TOY_KEY"),
        (400, "Incorrect API key provided: xa***zq.", "check TOY_KEY"),
        (400, "Your credit balance is too low to access the API.", "no credit left"),
        (402, "Insufficient Balance", "no credit left"),
        (404, "The model `gpt-4.5-preview` has been deprecated", "retired"),
        (400, "The model `llama3-70b` has been decommissioned", "retired"),
        (410, "model 'command-r' was removed on September 15, 2025", "retired"),
        (400, "User location is not supported for the API use.", "region"),
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", "without tools"),
        (404, "The model `x` does not exist", "check the model's name"),
        (429, "You have insufficient credits", "wait and try again"),
        (400, "prompt is too long: the model removed", "shorter conversation"),
        (400, "`temperature` is deprecated for this model.", ""),
    ],
)
def test_the_words_of_an_error_decide_the_advice(status: int, message: str, advice: str) -> None:
    body = json.dumps({"error": {"message": message}})
    error = CONTEXT.add_context(make_status_error(body, status))
    text = str(error).partition(message)[2]
    assert advice in text
    assert bool(advice) is bool(text)
