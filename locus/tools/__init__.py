"""Tools: Python functions that a model may call.

:func:`tool` makes one of a function. Its JSON Schema comes from the signature and the docstring,
and what a model asks for is checked and converted by the same types before the body runs.
"""

from __future__ import annotations

from locus.tools.context import ToolContext
from locus.tools.decorator import as_tool, tool
from locus.tools.errors import ToolArgumentsError
from locus.tools.function import FunctionTool
from locus.tools.render_result import render_result

__all__ = [
    "FunctionTool",
    "ToolArgumentsError",
    "ToolContext",
    "as_tool",
    "render_result",
    "tool",
]
