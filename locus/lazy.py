"""Lazy imports of public names: their modules are imported when the names are first used (PEP 562).

``import locus`` loads no HTTP client and no provider: a name is looked up in a table, and its
module imported, when somebody uses it.

Such a package lists each public name three times. Type checkers and editors need the imports under
``TYPE_CHECKING``, and an ``__all__`` that is a literal. They cannot read the third list, the table
of modules, which is for this module. The linter compares the first two, and a test the third. (A
stub file that is read at run time, as ``lazy_loader`` does, lists each name once; but programs
frozen into one file lose that file.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def make_lazy_attributes(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package. Assign them ``if not TYPE_CHECKING``.

    :param package: the package's ``__name__``.
    :param modules: the module of each public name.
    """
    package_module = sys.modules[package]

    def get_lazy_attribute(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=package_module
            )
        value = getattr(import_module(module), name)
        setattr(package_module, name, value)  # further look-ups do not call this function
        return value

    def list_attributes() -> list[str]:
        return sorted({*vars(package_module), *modules})

    return get_lazy_attribute, list_attributes
