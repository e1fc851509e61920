import inspect
import re
from importlib import import_module
from pathlib import Path

from docutils import nodes

from disentangle import __version__
from disentangle.text_tables import Shown

project = "disentangle"
author = "The disentangle developers"
copyright = "2026, The disentangle developers"
version = release = __version__

TORCH = "https://docs.pytorch.org/docs/stable"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas do not need a network
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
autosummary_generate = False  # see `write_pages_of_names`
add_module_names = False
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "_build",
    "tutorials",  # what is made of them is in tutorials_run
    "results/digits_tables.md",
    "results/independent_latents_tables.md",
    "results/known_factors_tables.md",
    "results/known_truths_tables.md",
    "results/other_meters_tables.md",
    "results/speed/large_set.md",
    "results/speech_tables.md",
    "results/pom_tables.md",
    "results/study_tables.md",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

default_role = "code"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# These are shown by their names, not by what they stand for.
autodoc_type_aliases = {"Samples": "Samples", "ArrayLike": "numpy.typing.ArrayLike"}
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Arguments", "params_style")]

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "tutorials_run",
    "filename_pattern": r"/\d_",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": (),  # what is to be seen is printed
    "write_computation_times": False,  # a page with scripts from elsewhere
}

html_theme = "furo"
html_extra_path = ["llms.txt"]
html_title = f"disentangle {version}"
html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))


def write_pages_of_names(app):
    """A page for each name that is listed in a page of the API.

    They are in no table of contents: with hundreds of entries in the sidebar of each page, a build takes minutes.
    """
    folder, written = Path(app.srcdir, "api"), set()
    (folder / "names").mkdir(exist_ok=True)
    for page in folder.glob("*.md"):
        for module, name in re.findall(
            r"^   ~(disentangle\S*)\.(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            what = getattr(import_module(module), name)
            kind = "class" if inspect.isclass(what) else "function"
            shown = inspect.isclass(what) and issubclass(what, Shown)  # with how it is written, which its base does
            short = name.removesuffix("Estimator")  # what one would look for
            index = f".. index:: {short}\n\n" if short != name else ""
            text = (
                f":orphan:\n\n{index}{name}\n{'=' * len(name)}\n\n"
                f"``from {module} import {name}`` · :doc:`back <../{page.stem}>`\n\n"
                f".. currentmodule:: {module}\n\n.. auto{kind}:: {name}\n"
                + ("   :inherited-members:\n" if shown else "")
            )
            path = folder / "names" / f"{module}.{name}.rst"
            written.add(path)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
    for path in set((folder / "names").glob("*.rst")) - written:
        path.unlink()


def page_elsewhere(name):
    """The page of a type of Python, NumPy or torch, by rule: a build then needs no network."""
    module, _, last = name.rpartition(".")
    if name in ("Tensor", "torch.Tensor"):
        return f"{TORCH}/tensors.html#torch.Tensor"
    if module.startswith("torch.nn."):
        public = "torch.nn.parameter" if last == "Parameter" else "torch.nn"
        return f"{TORCH}/generated/{public}.{last}.html"
    if module.startswith("torch.optim."):
        return f"{TORCH}/optim.html" + ("#torch.optim.Optimizer" if last == "Optimizer" else "")
    if module.startswith("torch.utils.data"):
        return f"{TORCH}/data.html#torch.utils.data.{last}"
    if module.startswith("torch.distributions"):
        return f"{TORCH}/distributions.html#{name}"
    if name in ("numpy.ndarray", "numpy.dtype"):
        return f"https://numpy.org/doc/stable/reference/generated/{name}.html"
    if name == "numpy.typing.ArrayLike":
        return f"https://numpy.org/doc/stable/reference/typing.html#{name}"
    if module in ("collections.abc", "pathlib", "argparse", "os"):
        return f"https://docs.python.org/3/library/{module}.html#{name}"
    if module == "jaxtyping":
        return "https://docs.kidger.site/jaxtyping/api/array/"
    return None


def link_elsewhere(app, env, node, content):
    """Links types that have no page here."""
    name = node.get("reftarget", "")
    if name == "Samples":
        page = app.builder.get_relative_uri(node["refdoc"], "api/meters") + "#constants"
    else:
        page = page_elsewhere(name)
    return page and nodes.reference("", "", content, internal=False, refuri=page)


def name_aliases(app, what, name, thing, options, signature, returned):
    """Shows an alias in a union by its name: autodoc leaves its own stand-in for it there."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", text) for text in (signature, returned))


def setup(app):
    app.connect("builder-inited", write_pages_of_names)
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("missing-reference", link_elsewhere)
