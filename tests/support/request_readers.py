"""What a provider would understand of a request: each format read by rules of its own.

Nothing here is Locus's. A reader takes the bytes of a request, holds them against the provider's
documentation (who may speak when, which ids and images are taken), and gives what was said in one
form for all formats: a list of :class:`Said`. What a format has no room for is said by its
:class:`Format`, so that a test knows what to look for. A new format is a function that reads and an
entry in :data:`FORMATS`.

OpenAI: "Create chat completion" and "Create a model response" of the API reference. Anthropic:
"Messages", "Tool use", "Vision". Ollama: ``docs/api.md``, "Generate a chat completion". OCI: the
classes of ``oci.generative_ai_inference.models``; and for Cohere's first format, what the service
says when it refuses (oracle/langchain-oracle, pull requests 8 and 9; cohere-python, issue 525).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs


@attrs.frozen
class Picture:
    """An image: its address, or its bytes, with their type where the format says one."""

    url: str | None = None
    data: bytes | None = None
    kind: str | None = None


@attrs.frozen
class Asked:
    """A tool call. ``text`` is what was written where it is no object.

    Where the format has no ids, the reader gives each call one that no other has.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] | None = None
    text: str | None = None


@attrs.frozen
class Thought:
    """Thinking that is sent back."""

    text: str = ""
    seal: str | None = None
    redacted: str | None = None


