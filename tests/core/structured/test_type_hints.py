"""Classes with type parameters, whose annotations are text."""

from __future__ import annotations

import json
import sys
import types

import pytest

from locus.core.structured import parse_structured


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters need Python 3.12")
@pytest.mark.parametrize("decorator", ["attrs.frozen", "dataclasses.dataclass(frozen=True)"])
def test_a_class_with_type_parameters_may_have_postponed_annotations(decorator: str) -> None:
    """``typing.get_type_hints`` does not know the parameters (cpython, issue 114053)."""
    module = types.ModuleType("module_with_type_parameters")
    source = f"""
from __future__ import annotations
import attrs, dataclasses
from typing import ClassVar

@{decorator}
class Base[T]:
    item: T
    count: ClassVar[int] = 0

@{decorator}
class Box[U, T](Base[U]):
    second: T
    inner: list[Base[T]]
"""
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))
        hint = module.Box[int, str]
        right = {"item": 1, "second": "x", "inner": [{"item": "y"}]}
        value = parse_structured(json.dumps(right), hint).unwrap()
        wrong = {"item": "1", "second": 2, "inner": [{"item": 3}]}
        error = parse_structured(json.dumps(wrong), hint).error
    finally:
        del sys.modules[module.__name__]
    assert value == module.Box(1, "x", [module.Base("y")])
    for path in ("item: ", "second: ", "inner[0].item: "):
        assert path in str(error)
