"""The architecture: imports point one way, and importing the library is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "disentangle"
MAY_IMPORT = {
    "arrays": set(),
    "variables": {"arrays"},
    "model": {"variables"},
    "text_tables": set(),
    "numbers_as_text": set(),
    "closed_pipe": set(),
    "functional": {"errors", "functional"},
    "metrics": {"numbers_as_text", "text_tables", "metrics"},
    "plots": {"plots"},
    "nn": {"errors", "contents", "variables", "functional", "nn"},
    "networks": {"functional", "variables"},
    "conditionals": {"functional", "variables", "networks"},
    "critics": {"functional", "variables", "networks"},
    "dependence": {"errors", "functional", "variables", "networks", "conditionals", "critics", "dependence"},
    "pairwise": {"errors", "variables", "functional", "conditionals", "dependence", "pairwise"},
    "information": {
        *("arrays", "functional", "conditionals", "critics", "dependence", "plots", "text_tables", "information"),
    },
    "erasure": {"errors", "functional", "information"},
    "errors": set(),
    "contents": set(),
    "files": set(),
    "weights": set(),
    "hub": {"errors"},
    "saving": {"errors", "contents", "files", "hub", "weights"},
    "inference": {"variables"},
    "training": {
        *("errors", "variables", "model", "functional", "pairwise", "plots", "contents"),
        *("files", "weights", "saving", "inference", "numbers_as_text", "training"),
    },
    "data": {
        *(
            "errors",
            "closed_pipe",
            "contents",
            "files",
            "variables",
            "metrics",
            "plots",
            "numbers_as_text",
            "text_tables",
            "tasks",
        ),
        "data",
    },
    "features": {"errors", "contents", "files", "data", "features"},
    "tasks": {"variables", "functional", "numbers_as_text", "metrics", "tasks"},
    "experiments": {
        *("errors", "model", "variables", "pairwise", "hub", "saving", "inference", "metrics", "tasks"),
        *("nn", "training", "data", "features", "files", "plots", "text_tables", "information", "experiments"),
        *("numbers_as_text", "closed_pipe"),
    },
}


def imported(path):
    """The parts of the library that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "disentangle":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("disentangle."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    assert set(imported(path)) <= MAY_IMPORT[part]


def test_importing_the_library_imports_nothing_heavy():
    heavy = {"transformers", "huggingface_hub", "accelerate", "matplotlib", "sklearn", "scipy"}
    code = f"import sys, disentangle; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
