"""The node of the type tree for pydantic models, whose schema and values are left to pydantic.

Imported only for a pydantic model, so that pydantic need not be installed otherwise.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from locus.core.errors import ConfigurationError
from locus.core.structured.describe_invalid_values import (
    JSON_TYPE_LABELS,
    describe_exception,
    describe_value,
)
from locus.core.structured.report_ignored_members import report_extra_members
from locus.core.structured.schema_definitions import REF_PREFIX, Schema, SchemaDefinitions
from locus.core.structured.type_node import MAX_DISTANCE, is_valid_value
from locus.core.structured.validation_context import (
    ValidationContext,
    is_invalid_value_error,
    join_path,
)


@attrs.frozen(eq=False)
class PydanticNode:
    """A pydantic model, a union of several, or one of pydantic's own types (``HttpUrl``)."""

    name: str
    adapter: TypeAdapter[Any]

    @property
    def expected(self) -> str:
        type_ = self.adapter.json_schema().get("type", "object")
        return f"{JSON_TYPE_LABELS.get(str(type_), 'a value')} ({self.name})"

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        schema = self.adapter.json_schema()
        if not {"$ref", "anyOf", "oneOf"} & schema.keys():
            definitions = {**schema.pop("$defs", {}), self.name: schema}
            schema = {"$ref": REF_PREFIX + self.name, "$defs": definitions}
        return defs.move_definitions_from(schema)

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        # As JSON, because from Python values pydantic converts dates, bytes and enums differently.
        try:
            value = self.adapter.validate_json(_encode_json(raw))
            if ctx.lossless:
                report_extra_members(value, raw, path, ctx)
            return value
        except ValidationError as exc:
            for error in exc.errors(include_url=False):
                error_path = path
                for key in error["loc"]:
                    error_path = join_path(error_path, key)
                is_missing = error["type"] == "missing"
                got = "" if is_missing else f", got {describe_value(error['input'])}"
                ctx.add_issue(error_path, error["msg"] + got)
        except RecursionError:
            raise
        except Exception as exc:  # raised by a validator: pydantic lets most exceptions through
            if not is_invalid_value_error(exc, ctx.lossless):
                raise
            ctx.add_issue(path, describe_exception(exc))
        return None

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        if is_valid_value(self, raw, ctx):
            return 0
        return MAX_DISTANCE // 2 if isinstance(raw, dict) else MAX_DISTANCE


def _encode_json(raw: Any) -> bytes:
    try:
        return msgspec.json.encode(raw)
    except OverflowError:  # an integer beyond 64 bits
        return json.dumps(raw).encode()


def build_pydantic_node(hint: Any, name: str, path: str) -> PydanticNode:
    """Build the node of a pydantic model.

    :param path: where the model is, for errors.
    :raises ConfigurationError: if pydantic cannot build a schema of it.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
        reason = str(exc).splitlines()[0]
        raise ConfigurationError(f"{path}: pydantic has no schema for it: {reason}") from exc
    return PydanticNode(name, adapter)
