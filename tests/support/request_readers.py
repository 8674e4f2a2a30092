"""Readers of requests: each reads the requests of one format as the provider would.

No code is shared with Locus. A reader takes the bytes of a request, checks them against the
provider's documentation (the order of roles, the accepted ids and images), and returns a list of
:class:`~locus.testing.formats.ReadMessage`, which is the same for all formats. What a format cannot
express is in its record, in ``tests/support/formats``.

OpenAI: "Create chat completion" and "Create a model response" of the API reference. Anthropic:
"Messages", "Tool use", "Vision". Ollama: ``docs/api.md``, "Generate a chat completion". OCI: the
classes of ``oci.generative_ai_inference.models``; and for Cohere's first format, what the service
says when it refuses (oracle/langchain-oracle, pull requests 8 and 9; cohere-python, issue 525).
"""

from __future__ import annotations

import json
import re
from typing import Any

from locus.core.messages import ToolCall
from locus.testing.formats.decoded_messages import (
    ReadCall,
    ReadImage,
    ReadMessage,
    ReadThinking,
    check_call_results,
    decode_base64,
    join_texts,
    parse_json_object,
    read_image_url,
)

# Chat completions.


def wrap_malformed_arguments(call: ToolCall) -> ToolCall:
    """Return a call as every format sends it: malformed arguments are a member of an object."""
    text = call.malformed_arguments
    if text is None:
        return call
    return ToolCall(call.id, call.name, {"malformed_arguments": text} if text.strip() else {})


def read_chat_completions(body: bytes) -> list[ReadMessage]:
    """``messages``, in the order of the conversation."""
    messages = []
    for message in json.loads(body)["messages"]:
        role = message.pop("role")
        assert role in ("system", "user", "assistant", "tool")
        content, name = message.pop("content", None), message.pop("name", None)
        assert name is None or re.fullmatch(r"[^\s<|\\/>]{1,64}", name)
        refusal, calls, tool_call_id = None, [], None
        if role == "assistant":
            refusal = message.pop("refusal", None)
            calls = [_read_chat_call(call) for call in message.pop("tool_calls", ())]
            message.pop("reasoning_content", None)  # the server's own, which it wants back
            assert content or refusal or calls
        elif role == "tool":
            tool_call_id = message.pop("tool_call_id")
        assert not message, message
        if isinstance(content, list):
            assert role == "user"
            parts = tuple(_read_chat_part(part) for part in content)
        elif role in ("user", "system"):
            parts = (content,)
        else:
            parts = join_texts(content)
        messages.append(ReadMessage(role, parts, tuple(calls), (), refusal, name, tool_call_id))
    check_call_results(messages)
    return messages


SKIPPED_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""https://ai.google.dev/gemini-api/docs/thought-signatures"""


def _read_chat_call(call: dict[str, Any]) -> ReadCall:
    # Google's servers check the calls of others, unless a call has this in place of a signature.
    assert call.pop("extra_content", SKIPPED_SIGNATURE) == SKIPPED_SIGNATURE
    assert call.keys() == {"id", "type", "function"}
    assert call["type"] == "function"
    function = call["function"]
    assert function.keys() == {"name", "arguments"}
    arguments = parse_json_object(function["arguments"])
    text = function["arguments"] if arguments is None else None
    return ReadCall(call["id"], function["name"], arguments, text)


def _read_chat_part(part: dict[str, Any]) -> str | ReadImage:
    if part["type"] == "text":
        assert part.keys() == {"type", "text"}
        text: str = part["text"]
        return text
    assert part.keys() == {"type", "image_url"}
    return read_image_url(part["image_url"]["url"])


# Anthropic messages.


def read_anthropic_messages(body: bytes) -> list[ReadMessage]:
    """The system prompt, and the messages: in a user's message the results of tools come first."""
    request = json.loads(body)
    messages = []
    if "system" in request:
        prompt = request["system"]
        texts = [prompt] if isinstance(prompt, str) else [block["text"] for block in prompt]
        assert all(text.strip() for text in texts)
        messages.append(ReadMessage("system", tuple(texts)))
    previous = None
    for provider_message in request["messages"]:
        assert provider_message.keys() == {"role", "content"}
        assert provider_message["role"] in ("user", "assistant")
        assert provider_message["role"] != previous
        previous = provider_message["role"]
        blocks = provider_message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        assert blocks
        if previous == "assistant":
            messages.append(_read_anthropic_blocks(blocks))
            continue
        results = [block for block in blocks if block["type"] == "tool_result"]
        assert results == blocks[: len(results)]
        for result in results:
            assert result.keys() <= {"type", "tool_use_id", "content", "is_error"}
            content = result.get("content", [])
            messages.append(
                ReadMessage(
                    "tool",
                    _read_anthropic_parts(
                        [{"type": "text", "text": content}] if isinstance(content, str) else content
                    ),
                    tool_call_id=result["tool_use_id"],
                    failed=result.get("is_error", False),
                )
            )
        if blocks[len(results) :]:
            messages.append(ReadMessage("user", _read_anthropic_parts(blocks[len(results) :])))
    check_call_results(messages)
    return messages


