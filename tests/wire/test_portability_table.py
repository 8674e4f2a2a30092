"""The table in ``docs/portability.md`` is true: an example for each row, asked of each format.

An example gives the word that the cell has to begin with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from tests.support.genuine_responses import SPEAKERS
from tests.support.request_readers import FORMATS, Picture, Said, Thought

PAGE = Path(__file__).parents[2] / "docs" / "portability.md"
NAMES = list(FORMATS)
USER = Message.user("x")
PNG = ImagePart(data=b"\x89PNG", media_type="image/png")
CALL = ToolCall("1", "f")
RESULT = Message.tool(ToolResult("1", "f", "y"))

Row = Callable[[str], str]
ROWS: dict[str, Row] = {}


def row(title: str) -> Callable[[Row], Row]:
    """An example for the row of that title."""

    def keep(example: Row) -> Row:
        assert title not in ROWS
        ROWS[title] = example
        return example

    return keep


def sent(name: str, *turns: Message) -> list[Said]:
    """What a provider would understand."""
    return FORMATS[name].read(SPEAKERS[name].request(turns))


def raw(name: str, *turns: Message) -> Any:
    """The request."""
    return json.loads(SPEAKERS[name].request(turns))


def raises(name: str, *turns: Message, position: int = 0) -> str | None:
    """``"raises"`` where a conversation is refused, by the position of what is wrong."""
    try:
        SPEAKERS[name].request(turns)
    except ConfigurationError as error:
        return "raises" if f"messages[{position}]" in str(error) else f"raises elsewhere: {error}"
    return None


def refused(name: str, *parts: str | Part) -> str | None:
    """``"raises"`` where a user cannot show this."""
    return raises(name, USER, Message.user(parts), position=1)


def pieces(name: str, parts: Sequence[str | Part]) -> tuple[str | Picture, ...]:
    """What is left of what a user says."""
    (said,) = sent(name, Message.user(parts))
    return said.pieces


def answer(name: str, parts: Sequence[str | Part], *calls: ToolCall) -> Said:
    """What is left of an answer."""
    results = [Message.tool(ToolResult(call.id, call.name, "y")) for call in calls]
    return sent(name, USER, Message.assistant(parts, calls), *results, USER)[1]


def results(name: str, *turns: Message) -> list[tuple[str, tuple[str | Picture, ...]]]:
    """What tools gave: the call's name, and the result."""
    found = sent(name, *turns)
    names = {call.id: call.name for said in found for call in said.calls}
    return [(names[said.answers or ""], said.pieces) for said in found if said.role == "tool"]


# Who speaks, and when.


@row("system messages in the middle")
def _(name: str) -> str:
    a, b = Message.system("a"), Message.system("b")
    found = [(said.role, said.pieces) for said in sent(name, a, USER, b, b, Message.user("y"))]
    if found[0] == ("system", ("a\n\nb\n\nb",)):
        assert found[1:] == [("user", ("x", "y"))]
        return "moved"
    assert [role for role, _ in found] == ["system", "user", "system", "system", "user"]
    return "in place"


@row("what is said between a call and its result")
def _(name: str) -> str:
    turns = USER, Message.assistant(None, [CALL]), Message.system("b"), Message.user("wait"), RESULT
    found = [(said.role, said.pieces) for said in sent(name, *turns)]
    assert ("tool", ("y",)) in found
    assert found.index(("tool", ("y",))) < found.index(("user", ("wait",)))
    return "moved"


@row("a speaker's `name`")
def _(name: str) -> str:
    found = sent(name, Message.user("x", name="Ann Lee"))[0].name
    if found is None:
        assert "Ann" not in json.dumps(raw(name, Message.user("x", name="Ann Lee")))
        return "dropped"
    assert found == "Ann_Lee"
    assert sent(name, Message.user("x", name="José-1"))[0].name == "José-1"
    assert sent(name, Message.user("x", name=""))[0].name is None
    return "carried"


@row("`metadata`")
def _(name: str) -> str:
    assert "secret" not in json.dumps(raw(name, Message.user("x", metadata={"secret": 1})))
    return "dropped"


@row('`metadata["cache_control"]`')
def _(name: str) -> str:
    body = raw(name, Message.user("x", metadata={"cache_control": {"type": "ephemeral"}}))
    return "carried" if "ephemeral" in json.dumps(body) else "dropped"


# Text and images.


