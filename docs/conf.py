from importlib.metadata import version as installed

project = "disentangle"
author = "The disentangle developers"
copyright = "2026, The disentangle developers"
version = release = installed("disentangle")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "results/digits_tables.md",
    "results/independent_latents_tables.md",
    "results/known_factors_tables.md",
    "results/known_truths_tables.md",
    "results/other_meters_tables.md",
    "results/speech_tables.md",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Arguments", "params_style")]

html_theme = "furo"
html_title = "disentangle"