@attrs.frozen
class Said:
    """What one party says at one time; a tool's result is a ``tool``'s."""

    role: str
    pieces: tuple[str | Picture, ...] = ()
    calls: tuple[Asked, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    refusal: str | None = None
    name: str | None = None
    answers: str | None = None
    failed: bool = False


@attrs.frozen
class Format:
    """A format: how to read it, and what it has room for.

    :param read: what a request's bytes say.
    :param id: the ids of tool calls that it takes; None where it has none.
    :param systems: ``"in place"``; ``"first"`` where all system messages are one prompt;
        ``"opening"`` where only those are that stand before everything else.
    :param merges: who says one thing in what are several messages that follow each other.
    :param blank: whether text without a visible character is taken.
    :param nothing: what is said where there is nothing to say, and something has to be.
    :param between: what the assistant says between results and a user who did not wait for it,
        where it has to say something.
    :param parts: whether text and images keep their order; else the text comes first, as one.
    :param fetches: whether an image may be an address.
    :param kinds: the types that images may be of; None for any, ``()`` where none is said.
    :param pictures: who may show images.
    :param refusals: ``"apart"`` where a refusal has a place of its own; else it is text, in a
        ``"part"`` or a ``"paragraph"`` of its own.
    :param thinking: ``"sealed"`` or ``"open"`` thinking goes back, or none at all.
    :param malformed: whether arguments that are no object go as they are; else inside an object.
    :param failures: whether a result says that it failed by more than its text.
    :param names: whether it is said who speaks.
    :param ordered: whether results have to be in the order of their calls.
    """

    read: Callable[[bytes], list[Said]]
    id: re.Pattern[str] | None
    systems: str = "in place"
    merges: tuple[str, ...] = ()
    blank: bool = True
    nothing: str | None = None
    between: str | None = None
    parts: bool = True
    fetches: bool = True
    kinds: tuple[str, ...] | None = None
    pictures: tuple[str, ...] = ("user",)
    refusals: str = "paragraph"
    thinking: str | None = None
    malformed: bool = False
    failures: bool = False
    names: bool = False
    ordered: bool = False


def inline(encoded: str) -> bytes:
    """Bytes that stand in a request."""
    return base64.b64decode(encoded, validate=True)


def object_in(text: str) -> dict[str, Any] | None:
    """The object that JSON text is, if it is one."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def joined(*texts: str | None) -> tuple[str, ...]:
    """Texts as one piece, or none."""
    text = "".join(text or "" for text in texts)
    return (text,) if text else ()


def answered(said: list[Said]) -> None:
    """Every call has one result right behind it, every result a call, and no two calls one id."""
    seen: set[str] = set()
    waiting: list[str] = []
    for one in said:
        if one.role == "tool":
            assert one.answers in waiting, (one, waiting)
            waiting.remove(one.answers)
            continue
        assert not waiting, (one, waiting)
        waiting = [call.id for call in one.calls]
        assert len(set(waiting)) == len(waiting)
        assert not seen & set(waiting)
        seen |= set(waiting)
    assert not waiting


# Chat completions.


def read_chat_completions(body: bytes) -> list[Said]:
    """``messages``, in the order of the conversation."""
    found = []
    for message in json.loads(body)["messages"]:
        role = message.pop("role")
        assert role in ("system", "user", "assistant", "tool")
        content, name = message.pop("content", None), message.pop("name", None)
        assert name is None or re.fullmatch(r"[^\s<|\\/>]{1,64}", name)
        refusal, calls, answers = None, [], None
        if role == "assistant":
            refusal = message.pop("refusal", None)
            calls = [_chat_call(call) for call in message.pop("tool_calls", ())]
            assert content or refusal or calls
        elif role == "tool":
            answers = message.pop("tool_call_id")
        assert not message, message
        if isinstance(content, list):
            assert role == "user"
            pieces = tuple(_chat_part(part) for part in content)
        elif role in ("user", "system"):
            pieces = (content,)
        else:
            pieces = joined(content)
        found.append(Said(role, pieces, tuple(calls), (), refusal, name, answers))
    answered(found)
    return found


def _chat_call(call: dict[str, Any]) -> Asked:
    assert call.keys() == {"id", "type", "function"}
    assert call["type"] == "function"
    function = call["function"]
    assert function.keys() == {"name", "arguments"}
    arguments = object_in(function["arguments"])
    text = function["arguments"] if arguments is None else None
    return Asked(call["id"], function["name"], arguments, text)


def _chat_part(part: dict[str, Any]) -> str | Picture:
    if part["type"] == "text":
        assert part.keys() == {"type", "text"}
        text: str = part["text"]
        return text
    assert part.keys() == {"type", "image_url"}
    return in_url(part["image_url"]["url"])


def in_url(url: str) -> Picture:
    """An image by its address, which may hold it in one spelling only."""
    if not url.startswith("data:"):
        return Picture(url)
    inside = re.fullmatch(r"data:([a-z]+/[a-z.+-]+);base64,(.*)", url)
    assert inside
    return Picture(None, inline(inside[2]), inside[1])


# Anthropic messages.


def read_anthropic_messages(body: bytes) -> list[Said]:
    """The system prompt, and the turns: in a user's turn the results of tools come first."""
    request = json.loads(body)
    found = []
    if "system" in request:
        prompt = request["system"]
        texts = [prompt] if isinstance(prompt, str) else [block["text"] for block in prompt]
        assert all(text.strip() for text in texts)
        found.append(Said("system", tuple(texts)))
    before = None
    for turn in request["messages"]:
        assert turn.keys() == {"role", "content"}
        assert turn["role"] in ("user", "assistant")
        assert turn["role"] != before
        before = turn["role"]
        blocks = turn["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        assert blocks
        if before == "assistant":
            found.append(_anthropic_answer(blocks))
            continue
        results = [block for block in blocks if block["type"] == "tool_result"]
        assert results == blocks[: len(results)]
        for result in results:
            assert result.keys() <= {"type", "tool_use_id", "content", "is_error"}
            content = result.get("content", [])
            found.append(
                Said(
                    "tool",
                    _anthropic_pieces(
                        [{"type": "text", "text": content}] if isinstance(content, str) else content
                    ),
                    answers=result["tool_use_id"],
                    failed=result.get("is_error", False),
                )
            )
        if blocks[len(results) :]:
            found.append(Said("user", _anthropic_pieces(blocks[len(results) :])))
    answered(found)
    return found


def _anthropic_answer(blocks: list[dict[str, Any]]) -> Said:
    pieces, calls, thoughts = [], [], []
    for block in blocks:
        match block["type"]:
            case "tool_use":
                assert block.keys() == {"type", "id", "name", "input"}
                assert isinstance(block["input"], dict)
                calls.append(Asked(block["id"], block["name"], block["input"]))
            case "thinking":
                assert block["signature"]
                thoughts.append(Thought(block["thinking"], block["signature"]))
            case "redacted_thinking":
                thoughts.append(Thought(redacted=block["data"]))
            case "server_tool_use" | "web_search_tool_result":
                pass  # what Anthropic did itself, for itself
            case _:
                pieces += _anthropic_pieces([block])
    assert not any(isinstance(piece, Picture) for piece in pieces)
    text = joined(*(piece for piece in pieces if isinstance(piece, str)))
    return Said("assistant", text, tuple(calls), tuple(thoughts))


def _anthropic_pieces(blocks: list[dict[str, Any]]) -> tuple[str | Picture, ...]:
    found: list[str | Picture] = []
    for block in blocks:
        if block["type"] == "text":
            assert block["text"].strip()
            found.append(block["text"])
            continue
        assert block["type"] == "image"
        source = block["source"]
        if source["type"] == "url":
            found.append(Picture(source["url"]))
            continue
        assert source["type"] == "base64"
        assert source["media_type"] in ("image/jpeg", "image/png", "image/gif", "image/webp")
        found.append(Picture(None, inline(source["data"]), source["media_type"]))
    return tuple(found)


# Ollama.


def read_ollama_chat(body: bytes) -> list[Said]:
    """``messages``; the order of results is the order of their calls."""
    found = []
    for message in json.loads(body)["messages"]:
        known = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
        assert {"role", "content"} <= message.keys() <= known
        calls = []
        for call in message.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            assert isinstance(arguments, dict)
            calls.append(Asked(call["id"], call["function"]["name"], arguments))
        images = [Picture(None, inline(image)) for image in message.get("images", ())]
        thought = (Thought(message["thinking"]),) if "thinking" in message else ()
        if message["role"] == "tool":
            assert message["tool_name"]
        found.append(
            Said(
                message["role"],
                (*joined(message["content"]), *images),
                tuple(calls),
                thought,
                answers=message.get("tool_call_id"),
            )
        )
    answered(found)
    asked = [call.id for one in found for call in one.calls]
    assert [one.answers for one in found if one.role == "tool"] == asked
    return found


# OCI.


def chat_request(body: bytes, form: str) -> dict[str, Any]:
    """What is inside ``ChatDetails``."""
    details = json.loads(body)
    assert details.keys() <= {"compartmentId", "servingMode", "chatRequest"}
    mode = details["servingMode"]
    assert mode.keys() == {"servingType", "modelId"}
    assert mode["servingType"] == "ON_DEMAND"
    request: dict[str, Any] = details["chatRequest"]
    assert request.pop("apiFormat") == form
    return request


def read_oci_generic(body: bytes) -> list[Said]:
    """``messages``, in the order of the conversation: all content is in parts."""
    found = []
    for message in chat_request(body, "GENERIC")["messages"]:
        role = message.pop("role")
        assert role in ("SYSTEM", "USER", "ASSISTANT", "TOOL")
        pieces = tuple(_oci_part(part, "IMAGE") for part in message.pop("content", ()))
        assert role == "USER" or all(isinstance(piece, str) for piece in pieces)
        name, refusal, thought, calls, answers = message.pop("name", None), None, None, [], None
        assert name is None or re.fullmatch(r"[^\s<|\\/>]{1,64}", name)
        if role == "ASSISTANT":
            refusal = message.pop("refusal", None)
            thought = message.pop("reasoningContent", None)
            for call in message.pop("toolCalls", ()):
                assert call.keys() == {"id", "type", "name", "arguments"}
                assert call["type"] == "FUNCTION"
                calls.append(_written(call["id"], call["name"], call["arguments"]))
            assert pieces or refusal or calls
            pieces = joined(*map(str, pieces))
        elif role == "TOOL":
            answers = message.pop("toolCallId")
            pieces = joined(*map(str, pieces))
        assert not message, message
        thoughts = (Thought(thought),) if thought else ()
        found.append(Said(role.lower(), pieces, tuple(calls), thoughts, refusal, name, answers))
    answered(found)
    return found


def _written(identity: str, name: str, arguments: str) -> Asked:
    value = object_in(arguments)
    return Asked(identity, name, value, arguments if value is None else None)


def _oci_part(part: dict[str, Any], image: str) -> str | Picture:
    if part["type"] == "TEXT":
        assert part.keys() == {"type", "text"}
        text: str = part["text"]
        return text
    assert part["type"] == image
    assert part.keys() == {"type", "imageUrl"}
    assert part["imageUrl"].keys() <= {"url", "detail"}
    assert part["imageUrl"].get("detail") in (None, "AUTO", "LOW", "HIGH")
    return in_url(part["imageUrl"]["url"])


def read_oci_cohere(body: bytes) -> list[Said]:
    """The preamble, the history, and what is to be answered: a message, or results.

    A result holds its call again. The calls that results answer stand right before them, and are
    the same; who has called tools speaks before the user does.
    """
    request = chat_request(body, "COHERE")
    found = []
    if "preambleOverride" in request:
        assert request["preambleOverride"]
        found.append(Said("system", (request["preambleOverride"],)))
    entries = request.get("chatHistory", [])
    results = request.get("toolResults")
    if results:
        assert request["message"] == ""
        entries = [*entries, {"role": "TOOL", "toolResults": results}]
    else:
        entries = [*entries, {"role": "USER", "message": request["message"]}]
    waiting: list[tuple[str, dict[str, Any]]] = []
    spoken = None
    asked = 0
    for at, entry in enumerate(entries):
        role = entry["role"]
        if role == "TOOL":
            assert entry.keys() == {"role", "toolResults"}
            told = entry["toolResults"]
            assert [result["call"] for result in told] == [call for _, call in waiting]
            for (identity, _), result in zip(waiting, told, strict=True):
                assert result.keys() == {"call", "outputs"}
                (output,) = result["outputs"]
                ((kind, text),) = output.items()
                assert kind in ("output", "error")
                failed = kind == "error"
                found.append(Said("tool", joined(text), answers=identity, failed=failed))
            waiting, spoken = [], role
            continue
        assert not waiting
        assert entry.keys() <= {"role", "message", "toolCalls"}
        assert entry["message"] or at == len(entries) - 1
        if role == "SYSTEM":
            found.append(Said("system", joined(entry["message"])))
            continue
        calls = entry.get("toolCalls", [])
        if role == "USER":
            assert not calls
            assert spoken != "TOOL"
        else:
            assert role == "CHATBOT"
        for call in calls:
            assert call.keys() == {"name", "parameters"}
            assert isinstance(call["parameters"], dict)
            waiting.append((f"number {asked}", call))
            asked += 1
        says = tuple(Asked(made, call["name"], call["parameters"]) for made, call in waiting)
        who = "user" if role == "USER" else "assistant"
        found.append(Said(who, joined(entry["message"]), says))
        spoken = role
    answered(found)
    return found


def read_oci_cohere_v2(body: bytes) -> list[Said]:
    """``messages``, in the order of the conversation; an assistant may think and plan aloud."""
    found = []
    for message in chat_request(body, "COHEREV2")["messages"]:
        role = message.pop("role")
        assert role in ("SYSTEM", "USER", "ASSISTANT", "TOOL")
        content = message.pop("content")
        calls, answers, thought = [], None, ""
        if role == "ASSISTANT":
            thought = "".join(part["thinking"] for part in content if part["type"] == "THINKING")
            content = [part for part in content if part["type"] != "THINKING"]
            message.pop("toolPlan", None)
            for call in message.pop("toolCalls", ()):
                assert call.keys() == {"id", "type", "function"}
                assert call["type"] == "FUNCTION"
                calls.append(_written(call["id"], **call["function"]))
        elif role == "TOOL":
            answers = message.pop("toolCallId")
        assert not message, message
        pieces = tuple(_oci_part(part, "IMAGE_URL") for part in content)
        if role != "USER":
            assert all(isinstance(piece, str) for piece in pieces)
        if role in ("ASSISTANT", "TOOL"):
            pieces = joined(*map(str, pieces))
        thoughts = (Thought(thought),) if thought else ()
        found.append(Said(role.lower(), pieces, tuple(calls), thoughts, answers=answers))
    answered(found)
    return found


# Responses.


def read_responses(body: bytes) -> list[Said]:
    """``input``: what one party said is one or several items, calls and results among them."""
    found: list[Said] = []
    kinds: dict[str, str] = {}
    own: list[str] = []
    for item in json.loads(body)["input"]:
        own += [item["id"]] if "id" in item else []
        match item["type"]:
            case "message" if item["role"] == "assistant":
                assert item.keys() <= {"id", "type", "role", "status", "content", "phase"}
                assert {"id", "status"} <= item.keys()
                assert item["content"]
                kept = {"output_text": "text", "refusal": "refusal"}
                parts = [(part["type"], part[kept[part["type"]]]) for part in item["content"]]
                text = joined(*(said for kind, said in parts if kind == "output_text"))
                refusal = "".join(said for kind, said in parts if kind == "refusal")
                _go_on(found, Said("assistant", text, refusal=refusal or None))
            case "message":
                assert item.keys() == {"type", "role", "content"}
                pieces = _responses_pieces(item["content"])
                if item["role"] == "system":
                    pieces = ("".join(map(str, pieces)),)
                else:
                    assert item["role"] == "user"
                found.append(Said(item["role"], pieces))
            case "function_call":
                assert item.keys() <= {"id", "type", "status", "call_id", "name", "arguments"}
                call = _written(item["call_id"], item["name"], item["arguments"])
                kinds[call.id] = "function_call_output"
                _go_on(found, Said("assistant", calls=(call,)))
            case "custom_tool_call":
                call = Asked(item["call_id"], item["name"], None, item["input"])
                kinds[call.id] = "custom_tool_call_output"
                _go_on(found, Said("assistant", calls=(call,)))
            case "function_call_output" | "custom_tool_call_output" as kind:
                assert item.keys() == {"type", "call_id", "output"}
                assert kinds[item["call_id"]] == kind
                said = item["output"]
                seen = (said,) if isinstance(said, str) else _responses_pieces(said)
                found.append(Said("tool", seen, answers=item["call_id"]))
            case kind:  # what the server did and thought, for itself
                assert kind in ("reasoning", "web_search_call", "image_generation_call")
                assert item["id"]
    assert len(set(own)) == len(own)
    answered(found)
    return found


def _go_on(found: list[Said], said: Said) -> None:
    """The assistant says one thing after the other."""
    if not found or found[-1].role != "assistant":
        found.append(said)
        return
    before = found.pop()
    refusal = (before.refusal or "") + (said.refusal or "")
    pieces = joined(*map(str, before.pieces + said.pieces))
    found.append(Said("assistant", pieces, before.calls + said.calls, refusal=refusal or None))


def _responses_pieces(parts: list[dict[str, Any]]) -> tuple[str | Picture, ...]:
    found: list[str | Picture] = []
    for part in parts:
        if part["type"] == "input_text":
            assert part.keys() == {"type", "text"}
            found.append(part["text"])
            continue
        assert part["type"] == "input_image"
        assert part.keys() == {"type", "image_url", "detail"}
        found.append(in_url(part["image_url"]))
    return tuple(found)


FORMATS: dict[str, Format] = {
    "chat completions": Format(
        read_chat_completions,
        # OpenAI: "string too long. Expected a string with maximum length 40"
        id=re.compile(r".{1,40}", re.DOTALL),
        refusals="apart",
        malformed=True,
        names=True,
    ),
    "Anthropic": Format(
        read_anthropic_messages,
        # "String should match pattern '^[a-zA-Z0-9_-]+$'"
        id=re.compile(r"[a-zA-Z0-9_-]+"),
        systems="first",
        merges=("user", "assistant"),
        blank=False,
        kinds=("image/jpeg", "image/png", "image/gif", "image/webp"),
        pictures=("user", "tool"),
        refusals="part",
        thinking="sealed",
        failures=True,
    ),
    "Ollama": Format(
        read_ollama_chat,
        id=re.compile(r".+", re.DOTALL),
        parts=False,
        fetches=False,
        kinds=(),
        pictures=("system", "user", "assistant", "tool"),
        thinking="open",
        ordered=True,
    ),
    "OCI generic": Format(
        read_oci_generic,
        id=re.compile(r".{1,40}", re.DOTALL),  # the models behind it are those of OpenAI, too
        refusals="apart",
        thinking="open",
        malformed=True,
        names=True,
    ),
    "OCI Cohere": Format(
        read_oci_cohere,
        id=None,
        systems="opening",
        nothing=" ",
        between=".",
        parts=False,
        pictures=(),
        failures=True,
        ordered=True,
    ),
    "OCI Cohere v2": Format(
        read_oci_cohere_v2,
        id=re.compile(r".+", re.DOTALL),
        refusals="part",
        thinking="open",
        malformed=True,
    ),
    "Responses": Format(
        read_responses,
        # "string too long. Expected a string with maximum length 64"
        id=re.compile(r".{1,64}", re.DOTALL),
        merges=("assistant",),
        pictures=("user", "tool"),
        refusals="apart",
        malformed=True,
    ),
}
"""By the name that the table in ``docs/portability.md`` has for it."""
