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


def make_lazy_getattr_and_dir(
    package_name: str, modules_by_name: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package. Assign them ``if not TYPE_CHECKING``.

    ``dir`` of the package lists the names in its ``__all__`` and no others: no submodules, and
    nothing that the package itself imports.

    :param package_name: the package's ``__name__``.
    :param modules_by_name: for each public name, the name of the module that defines it.
    """
    package = sys.modules[package_name]

    def get_lazy_attribute(name: str) -> Any:
        module_name = modules_by_name.get(name)
        if module_name is None:
            raise AttributeError(
                f"module {package_name!r} has no attribute {name!r}", name=name, obj=package
            )
        value = getattr(import_module(module_name), name)
        setattr(package, name, value)  # further look-ups do not call this function
        return value

    def list_public_names() -> list[str]:
        return sorted(package.__all__)

    return get_lazy_attribute, list_public_names
