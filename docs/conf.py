"""Sphinx: where the pages come from and how they look."""

import importlib.metadata

project = "Locus"
release = importlib.metadata.version("locus-llm")
copyright = "the Locus authors"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "code"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"

html_theme = "furo"
html_title = f"Locus {release}"


def setup(app):
    """Leave out the modules' own docstrings: they speak to whoever reads the source."""
    app.connect("autodoc-process-docstring", _without_module_docstring)


def _without_module_docstring(app, what, name, thing, options, lines):
    if what == "module":
        lines.clear()