def _read_anthropic_blocks(blocks: list[dict[str, Any]]) -> ReadMessage:
    parts, calls, thinking = [], [], []
    for block in blocks:
        match block["type"]:
            case "tool_use":
                assert block.keys() == {"type", "id", "name", "input"}
                assert isinstance(block["input"], dict)
                calls.append(ReadCall(block["id"], block["name"], block["input"]))
            case "thinking":
                assert block["signature"]
                thinking.append(ReadThinking(block["thinking"], block["signature"]))
            case "redacted_thinking":
                thinking.append(ReadThinking(redacted=block["data"]))
            case "server_tool_use" | "web_search_tool_result":
                pass  # Anthropic's own tools
            case _:
                parts += _read_anthropic_parts([block])
    assert not any(isinstance(part, ReadImage) for part in parts)
    text = join_texts(*(part for part in parts if isinstance(part, str)))
    return ReadMessage("assistant", text, tuple(calls), tuple(thinking))


def _read_anthropic_parts(blocks: list[dict[str, Any]]) -> tuple[str | ReadImage, ...]:
    messages: list[str | ReadImage] = []
    for block in blocks:
        if block["type"] == "text":
            assert block["text"].strip()
            messages.append(block["text"])
            continue
        assert block["type"] == "image"
        source = block["source"]
        if source["type"] == "url":
            messages.append(ReadImage(source["url"]))
            continue
        assert source["type"] == "base64"
        assert source["media_type"] in ("image/jpeg", "image/png", "image/gif", "image/webp")
        messages.append(ReadImage(None, decode_base64(source["data"]), source["media_type"]))
    return tuple(messages)


# Ollama.


def read_ollama_chat(body: bytes) -> list[ReadMessage]:
    """``messages``; the order of results is the order of their calls."""
    messages = []
    for message in json.loads(body)["messages"]:
        known = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
        assert {"role", "content"} <= message.keys() <= known
        calls = []
        for call in message.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            assert isinstance(arguments, dict)
            calls.append(ReadCall(call["id"], call["function"]["name"], arguments))
        images = [ReadImage(None, decode_base64(image)) for image in message.get("images", ())]
        thinking_text = (ReadThinking(message["thinking"]),) if "thinking" in message else ()
        if message["role"] == "tool":
            assert message["tool_name"]
        messages.append(
            ReadMessage(
                message["role"],
                (*join_texts(message["content"]), *images),
                tuple(calls),
                thinking_text,
                tool_call_id=message.get("tool_call_id"),
            )
        )
    check_call_results(messages)
    call_count = [call.id for message in messages for call in message.calls]
    assert [message.tool_call_id for message in messages if message.role == "tool"] == call_count
    return messages


# OCI.


def read_oci_envelope(body: bytes, form: str) -> dict[str, Any]:
    """Read the ``chatRequest`` inside ``ChatDetails``."""
    details = json.loads(body)
    assert details.keys() <= {"compartmentId", "servingMode", "chatRequest"}
    mode = details["servingMode"]
    assert mode.keys() == {"servingType", "modelId"}
    assert mode["servingType"] == "ON_DEMAND"
    request: dict[str, Any] = details["chatRequest"]
    assert request.pop("apiFormat") == form
    return request


