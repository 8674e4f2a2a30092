"""Strategies for conversations with one provider: user messages, and genuine responses of a format.

A response is JSON or a stream of the format, parsed by Locus. Its ids are like those of the
provider and of unusual servers. Every call and its result have a unique name (``t0``, ``t1``, …),
by which a test matches them even if the ids change. A new format needs a strategy for its responses
and an entry in :data:`PROVIDERS`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import ImagePart, Message, Role, TextPart, ToolCall, ToolResult
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from locus.wire.oci_chat import (
    CohereV1ChatBuilder,
    CohereV1ChatParser,
    CohereV2ChatBuilder,
    CohereV2ChatParser,
    GenericChatBuilder,
    GenericChatParser,
)
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.provider_json import encode_json
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support import anthropic_responses
from tests.support.strategies import ResponseContent, byte_splits, response_contents, texts
from tests.support.wire_json import (
    anthropic_json,
    chat_json,
    oci_cohere_json,
    oci_generic_json,
    ollama_json,
    responses_json,
)

# Ids.

ODD_IDS = (
    *("a:b", "a/b", "a_b", "a b", "functions.t:0", "é", "\u2028", "1", "call_0", "\0"),
    *("x" * 40, "x" * 41, "x" * 42, "x" * 400, "123456789", "chatcmpl-tool-" + "0f" * 16),
)
"""Ids that some provider rejects; some of them differ only in characters that are replaced."""


OPENAI_ID = r"\Acall_[a-zA-Z0-9]{24}\Z"
"""The form of OpenAI's ids."""


def call_id_lists(pattern: str) -> st.SearchStrategy[list[str]]:
    """Ids of the calls of one response. Another response may have the same."""
    return st.lists(
        st.from_regex(pattern) | st.sampled_from(ODD_IDS), min_size=4, max_size=4, unique=True
    )


# Responses.


@st.composite
def _number_calls(
    draw: st.DrawFn, sample: ResponseContent, first_number: int, pattern: str
) -> ResponseContent:
    """Number the calls of a response, and give them ids."""
    candidate = sample.first
    drawn_ids = draw(call_id_lists(pattern)) if candidate.calls else []
    calls = [
        attrs.evolve(call, id=drawn_ids[index], name=f"t{first_number + index}")
        for index, call in enumerate(candidate.calls)
    ]
    return attrs.evolve(sample, candidates=(attrs.evolve(candidate, calls=tuple(calls)),))


@st.composite
def _chat_completions(draw: st.DrawFn, first_number: int) -> Message:
    style = draw(st.sampled_from([None, None, "openai", "noids", "complete", "names"]))
    # A name in every fragment, and nobody can tell "{}{}" from two calls.
    sample = draw(
        _number_calls(
            draw(response_contents(valid_arguments=style == "names")), first_number, OPENAI_ID
        )
    )
    if style is None:
        body = json.dumps(chat_json.build_body(sample, with_ids=draw(st.booleans())))
        return ChatCompletionsParser().parse(body).message
    chunks = draw(chat_json.stream_chunks(sample, style))
    return chat_json.decode_response(
        draw(byte_splits(draw(chat_json.framed_streams(chunks))))
    ).message


@st.composite
def _anthropic(draw: st.DrawFn, first_number: int) -> Message:
    anthropic_response = draw(anthropic_responses.anthropic_responses(valid_arguments=False))
    drawn_ids = iter(draw(call_id_lists(r"\Atoolu_01[a-zA-Z0-9]{22}\Z")))
    blocks, next_number = [], first_number
    for block in anthropic_response.blocks:
        if block["type"] == "tool_use":
            block = {**block, "id": next(drawn_ids), "name": f"t{next_number}"}
            next_number += 1
        elif block["type"] == "text" and not block["text"].strip():
            block = {**block, "text": "So."}
        blocks.append(block)
    anthropic_response = attrs.evolve(anthropic_response, blocks=tuple(blocks))
    if draw(st.booleans()):
        return (
            AnthropicMessagesParser()
            .parse(json.dumps(anthropic_json.build_body(anthropic_response)))
            .message
        )
    events = draw(anthropic_json.stream_chunks(anthropic_response))
    return anthropic_json.decode_response(
        draw(byte_splits(draw(anthropic_json.framed_streams(events))))
    ).message


