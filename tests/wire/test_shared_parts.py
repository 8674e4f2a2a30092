"""What several wire formats share: how they read options, report errors, and end a stream."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from locus.core.errors import ConfigurationError, ResponseParseError
from locus.wire.anthropic_messages import AnthropicMessagesBuilder
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.oci_chat import CohereV1ChatBuilder, CohereV2ChatBuilder, GenericChatBuilder
from locus.wire.ollama_chat import OllamaChatBuilder
from locus.wire.parse_output_format import JsonOutput, parse_response_format
from locus.wire.provider_json import StructDecoder, convert_mapping_to_dict, to_json_builtins
from locus.wire.request_parts import make_tool_choice_error
from locus.wire.responses import ResponsesBuilder
from locus.wire.stream_decoder import is_done_marker

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
BUILDERS: dict[str, Callable[[], Any]] = {
    "anthropic": AnthropicMessagesBuilder,
    "chat": ChatCompletionsBuilder,
    "cohere-v1": CohereV1ChatBuilder,
    "cohere-v2": CohereV2ChatBuilder,
    "generic": GenericChatBuilder,
    "ollama": OllamaChatBuilder,
    "responses": ResponsesBuilder,
}


def build_body(name: str, **options: Any) -> Any:
    return BUILDERS[name]().build("hello", model="m", max_tokens=9, **options)


# -- response_format -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonOutput()),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
            JsonOutput({"name": "n", "schema": SCHEMA}),
        ),
        (
            MappingProxyType(
                {"type": "json_schema", "json_schema": MappingProxyType({"schema": {}})}
            ),
            JsonOutput({"schema": {}}),
        ),
    ],
)
def test_a_response_format_is_parsed(response_format: Any, expected: Any) -> None:
    parsed = parse_response_format(response_format)
    assert parsed == expected
    if parsed is not None and parsed.json_schema is not None:
        assert parsed.schema == parsed.json_schema["schema"]


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        ({}, "not None"),
        ({"type": "grammar"}, "not 'grammar'"),
        ({"type": "json_schema"}, "lacks its schema"),
        ({"type": "json_schema", "json_schema": 5}, "lacks its schema"),
        ({"type": "json_schema", "json_schema": {"schema": "text"}}, "lacks its schema"),
        ({"type": "json_schema", "schema": SCHEMA}, "lacks its schema"),
    ],
)
def test_a_response_format_that_is_none_is_reported(response_format: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^response_format is .*{message}"):
        parse_response_format(response_format)


def test_a_schema_may_be_missing_where_the_format_allows_it() -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "n"}}
    parsed = parse_response_format(response_format, requires_schema=False)
    assert parsed == JsonOutput({"name": "n"})
    assert parsed.schema is None
    for broken in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}):
        with pytest.raises(ConfigurationError, match="lacks its schema"):
            parse_response_format(broken, requires_schema=False)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ("chat", "responses")])
def test_every_format_that_translates_it_reports_the_same(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^response_format is .*, not 'grammar'"):
        build_body(name, response_format={"type": "grammar"})
    for builder in (name, "responses"):
        with pytest.raises(ConfigurationError, match=r"^response_format is .*lacks its schema"):
            build_body(builder, response_format={"type": "json_schema"})


def test_an_empty_schema_is_a_schema() -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    assert build_body("ollama", response_format=response_format)["format"] == {}
    json_object = {"type": "json_object"}
    assert build_body("ollama", response_format=json_object)["format"] == "json"


# -- tool_choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ("cohere-v1", "ollama")])
def test_every_format_reports_an_unknown_tool_in_the_same_words(name: str) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        BUILDERS[name]().build("hello", [TOOL], model="m", max_tokens=9, tool_choice="lok")
    assert str(exc_info.value) == str(make_tool_choice_error("lok", ["look"]))
    assert str(exc_info.value) == (
        "tool_choice='lok' is neither 'auto', 'none' or 'required', nor the name of a tool of "
        "this call (look)"
    )


def test_a_tool_choice_without_tools_says_so() -> None:
    assert "(there are none)" in str(make_tool_choice_error("x", []))


# -- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_every_format_reports_what_is_no_json(name: str) -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "x": object()}},
    }
    with pytest.raises(ConfigurationError, match="object is not a JSON type"):
        BUILDERS[name]().build("hello", [tool], model="m", max_tokens=9)


def test_mappings_of_any_class_become_dictionaries() -> None:
    value = MappingProxyType({"a": [MappingProxyType({"b": 1})]})
    assert to_json_builtins(value) == {"a": [{"b": 1}]}
    with pytest.raises(ConfigurationError, match=r"^tools cannot be written as JSON: object"):
        to_json_builtins({"a": object()}, "tools")
    with pytest.raises(TypeError, match="object is not a JSON type"):
        convert_mapping_to_dict(object())


# -- [DONE] ----------------------------------------------------------------------------------------


def test_the_end_marker_is_recognized() -> None:
    assert is_done_marker(b"[DONE]")
    assert is_done_marker(b" [DONE]\r\n")
    assert not is_done_marker(b'["DONE"]')
    assert not is_done_marker(b"[DONE")


def test_a_frame_is_decoded_leniently_or_ends_the_response() -> None:
    from locus.wire.chat_completions.complete_response import completion_decoder
    from locus.wire.chat_completions.stream import ChatCompletionsDecoder

    decoder = ChatCompletionsDecoder()
    events: list[Any] = []
    assert isinstance(completion_decoder, StructDecoder)
    chunk = decoder.decode_or_finish(b'\xef\xbb\xbf{"id": "a"}', completion_decoder, events)
    assert chunk is not None
    assert (chunk.id, events, decoder.done) == ("a", [], False)
    with pytest.raises(ResponseParseError):
        decoder.decode_or_finish(b"{", completion_decoder, events)
    decoder.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n')
    assert decoder.decode_or_finish(b"[DONE]", completion_decoder, events) is None
    assert [event.done for event in events] == [True]
    assert decoder.done
