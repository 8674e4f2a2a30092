"""The formats that the practice server speaks: requests read, answers written.

Three of them, as the OCI Generative AI service has them: OpenAI's chat completions and responses,
and Oracle's own chat, which is two (generic, and Cohere's, of which only the words). Each is a
function that reads a request and one that writes an answer, whole or as a stream of words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from locus.testing._practice_replies import Asked, Call, Offered, Said, Turn, pieces
from locus.testing.loopback_server import Reply

Json = Mapping[str, Any]


def _count(asked: Asked, said: Said) -> tuple[int, int]:
    """Tokens read and written, a word being one."""
    read = sum(len(turn.text.split()) for turn in asked.turns)
    return read, max(1, len(pieces(said.text)) + len(said.calls))


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _pictures(content: Any) -> int:
    if isinstance(content, str):
        return 0
    return sum("image" in part.get("type", "").lower() for part in content or ())


def _object(text: str) -> Any:
    return msgspec.json.decode(text or "{}")


def _arguments(call: Call) -> str:
    return msgspec.json.encode(call.arguments).decode()


def _offered(function: Json) -> Offered:
    return Offered(
        function["name"], function.get("description") or "", function.get("parameters") or {}
    )


def _choice(value: Any) -> str:
    if isinstance(value, Mapping):
        function = value.get("function") or value
        return str(function.get("name") or value.get("type", "auto")).lower()
    return value or "auto"


# -- chat completions ------------------------------------------------------------------------------


def read_completion(body: Json) -> Asked:
    """A request of chat completions."""
    wanted = body.get("response_format") or {}
    return Asked(
        turns=tuple(_chat_turn(message) for message in body["messages"]),
        tools=tuple(_offered(tool["function"]) for tool in body.get("tools") or ()),
        choice=_choice(body.get("tool_choice")),
        schema=(wanted.get("json_schema") or {}).get("schema"),
        limit=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def _chat_turn(message: Json) -> Turn:
    calls = [
        Call(call["function"]["name"], _object(call["function"]["arguments"]), call["id"])
        for call in message.get("tool_calls") or ()
    ]
    content = message.get("content")
    role = "system" if message["role"] == "developer" else message["role"]
    answers = message.get("tool_call_id")
    return Turn(role, _plain(content), _pictures(content), tuple(calls), answers)


def write_completion(said: Said, asked: Asked, body: Json, id: str) -> Reply:
    """An answer of chat completions; ``n`` and ``logprobs`` are known."""
    about = {"id": f"chatcmpl-{id}", "created": 1, "model": body["model"]}
    read, written = _count(asked, said)
    many = int(body.get("n") or 1)
    usage = {"prompt_tokens": read, "completion_tokens": written * many}
    usage["total_tokens"] = sum(usage.values())
    calls = [
        {
            "index": at,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for at, call in enumerate(said.calls)
    ]
    finish = "tool_calls" if calls else "length" if said.cut else "stop"
    known = {"tool_calls": calls} if calls else {}
    if body.get("stream"):
        about["object"] = "chat.completion.chunk"
        deltas: list[Json] = [{"role": "assistant", "content": word} for word in pieces(said.text)]
        deltas += [known] if calls else []
        choices: list[Json] = [{"index": 0, "delta": delta} for delta in deltas]
        choices += [{"index": 0, "delta": {}, "finish_reason": finish}]
        chunks = [{**about, "choices": [choice]} for choice in choices]
        return Reply.sse([*chunks, {**about, "choices": [], "usage": usage}])
    message = {"role": "assistant", "content": said.text or None, **known}
    tokens = {"logprobs": {"content": _logprobs(said)}} if body.get("logprobs") else {}
    whole = [
        {"index": at, "message": message, "finish_reason": finish, **tokens} for at in range(many)
    ]
    return Reply.json({**about, "object": "chat.completion", "choices": whole, "usage": usage})


def _logprobs(said: Said) -> list[Json]:
    """Long words are less likely: a rule as good as any."""
    return [
        {"token": word, "logprob": -0.05 * len(word), "bytes": [*word.encode()], "top_logprobs": []}
        for word in pieces(said.text)
    ]


# -- responses -------------------------------------------------------------------------------------


def read_response(body: Json, before: tuple[Turn, ...] = ()) -> Asked:
    """A request of responses.

    :param before: the turns that the server kept.
    """
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    told = (Turn("system", body["instructions"]),) if body.get("instructions") else ()
    wanted = (body.get("text") or {}).get("format") or {}
    return Asked(
        turns=(*before, *told, *(turn for item in items for turn in _response_turn(item))),
        tools=tuple(_offered(tool) for tool in body.get("tools") or ()),
        choice=_choice(body.get("tool_choice")),
        schema=wanted.get("schema"),
        limit=body.get("max_output_tokens"),
    )


def _response_turn(item: Json) -> Iterator[Turn]:
    match item.get("type", "message"):
        case "message":
            content = item["content"]
            yield Turn(item["role"], _plain(content), _pictures(content))
        case "function_call":
            call = Call(item["name"], _object(item["arguments"]), item["call_id"])
            yield Turn("assistant", calls=(call,))
        case "function_call_output":
            yield Turn("tool", _plain(item["output"]), answers=item["call_id"])


def write_response(said: Said, asked: Asked, body: Json, id: str) -> Reply:
    """An answer of responses."""
    read, written = _count(asked, said)
    items: list[dict[str, Any]] = []
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        about = {"id": f"msg_{id}", "role": "assistant", "status": "completed"}
        items.append({"type": "message", "content": [part], **about})
    for at, call in enumerate(said.calls):
        named = {"call_id": call.id, "name": call.name, "arguments": _arguments(call)}
        items.append(
            {"type": "function_call", "id": f"fc_{id}_{at}", "status": "completed", **named}
        )
    around = {"id": f"resp_{id}", "object": "response", "model": body["model"]}
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    status = "incomplete" if said.cut else "completed"
    whole = {**around, "status": status, "output": items, "usage": usage}
    if said.cut:
        whole["incomplete_details"] = {"reason": "max_output_tokens"}
    if not body.get("stream"):
        return Reply.json(whole)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**around, "status": "in_progress", "output": []}}
    ]
    for at, item in enumerate(items):
        place = {"output_index": at}
        begun = {**item, "content": []} if item["type"] == "message" else item
        events.append({"type": "response.output_item.added", "item": begun, **place})
        if item["type"] == "message":
            inside = {**place, "content_index": 0, "item_id": item["id"]}
            empty = {"type": "output_text", "text": "", "annotations": []}
            events.append({"type": "response.content_part.added", "part": empty, **inside})
            delta = {"type": "response.output_text.delta", **inside}
            events += [{**delta, "delta": word} for word in pieces(said.text)]
            events.append({"type": "response.output_text.done", "text": said.text, **inside})
        events.append({"type": "response.output_item.done", "item": item, **place})
    events.append({"type": f"response.{status}", "response": whole})
    numbered = [{**event, "sequence_number": at} for at, event in enumerate(events)]
    return Reply.sse([(event["type"], event) for event in numbered], done=False)


# -- Oracle's own ----------------------------------------------------------------------------------


def read_native(body: Json) -> Asked:
    """A request of ``/actions/chat``."""
    request = body["chatRequest"]
    if request["apiFormat"] == "COHERE":
        roles = {"CHATBOT": "assistant", "SYSTEM": "system"}
        turns = [
            Turn(roles.get(each["role"], "user"), each.get("message") or "")
            for each in request.get("chatHistory") or ()
        ]
        return Asked((*turns, Turn("user", request["message"])), limit=request.get("maxTokens"))
    wanted = request.get("responseFormat") or {}
    return Asked(
        turns=tuple(_generic_turn(message) for message in request["messages"]),
        tools=tuple(_offered(tool) for tool in request.get("tools") or ()),
        choice=_choice(request.get("toolChoice")),
        schema=(wanted.get("jsonSchema") or {}).get("schema"),
        limit=request.get("maxCompletionTokens") or request.get("maxTokens"),
    )


def _generic_turn(message: Json) -> Turn:
    calls = [
        Call(call["name"], _object(call["arguments"]), call["id"])
        for call in message.get("toolCalls") or ()
    ]
    content = message.get("content")
    answers = message.get("toolCallId")
    return Turn(message["role"].lower(), _plain(content), _pictures(content), tuple(calls), answers)


def write_native(said: Said, asked: Asked, body: Json, id: str) -> Reply:
    """An answer of ``/actions/chat``, in the format of the request."""
    request = body["chatRequest"]
    read, written = _count(asked, said)
    usage = {"promptTokens": read, "completionTokens": written, "totalTokens": read + written}
    if request["apiFormat"] == "COHERE":
        last = {
            "apiFormat": "COHERE",
            "text": said.text,
            "finishReason": "MAX_TOKENS" if said.cut else "COMPLETE",
            "usage": usage,
        }
        if not request.get("isStream"):
            return _native(body, last)
        events: list[Json] = [{"apiFormat": "COHERE", "text": word} for word in pieces(said.text)]
        return Reply.sse([*events, last], done=False)
    calls = [
        {"type": "FUNCTION", "id": call.id, "name": call.name, "arguments": _arguments(call)}
        for call in said.calls
    ]
    known = {"toolCalls": calls} if calls else {}
    finish = "tool_calls" if calls else "length" if said.cut else "stop"
    if not request.get("isStream"):
        content = [{"type": "TEXT", "text": said.text}] if said.text else []
        message = {"role": "ASSISTANT", "content": content, **known}
        choice = {"index": 0, "message": message, "finishReason": finish}
        return _native(body, {"apiFormat": "GENERIC", "choices": [choice], "usage": usage})
    deltas: list[Json] = [
        {"content": [{"type": "TEXT", "text": word}]} for word in pieces(said.text)
    ]
    deltas += [known] if calls else []
    events = [{"index": 0, "message": {"role": "ASSISTANT", **d}} for d in deltas]
    return Reply.sse([*events, {"index": 0, "finishReason": finish}, {"usage": usage}])


def _native(body: Json, chat: Json) -> Reply:
    model = (body.get("servingMode") or {}).get("modelId", "practice")
    return Reply.json({"modelId": model, "modelVersion": "1.0", "chatResponse": chat})
