"""Tools: Python functions that a model may call.

:func:`tool` turns a function into a tool. The JSON Schema comes from the signature and the
docstring, and the arguments of a call are validated and converted with the same types before the
function runs.
"""

from __future__ import annotations

from locus.tools.context import ToolContext
from locus.tools.decorator import convert_to_tool, tool
from locus.tools.errors import ModelRetry, ToolArgumentsError
from locus.tools.function_tool import FunctionTool
from locus.tools.result_renderer import render_result
from locus.tools.schema_tool import SchemaTool

__all__ = [
    "FunctionTool",
    "ModelRetry",
    "SchemaTool",
    "ToolArgumentsError",
    "ToolContext",
    "convert_to_tool",
    "render_result",
    "tool",
]