def read_oci_generic(body: bytes) -> list[ReadMessage]:
    """``messages``, in the order of the conversation: all content is in parts."""
    messages = []
    for message in read_oci_envelope(body, "GENERIC")["messages"]:
        role = message.pop("role")
        assert role in ("SYSTEM", "USER", "ASSISTANT", "TOOL")
        parts = tuple(_read_oci_part(part, "IMAGE") for part in message.pop("content", ()))
        assert role == "USER" or all(isinstance(part, str) for part in parts)
        name, refusal, thinking_text, calls, tool_call_id = (
            message.pop("name", None),
            None,
            None,
            [],
            None,
        )
        assert name is None or re.fullmatch(r"[^\s<|\\/>]{1,64}", name)
        if role == "ASSISTANT":
            refusal = message.pop("refusal", None)
            thinking_text = message.pop("reasoningContent", None)
            for call in message.pop("toolCalls", ()):
                assert call.keys() == {"id", "type", "name", "arguments"}
                assert call["type"] == "FUNCTION"
                calls.append(_read_call(call["id"], call["name"], call["arguments"]))
            assert parts or refusal or calls
            parts = join_texts(*map(str, parts))
        elif role == "TOOL":
            tool_call_id = message.pop("toolCallId")
            parts = join_texts(*map(str, parts))
        assert not message, message
        thinking = (ReadThinking(thinking_text),) if thinking_text else ()
        messages.append(
            ReadMessage(role.lower(), parts, tuple(calls), thinking, refusal, name, tool_call_id)
        )
    check_call_results(messages)
    return messages


def _read_call(call_id: str, name: str, arguments: str) -> ReadCall:
    value = parse_json_object(arguments)
    return ReadCall(call_id, name, value, arguments if value is None else None)


def _read_oci_part(part: dict[str, Any], image: str) -> str | ReadImage:
    if part["type"] == "TEXT":
        assert part.keys() == {"type", "text"}
        text: str = part["text"]
        return text
    assert part["type"] == image
    assert part.keys() == {"type", "imageUrl"}
    assert part["imageUrl"].keys() <= {"url", "detail"}
    assert part["imageUrl"].get("detail") in (None, "AUTO", "LOW", "HIGH")
    return read_image_url(part["imageUrl"]["url"])


def read_oci_cohere(body: bytes) -> list[ReadMessage]:
    """The preamble, the history, and the current message or results.

    A result repeats its call. The calls of results come directly before them, and are equal; after
    results the assistant speaks before the user.
    """
    request = read_oci_envelope(body, "COHERE")
    messages = []
    if "preambleOverride" in request:
        assert request["preambleOverride"]
        messages.append(ReadMessage("system", (request["preambleOverride"],)))
    entries = request.get("chatHistory", [])
    results = request.get("toolResults")
    if results:
        assert request["message"] == ""
        entries = [*entries, {"role": "TOOL", "toolResults": results}]
    else:
        entries = [*entries, {"role": "USER", "message": request["message"]}]
    pending_ids: list[tuple[str, dict[str, Any]]] = []
    last_role = None
    call_count = 0
    for at, entry in enumerate(entries):
        role = entry["role"]
        if role == "TOOL":
            assert entry.keys() == {"role", "toolResults"}
            result_entries = entry["toolResults"]
            assert [result["call"] for result in result_entries] == [
                call for _, call in pending_ids
            ]
            for (call_id, _), result in zip(pending_ids, result_entries, strict=True):
                assert result.keys() == {"call", "outputs"}
                (output,) = result["outputs"]
                ((output_name, text),) = output.items()
                assert output_name in ("output", "error")
                failed = output_name == "error"
                messages.append(
                    ReadMessage("tool", join_texts(text), tool_call_id=call_id, failed=failed)
                )
            pending_ids, last_role = [], role
            continue
        assert not pending_ids
        assert entry.keys() <= {"role", "message", "toolCalls"}
        assert entry["message"] or at == len(entries) - 1
        if role == "SYSTEM":
            messages.append(ReadMessage("system", join_texts(entry["message"])))
            continue
        calls = entry.get("toolCalls", [])
        if role == "USER":
            assert not calls
            assert last_role != "TOOL"
        else:
            assert role == "CHATBOT"
        for call in calls:
            assert call.keys() == {"name", "parameters"}
            assert isinstance(call["parameters"], dict)
            pending_ids.append((f"number {call_count}", call))
            call_count += 1
        calls_read = tuple(
            ReadCall(call_id, call["name"], call["parameters"]) for call_id, call in pending_ids
        )
        speaker_role = "user" if role == "USER" else "assistant"
        messages.append(ReadMessage(speaker_role, join_texts(entry["message"]), calls_read))
        last_role = role
    check_call_results(messages)
    return messages


