"""Public names that are imported when first used (PEP 562).

``import locus`` loads no HTTP client and no provider: a name is looked up in a table, and its
module imported, when somebody asks for it.

Each public name stands three times in such a package. Type checkers and editors need the imports
under ``TYPE_CHECKING`` and an ``__all__`` that is a literal; what they cannot read, the homes, is
for this module. The linter compares the first two, and a test the third. (A stub file that is read
at run time, as ``lazy_loader`` does, says each name once; but programs frozen into one file lose
it.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package. Assign them ``if not TYPE_CHECKING``.

    :param homes: the module of each public name.
    """
    module = sys.modules[package]

    def getattr_(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        value = getattr(import_module(home), name)
        setattr(module, name, value)  # the next look-up does not come here
        return value

    def dir_() -> list[str]:
        return sorted({*vars(module), *homes})

    return getattr_, dir_
