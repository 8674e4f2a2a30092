"""Type hints: the name of one, those of a class's fields, and the values of type variables."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from locus.core.errors import ConfigurationError


def format_type_name(hint: Any) -> str:
    """Format the name of a type without its module: ``Order``, ``list[Order]``."""
    is_class = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if is_class else re.sub(r"[\w.<>]*\.(?=\w)", "", repr(hint))


def resolve_field_hints(hint: Any, cls: type) -> dict[str, Any]:
    """Return the type hints of a class's fields, with the class's type variables replaced.

    :param hint: the class itself or a generic alias of it: ``Pair[int]``.
    :raises ConfigurationError: if a name in an annotation is not defined in the class's module.
    """
    try:
        hints = _get_class_hints(cls)
    except NameError as exc:
        raise ConfigurationError(
            f"{cls.__name__}: {exc}; the type has to be visible in the module of the class"
        ) from exc
    variables_by_class: dict[type, Mapping[Any, Any]] = {}
    _add_type_variables(hint, {}, variables_by_class)
    for name, field_hint in hints.items():
        owner = next((c for c in cls.__mro__ if name in inspect.get_annotations(c)), cls)
        hints[name] = substitute_type_variables(field_hint, variables_by_class.get(owner, {}))
    return hints


def _get_class_hints(cls: type) -> dict[str, Any]:
    """Return the hints of a class, as ``typing.get_type_hints`` does, also of ``class Box[T]``.

    Before Python 3.13, that function does not know the type parameters (:pep:`695`) of a class
    whose annotations are text (cpython, issue 114053).
    """
    bases = [base for base in reversed(cls.__mro__) if inspect.get_annotations(base)]
    if not any(getattr(base, "__type_params__", ()) for base in bases):
        return typing.get_type_hints(cls, include_extras=True)
    hints: dict[str, Any] = {}
    for base in bases:
        members = {"__annotations__": inspect.get_annotations(base), "__module__": base.__module__}
        names = dict(vars(sys.modules[base.__module__])) if base.__module__ in sys.modules else {}
        names |= {param.__name__: param for param in getattr(base, "__type_params__", ())}
        # Names of the module take precedence over those of the class, as in typing itself.
        hints |= typing.get_type_hints(
            type(base.__name__, (), members), dict(vars(base)), names, include_extras=True
        )
    return hints


def _add_type_variables(
    base: Any, outer_variables: Mapping[Any, Any], variables_by_class: dict[type, Mapping[Any, Any]]
) -> None:
    """Collect the values of the type variables of ``base`` and of each of its base classes."""
    cls = typing.get_origin(base) or base
    args = [substitute_type_variables(arg, outer_variables) for arg in typing.get_args(base)]
    variables = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    variables_by_class.setdefault(cls, variables)
    for parent in cls.__dict__.get("__orig_bases__", getattr(cls, "__bases__", ())):
        if typing.get_origin(parent) is not typing.Generic:
            _add_type_variables(parent, variables, variables_by_class)


def substitute_type_variables(hint: Any, variables: Mapping[Any, Any]) -> Any:
    """Replace the type variables in a hint by their values; one without a value stays."""
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    free = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    return hint[tuple(variables.get(variable, variable) for variable in free)] if free else hint