@st.composite
def _ollama(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(ollama_json.expressible_responses(valid_arguments=False))
    sample = draw(_number_calls(sample, first_number, r"\Acall_[a-z0-9]{8}\Z"))
    with_ids = draw(st.booleans())
    if draw(st.booleans()):
        body = json.dumps(ollama_json.build_body(sample, with_ids, draw(st.booleans())))
        return OllamaChatParser().parse(body).message
    chunks = draw(ollama_json.stream_chunks(sample, with_ids))
    return ollama_json.decode_response(
        draw(byte_splits(draw(ollama_json.framed_streams(chunks))))
    ).message


@st.composite
def _oci_generic(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_generic_json.expressible_responses(valid_arguments=False))
    sample = draw(_number_calls(sample, first_number, OPENAI_ID))
    style = draw(st.sampled_from([None, None, "deltas", "complete", "noids", "indexes"]))
    if style is None:
        body = json.dumps(oci_generic_json.build_body(sample, with_ids=draw(st.booleans())))
        return GenericChatParser().parse(body).message
    events = draw(oci_generic_json.stream_chunks(sample, style))
    return oci_generic_json.decode_response(
        draw(byte_splits(draw(chat_json.framed_streams(events))))
    ).message


@st.composite
def _oci_cohere(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_cohere_json.v1_expressible_responses(valid_arguments=False))
    sample = draw(_number_calls(sample, first_number, OPENAI_ID))  # no id is sent
    if draw(st.booleans()):
        return CohereV1ChatParser().parse(json.dumps(oci_cohere_json.build_v1_body(sample))).message
    stream = draw(chat_json.framed_streams(draw(oci_cohere_json.v1_stream_chunks(sample))))
    return oci_cohere_json.v1_reader.decode_response(draw(byte_splits(stream))).message


@st.composite
def _oci_cohere_v2(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_cohere_json.v2_expressible_responses(valid_arguments=False))
    sample = draw(_number_calls(sample, first_number, r"\A[a-z]{3,9}_[a-z0-9]{12}\Z"))
    if draw(st.booleans()):
        return CohereV2ChatParser().parse(json.dumps(oci_cohere_json.build_v2_body(sample))).message
    stream = draw(chat_json.framed_streams(draw(oci_cohere_json.v2_stream_chunks(sample))))
    return oci_cohere_json.v2_reader.decode_response(draw(byte_splits(stream))).message


@st.composite
def _responses(draw: st.DrawFn, first_number: int) -> Message:
    response = draw(responses_json.sample_responses(valid_arguments=False))
    drawn_ids = iter(draw(call_id_lists(OPENAI_ID)))
    items, next_number = [], first_number
    suffix = draw(st.sampled_from(["", *"abcdef"]))  # the same response may come twice
    for item in response.items:
        item = {**item, "id": item["id"] + suffix}
        if "call_id" in item:
            item = {**item, "call_id": next(drawn_ids), "name": f"t{next_number}"}
            next_number += 1
        if "input" in item:  # never the text of an object, because that is a function's input
            item["input"] = "! " + item["input"]
        items.append(item)
    response = attrs.evolve(response, items=tuple(items))
    parser = ResponsesParser(draw(st.booleans()))
    if draw(st.booleans()):
        return parser.parse(json.dumps(responses_json.build_body(response))).message
    style = draw(st.sampled_from(responses_json.STYLES))
    stream = draw(
        responses_json.framed_streams(draw(responses_json.stream_events(response, style)))
    )
    return responses_json.decode_response(draw(byte_splits(stream))).message


@attrs.frozen
class Provider:
    """A provider that a conversation can use.

    :param builder: the ``RequestBuilder``.
    :param messages: the strategy of its messages; their calls are numbered from an argument on.
    :param options: the options that every request needs.
    """

    builder: Any
    messages: Callable[[int], st.SearchStrategy[Message]]
    options: dict[str, Any]

    def encode_request(self, messages: Sequence[Message], **options: Any) -> bytes:
        """Build and encode the body of a request."""
        return encode_json(self.builder.build(messages, **{**self.options, **options}))


PROVIDERS: dict[str, Provider] = {
    "chat completions": Provider(ChatCompletionsBuilder(), _chat_completions, {"model": "gpt-4o"}),
    "Anthropic": Provider(
        AnthropicMessagesBuilder(),
        _anthropic,
        {"model": "claude-sonnet-4-20250514", "max_tokens": 9},
    ),
    "Ollama": Provider(OllamaChatBuilder(), _ollama, {"model": "qwen3:8b"}),
    "OCI generic": Provider(
        GenericChatBuilder("ocid1.compartment.oc1..a"),
        _oci_generic,
        {"model": "meta.llama-3.3-70b-instruct"},
    ),
    "OCI Cohere": Provider(CohereV1ChatBuilder(), _oci_cohere, {"model": "cohere.command-r-plus"}),
    "OCI Cohere v2": Provider(
        CohereV2ChatBuilder(), _oci_cohere_v2, {"model": "cohere.command-a-vision"}
    ),
    "Responses": Provider(ResponsesBuilder(), _responses, {"model": "gpt-5"}),
}
"""The providers, by the names in ``request_readers.FORMAT_RULES``."""


# User messages.


def image_parts() -> st.SearchStrategy[ImagePart]:
    """Images by URL, as bytes, and in ``data:`` URLs of different forms."""
    media_types = st.sampled_from(
        ["image/png", "image/jpeg", "image/jpg", "image/webp", "image/bmp"]
    )
    data = st.binary(min_size=1, max_size=9)
    prefixes = st.sampled_from(
        ["data:image/png;base64,", "DATA:image/png;name=a;base64,", "data:image/gif;BASE64,"]
    )
    in_data_url = st.builds(
        lambda prefix, data: prefix + base64.b64encode(data).decode(), prefixes, data
    )
    return (
        st.just(ImagePart(url="https://example.com/a.png?x=1&y=é", detail="low"))
        | st.builds(ImagePart, data=data, media_type=media_types)
        | st.builds(ImagePart, url=in_data_url)
    )


@st.composite
def _user(draw: st.DrawFn) -> Message:
    part = st.builds(TextPart, texts()) | image_parts()
    content = draw(texts() | st.lists(part, min_size=1, max_size=4))
    name = draw(st.sampled_from([None, None, "ann", "Ann Lee", "José <x>", "x" * 70]))
    return Message.user(content, name=name, metadata={"cache": 1})


_SYSTEM = st.builds(Message.system, texts(max_size=10), name=st.sampled_from([None, "host"]))


@st.composite
def conversation_legs(draw: st.DrawFn, name: str, first_number: int) -> list[Message]:
    """The messages of one exchange with the provider ``name``. Every call has a result.

    :param first_number: the number of the first call.
    """
    messages: list[Message] = []
    next_number = first_number

    def add_optional(strategy: st.SearchStrategy[Message], most: int = 1) -> None:
        messages.extend(draw(st.lists(strategy, max_size=most)))

    add_optional(_SYSTEM, 2)
    messages += draw(st.lists(_user(), min_size=1, max_size=2))
    add_optional(_SYSTEM)
    for _ in range(draw(st.integers(1, 2))):
        response = draw(PROVIDERS[name].messages(next_number))
        messages.append(response)
        next_number += len(response.tool_calls)
        for call in draw(st.permutations(response.tool_calls)):
            add_optional(_SYSTEM)
            add_optional(_user())
            messages.append(draw(_result(call)))
        add_optional(_SYSTEM)
        if not response.tool_calls:
            break
    messages.append(Message.user("Go on."))
    return messages


@st.composite
def _result(draw: st.DrawFn, call: ToolCall) -> Message:
    error = draw(st.none() | texts(min_size=1))
    result = Message.tool(ToolResult(call.id, call.name, draw(texts()), error=error))
    if draw(st.integers(0, 5)) == 5:
        image = draw(image_parts())
        return Message(Role.TOOL, ["map", image], tool_call_id=call.id, name=call.name)
    return result
