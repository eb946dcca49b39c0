"""How the pages become a site: MyST for the text, the docstrings as they stand."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of

project = "Artifex"
author = "The Artifex developers"
version = release = version_of("artifex-core")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Artifex {version}"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
suppress_warnings = ["config.cache"]


def literal_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Show a module's docstring as it stands; elsewhere keep the lines, with code where there are backticks."""
    if what == "module":
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]
        return
    escaped = re.sub(r"([\\*|_])", r"\\\1", "\n".join(lines))
    coded = re.sub(r"`([^`\n]+)`", lambda code: f"``{code[1].replace(chr(92), '')}``", escaped).splitlines()
    lines[:] = [line if number == 0 or not line.strip() else f"| {line}" for number, line in enumerate(coded)]


def setup(app) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", literal_docstring)
