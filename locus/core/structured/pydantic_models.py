"""Pydantic models: pydantic describes them and reads them, by the models' own rules.

Imported for a pydantic model only, so pydantic is there.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from locus.core.errors import ConfigurationError
from locus.core.structured.pydantic_extra import refuse_strange
from locus.core.structured.schema_definitions import PREFIX, Definitions, Schema
from locus.core.structured.validation import FAR, Reading, is_refusal, member, named, words_of


@attrs.frozen(eq=False)
class PydanticKind:
    """A pydantic model, or a union of several."""

    name: str
    adapter: TypeAdapter[Any]

    def schema(self, defs: Definitions) -> Schema:
        schema = self.adapter.json_schema()
        if not {"$ref", "anyOf", "oneOf"} & schema.keys():
            parts = {**schema.pop("$defs", {}), self.name: schema}
            schema = {"$ref": PREFIX + self.name, "$defs": parts}
        return defs.adopt(schema)

    @property
    def words(self) -> str:
        return f"an object ({self.name})"

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        # By way of JSON, for pydantic reads dates, bytes and enums otherwise from Python's values.
        try:
            value = self.adapter.validate_json(_encoded(raw))
            if reading.exact:
                refuse_strange(value, raw, at, reading)
            return value
        except ValidationError as errors:
            for error in errors.errors(include_url=False):
                place = at
                for step in error["loc"]:
                    place = member(place, step)
                instead = "" if error["type"] == "missing" else f", not {named(error['input'])}"
                reading.fault(place, error["msg"] + instead)
        except RecursionError:
            raise
        except Exception as error:  # of a validator's; pydantic lets most of them through
            if not is_refusal(error, reading.exact):
                raise
            reading.fault(at, words_of(error))
        return None

    def distance(self, raw: Any, reading: Reading) -> int:
        trial = reading.trial()
        self.read(raw, "", trial)
        return 0 if not trial.faults else FAR // 2 if isinstance(raw, dict) else FAR


def _encoded(raw: Any) -> bytes:
    try:
        return msgspec.json.encode(raw)
    except OverflowError:  # a whole number beyond 64 bits
        return json.dumps(raw).encode()


def pydantic_kind(hint: Any, name: str, where: str) -> PydanticKind:
    """The kind of a pydantic model.

    :raises ConfigurationError: pydantic cannot describe it.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        why = str(error).splitlines()[0]
        raise ConfigurationError(f"{where}: pydantic cannot describe it: {why}") from error
    return PydanticKind(name, adapter)
