"""Which kind of JSON a type has: from type hints to the tree of
:mod:`locus.core.structured.type_nodes`.

Classes are walked field by field, with their type variables filled in, and each class once, so
that a class may speak of itself. A pydantic model is left to pydantic, whole.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
import json
import re
import types
import typing
from collections import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import reduce
from operator import or_
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, NewType, NotRequired, Required, TypeVar

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.annotated import said_beside
from locus.core.structured.class_fields import (
    Member,
    check_constructor,
    is_struct,
    note_of_default,
    struct_members,
)
from locus.core.structured.constraints import RANGES, Checked, Number
from locus.core.structured.record_nodes import Field, Record
from locus.core.structured.schema_definitions import Definitions, Schema
from locus.core.structured.type_nodes import (
    Alias,
    Array,
    Bounds,
    Choice,
    Key,
    Leaf,
    Noted,
    Path,
    Row,
    Table,
    Union,
)
from locus.core.structured.validation import Kind

_ARRAYS: Final[Mapping[Any, Any]] = {
    **dict.fromkeys((list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable), list),
    **dict.fromkeys((set, abc.Set, abc.MutableSet), set),
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_TABLES: Final = (dict, abc.Mapping, abc.MutableMapping)
_QUALIFIERS: Final = (Required, NotRequired, typing.Final)


def kind_of(hint: Any) -> Kind:
    """The kind of a type.

    :raises ConfigurationError: JSON has no form for it; says which field, and why.
    """
    return _Walk().kind(hint, called(hint))


def kinds_of(hints: Mapping[str, Any]) -> dict[str, Kind]:
    """The kinds of several types that belong together, so that a class in two of them is one.

    :param hints: the types, under the names that errors call them.
    :raises ConfigurationError: JSON has no form for one of them; says which, and why.
    """
    walk = _Walk()
    return {name: walk.kind(hint, name) for name, hint in hints.items()}


@attrs.define(eq=False)
class _Walk:
    """One walk over a type and the types of its fields; ``where`` is the way there, for errors."""

    records: dict[Any, Record] = attrs.Factory(dict)
    aliases: dict[Any, Alias] = attrs.Factory(dict)

    def kind(self, hint: Any, where: str) -> Kind:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        kind = origin or hint
        if kind is Annotated:
            return self._annotated(args[0], args[1:], where)
        if isinstance(hint, NewType):
            return self.kind(hint.__supertype__, where)
        if hasattr(kind, "__value__"):
            return self._alias(hint, kind, args, where)
        if isinstance(hint, TypeVar):
            return self._union(hint.__constraints__ or (hint.__bound__ or Any,), where)
        if hint is Any or hint is object:
            return Leaf(Any)
        if hint is Decimal:
            return Number({})
        if kind is Literal:
            return Choice([(_json(arg, where), arg) for arg in args])
        if kind in (typing.Union, types.UnionType):
            return self._union(args, where)
        if kind is tuple and args and args[-1] is not Ellipsis:
            return Row([self.kind(arg, f"{where}[{i}]") for i, arg in enumerate(args)])
        if not isinstance(kind, type):
            return _leaf(hint, where)
        if hasattr(kind, "__pydantic_validator__"):
            from locus.core.structured.pydantic_models import pydantic_kind

            return pydantic_kind(hint, called(hint), where)
        if issubclass(kind, Enum):
            return _enum(kind, where)
        if issubclass(kind, PurePath):
            return Path(kind)
        if (
            _is_typed_dict(kind)
            or attrs.has(kind)
            or dataclasses.is_dataclass(kind)
            or is_struct(kind)
        ):
            return self._record(hint, kind, where)
        return self._container(kind, args, {}, where) or _leaf(hint, where)

    def _annotated(self, hint: Any, extras: Sequence[Any], where: str) -> Kind:
        said = said_beside(extras, where)
        if said.for_pydantic:
            from locus.core.structured.pydantic_models import pydantic_kind

            return pydantic_kind(Annotated[hint, *extras], called(hint), where)
        kind = self._bounded(hint, said.bounds, where) if said.bounds else self.kind(hint, where)
        if said.checks:
            kind = Checked(kind, said.checks)
        return Noted(kind, said.notes) if said.notes else kind

    def _bounded(self, hint: Any, bounds: dict[str, Any], where: str) -> Kind:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if isinstance(hint, NewType):
            return self._bounded(hint.__supertype__, bounds, where)
        if origin is Annotated:
            return self._annotated(args[0], (*args[1:], msgspec.Meta(**bounds)), where)
        if origin in (typing.Union, types.UnionType):
            meta = msgspec.Meta(**bounds)
            return self._union(
                [arg if arg is type(None) else Annotated[arg, meta] for arg in args], where
            )
        if hint is Decimal:
            if wrong := bounds.keys() - RANGES:
                raise ConfigurationError(f"{where}: a Decimal has no {min(wrong)}")
            return Number(bounds)
        container = self._container(origin or hint, args, bounds, where)
        return container or _leaf(Annotated[hint, msgspec.Meta(**bounds)], where)

    def _container(
        self, kind: Any, args: Sequence[Any], bounds: Mapping[str, Any], where: str
    ) -> Kind | None:
        lengths = Bounds(bounds.get("min_length"), bounds.get("max_length"))
        if kind in _TABLES:
            key, value = args or (str, Any)
            keys, values = self.kind(key, f"{where} (the keys)"), self.kind(value, f"{where}[...]")
            return Table(_key(keys, where), values, lengths)
        if kind is tuple and not (args and args[-1] is not Ellipsis):
            make: Any = tuple
        elif kind in _ARRAYS:
            make = _ARRAYS[kind]
        else:
            return None
        return Array(self.kind(args[0] if args else Any, f"{where}[]"), make, lengths)

    def _union(self, args: Iterable[Any], where: str) -> Kind:
        args = [type(None) if arg is None else arg for arg in args]
        args = [arg for arg in args if arg is not msgspec.UnsetType]  # the member is left out
        # Of its own models pydantic knows best which is meant.
        models = [arg for arg in args if hasattr(arg, "__pydantic_validator__")]
        if len(models) > 1:
            first = args.index(models[0])
            others = [arg for arg in args if arg not in models]
            from locus.core.structured.pydantic_models import pydantic_kind

            members = [self.kind(arg, where) for arg in others]
            either = reduce(or_, models)
            members.insert(first, pydantic_kind(either, called(either), where))
        else:
            members = [self.kind(arg, where) for arg in args]
        return Union(members) if len(members) > 1 else members[0]

    def _alias(self, hint: Any, alias: Any, args: Sequence[Any], where: str) -> Kind:
        if hint not in self.aliases:
            self.aliases[hint] = found = Alias(called(hint))
            filled = dict(zip(alias.__type_params__, args, strict=False))
            found.kind = self.kind(_filled(alias.__value__, filled), where)
        return self.aliases[hint]

    def _record(self, hint: Any, cls: type, where: str) -> Kind:
        if hint not in self.records:
            make = dict if _is_typed_dict(cls) else cls
            self.records[hint] = found = Record(called(hint), make, _docstring(cls))
            found.closed = is_struct(cls) and cls.__struct_config__.forbid_unknown_fields
            found.fields = tuple(self._fields(hint, cls))
            if make is cls:
                check_constructor(cls, {field.keyword for field in found.fields}, where)
        return self.records[hint]

    def _fields(self, hint: Any, cls: type) -> Iterator[Field]:
        hints = _hints(hint, cls)
        for member in _members(cls, hints):
            where = f"{called(hint)}.{member.name}"
            hint_of = hints.get(member.attribute or member.name, member.hint)
            hint_of = hint_of if member.keyword else member.hint
            while typing.get_origin(hint_of) in _QUALIFIERS:
                hint_of = typing.get_args(hint_of)[0]
            kind = self.kind(Any if hint_of is None else hint_of, where)
            notes = dict(member.notes)
            if isinstance(kind, Noted):
                notes, kind = {**notes, **kind.notes}, kind.kind
            yield Field(member.name, member.keyword, kind, member.required, member.omissible, notes)


def _leaf(hint: Any, where: str) -> Kind:
    leaf = Leaf(hint)
    try:
        leaf.schema(Definitions())
    except (TypeError, NameError) as error:
        why = str(error).splitlines()[-1] if str(error) else type(error).__name__
        raise ConfigurationError(f"{where}: JSON has no form for {called(hint)}: {why}") from error
    return leaf


def _key(kind: Kind, where: str) -> Kind:
    """A kind as that of an object's keys, which are text in JSON whatever they mean."""
    match kind:
        case Checked():
            return Checked(_key(kind.kind, where), kind.checks)
        case Number():
            return kind
        case Leaf():
            return Key(kind.hint)
        case Noted():
            return Noted(_key(kind.kind, where), kind.notes)
        case Alias():
            return _key(kind.kind, where)
        case Union():
            return Union([_key(member, where) for member in kind.members])
        case Choice() if all(isinstance(raw, str) for raw, _ in kind.values):
            return kind
        case Choice():
            texts = [
                (raw if isinstance(raw, str) else json.dumps(raw), v) for raw, v in kind.values
            ]
            return Choice(texts, kind.name, kind.description)
    raise ConfigurationError(f"{where}: JSON has no form for its keys: they are always text")