def read_oci_cohere_v2(body: bytes) -> list[ReadMessage]:
    """``messages``, in the order of the conversation; assistants may have thinking and a plan."""
    messages = []
    for message in read_oci_envelope(body, "COHEREV2")["messages"]:
        role = message.pop("role")
        assert role in ("SYSTEM", "USER", "ASSISTANT", "TOOL")
        content = message.pop("content")
        calls, tool_call_id, thinking_text = [], None, ""
        if role == "ASSISTANT":
            thinking_text = "".join(
                part["thinking"] for part in content if part["type"] == "THINKING"
            )
            content = [part for part in content if part["type"] != "THINKING"]
            message.pop("toolPlan", None)
            for call in message.pop("toolCalls", ()):
                assert call.keys() == {"id", "type", "function"}
                assert call["type"] == "FUNCTION"
                calls.append(_read_call(call["id"], **call["function"]))
        elif role == "TOOL":
            tool_call_id = message.pop("toolCallId")
        assert not message, message
        parts = tuple(_read_oci_part(part, "IMAGE_URL") for part in content)
        if role != "USER":
            assert all(isinstance(part, str) for part in parts)
        if role in ("ASSISTANT", "TOOL"):
            parts = join_texts(*map(str, parts))
        thinking = (ReadThinking(thinking_text),) if thinking_text else ()
        messages.append(
            ReadMessage(role.lower(), parts, tuple(calls), thinking, tool_call_id=tool_call_id)
        )
    check_call_results(messages)
    return messages


def read_cohere_chat(body: bytes) -> list[ReadMessage]:
    """``messages`` of Cohere's own API; the results of tools are documents."""
    messages = []
    for message in json.loads(body)["messages"]:
        role = message.pop("role")
        assert role in ("system", "user", "assistant", "tool")
        content = message.pop("content", [])
        calls, tool_call_id, thinking_text, failed = [], None, "", False
        if role == "assistant":
            thinking_text = "".join(
                part["thinking"] for part in content if part["type"] == "thinking"
            )
            content = [part for part in content if part["type"] != "thinking"]
            message.pop("tool_plan", None)
            for call in message.pop("tool_calls", ()):
                assert call.keys() == {"id", "type", "function"}
                assert call["type"] == "function"
                calls.append(_read_call(call["id"], **call["function"]))
        elif role == "tool":
            tool_call_id = message.pop("tool_call_id")
            (document,) = content
            assert document.keys() == {"type", "document"}
            ((name, text),) = document["document"]["data"].items()
            failed = {"output": False, "error": True}[name]
            content = [{"type": "text", "text": text}]
        assert not message, message
        parts = tuple(_read_cohere_part(part) for part in content)
        if role != "user":
            assert all(isinstance(part, str) for part in parts)
        if role in ("assistant", "tool"):
            parts = join_texts(*map(str, parts))
        thinking = (ReadThinking(thinking_text),) if thinking_text else ()
        messages.append(
            ReadMessage(
                role, parts, tuple(calls), thinking, tool_call_id=tool_call_id, failed=failed
            )
        )
    check_call_results(messages)
    return messages


def _read_cohere_part(part: dict[str, Any]) -> str | ReadImage:
    if part["type"] == "text":
        assert part.keys() == {"type", "text"}
        return str(part["text"])
    assert part["type"] == "image_url"
    assert part["image_url"].keys() <= {"url", "detail"}
    assert part["image_url"].get("detail") in (None, "auto", "low", "high")
    return read_image_url(part["image_url"]["url"])


# Responses.


