"""The code of the documentation's pages, run."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def run_code(path: Path, namespace: dict) -> int:
    """Runs the blocks of a page, in order, in one namespace, and counts them.

    Blank lines in front keep the line numbers of a traceback those of the page.
    """
    page = path.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    namespace["__name__"] = "page"
    for block in blocks:
        first = page[: block.start(1)].count("\n")
        exec(compile("\n" * first + block[1], path.name, "exec"), namespace)
    return len(blocks)
