"""Tests of the JSON Schemas that Ollama is sent: no references, and nothing that it rejects."""

from __future__ import annotations

from typing import Any

import pytest

from locus.models.native.ollama import OllamaModel

UNIT = {"type": "string", "enum": ["c", "f"]}


def make_schema(member: Any, **keywords: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": member}, "required": ["p"], **keywords}


def send_format(schema: Any) -> Any:
    response_format = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return OllamaModel().request("x", response_format=response_format)["format"]


def send_parameters(schema: Any) -> Any:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    return OllamaModel().request("x", [tool])["tools"][0]["function"]["parameters"]


@pytest.mark.parametrize("send", [send_format, send_parameters])
@pytest.mark.parametrize("keyword", ["$defs", "definitions"])
def test_references_are_replaced(send: Any, keyword: str) -> None:
    schema = make_schema({"$ref": f"#/{keyword}/Unit"}, **{keyword: {"Unit": UNIT}})
    assert send(schema) == make_schema(UNIT)


@pytest.mark.parametrize("send", [send_format, send_parameters])
@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"pattern": "^[a-z]{2}$"}, {"pattern": "^[a-z]{2}$"}),
        ({"pattern": "^K.*"}, {"description": '(pattern: "^K.*")'}),
        ({"pattern": r"^\d+$"}, {"description": r'(pattern: "^\\d+$")'}),
        ({"pattern": "^(a|b)$"}, {"description": '(pattern: "^(a|b)$")'}),
        ({"maxLength": 200}, {"maxLength": 200}),
        ({"maxLength": 8192}, {"description": "(maxLength: 8192)"}),
        ({"minimum": 1}, {"minimum": 1}),
    ],
)
def test_what_the_grammar_rejects_is_in_the_description(
    send: Any, member: Any, expected: Any
) -> None:
    assert send(make_schema({"type": "string", **member})) == make_schema(
        {"type": "string", **expected}
    )


def test_tool_of_another_type_is_unchanged() -> None:
    tool = {"type": "web_search", "max": 3}
    assert OllamaModel().request("x", [tool])["tools"] == [tool]
