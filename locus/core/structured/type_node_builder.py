"""Build the type tree of a type hint.

A class becomes an object node, with its type variables replaced, and each class is built once, so
that it may refer to itself. A pydantic model is left to pydantic.
"""

from __future__ import annotations

import collections
import json
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
from locus.core.structured.annotated_metadata import parse_annotated_metadata
from locus.core.structured.class_fields import (
    check_constructor,
    find_class_docstring,
    has_fields,
    is_object_struct,
    is_typed_dict,
    iter_field_definitions,
)
from locus.core.structured.collection_nodes import ArrayNode, LengthBounds, MappingNode, TupleNode
from locus.core.structured.leaf_nodes import (
    DECIMAL_BOUNDS,
    ChoiceNode,
    DecimalNode,
    KeyNode,
    MsgspecNode,
    PathNode,
)
from locus.core.structured.object_nodes import ObjectField, ObjectNode
from locus.core.structured.schema_definitions import SchemaDefinitions
from locus.core.structured.type_hints import (
    format_type_name,
    resolve_field_hints,
    substitute_type_variables,
)
from locus.core.structured.type_node import TypeNode
from locus.core.structured.union_nodes import UnionNode
from locus.core.structured.wrapper_nodes import AliasNode, AnnotatedNode, PredicateNode

