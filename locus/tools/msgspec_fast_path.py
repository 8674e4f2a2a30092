"""Build the type hint with which msgspec validates a value exactly as a node of the type tree does.

Most arguments of tools are numbers, strings, and collections of these: msgspec converts all of them
in one fast call.
"""

from __future__ import annotations

import datetime
import sys
import uuid
from collections.abc import Sequence
from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, Final

import msgspec

from locus.core.structured.collection_nodes import ArrayNode, LengthBounds, MappingNode
from locus.core.structured.leaf_nodes import KeyNode, MsgspecNode
from locus.core.structured.type_node import TypeNode
from locus.core.structured.union_nodes import UnionNode
from locus.core.structured.wrapper_nodes import AnnotatedNode

_UNION_MEMBERS: Final = (str, int, bool, type(None))
_LEAVES: Final = (
    *_UNION_MEMBERS,
    bytes,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.datetime,
)
_MAX_FLOAT: Final = sys.float_info.max
_FINITE_FLOAT: Final = Annotated[float, msgspec.Meta(ge=-_MAX_FLOAT, le=_MAX_FLOAT)]


def build_msgspec_hint(node: TypeNode) -> Any:
    """Build the hint for a node; None if msgspec would validate some values differently."""
    match node:
        case AnnotatedNode():
            return build_msgspec_hint(node.node)
        case KeyNode():
            return str if node.hint is str else None
        case MsgspecNode():
            if node.hint is float:
                return _FINITE_FLOAT
            return node.hint if node.hint in _LEAVES else None
        case ArrayNode() if _is_unbounded(node.length):
            item, cls = build_msgspec_hint(node.item_node), node.construct
            if item is None or cls not in (list, tuple, set, frozenset):
                return None
            return GenericAlias(cls, (item, ...) if cls is tuple else (item,))
        case MappingNode() if _is_unbounded(node.length):
            key, value = build_msgspec_hint(node.key_node), build_msgspec_hint(node.value_node)
            return None if key is None or value is None else GenericAlias(dict, (key, value))
        case UnionNode():
            return _try_build_union_hint(node.members)
    return None


def _is_unbounded(length: LengthBounds) -> bool:
    return length.minimum is None and length.maximum is None


def _try_build_union_hint(nodes: Sequence[TypeNode]) -> Any:
    """Build the hint for a union; None if msgspec would validate some values differently."""
    hints = [build_msgspec_hint(node) for node in nodes]
    not_null = [hint for hint in hints if hint is not type(None)]
    if None in hints:
        return None
    if len(not_null) > 1 and not all(hint in _UNION_MEMBERS for hint in not_null):
        return None
    return reduce(or_, hints)
