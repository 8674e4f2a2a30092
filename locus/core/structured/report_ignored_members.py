"""Report the members of an object that a pydantic model ignored, such as a misspelled one.

Pydantic ignores a member that is not a field unless the model forbids it. A tool acts on its
arguments, so they are compared with the models that pydantic made of them. A value that a validator
may have changed before the fields were validated (``mode="before"``, ``"wrap"``, ``"plain"``) is
not compared, because the validator may accept other names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import AliasChoices, AliasPath

from locus.core.structured.describe_invalid_values import describe_unknown_name
from locus.core.structured.validation_context import ValidationContext, join_path

_EARLY_MODES: Final = ("before", "wrap", "plain")
_EARLY_VALIDATORS: Final = ("BeforeValidator", "WrapValidator", "PlainValidator")


def report_extra_members(value: Any, raw: Any, path: str, ctx: ValidationContext) -> None:
    """Record an issue for each member of ``raw`` that is not a field of ``value``, its model."""
    fields = getattr(type(value), "__pydantic_fields__", None)
    if getattr(type(value), "__pydantic_root_model__", False):
        report_extra_members(value.root, raw, path, ctx)
    elif fields is not None and isinstance(raw, dict):
        _report_extra_model_members(value, fields, raw, path, ctx)
    elif isinstance(value, (list, tuple)) and isinstance(raw, list) and len(value) == len(raw):
        for i, (item, raw_item) in enumerate(zip(value, raw, strict=True)):
            report_extra_members(item, raw_item, f"{path}[{i}]", ctx)
    elif isinstance(value, dict) and isinstance(raw, dict):
        for name in value.keys() & raw.keys():
            report_extra_members(value[name], raw[name], join_path(path, name), ctx)


def _report_extra_model_members(
    value: Any, fields: Mapping[str, Any], raw: dict[str, Any], path: str, ctx: ValidationContext
) -> None:
    """Record an issue for each member that a model ignored, and check the values of its fields."""
    cls = type(value)
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    decorators = cls.__pydantic_decorators__
    has_early_validator = any(
        validator.info.mode in _EARLY_MODES for validator in decorators.model_validators.values()
    )
    aliases = {
        name: list(_iter_accepted_names(name, field, config)) for name, field in fields.items()
    }
    known_names = list(dict.fromkeys(alias for several in aliases.values() for alias in several))
    if config.get("extra") in (None, "ignore") and not has_early_validator:
        for name in raw:
            if name not in known_names:
                message = describe_unknown_name(name, known_names, "member")
                ctx.add_issue(join_path(path, name), message)
    validated_early = {
        name
        for validator in decorators.field_validators.values()
        if validator.info.mode in _EARLY_MODES
        for name in validator.info.fields
    }
    for name, field in fields.items():
        alias = next((alias for alias in aliases[name] if alias in raw), None)
        is_annotated_early = any(
            type(item).__name__ in _EARLY_VALIDATORS for item in field.metadata
        )
        if alias is None or is_annotated_early or validated_early & {name, "*"}:
            continue
        field_value = getattr(value, name, None)
        report_extra_members(field_value, raw[alias], join_path(path, alias), ctx)


def _iter_accepted_names(name: str, field: Any, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield each name that a field may have in the JSON."""
    alias = field.validation_alias or field.alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, AliasPath):
            yield str(choice.path[0])
        elif choice is not None:
            yield choice
    if alias is None or config.get("populate_by_name") or config.get("validate_by_name"):
        yield name