@row("the order of text and images")
def _(name: str) -> str:
    if word := refused(name, "a", PNG, "b"):
        return word
    found = pieces(name, ["a", PNG, "b"])
    assert {piece for piece in found if isinstance(piece, Picture)}
    if found[0] == "ab":
        return "lost"
    assert (found[0], found[2]) == ("a", "b")
    return "carried"


@row("blank text")
def _(name: str) -> str:
    found = pieces(name, ["a", " "])
    assert found in [("a", " "), ("a ",), ("a",)]
    return "dropped" if found == ("a",) else "carried"


@row("images by address")
def _(name: str) -> str:
    url = "https://example.com/a.png"
    if word := refused(name, ImagePart(url=url)):
        return word
    assert pieces(name, [ImagePart(url=url)]) == (Picture(url),)
    return "carried"


@row("images as bytes, or in a `data:` address")
def _(name: str) -> str:
    held = ImagePart(url="data:image/png;base64,iVBORw==")
    if word := refused(name, PNG):
        assert refused(name, held) == word
        return word
    for image in (PNG, held):
        (found,) = pieces(name, [image])
        assert isinstance(found, Picture)
        assert found.data == b"\x89PNG"
        assert found.kind == (None if FORMATS[name].kinds == () else "image/png")
    return "carried"


@row("images of other types than JPEG, PNG, GIF, WebP")
def _(name: str) -> str:
    image = ImagePart(data=b"BM", media_type="image/bmp")
    if word := refused(name, "look", image):
        return word
    (found,) = pieces(name, [image])
    assert isinstance(found, Picture)
    assert found.data == b"BM"
    return "carried"


@row("`ImagePart.detail`")
def _(name: str) -> str:
    image = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")
    if word := refused(name, image):
        return word
    body = json.dumps(raw(name, Message.user([image])))
    return "carried" if '"low"' in body.lower() else "dropped"


@row("images in a tool's result")
def _(name: str) -> str:
    result = Message(Role.TOOL, ["map", PNG], tool_call_id="1", name="f")
    turns = USER, Message.assistant(None, [CALL]), result
    if word := raises(name, *turns, position=2):
        return word
    ((_, found),) = results(name, *turns)
    assert found[0] == "map"
    assert isinstance(found[1], Picture)
    return "carried"


@row("images in a system message")
def _(name: str) -> str:
    turns = USER, Message.system(["like this", PNG]), USER
    return raises(name, *turns, position=1) or "carried"


# Tools.


@row("parallel calls")
def _(name: str) -> str:
    calls = [ToolCall("1", "f", {"a": [1]}), ToolCall("2", "g")]
    found = answer(name, ["so"], *calls)
    assert found.pieces == ("so",)
    assert [(call.name, call.arguments) for call in found.calls] == [("f", {"a": [1]}), ("g", {})]
    if FORMATS[name].id is not None:
        assert [call.id for call in found.calls] == ["1", "2"]
    return "carried"


@row("ids of calls that the provider would refuse")
def _(name: str) -> str:
    rule = FORMATS[name].id
    for odd in ("a:b", "x" * 41, "x" * 65):
        asked = ToolCall(odd, "f")
        (call,) = answer(name, [], asked).calls
        if rule is None:
            assert odd not in json.dumps(raw(name, USER, Message.assistant(None, [asked]), USER))
        elif call.id != odd:
            assert rule.fullmatch(call.id)
            assert not rule.fullmatch(odd)
            return "rewritten"
    return "dropped" if rule is None else "carried"


@row("one id for several calls")
def _(name: str) -> str:
    first = Message.assistant(None, [CALL, ToolCall("1", "g")])
    again = Message.assistant(None, [ToolCall("1", "h")])
    turns = USER, first, *(Message.tool(ToolResult("1", "", text)) for text in "ab")
    later = Message.tool(ToolResult("1", "h", "c"))
    found = results(name, *turns, again, later)
    assert found == [("f", ("a",)), ("g", ("b",)), ("h", ("c",))]
    return "dropped" if FORMATS[name].id is None else "rewritten"


@row("results in another order than their calls")
def _(name: str) -> str:
    first = Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g")])
    turns = USER, first, *(Message.tool(ToolResult(i, "", i)) for i in "21")
    found = results(name, *turns)
    assert sorted(found) == [("f", ("1",)), ("g", ("2",))]
    return "carried" if found[0][0] == "g" else "moved"


