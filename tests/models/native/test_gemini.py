"""``GeminiModel``: its address and its key."""

from __future__ import annotations

import pytest

from locus import GeminiModel, get_model
from locus.core.errors import ConfigurationError

ROOT = "https://generativelanguage.googleapis.com/v1beta"


def test_the_address_names_the_model() -> None:
    model = GeminiModel("gemini-3-flash-preview", "k")
    assert model.build_url() == f"{ROOT}/models/gemini-3-flash-preview:generateContent"
    stream_url = f"{ROOT}/models/gemini-3-flash-preview:streamGenerateContent?alt=sse"
    assert model.build_url(stream=True) == stream_url


@pytest.mark.parametrize("name", ["models/m", "tunedModels/m"])
def test_a_complete_name_stays(name: str) -> None:
    assert GeminiModel(name, "k").build_url() == f"{ROOT}/{name}:generateContent"


def test_the_key_is_in_one_of_two_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="GEMINI_API_KEY"):
        GeminiModel("m").build_provider_headers()
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):  # the second one counts
        monkeypatch.setenv(variable, variable.lower())
        headers = get_model("gemini:m").build_provider_headers()
        assert headers == {"x-goog-api-key": variable.lower()}
    assert GeminiModel("m", "k").build_provider_headers() == {"x-goog-api-key": "k"}
