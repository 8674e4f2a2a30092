"""A server's words about a schema that it refuses, as servers have them."""

from __future__ import annotations

import json

import pytest

from locus.core.make_status_error import make_status_error
from locus.core.refused_schema import SchemaRefusal, read_schema_refusal

NO_SCHEMAS = (
    "This response_format type is unavailable now",
    "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    "This model does not support response format `json_schema`.",
    "response_format.json_schema: Extra inputs are not permitted",
    "Additional properties are not allowed ('response_format' was unexpected)",
    "structured outputs are not available for this model",
    "unknown field `responseFormat`",
    "json: cannot unmarshal object into Go struct field ChatRequest.format of type string",
    "No endpoints found that support the requested parameters.",
    "grammar is disabled on this server",
)
NOT_BESIDE_TOOLS = (
    "json mode cannot be combined with tool/function calling",
    "Cannot use json response type with tools",
    "Function calling with a response mime type: 'application/json' is unsupported",
    "You cannot specify response format and function call at the same time",
    '"tools" is incompatible with "response_format"',
    "Cannot use custom grammar constraints with tools.",
)
NOT_THIS_ONE = (
    "Invalid schema for response_format 'City': In context=(), 'x' is not permitted.",
    "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
    "The specified schema produces a constraint that has too many states for serving (json_schema)",
    "The provided JSON schema contains features not supported by xgrammar.",
    "failed to parse grammar",
    "failed to load model vocabulary required for format",
)
ABOUT_SOMETHING_ELSE = (
    "Invalid 'messages[0].content': string too long",
    "Invalid schema for function 'look': schema must be a JSON Schema of 'type: \"object\"'",
    "tools.0.custom.input_schema: JSON schema is invalid",
    "Invalid image: unsupported format",
    "invalid format of image_url",
    "The model `gpt-9` does not exist",
    "max_tokens is too large: 100000",
)


@pytest.mark.parametrize(
    ("texts", "has_tools", "refusal"),
    [
        (NO_SCHEMAS, False, SchemaRefusal("never", True)),
        (NO_SCHEMAS, True, SchemaRefusal("never", True)),
        (NOT_BESIDE_TOOLS, True, SchemaRefusal("without_tools", True)),
        (NOT_BESIDE_TOOLS, False, SchemaRefusal("never", True)),
        (NOT_THIS_ONE, False, SchemaRefusal("never", False)),
        (ABOUT_SOMETHING_ELSE, True, None),
    ],
)
def test_the_words_of_servers(
    texts: tuple[str, ...], has_tools: bool, refusal: SchemaRefusal | None
) -> None:
    for text in texts:
        for status in (200, 400, 422, 500):
            error = make_status_error(json.dumps({"error": {"message": text}}), status)
            assert read_schema_refusal(error, has_tools=has_tools) == refusal, text
        for status in (401, 403, 408, 429, 503):
            error = make_status_error(text, status)
            assert read_schema_refusal(error, has_tools=has_tools) is None, (text, status)


def test_a_parameter_that_only_the_json_names() -> None:
    error = {"error": {"message": "Unsupported value.", "param": "text.format", "code": "invalid"}}
    refusal = read_schema_refusal(make_status_error(json.dumps(error), 400), has_tools=False)
    assert refusal == SchemaRefusal("never", True)


def test_a_context_that_is_too_long_is_no_refusal_of_a_schema() -> None:
    error = {
        "error": {
            "message": "This model's maximum context length is 8192 tokens (response_format too).",
            "code": "context_length_exceeded",
        }
    }
    assert read_schema_refusal(make_status_error(json.dumps(error), 400), has_tools=False) is None