def read_responses(body: bytes) -> list[ReadMessage]:
    """``input``: a message is one or several items, and so are calls and results."""
    messages: list[ReadMessage] = []
    output_types: dict[str, str] = {}
    item_ids: list[str] = []
    for item in json.loads(body)["input"]:
        item_ids += [item["id"]] if "id" in item else []
        match item["type"]:
            case "message" if item["role"] == "assistant":
                assert item.keys() <= {"id", "type", "role", "status", "content", "phase"}
                assert {"id", "status"} <= item.keys()
                assert item["content"]
                text_members = {"output_text": "text", "refusal": "refusal"}
                parts = [
                    (part["type"], part[text_members[part["type"]]]) for part in item["content"]
                ]
                text = join_texts(
                    *(text for part_type, text in parts if part_type == "output_text")
                )
                refusal = "".join(text for part_type, text in parts if part_type == "refusal")
                _append_assistant_message(
                    messages, ReadMessage("assistant", text, refusal=refusal or None)
                )
            case "message":
                assert item.keys() == {"type", "role", "content"}
                parts = _read_responses_parts(item["content"])
                if item["role"] == "system":
                    parts = ("".join(map(str, parts)),)
                else:
                    assert item["role"] == "user"
                messages.append(ReadMessage(item["role"], parts))
            case "function_call":
                assert item.keys() <= {"id", "type", "status", "call_id", "name", "arguments"}
                call = _read_call(item["call_id"], item["name"], item["arguments"])
                output_types[call.id] = "function_call_output"
                _append_assistant_message(messages, ReadMessage("assistant", calls=(call,)))
            case "custom_tool_call":
                # Free text goes back as it is; elsewhere it is arguments that are no object.
                free_text = {"malformed_arguments": item["input"]}
                call = ReadCall(item["call_id"], item["name"], free_text)
                output_types[call.id] = "custom_tool_call_output"
                _append_assistant_message(messages, ReadMessage("assistant", calls=(call,)))
            case "function_call_output" | "custom_tool_call_output" as item_type:
                assert item.keys() == {"type", "call_id", "output"}
                assert output_types[item["call_id"]] == item_type
                output = item["output"]
                output_parts = (
                    (output,) if isinstance(output, str) else _read_responses_parts(output)
                )
                messages.append(ReadMessage("tool", output_parts, tool_call_id=item["call_id"]))
            case item_type:  # the server's own tools and reasoning
                assert item_type in ("reasoning", "web_search_call", "image_generation_call")
                assert item["id"]
    assert len(set(item_ids)) == len(item_ids)
    check_call_results(messages)
    return messages


def _append_assistant_message(messages: list[ReadMessage], message: ReadMessage) -> None:
    """Append to the assistant's last message, or start a new one."""
    if not messages or messages[-1].role != "assistant":
        messages.append(message)
        return
    previous = messages.pop()
    refusal = (previous.refusal or "") + (message.refusal or "")
    parts = join_texts(*map(str, previous.parts + message.parts))
    messages.append(
        ReadMessage("assistant", parts, previous.calls + message.calls, refusal=refusal or None)
    )


def _read_responses_parts(parts: list[dict[str, Any]]) -> tuple[str | ReadImage, ...]:
    messages: list[str | ReadImage] = []
    for part in parts:
        if part["type"] == "input_text":
            assert part.keys() == {"type", "text"}
            messages.append(part["text"])
            continue
        assert part["type"] == "input_image"
        assert part.keys() == {"type", "image_url", "detail"}
        messages.append(read_image_url(part["image_url"]))
    return tuple(messages)


# Tools: name, description and schema.

ReadTool = tuple[str, str | None, Any]


def read_chat_completions_tools(body: bytes) -> list[ReadTool]:
    """``tools`` of chat completions, of Ollama, and of Cohere's second format."""
    tools = []
    for tool in find_tools(body):
        assert tool.keys() == {"type", "function"}
        assert tool["type"].lower() == "function"
        function = tool["function"]
        tools.append((function["name"], function.get("description"), function["parameters"]))
    return tools


read_oci_cohere_v2_tools = read_chat_completions_tools


def find_tools(body: bytes) -> list[dict[str, Any]]:
    """``tools``, wherever they are."""
    request = json.loads(body)
    tools: list[dict[str, Any]] = request.get("chatRequest", request).get("tools", [])
    return tools


def read_anthropic_tools(body: bytes) -> list[ReadTool]:
    """``tools`` with an ``input_schema``."""
    return [
        (tool["name"], tool.get("description"), tool["input_schema"]) for tool in find_tools(body)
    ]


def read_oci_generic_tools(body: bytes) -> list[ReadTool]:
    """``tools`` whose members are not nested."""
    tools = find_tools(body)
    assert all(tool["type"] == "FUNCTION" for tool in tools)
    return [(tool["name"], tool.get("description"), tool["parameters"]) for tool in tools]


def read_responses_tools(body: bytes) -> list[ReadTool]:
    """``tools`` whose members are not nested."""
    tools = find_tools(body)
    assert all(tool["type"] == "function" for tool in tools)
    return [(tool["name"], tool.get("description"), tool["parameters"]) for tool in tools]


def read_oci_cohere_tools(body: bytes) -> list[ReadTool]:
    """``tools`` of Cohere's first format, whose parameters have no schema, but definitions."""
    return [
        (tool["name"], tool.get("description"), tool.get("parameterDefinitions"))
        for tool in find_tools(body)
    ]
