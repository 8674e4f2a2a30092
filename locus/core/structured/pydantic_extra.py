"""The members of an object that a pydantic model passed over, a misspelt one among them.

Pydantic drops what no field is named after unless the model forbids it. Something is done with a
tool's arguments, so they are compared with the models that were made of them. What a validator may
have taken before the fields did (``mode="before"``, ``"wrap"``, ``"plain"``) is left alone, since
it may know other names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import AliasChoices, AliasPath

from locus.core.structured.validation import Reading, member, no_such

_EARLY: Final = ("before", "wrap", "plain")
_VALIDATORS: Final = ("BeforeValidator", "WrapValidator", "PlainValidator")


def refuse_strange(value: Any, raw: Any, at: str, reading: Reading) -> None:
    """Note the members of ``raw`` that ``value``, which was made of it, knows nothing of."""
    fields = getattr(type(value), "__pydantic_fields__", None)
    if getattr(type(value), "__pydantic_root_model__", False):
        refuse_strange(value.root, raw, at, reading)
    elif fields is not None and isinstance(raw, dict):
        _compare(value, fields, raw, at, reading)
    elif isinstance(value, (list, tuple)) and isinstance(raw, list) and len(value) == len(raw):
        for i, (inner, given) in enumerate(zip(value, raw, strict=True)):
            refuse_strange(inner, given, f"{at}[{i}]", reading)
    elif isinstance(value, dict) and isinstance(raw, dict):
        for name in value.keys() & raw.keys():
            refuse_strange(value[name], raw[name], member(at, name), reading)


def _compare(
    value: Any, fields: Mapping[str, Any], raw: dict[str, Any], at: str, reading: Reading
) -> None:
    cls = type(value)
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    decorators = cls.__pydantic_decorators__
    early = [v.info.mode in _EARLY for v in decorators.model_validators.values()]
    names = {name: list(_names(name, field, config)) for name, field in fields.items()}
    known = list(dict.fromkeys(name for several in names.values() for name in several))
    if config.get("extra") in (None, "ignore") and not any(early):
        for name in raw:
            if name not in known:
                reading.fault(member(at, name), no_such(name, known, "member"))
    taken = {
        name
        for validator in decorators.field_validators.values()
        if validator.info.mode in _EARLY
        for name in validator.info.fields
    }
    for name, field in fields.items():
        given = next((n for n in names[name] if n in raw), None)
        validated = any(type(part).__name__ in _VALIDATORS for part in field.metadata)
        if given is not None and not validated and not taken & {name, "*"}:
            refuse_strange(getattr(value, name, None), raw[given], member(at, given), reading)


def _names(name: str, field: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """What a field may be called in the JSON."""
    alias = field.validation_alias or field.alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, AliasPath):
            yield str(choice.path[0])
        elif choice is not None:
            yield choice
    if alias is None or config.get("populate_by_name") or config.get("validate_by_name"):
        yield name
