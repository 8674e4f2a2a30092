"""The wire formats of the practice server: functions that read requests and write responses.

The OCI Generative AI service has three APIs: OpenAI's chat completions and responses, and Oracle's
own chat. Oracle's has two formats, generic and Cohere's; of the latter only text is supported. Each
API has a function that reads a request and one that writes a response, complete or as a stream of
words. They are no records of formats (``locus.testing.formats``), which need pytest: the server of
an example runs without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from locus.testing._rule_based_responses import (
    PracticeMessage,
    PracticeRequest,
    PracticeResponse,
    PracticeTool,
    PracticeToolCall,
    split_into_words,
)
from locus.testing.server import Reply

Json = Mapping[str, Any]


def _count_prompt_and_completion_tokens(
    request: PracticeRequest, response: PracticeResponse
) -> tuple[int, int]:
    """Count the prompt tokens and the completion tokens; each word is one token."""
    prompt_tokens = sum(len(message.text.split()) for message in request.messages)
    return prompt_tokens, max(1, len(split_into_words(response.text)) + len(response.tool_calls))


def _join_text_parts(content: Any) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _count_images(content: Any) -> int:
    if isinstance(content, str):
        return 0
    return sum("image" in part.get("type", "").lower() for part in content or ())


def _decode_arguments(text: str) -> Any:
    return msgspec.json.decode(text or "{}")


def _encode_arguments(call: PracticeToolCall) -> str:
    return msgspec.json.encode(call.arguments).decode()


def _parse_tool(function: Json) -> PracticeTool:
    return PracticeTool(
        function["name"], function.get("description") or "", function.get("parameters") or {}
    )


def _parse_tool_choice(value: Any) -> str:
    if isinstance(value, Mapping):
        function = value.get("function") or value
        return str(function.get("name") or value.get("type", "auto")).lower()
    return value or "auto"


# -- chat completions ------------------------------------------------------------------------------


def parse_chat_completions_request(body: Json) -> PracticeRequest:
    """Parse a request of chat completions."""
    response_format = body.get("response_format") or {}
    return PracticeRequest(
        messages=tuple(_parse_chat_message(message) for message in body["messages"]),
        tools=tuple(_parse_tool(tool["function"]) for tool in body.get("tools") or ()),
        tool_choice=_parse_tool_choice(body.get("tool_choice")),
        schema=(response_format.get("json_schema") or {}).get("schema"),
        max_words=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def _parse_chat_message(message: Json) -> PracticeMessage:
    calls = [
        PracticeToolCall(
            call["function"]["name"], _decode_arguments(call["function"]["arguments"]), call["id"]
        )
        for call in message.get("tool_calls") or ()
    ]
    content = message.get("content")
    role = "system" if message["role"] == "developer" else message["role"]
    tool_call_id = message.get("tool_call_id")
    return PracticeMessage(
        role, _join_text_parts(content), _count_images(content), tuple(calls), tool_call_id
    )


def make_chat_completions_reply(
    response: PracticeResponse, request: PracticeRequest, body: Json, id: str
) -> Reply:
    """Make a reply of chat completions; ``n`` and ``logprobs`` are supported."""
    envelope = {"id": f"chatcmpl-{id}", "created": 1, "model": body["model"]}
    prompt_tokens, completion_tokens = _count_prompt_and_completion_tokens(request, response)
    choice_count = int(body.get("n") or 1)
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens * choice_count}
    usage["total_tokens"] = sum(usage.values())
    calls = [
        {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _encode_arguments(call)},
        }
        for index, call in enumerate(response.tool_calls)
    ]
    finish_reason = "tool_calls" if calls else "length" if response.is_truncated else "stop"
    tool_calls = {"tool_calls": calls} if calls else {}
    if body.get("stream"):
        envelope["object"] = "chat.completion.chunk"
        deltas: list[Json] = [
            {"role": "assistant", "content": word} for word in split_into_words(response.text)
        ]
        deltas += [tool_calls] if calls else []
        choices: list[Json] = [{"index": 0, "delta": delta} for delta in deltas]
        choices += [{"index": 0, "delta": {}, "finish_reason": finish_reason}]
        chunks = [{**envelope, "choices": [choice]} for choice in choices]
        return Reply.sse([*chunks, {**envelope, "choices": [], "usage": usage}])
    message = {"role": "assistant", "content": response.text or None, **tool_calls}
    logprobs = {"logprobs": {"content": _make_logprobs(response)}} if body.get("logprobs") else {}
    complete_choices = [
        {"index": index, "message": message, "finish_reason": finish_reason, **logprobs}
        for index in range(choice_count)
    ]
    return Reply.json(
        {**envelope, "object": "chat.completion", "choices": complete_choices, "usage": usage}
    )


def _make_logprobs(response: PracticeResponse) -> list[Json]:
    """Make log probabilities: the longer a word, the less likely."""
    return [
        {"token": word, "logprob": -0.05 * len(word), "bytes": [*word.encode()], "top_logprobs": []}
        for word in split_into_words(response.text)
    ]


# -- responses -------------------------------------------------------------------------------------


def parse_responses_request(
    body: Json, history: tuple[PracticeMessage, ...] = ()
) -> PracticeRequest:
    """Parse a request of the responses API.

    :param history: the messages that the server has stored.
    """
    input_ = body["input"]
    items = [{"role": "user", "content": input_}] if isinstance(input_, str) else input_
    instructions = (
        (PracticeMessage("system", body["instructions"]),) if body.get("instructions") else ()
    )
    text_format = (body.get("text") or {}).get("format") or {}
    return PracticeRequest(
        messages=(
            *history,
            *instructions,
            *(message for item in items for message in _iter_input_item_messages(item)),
        ),
        tools=tuple(_parse_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=_parse_tool_choice(body.get("tool_choice")),
        schema=text_format.get("schema"),
        max_words=body.get("max_output_tokens"),
    )


def _iter_input_item_messages(item: Json) -> Iterator[PracticeMessage]:
    """Yield the message of an input item; an item of an unknown type has none."""
    match item.get("type", "message"):
        case "message":
            content = item["content"]
            yield PracticeMessage(item["role"], _join_text_parts(content), _count_images(content))
        case "function_call":
            call = PracticeToolCall(
                item["name"], _decode_arguments(item["arguments"]), item["call_id"]
            )
            yield PracticeMessage("assistant", tool_calls=(call,))
        case "function_call_output":
            yield PracticeMessage(
                "tool", _join_text_parts(item["output"]), tool_call_id=item["call_id"]
            )


def make_responses_reply(
    response: PracticeResponse, request: PracticeRequest, body: Json, id: str
) -> Reply:
    """Make a reply of the responses API."""
    input_tokens, output_tokens = _count_prompt_and_completion_tokens(request, response)
    items: list[dict[str, Any]] = []
    if response.text:
        part = {"type": "output_text", "text": response.text, "annotations": []}
        members = {"id": f"msg_{id}", "role": "assistant", "status": "completed"}
        items.append({"type": "message", "content": [part], **members})
    for index, call in enumerate(response.tool_calls):
        members = {"call_id": call.id, "name": call.name, "arguments": _encode_arguments(call)}
        items.append(
            {"type": "function_call", "id": f"fc_{id}_{index}", "status": "completed", **members}
        )
    envelope = {"id": f"resp_{id}", "object": "response", "model": body["model"]}
    usage = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    status = "incomplete" if response.is_truncated else "completed"
    complete = {**envelope, "status": status, "output": items, "usage": usage}
    if response.is_truncated:
        complete["incomplete_details"] = {"reason": "max_output_tokens"}
    if not body.get("stream"):
        return Reply.json(complete)
    events: list[dict[str, Any]] = [
        {
            "type": "response.created",
            "response": {**envelope, "status": "in_progress", "output": []},
        }
    ]
    for index, item in enumerate(items):
        item_position = {"output_index": index}
        added_item = {**item, "content": []} if item["type"] == "message" else item
        events.append({"type": "response.output_item.added", "item": added_item, **item_position})
        if item["type"] == "message":
            part_position = {**item_position, "content_index": 0, "item_id": item["id"]}
            empty = {"type": "output_text", "text": "", "annotations": []}
            events.append({"type": "response.content_part.added", "part": empty, **part_position})
            delta = {"type": "response.output_text.delta", **part_position}
            events += [{**delta, "delta": word} for word in split_into_words(response.text)]
            events.append(
                {"type": "response.output_text.done", "text": response.text, **part_position}
            )
        events.append({"type": "response.output_item.done", "item": item, **item_position})
    events.append({"type": f"response.{status}", "response": complete})
    numbered = [{**event, "sequence_number": index} for index, event in enumerate(events)]
    return Reply.sse([(event["type"], event) for event in numbered], done=False)


# -- Oracle's ow ----------------------------------------------------------------------------------


def parse_oci_request(body: Json) -> PracticeRequest:
    """Parse a request of ``/actions/chat``."""
    chat_request = body["chatRequest"]
    if chat_request["apiFormat"] == "COHERE":
        roles = {"CHATBOT": "assistant", "SYSTEM": "system"}
        messages = [
            PracticeMessage(roles.get(entry["role"], "user"), entry.get("message") or "")
            for entry in chat_request.get("chatHistory") or ()
        ]
        return PracticeRequest(
            (*messages, PracticeMessage("user", chat_request["message"])),
            max_words=chat_request.get("maxTokens"),
        )
    response_format = chat_request.get("responseFormat") or {}
    return PracticeRequest(
        messages=tuple(_parse_generic_message(message) for message in chat_request["messages"]),
        tools=tuple(_parse_tool(tool) for tool in chat_request.get("tools") or ()),
        tool_choice=_parse_tool_choice(chat_request.get("toolChoice")),
        schema=(response_format.get("jsonSchema") or {}).get("schema"),
        max_words=chat_request.get("maxCompletionTokens") or chat_request.get("maxTokens"),
    )


def _parse_generic_message(message: Json) -> PracticeMessage:
    calls = [
        PracticeToolCall(call["name"], _decode_arguments(call["arguments"]), call["id"])
        for call in message.get("toolCalls") or ()
    ]
    content = message.get("content")
    tool_call_id = message.get("toolCallId")
    return PracticeMessage(
        message["role"].lower(),
        _join_text_parts(content),
        _count_images(content),
        tuple(calls),
        tool_call_id,
    )


def make_oci_reply(
    response: PracticeResponse, request: PracticeRequest, body: Json, id: str
) -> Reply:
    """Make a reply of ``/actions/chat``, in the format of the request."""
    chat_request = body["chatRequest"]
    prompt_tokens, completion_tokens = _count_prompt_and_completion_tokens(request, response)
    usage = {
        "promptTokens": prompt_tokens,
        "completionTokens": completion_tokens,
        "totalTokens": prompt_tokens + completion_tokens,
    }
    if chat_request["apiFormat"] == "COHERE":
        last = {
            "apiFormat": "COHERE",
            "text": response.text,
            "finishReason": "MAX_TOKENS" if response.is_truncated else "COMPLETE",
            "usage": usage,
        }
        if not chat_request.get("isStream"):
            return _make_complete_oci_reply(body, last)
        events: list[Json] = [
            {"apiFormat": "COHERE", "text": word} for word in split_into_words(response.text)
        ]
        return Reply.sse([*events, last], done=False)
    calls = [
        {"type": "FUNCTION", "id": call.id, "name": call.name, "arguments": _encode_arguments(call)}
        for call in response.tool_calls
    ]
    tool_calls = {"toolCalls": calls} if calls else {}
    finish_reason = "tool_calls" if calls else "length" if response.is_truncated else "stop"
    if not chat_request.get("isStream"):
        content = [{"type": "TEXT", "text": response.text}] if response.text else []
        message = {"role": "ASSISTANT", "content": content, **tool_calls}
        choice = {"index": 0, "message": message, "finishReason": finish_reason}
        return _make_complete_oci_reply(
            body, {"apiFormat": "GENERIC", "choices": [choice], "usage": usage}
        )
    deltas: list[Json] = [
        {"content": [{"type": "TEXT", "text": word}]} for word in split_into_words(response.text)
    ]
    deltas += [tool_calls] if calls else []
    events = [{"index": 0, "message": {"role": "ASSISTANT", **d}} for d in deltas]
    return Reply.sse([*events, {"index": 0, "finishReason": finish_reason}, {"usage": usage}])


def _make_complete_oci_reply(body: Json, chat_response: Json) -> Reply:
    """Make a complete reply of ``/actions/chat``."""
    model = (body.get("servingMode") or {}).get("modelId", "practice")
    return Reply.json({"modelId": model, "modelVersion": "1.0", "chatResponse": chat_response})
