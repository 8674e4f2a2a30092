"""Tests of tool calling by prompt: the prompt and its grammar, and the calls in responses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError, StreamInterruptedError
from locus.core.messages import ImagePart, Message, Role, TextPart, ToolCall, ToolResult
from locus.core.response import Candidate, ModelResponse
from locus.testing.formats.stream_reader import check_streaming_law
from locus.wire.chat_completions import ChatCompletionsParser
from locus.wire.prompted_tools import (
    PromptedToolsDecoder,
    build_prompted_request,
    make_response_with_tool_calls,
)
from locus.wire.prompted_tools.llguidance_grammar import simplify_schema
from locus.wire.prompted_tools.parse_tool_calls import parse_leading_tool_calls
from tests.support.strategies import (
    byte_splits,
    conversations,
    text_splits,
    texts,
    tool_calls,
    tools,
)
from tests.support.wire_json.chat_json import encode_sse, make_delta_chunk


def make_tool(name: str, parameters: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Any = [make_tool(name, {"type": "object"}) for name in ("weather", "add")]
QUESTION = [Message.user("How is it in Oslo?")]
QUESTION_WITH_RESULT = [
    *QUESTION,
    Message.assistant("Let me see.", [ToolCall("1", "weather", {"city": "Oslo"})]),
    Message.tool(ToolResult("1", "weather", "", "no sky")),
]


def build_prompt(
    messages: Any, tools: Any = TOOLS, **options: Any
) -> tuple[Sequence[Message], Any]:
    system_role = options.pop("system_role", True)
    request = build_prompted_request(
        messages, tools, {"model": "m", **options}, system_role=system_role
    )
    assert request.expects_calls == (bool(tools) and options.get("tool_choice") != "none")
    return request.messages, request.options


def parse_grammar_rules(**options: Any) -> dict[str, str]:
    """Return the rules of the grammar by name."""
    lines = build_prompt(QUESTION, **options)[1]["extra_body"]["grammar"].splitlines()
    assert lines[0] == "%llguidance {}"
    return dict(line.split(": ", 1) for line in lines[1:])


# Requests.


SCHEMAS: Any = {
    "a pattern": ({"type": "string", "pattern": "^(?!0)a"}, {"type": "string"}),
    "bounds": ({"type": "array", "maxItems": 10**7, "items": True}, {"type": "array", "items": {}}),
    "a format": ({"type": "string", "format": "decimal"}, {"type": "string"}),
    "types": ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
    "no type": ({"type": "str"}, {}),
    "a constant": ({"const": {"a": 1}, "type": "object"}, {"const": {"a": 1}}),
    "an enum": ({"enum": [1, "x"], "type": "string"}, {"enum": [1, "x"]}),
    "no enum": ({"enum": []}, {}),
    "a union": ({"oneOf": [{"type": "null"}, True]}, {"anyOf": [{"type": "null"}, {}]}),
    "one part": ({"allOf": [{"type": "null"}]}, {"type": "null"}),
    "two parts": ({"allOf": [{"type": "null"}, {}]}, {}),
    "a reference": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null", "not": {}}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}},
    ),
    "an external reference": ({"$ref": "https://example.com/a"}, {}),
    "a name to be escaped": (
        {"$ref": "#/$defs/a~b", "$defs": {"a~b": {}}},
        {"$defs": {}},
    ),
    "a recursive reference": ({"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}),
    "a property that is never valid": (
        {"properties": {"a": False, "b": {}}, "required": ["a", "b", "c"]},
        {"properties": {"b": {}}, "required": ["a", "b", "c"]},
    ),
    "a property that is never valid in a closed object": (
        {"properties": {"a": False}, "required": ["a"], "additionalProperties": False},
        {"required": [], "additionalProperties": False},
    ),
    "positions": ({"items": [{"type": "null"}]}, {"prefixItems": [{"type": "null"}]}),
    "anything": (True, {}),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_simplified_for_the_grammar(name: str) -> None:
    schema, simplified = SCHEMAS[name]
    assert simplify_schema(schema) == simplified


def test_function_without_parameters_accepts_none() -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    grammar = build_prompt(QUESTION, [tool])[1]["extra_body"]["grammar"]
    assert '"additionalProperties":false' in grammar


@given(conversations(with_images=False), tools(min_size=1), st.booleans())
def test_prompt_contains_all_of_the_conversation(
    messages: list[Message], tool_list: Any, system_role: bool
) -> None:
    prompt, new_options = build_prompt(messages, tool_list, system_role=system_role)
    assert not any(message.tool_calls or message.role is Role.TOOL for message in prompt)
    all_text = "\n".join(message.text for message in prompt)
    for message in messages:
        assert message.text in all_text
        for call in message.tool_calls:
            assert call.arguments_json() in all_text
    for tool in tool_list:
        assert json.dumps(tool["function"]["name"]) in all_text
    if not system_role and not any(message.role is Role.SYSTEM for message in messages):
        assert {message.role for message in prompt} <= {Role.USER, Role.ASSISTANT}
    assert new_options["tool_choice"] is new_options["parallel_tool_calls"] is None
    assert new_options["extra_body"]["grammar"].startswith("%llguidance")


def test_results_and_the_next_user_message_are_one_message() -> None:
    prompt, _ = build_prompt([*QUESTION_WITH_RESULT, Message.user(["And ", "Rome?"])], [])
    assert [message.role for message in prompt] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert prompt[1].text.startswith('Let me see.\n<tool_call>{"name": "weather", "arguments": {')
    assert prompt[2].text == "The result of weather(Oslo) is: Error: no sky\n\nAnd Rome?"


def test_results_are_followed_by_an_instruction() -> None:
    for options, last_line in (
        ({}, "If you need no other tool, answer my question in words."),
        ({"tool_choice": "none"}, "Answer my question in words."),
        ({"response_format": {"type": "json_object"}}, "answer my question in JSON."),
    ):
        assert build_prompt(QUESTION_WITH_RESULT, **options)[0][-1].text.endswith(last_line)


@pytest.mark.parametrize("content", ["Be brief.", [TextPart("Be "), TextPart("brief.")]])
def test_tools_are_described_in_the_system_or_user_message(content: Any) -> None:
    ((system, _), _) = build_prompt([Message.system(content), *QUESTION])
    assert system.text.startswith("Be brief.\n\nYou have these tools:")
    ((system, user), _) = build_prompt(QUESTION)
    assert (system.role, user) == (Role.SYSTEM, QUESTION[0])
    ((user,), _) = build_prompt([Message.user(content)], system_role=False)
    assert user.role is Role.USER
    assert user.text.endswith("Otherwise answer in words.\n\nBe brief.")
    (first, *_), _ = build_prompt([Message.assistant("Hello."), *QUESTION], system_role=False)
    assert first.role is Role.USER


def test_images_stay_in_their_message() -> None:
    image = ImagePart(url="https://example.com/a.png")
    assert build_prompt([*QUESTION_WITH_RESULT, Message.user([image])])[0][-1].content[1] == image  # type: ignore[index]


def test_response_may_be_text_or_one_call() -> None:
    grammar_rules = parse_grammar_rules()
    assert (grammar_rules["start"], grammar_rules["call"]) == ("call | words", "call_0 | call_1")
    head = r'"<tool_call>{\"name\": \"add\", \"arguments\": " %json {"type":"object"'
    assert grammar_rules["call_1"].startswith(head)
    assert grammar_rules["call_1"].endswith(' "}</tool_call>"')
    assert parse_grammar_rules(parallel_tool_calls=True)["start"] == "call+ | words"


@pytest.mark.parametrize(
    "choice", ["add", {"type": "function", "function": {"name": "add"}}, "required"]
)
def test_required_tool_choice_allows_only_calls(choice: Any) -> None:
    grammar_rules = parse_grammar_rules(tool_choice=choice)
    assert grammar_rules["start"] == "call"
    assert "words" not in grammar_rules
    assert ("call_1" in grammar_rules) == (choice == "required")


def test_text_may_be_restricted_to_a_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    response_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    grammar_rules = parse_grammar_rules(response_format=response_format)
    assert json.loads(grammar_rules["words"].removeprefix("%json ")).items() >= schema.items()
    assert "TEXT" not in grammar_rules
    assert build_prompt(QUESTION, response_format=response_format)[1]["response_format"] is None
    assert (
        build_prompt(QUESTION, [], response_format=response_format)[1]["response_format"]
        == response_format
    )
    assert parse_grammar_rules(response_format={"type": "text"}) == parse_grammar_rules()


def test_grammar_in_extra_body_replaces_ours() -> None:
    for extra_body in ({"grammar": 'root ::= "x"'}, {"json_schema": {}}, {"response_format": {}}):
        body = build_prompt(QUESTION, extra_body={**extra_body, "top_k": 1})[1]["extra_body"]
        assert body == {**extra_body, "top_k": 1}


def test_without_callable_tools_only_text_is_allowed() -> None:
    for messages, tool_list, options in (
        (QUESTION_WITH_RESULT, [], {}),
        (QUESTION_WITH_RESULT, TOOLS, {"tool_choice": "none"}),
        (QUESTION, TOOLS, {"tool_choice": "none"}),
    ):
        grammar = build_prompt(messages, tool_list, **options)[1]["extra_body"]["grammar"]
        assert grammar.endswith("start: words")
        assert "call:" not in grammar
    response_format = {"type": "json_object"}
    new_options = build_prompt(QUESTION_WITH_RESULT, [], response_format=response_format)[1]
    assert (new_options["extra_body"], new_options["response_format"]) == (None, response_format)


@pytest.mark.parametrize("stop", ["}", "<tool_call>", '"name"', "arguments", " "])
def test_stop_string_that_would_end_every_call_is_rejected(stop: str) -> None:
    with pytest.raises(ConfigurationError, match="would end every call in its middle"):
        build_prompt(QUESTION, stop=[stop])
    build_prompt(QUESTION, stop=["\n", "Observation:"])
    build_prompt(QUESTION, stop=[stop], tool_choice="none")


@pytest.mark.parametrize(
    ("tool_list", "choice", "message"),
    [
        ([{"type": "web_search"}], None, r"tools\[0\] is of type 'web_search'"),
        ([{"type": "custom", "function": {}}], None, r"tools\[0\] is of type 'custom'"),
        (
            [make_tool("a", {"enum": [object()]})],
            None,
            r"tools\[0\] cannot be represented in JSON|as JSON: object is",
        ),
        (TOOLS, "sing", "tool_choice='sing' is neither"),
        (TOOLS, {"type": "function", "function": {"name": "sing"}}, "names none of the tools"),
        (TOOLS, {"type": "allowed_tools"}, "names none of the tools"),
    ],
)
def test_unsupported_tools_and_choices_are_rejected(
    tool_list: Any, choice: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_prompt(QUESTION, tool_list, tool_choice=choice)


# Responses.


@given(st.lists(tool_calls(), min_size=1, max_size=4))
def test_written_calls_are_parsed_back(calls: list[ToolCall]) -> None:
    (_, message), _ = build_prompt([*QUESTION, Message.assistant(None, calls)], [])
    parsed, rest = parse_leading_tool_calls(message.text, "a")
    assert rest == ""
    are_valid = [call.malformed_arguments is None for call in calls]
    if all(are_valid):
        assert [(call.name, call.arguments) for call in parsed] == [
            (call.name, call.arguments) for call in calls
        ]
        assert len({call.id for call in parsed}) == len(calls)
    else:  # the text after invalid JSON cannot be separated from it
        first_malformed = are_valid.index(False)
        assert [call.name for call in parsed[: first_malformed + 1]] == [
            call.name for call in calls[: first_malformed + 1]
        ]
        arguments_text = calls[first_malformed].malformed_arguments or ""
        assert arguments_text.strip() in (parsed[first_malformed].malformed_arguments or "")


CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@given(st.data(), texts())
def test_stream_of_text_and_calls_follows_the_streaming_law(data: st.DataObject, text: str) -> None:
    beginning = data.draw(
        st.sampled_from(["", "<", "<tool_", "<tool_call>", CALL, f"{CALL}\n{CALL}"])
    )
    full_text = beginning + text
    chunks = data.draw(text_splits(full_text))
    frames = [make_delta_chunk({"content": chunk}) for chunk in chunks]
    stream = encode_sse(*frames, make_delta_chunk({}, "stop")) + b"data: [DONE]\n\n"
    decoder = PromptedToolsDecoder(ChatCompletionsParser().make_decoder())
    events = [
        event for data_chunk in data.draw(byte_splits(stream)) for event in decoder.feed(data_chunk)
    ]
    events += decoder.close()
    assert decoder.failure is None
    assert decoder.done
    response = check_streaming_law(events)
    assert [call.name for call in response.tool_calls] == ["add"] * beginning.count(CALL)
    if beginning.count(CALL) == 0:
        assert response.content == full_text
    else:
        assert response.finish_reason == "tool_calls"
        assert response.content == text.lstrip()
    complete = ModelResponse(Message.assistant(full_text), response_id=response.response_id)
    assert make_response_with_tool_calls(complete).message == response.message


def test_text_is_emitted_as_it_arrives() -> None:
    decoder = PromptedToolsDecoder(ChatCompletionsParser().make_decoder())
    contents = [
        [event.content for event in decoder.feed(encode_sse(make_delta_chunk({"content": chunk})))]
        for chunk in ("<", "b", ">", " bold")
    ]
    assert contents == [[], ["<b"], [">"], [" bold"]]


@pytest.mark.parametrize(
    ("text", "arguments", "malformed"),
    [
        ('{"name": "add", "arguments": {"a": 1', {}, '{"a": 1'),
        ('{"name": "add", "arguments": {"a": 1}', {"a": 1}, None),
        ('{"name": "add", "arguments": {"a": 1}}\n', {"a": 1}, None),
        ('{"name": "add", "arguments": [1]}\n</tool_call>', {}, "[1]"),
        ('{"name": "add", "arguments": {"a": 1}}\n</tool_call', {"a": 1}, None),
        ('{"name": "add", "arguments": {"a": 1}}\n<tool', {}, '{"a": 1}}\n<tool'),
        ('{"name": "add", "arguments": ' + "[" * 100_000, {}, "[" * 100_000),
        (
            '{"name":"add","arguments":{"a":"</tool_call>"}}</tool_call>',
            {"a": "</tool_call>"},
            None,
        ),
    ],
)
def test_call_that_is_not_valid_json_keeps_its_text(
    text: str, arguments: Any, malformed: str | None
) -> None:
    (call,), rest = parse_leading_tool_calls(f"<tool_call>{text}", "a")
    assert (call.name, call.arguments, rest) == ("add", arguments, "")
    assert call.malformed_arguments == malformed


@pytest.mark.parametrize("text", ['{"name": ""', '{"name": "", "arguments": {}}', "none", '{"na'])
def test_call_without_a_tool_name_stays_text(text: str) -> None:
    assert parse_leading_tool_calls(f"<tool_call>{text}", "a") == ([], f"<tool_call>{text}")


@pytest.mark.parametrize("text", ["<tool_call>", '<tool_call>{"na', '<tool_call>{"name": "ad'])
@pytest.mark.parametrize("calls", [0, 1])
def test_call_cut_off_before_its_name_is_dropped(text: str, calls: int) -> None:
    message = Message.assistant(CALL * calls + text)
    parsed = make_response_with_tool_calls(ModelResponse(message, stop_reason="length"))
    assert (parsed.content, len(parsed.tool_calls), parsed.finish_reason) == ("", calls, "length")
    assert make_response_with_tool_calls(ModelResponse(message)).content == text


def test_every_candidate_is_parsed() -> None:
    candidates = [Candidate(Message.assistant(text)) for text in (CALL, "No.", CALL)]
    parsed = make_response_with_tool_calls(
        ModelResponse(candidates[0].message, candidates=tuple(candidates))
    )
    assert [len(candidate.message.tool_calls) for candidate in parsed.candidates] == [1, 0, 1]
    assert parsed.message == parsed.candidates[0].message
    assert parsed.tool_calls[0].id != parsed.candidates[2].message.tool_calls[0].id


def test_partial_response_of_an_incomplete_stream() -> None:
    for end in ("orderly", "torn"):
        decoder = PromptedToolsDecoder(ChatCompletionsParser().make_decoder())
        assert decoder.feed(encode_sse(make_delta_chunk({"content": CALL[:45]}))) == []
        assert decoder.failure is None
        if end == "orderly":
            assert decoder.close() == []
            failure = decoder.failure
        else:
            failure = decoder.make_interruption_error("early")
        assert isinstance(failure, StreamInterruptedError)
        assert failure.partial is not None
        assert failure.partial.tool_calls[0].malformed_arguments is not None
