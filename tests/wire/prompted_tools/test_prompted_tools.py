"""Tools that a model is told of in words: nothing is lost on the way there, or on the way back."""

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
from locus.wire.chat_completions import ChatCompletionsParser
from locus.wire.prompted_tools import CallsInText, in_words, with_calls
from locus.wire.prompted_tools.grammar import shape
from locus.wire.prompted_tools.response import calls_in
from tests.support.decoding import check_law
from tests.support.strategies import conversations, splits, tool_calls, tools
from tests.support.strategies.cuts import pieces
from tests.support.strategies.plain import texts
from tests.support.wire_json.chat_json import delta, sse


def function(name: str, parameters: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Any = [function(name, {"type": "object"}) for name in ("weather", "add")]
ASKED = [Message.user("How is it in Oslo?")]
ANSWERED = [
    *ASKED,
    Message.assistant("Let me see.", [ToolCall("1", "weather", {"city": "Oslo"})]),
    Message.tool(ToolResult("1", "weather", "", "no sky")),
]


def told(messages: Any, tools: Any = TOOLS, **options: Any) -> tuple[Sequence[Message], Any]:
    system_role = options.pop("system_role", True)
    said = in_words(messages, tools, {"model": "m", **options}, system_role=system_role)
    assert said.calls == (bool(tools) and options.get("tool_choice") != "none")
    return said.messages, said.options


def rules(**options: Any) -> dict[str, str]:
    """The rules of the grammar by name."""
    lines = told(ASKED, **options)[1]["extra_body"]["grammar"].splitlines()
    assert lines[0] == "%llguidance {}"
    return dict(line.split(": ", 1) for line in lines[1:])


# There.


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
    "nowhere": ({"$ref": "https://example.com/a"}, {}),
    "a name to be written otherwise": (
        {"$ref": "#/$defs/a~b", "$defs": {"a~b": {}}},
        {"$defs": {}},
    ),
    "itself": ({"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}),
    "what cannot be": (
        {"properties": {"a": False, "b": {}}, "required": ["a", "b", "c"]},
        {"properties": {"b": {}}, "required": ["a", "b", "c"]},
    ),
    "what cannot be in a closed object": (
        {"properties": {"a": False}, "required": ["a"], "additionalProperties": False},
        {"required": [], "additionalProperties": False},
    ),
    "places": ({"items": [{"type": "null"}]}, {"prefixItems": [{"type": "null"}]}),
    "anything": (True, {}),
}


@pytest.mark.parametrize("what", SCHEMAS)
def test_of_a_schema_the_shape_goes_into_the_grammar(what: str) -> None:
    schema, held = SCHEMAS[what]
    assert shape(schema) == held


def test_a_function_without_parameters_takes_none() -> None:
    asked = {"type": "function", "function": {"name": "now"}}
    said = told(ASKED, [asked])[1]["extra_body"]["grammar"]
    assert '"additionalProperties":false' in said


@given(conversations(with_images=False), tools(min_size=1), st.booleans())
def test_a_conversation_becomes_text_and_says_all_that_it_said(
    messages: list[Message], offered: Any, system_role: bool
) -> None:
    given, rest = told(messages, offered, system_role=system_role)
    assert not any(message.tool_calls or message.role is Role.TOOL for message in given)
    everything = "\n".join(message.text for message in given)
    for message in messages:
        assert message.text in everything
        for call in message.tool_calls:
            assert call.arguments_json() in everything
    for tool in offered:
        assert json.dumps(tool["function"]["name"]) in everything
    if not system_role and not any(message.role is Role.SYSTEM for message in messages):
        assert {message.role for message in given} <= {Role.USER, Role.ASSISTANT}
    assert rest["tool_choice"] is rest["parallel_tool_calls"] is None
    assert rest["extra_body"]["grammar"].startswith("%llguidance")


def test_results_and_what_the_user_says_next_are_one_message() -> None:
    given, _ = told([*ANSWERED, Message.user(["And ", "Rome?"])], [])
    assert [message.role for message in given] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert given[1].text.startswith('Let me see.\n<tool_call>{"name": "weather", "arguments": {')
    assert given[2].text == "The result of weather(Oslo) is: Error: no sky\n\nAnd Rome?"


def test_a_model_that_has_its_results_is_asked_to_go_on() -> None:
    for options, last in (
        ({}, "If you need no other tool, answer my question in words."),
        ({"tool_choice": "none"}, "Answer my question in words."),
        ({"response_format": {"type": "json_object"}}, "answer my question in JSON."),
    ):
        assert told(ANSWERED, **options)[0][-1].text.endswith(last)


@pytest.mark.parametrize("content", ["Be brief.", [TextPart("Be "), TextPart("brief.")]])
def test_the_tools_are_told_where_the_model_listens(content: Any) -> None:
    ((system, _), _) = told([Message.system(content), *ASKED])
    assert system.text.startswith("Be brief.\n\nYou have these tools:")
    ((system, user), _) = told(ASKED)
    assert (system.role, user) == (Role.SYSTEM, ASKED[0])
    ((user,), _) = told([Message.user(content)], system_role=False)
    assert user.role is Role.USER
    assert user.text.endswith("Otherwise answer in words.\n\nBe brief.")
    (first, *_), _ = told([Message.assistant("Hello."), *ASKED], system_role=False)
    assert first.role is Role.USER


def test_images_stay_where_they_are() -> None:
    image = ImagePart(url="https://example.com/a.png")
    assert told([*ANSWERED, Message.user([image])])[0][-1].content[1] == image  # type: ignore[index]


def test_an_answer_may_be_words_or_one_call() -> None:
    found = rules()
    assert (found["start"], found["call"]) == ("call | words", "call_0 | call_1")
    head = r'"<tool_call>{\"name\": \"add\", \"arguments\": " %json {"type":"object"'
    assert found["call_1"].startswith(head)
    assert found["call_1"].endswith(' "}</tool_call>"')
    assert rules(parallel_tool_calls=True)["start"] == "call+ | words"


@pytest.mark.parametrize(
    "choice", ["add", {"type": "function", "function": {"name": "add"}}, "required"]
)
def test_a_call_that_is_demanded_is_all_there_is(choice: Any) -> None:
    found = rules(tool_choice=choice)
    assert found["start"] == "call"
    assert "words" not in found
    assert ("call_1" in found) == (choice == "required")


def test_words_may_be_held_to_a_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answer = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    found = rules(response_format=answer)
    assert json.loads(found["words"].removeprefix("%json ")).items() >= schema.items()
    assert "TEXT" not in found
    assert told(ASKED, response_format=answer)[1]["response_format"] is None
    assert told(ASKED, [], response_format=answer)[1]["response_format"] == answer
    assert rules(response_format={"type": "text"}) == rules()


def test_the_callers_own_body_wins() -> None:
    for own in ({"grammar": 'root ::= "x"'}, {"json_schema": {}}, {"response_format": {}}):
        body = told(ASKED, extra_body={**own, "top_k": 1})[1]["extra_body"]
        assert body == {**own, "top_k": 1}


def test_who_may_not_call_is_held_to_words() -> None:
    for messages, offered, options in (
        (ANSWERED, [], {}),
        (ANSWERED, TOOLS, {"tool_choice": "none"}),
        (ASKED, TOOLS, {"tool_choice": "none"}),
    ):
        said = told(messages, offered, **options)[1]["extra_body"]["grammar"]
        assert said.endswith("start: words")
        assert "call:" not in said
    answer = {"type": "json_object"}
    said = told(ANSWERED, [], response_format=answer)[1]
    assert (said["extra_body"], said["response_format"]) == (None, answer)


@pytest.mark.parametrize("stop", ["}", "<tool_call>", '"name"', "arguments", " "])
def test_a_stop_string_that_would_end_every_call_is_refused(stop: str) -> None:
    with pytest.raises(ConfigurationError, match="would end every call in its middle"):
        told(ASKED, stop=[stop])
    told(ASKED, stop=["\n", "Observation:"])
    told(ASKED, stop=[stop], tool_choice="none")


@pytest.mark.parametrize(
    ("offered", "choice", "message"),
    [
        ([{"type": "web_search"}], None, r"tools\[0\] is of type 'web_search'"),
        ([{"type": "custom", "function": {}}], None, r"tools\[0\] is of type 'custom'"),
        ([function("a", {"enum": [object()]})], None, r"tools\[0\] is no JSON|as JSON: object has"),
        (TOOLS, "sing", "tool_choice='sing' is neither"),
        (TOOLS, {"type": "function", "function": {"name": "sing"}}, "names none of the tools"),
        (TOOLS, {"type": "allowed_tools"}, "names none of the tools"),
    ],
)
def test_what_cannot_be_told_is_refused(offered: Any, choice: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        told(ASKED, offered, tool_choice=choice)


# And back.


@given(st.lists(tool_calls(), min_size=1, max_size=4))
def test_calls_are_read_as_they_are_written(calls: list[ToolCall]) -> None:
    (_, written), _ = told([*ASKED, Message.assistant(None, calls)], [])
    found, rest = calls_in(written.text, "a")
    assert rest == ""
    whole = [call.malformed_arguments is None for call in calls]
    if all(whole):
        assert [(c.name, c.arguments) for c in found] == [(c.name, c.arguments) for c in calls]
        assert len({call.id for call in found}) == len(calls)
    else:  # whatever follows one that is no JSON cannot be told from it
        until = whole.index(False)
        assert [c.name for c in found[: until + 1]] == [c.name for c in calls[: until + 1]]
        written_so = calls[until].malformed_arguments or ""
        assert written_so.strip() in (found[until].malformed_arguments or "")


CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@given(st.data(), texts())
def test_a_stream_of_text_and_calls_keeps_the_law(data: st.DataObject, text: str) -> None:
    begins = data.draw(st.sampled_from(["", "<", "<tool_", "<tool_call>", CALL, f"{CALL}\n{CALL}"]))
    said = begins + text
    words = data.draw(pieces(said))
    frames = [delta({"content": word}) for word in words]
    stream = sse(*frames, delta({}, "stop")) + b"data: [DONE]\n\n"
    decoder = CallsInText(ChatCompletionsParser().decoder())
    events = [event for piece in data.draw(splits(stream)) for event in decoder.feed(piece)]
    events += decoder.close()
    assert decoder.failure is None
    assert decoder.done
    whole = check_law(events)
    assert [call.name for call in whole.tool_calls] == ["add"] * begins.count(CALL)
    if begins.count(CALL) == 0:
        assert whole.content == said
    else:
        assert whole.finish_reason == "tool_calls"
        assert whole.content == text.lstrip()
    once = ModelResponse(Message.assistant(said), response_id=whole.response_id)
    assert with_calls(once).message == whole.message


def test_words_come_as_they_are_said() -> None:
    decoder = CallsInText(ChatCompletionsParser().decoder())
    said = [
        [event.content for event in decoder.feed(sse(delta({"content": word})))]
        for word in ("<", "b", ">", " bold")
    ]
    assert said == [[], ["<b"], [">"], [" bold"]]


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
def test_a_call_that_is_no_json_keeps_what_was_written(
    text: str, arguments: Any, malformed: str | None
) -> None:
    (call,), rest = calls_in(f"<tool_call>{text}", "a")
    assert (call.name, call.arguments, rest) == ("add", arguments, "")
    assert call.malformed_arguments == malformed


@pytest.mark.parametrize("text", ['{"name": ""', '{"name": "", "arguments": {}}', "none", '{"na'])
def test_what_names_no_tool_stays_text(text: str) -> None:
    assert calls_in(f"<tool_call>{text}", "a") == ([], f"<tool_call>{text}")


@pytest.mark.parametrize("text", ["<tool_call>", '<tool_call>{"na', '<tool_call>{"name": "ad'])
@pytest.mark.parametrize("calls", [0, 1])
def test_a_call_that_was_cut_off_before_its_name_is_nothing_said(text: str, calls: int) -> None:
    said = Message.assistant(CALL * calls + text)
    cut = with_calls(ModelResponse(said, stop_reason="length"))
    assert (cut.content, len(cut.tool_calls), cut.finish_reason) == ("", calls, "length")
    assert with_calls(ModelResponse(said)).content == text


def test_every_candidate_is_read() -> None:
    said = [Candidate(Message.assistant(text)) for text in (CALL, "No.", CALL)]
    found = with_calls(ModelResponse(said[0].message, candidates=tuple(said)))
    assert [len(candidate.message.tool_calls) for candidate in found.candidates] == [1, 0, 1]
    assert found.message == found.candidates[0].message
    assert found.tool_calls[0].id != found.candidates[2].message.tool_calls[0].id


def test_a_stream_that_is_cut_shows_what_there_was() -> None:
    for cut in ("orderly", "torn"):
        decoder = CallsInText(ChatCompletionsParser().decoder())
        assert decoder.feed(sse(delta({"content": CALL[:40]}))) == []
        assert decoder.failure is None
        if cut == "orderly":
            assert decoder.close() == []
            failure = decoder.failure
        else:
            failure = decoder.interrupted("early")
        assert isinstance(failure, StreamInterruptedError)
        assert failure.partial is not None
        assert failure.partial.tool_calls[0].malformed_arguments is not None