@row("a result without its tool's name")
def _(name: str) -> str:
    result = Message(Role.TOOL, "y", tool_call_id="1")
    assert results(name, USER, Message.assistant(None, [CALL]), result) == [("f", ("y",))]
    return "carried"


@row("a call without a result")
def _(name: str) -> str:
    assert '"f"' in json.dumps(raw(name, USER, Message.assistant(None, [CALL]), USER))
    return "carried"


@row("failed tools")
def _(name: str) -> str:
    result = Message.tool(ToolResult("1", "f", "", error="no such city"))
    found = sent(name, USER, Message.assistant(None, [CALL]), result)[2]
    assert found.pieces == ("Error: no such city",)
    return "carried" if found.failed else "as text"


@row("arguments that are no JSON object")
def _(name: str) -> str:
    (call,) = answer(name, [], ToolCall("1", "f", malformed_arguments='{"a": ')).calls
    if call.text is not None:
        assert call.text == '{"a": '
        return "carried"
    assert call.arguments == {"malformed_arguments": '{"a": '}
    return "wrapped"


# What models think and refuse.


def _thoughts(name: str, part: ThinkingPart, thought: Thought) -> str:
    found = answer(name, [part, TextPart("so")], CALL)
    assert found.pieces == ("so",)
    assert found.thoughts in ((), (thought,))
    return "carried" if found.thoughts else "dropped"


@row("thinking with a signature (Anthropic's)")
def _(name: str) -> str:
    return _thoughts(name, ThinkingPart("hm", "seal"), Thought("hm", "seal"))


@row("redacted thinking (Anthropic's)")
def _(name: str) -> str:
    return _thoughts(name, ThinkingPart(redacted="dark"), Thought(redacted="dark"))


@row("thinking without a signature (Ollama's, OCI's)")
def _(name: str) -> str:
    return _thoughts(name, ThinkingPart("hm"), Thought("hm"))


@row("refusals")
def _(name: str) -> str:
    found = answer(name, [RefusalPart("No.")])
    if found.refusal is None:
        assert found.pieces == ("No.",)
        return "as text"
    assert (found.refusal, found.pieces) == ("No.", ())
    return "carried"


@row("searches that Anthropic ran, citations")
def _(name: str) -> str:
    cited = {"type": "text", "text": "so", "citations": [{"cited_text": "so it is"}]}
    said = Message.assistant("so", metadata={"blocks": [cited]})
    assert sent(name, USER, said, USER)[1].pieces == ("so",)
    return "carried" if "so it is" in json.dumps(raw(name, USER, said, USER)) else "dropped"


@row("encrypted reasoning, searches of the responses API")
def _(name: str) -> str:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zq-dark"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "zq-search": {}}
    part = {"type": "output_text", "text": "so", "annotations": []}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    kept = {"output_items": [sealed, search, said]}
    turns = USER, Message.assistant("so", metadata=kept), USER
    assert sent(name, *turns)[1].pieces == ("so",)
    return _both("zq-dark", "zq-search", in_=json.dumps(raw(name, *turns)))


@row("the plan that a model makes before it calls (Cohere's)")
def _(name: str) -> str:
    said = Message.assistant("so", [CALL], metadata={"tool_plan": "zq-plan"})
    assert sent(name, USER, said, RESULT)[1].pieces == ("so",)
    return _both("zq-plan", in_=json.dumps(raw(name, USER, said, RESULT)))


def _both(*words: str, in_: str) -> str:
    found = {word in in_ for word in words}
    assert len(found) == 1
    return "carried" if found.pop() else "dropped"


@row("an answer with neither text nor calls")
def _(name: str) -> str:
    for said in (Message.assistant(""), Message.assistant([ThinkingPart("hm", "seal")])):
        assert raises(name, USER, said, USER, position=1) == "raises"
    return "raises"


# The page.


def table() -> dict[str, dict[str, str]]:
    """The cells of the page's table, by row and column."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = rows
    return {title: dict(zip(head[1:], cells, strict=True)) for title, *cells in body}


def slug(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def test_every_row_has_an_example_and_every_format_a_column() -> None:
    found = table()
    assert list(found) == list(ROWS)
    for cells in found.values():
        assert list(cells) == NAMES


@pytest.mark.parametrize("name", NAMES, ids=slug)
@pytest.mark.parametrize("title", ROWS, ids=slug)
def test_a_cell_says_what_happens(title: str, name: str) -> None:
    word = ROWS[title](name)
    assert re.match(rf"{word}\b", table()[title][name])