def _enum(cls: type[Enum], where: str) -> Kind:
    values = [(_json(item, where), item) for item in cls]
    if not values:
        raise ConfigurationError(f"{where}: the enum {cls.__name__} has no members to choose from")
    return Choice(values, cls.__name__, _docstring(cls))


def _json(value: Any, where: str) -> Any:
    """One of an enum's or a ``Literal``'s values as JSON."""
    raw = value.value if isinstance(value, Enum) else value
    if isinstance(raw, (str, int, float, type(None))):
        return raw
    raise ConfigurationError(
        f"{where}: JSON has no form for {value!r}; a choice is between texts, numbers, true, "
        "false and null"
    )


# Classes and their fields.


def _members(cls: Any, hints: Mapping[str, Any]) -> Iterator[Member]:
    if _is_typed_dict(cls):
        for name, hint in hints.items():
            # With postponed annotations the class itself does not see these qualifiers.
            said = typing.get_origin(hint)
            required = said is Required or (
                said is not NotRequired and name in cls.__required_keys__
            )
            yield Member(name, name, required, omissible=not required)
    elif is_struct(cls):
        yield from struct_members(cls)
    elif attrs.has(cls):
        for field in attrs.fields(cls):
            if field.init:
                required = field.default is attrs.NOTHING
                factory = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
                notes = _notes(field.metadata, () if required or factory else (field.default,))
                keyword = field.alias or field.name
                yield Member(field.name, keyword, required, notes=notes, hint=field.type)
    else:
        for part in dataclasses.fields(cls):
            if part.init:
                plain = part.default is not dataclasses.MISSING
                required = not plain and part.default_factory is dataclasses.MISSING
                notes = _notes(part.metadata, (part.default,) if plain else ())
                yield Member(part.name, part.name, required, notes=notes)