_ARRAY_CONSTRUCTORS: Final[Mapping[Any, Any]] = {
    **dict.fromkeys((list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable), list),
    **dict.fromkeys((set, abc.Set, abc.MutableSet), set),
    frozenset: frozenset,
    collections.deque: collections.deque,
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_QUALIFIERS: Final = (Required, NotRequired, typing.Final)
_UNIONS: Final = (typing.Union, types.UnionType)


def build_type_node(hint: Any) -> TypeNode:
    """Build the type tree of a hint.

    :raises ConfigurationError: if the type cannot be represented in JSON; the error names the
        field.
    """
    return _TypeNodeBuilder().build(hint, format_type_name(hint))


def build_type_nodes(hints: Mapping[str, Any]) -> dict[str, TypeNode]:
    """Build the type trees of several hints; a class that occurs in several gets one node.

    :param hints: the hints, under the names that errors give them.
    :raises ConfigurationError: if one of the types cannot be represented in JSON; the error names
        it.
    """
    builder = _TypeNodeBuilder()
    return {name: builder.build(hint, name) for name, hint in hints.items()}


@attrs.define(eq=False)
class _TypeNodeBuilder:
    """Builds trees that share the nodes of classes; ``path`` says in errors where a type is."""

    object_nodes: dict[Any, ObjectNode] = attrs.Factory(dict)
    alias_nodes: dict[Any, AliasNode] = attrs.Factory(dict)
    enum_nodes: dict[type[Enum], ChoiceNode] = attrs.Factory(dict)

    def build(self, hint: Any, path: str) -> TypeNode:
        """Build the type tree of a hint. ``path`` is the position of the hint, for errors."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        type_ = origin or hint
        if type_ is Annotated:
            return self._build_annotated_node(args[0], args[1:], path)
        if isinstance(hint, NewType):
            return self.build(hint.__supertype__, path)
        if hasattr(type_, "__value__"):
            return self._build_alias_node(hint, type_, args, path)
        if isinstance(hint, TypeVar):
            return self._build_union_node(hint.__constraints__ or (hint.__bound__ or Any,), path)
        if hint is Any or hint is object:
            return MsgspecNode(Any)
        if hint is Decimal:
            return DecimalNode({})
        if type_ is Literal:
            return ChoiceNode([(_convert_choice_to_json(arg, path), arg) for arg in args])
        if type_ in _UNIONS:
            return self._build_union_node(args, path)
        if type_ is tuple and args and args[-1] is not Ellipsis:
            return TupleNode([self.build(arg, f"{path}[{i}]") for i, arg in enumerate(args)])
        if not isinstance(type_, type):
            return _build_msgspec_node(hint, path)
        if hasattr(type_, "__pydantic_validator__") or _is_pydantic_type(type_):
            from locus.core.structured.pydantic_nodes import build_pydantic_node

            return build_pydantic_node(hint, format_type_name(hint), path)
        if issubclass(type_, Enum):
            if type_ not in self.enum_nodes:
                self.enum_nodes[type_] = _build_enum_node(type_, path)
            return self.enum_nodes[type_]
        if issubclass(type_, PurePath):
            return PathNode(type_)
        if has_fields(type_):
            return self._build_object_node(hint, type_, path)
        return self._find_collection_node(type_, args, {}, path) or _build_msgspec_node(hint, path)

    def _build_annotated_node(
        self, hint: Any, metadata_items: Sequence[Any], path: str
    ) -> TypeNode:
        """Build the node of an ``Annotated`` type."""
        metadata = parse_annotated_metadata(metadata_items, path)
        if metadata.needs_pydantic:
            from locus.core.structured.pydantic_nodes import build_pydantic_node

            annotated = Annotated[hint, *metadata_items]
            return build_pydantic_node(annotated, format_type_name(hint), path)
        if metadata.bounds:
            node = self._build_bounded_node(hint, metadata.bounds, path)
        else:
            node = self.build(hint, path)
        if metadata.predicates:
            node = PredicateNode(node, metadata.predicates)
        return AnnotatedNode(node, metadata.schema_metadata) if metadata.schema_metadata else node

    def _build_bounded_node(self, hint: Any, bounds: dict[str, Any], path: str) -> TypeNode:
        """Build the node of a type whose values have to be within ``bounds``."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if isinstance(hint, NewType):
            return self._build_bounded_node(hint.__supertype__, bounds, path)
        if origin is Annotated:
            return self._build_annotated_node(args[0], (*args[1:], msgspec.Meta(**bounds)), path)
        if origin in _UNIONS:
            meta = msgspec.Meta(**bounds)
            return self._build_union_node(
                [arg if arg is type(None) else Annotated[arg, meta] for arg in args], path
            )
        if hint is Decimal:
            if unsupported := bounds.keys() - DECIMAL_BOUNDS:
                raise ConfigurationError(f"{path}: a Decimal has no {min(unsupported)}")
            return DecimalNode(bounds)
        collection = self._find_collection_node(origin or hint, args, bounds, path)
        return collection or _build_msgspec_node(Annotated[hint, msgspec.Meta(**bounds)], path)

    def _find_collection_node(
        self, type_: Any, args: Sequence[Any], bounds: Mapping[str, Any], path: str
    ) -> TypeNode | None:
        """Build the node of a collection; None if the type is not a supported collection."""
        length = LengthBounds(bounds.get("min_length"), bounds.get("max_length"))
        if type_ in _MAPPINGS:
            key_hint, value_hint = args or (str, Any)
            key = self.build(key_hint, f"{path} (the keys)")
            value = self.build(value_hint, f"{path}[...]")
            return MappingNode(_convert_to_key_node(key, path), value, length)
        if type_ is tuple and not (args and args[-1] is not Ellipsis):
            constructor: Any = tuple
        elif type_ in _ARRAY_CONSTRUCTORS:
            constructor = _ARRAY_CONSTRUCTORS[type_]
        else:
            return None
        return ArrayNode(self.build(args[0] if args else Any, f"{path}[]"), constructor, length)

    def _build_union_node(self, args: Iterable[Any], path: str) -> TypeNode:
        args = [type(None) if arg is None else arg for arg in args]
        args = [arg for arg in args if arg is not msgspec.UnsetType]  # an unset member is absent
        # Pydantic itself selects among several of its models.
        models = [arg for arg in args if hasattr(arg, "__pydantic_validator__")]
        if len(models) > 1:
            first_index = args.index(models[0])
            others = [arg for arg in args if arg not in models]
            from locus.core.structured.pydantic_nodes import build_pydantic_node

            members = [self.build(arg, path) for arg in others]
            union = reduce(or_, models)
            members.insert(first_index, build_pydantic_node(union, format_type_name(union), path))
        else:
            members = [self.build(arg, path) for arg in args]
        return UnionNode(members) if len(members) > 1 else members[0]

    def _build_alias_node(self, hint: Any, alias: Any, args: Sequence[Any], path: str) -> TypeNode:
        if hint not in self.alias_nodes:
            self.alias_nodes[hint] = node = AliasNode(format_type_name(hint))
            variables = dict(zip(alias.__type_params__, args, strict=False))
            node.node = self.build(substitute_type_variables(alias.__value__, variables), path)
        return self.alias_nodes[hint]

    def _build_object_node(self, hint: Any, cls: type, path: str) -> TypeNode:
        if hint not in self.object_nodes:
            construct = dict if is_typed_dict(cls) else cls
            node = ObjectNode(format_type_name(hint), construct, find_class_docstring(cls))
            self.object_nodes[hint] = node
            if is_object_struct(cls):
                node.forbid_extra = cls.__struct_config__.forbid_unknown_fields
            node.fields = tuple(self._iter_object_fields(hint, cls))
            if construct is cls:
                check_constructor(cls, {field.keyword for field in node.fields}, path)
        return self.object_nodes[hint]

    def _iter_object_fields(self, hint: Any, cls: type) -> Iterator[ObjectField]:
        """Yield the fields of a class, each with the node of its type."""
        hints = resolve_field_hints(hint, cls)
        for field in iter_field_definitions(cls, hints):
            field_hint = field.hint
            if field.keyword:
                field_hint = hints.get(field.attribute or field.name, field.hint)
            while typing.get_origin(field_hint) in _QUALIFIERS:
                field_hint = typing.get_args(field_hint)[0]
            path = f"{format_type_name(hint)}.{field.name}"
            node = self.build(Any if field_hint is None else field_hint, path)
            schema_metadata = dict(field.schema_metadata)
            if isinstance(node, AnnotatedNode):
                schema_metadata, node = {**schema_metadata, **node.schema_metadata}, node.node
            yield ObjectField(
                field.name,
                field.keyword,
                node,
                field.required,
                field.may_be_absent,
                schema_metadata,
            )


def _is_pydantic_type(cls: type) -> bool:
    """Return whether a class is one of pydantic's own types: ``HttpUrl``, ``SecretStr``, ``Json``.

    A class of the user's that only knows how pydantic treats it is taken as what it is.
    """
    is_own = cls.__module__.partition(".")[0].startswith("pydantic")
    return is_own and hasattr(cls, "__get_pydantic_core_schema__")


def _build_msgspec_node(hint: Any, path: str) -> TypeNode:
    node = MsgspecNode(hint)
    try:
        node.build_schema(SchemaDefinitions())
    except (TypeError, NameError) as exc:
        reason = str(exc).splitlines()[-1] if str(exc) else type(exc).__name__
        raise ConfigurationError(
            f"{path}: {format_type_name(hint)} cannot be represented in JSON: {reason}"
        ) from exc
    return node


def _convert_to_key_node(node: TypeNode, path: str) -> TypeNode:
    """Convert a node to one for the keys of an object, which are always strings in JSON."""
    match node:
        case PredicateNode():
            return PredicateNode(_convert_to_key_node(node.node, path), node.predicates)
        case DecimalNode():
            return node
        case MsgspecNode():
            return KeyNode(node.hint)
        case AnnotatedNode():
            return AnnotatedNode(_convert_to_key_node(node.node, path), node.schema_metadata)
        case AliasNode():
            return _convert_to_key_node(node.node, path)
        case UnionNode():
            return UnionNode([_convert_to_key_node(member, path) for member in node.members])
        case ChoiceNode() if all(isinstance(choice, str) for choice, _ in node.choices):
            return node
        case ChoiceNode():
            choices = [
                (choice if isinstance(choice, str) else json.dumps(choice), value)
                for choice, value in node.choices
            ]
            return ChoiceNode(choices, node.name, node.description)
    raise ConfigurationError(
        f"{path}: its keys cannot be represented in JSON: keys are always strings"
    )


def _build_enum_node(cls: type[Enum], path: str) -> ChoiceNode:
    choices = [(_convert_choice_to_json(member, path), member) for member in cls]
    if not choices:
        raise ConfigurationError(f"{path}: the enum {cls.__name__} has no members to choose from")
    return ChoiceNode(choices, cls.__name__, find_class_docstring(cls))


def _convert_choice_to_json(value: Any, path: str) -> Any:
    """Convert a member of an enum, or a value of a ``Literal``, to its value in JSON."""
    raw = value.value if isinstance(value, Enum) else value
    if isinstance(raw, (str, int, float, type(None))):
        return raw
    raise ConfigurationError(
        f"{path}: {value!r} cannot be represented in JSON; a choice is a string, a number, true, "
        "false or null"
    )