def _notes(metadata: Mapping[Any, Any], defaults: Iterable[Any]) -> Schema:
    notes: Schema = {}
    if isinstance(metadata.get("description"), str):
        notes["description"] = metadata["description"]
    for default in defaults:
        notes |= note_of_default(default)
    return notes


def _is_typed_dict(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def _docstring(cls: type) -> str | None:
    said = cls.__dict__.get("__doc__")
    # A dataclass without one is given its signature.
    return inspect.cleandoc(said) if said and not said.startswith(f"{cls.__name__}(") else None


def called(hint: Any) -> str:
    """A type's name, without its module: ``Order``, ``list[Order]``."""
    plain = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if plain else re.sub(r"[\w.<>]*\.(?=\w)", "", repr(hint))


def _hints(hint: Any, cls: type) -> dict[str, Any]:
    """The types of a class's fields, with its type variables filled in."""
    try:
        found = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{cls.__name__}: {error}; a type has to be visible where the module of the class is"
        ) from error
    scopes: dict[type, Mapping[Any, Any]] = {}
    _scopes(hint, {}, scopes)
    for name, found_hint in found.items():
        owner = next((c for c in cls.__mro__ if name in inspect.get_annotations(c)), cls)
        found[name] = _filled(found_hint, scopes.get(owner, {}))
    return found


def _scopes(base: Any, outer: Mapping[Any, Any], scopes: dict[type, Mapping[Any, Any]]) -> None:
    """What each class that ``base`` is made of has for its type variables."""
    cls = typing.get_origin(base) or base
    args = [_filled(arg, outer) for arg in typing.get_args(base)]
    scope = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    scopes.setdefault(cls, scope)
    for parent in cls.__dict__.get("__orig_bases__", getattr(cls, "__bases__", ())):
        if typing.get_origin(parent) is not typing.Generic:
            _scopes(parent, scope, scopes)


def _filled(hint: Any, scope: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return scope.get(hint, hint)
    free = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    return hint[tuple(scope.get(variable, variable) for variable in free)] if free else hint
