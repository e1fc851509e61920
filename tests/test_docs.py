"""The pages of the documentation say what the code does."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import disentangle
import disentangle.dependence
from disentangle import Dependence, GivenClasses, ScaleInvariant
from disentangle.dependence import Bound

DOCS = Path(__file__).parents[1] / "docs"
SNIPPETS = [
    ("index.md", 1),
    ("independent.md", 1),
    ("mutual_information.md", 12),
    ("own_loop.md", 6),
    ("formats/folder.md", 1),
    ("formats/tables.md", 2),
]
API = re.findall(
    r"^(?:   ~|\| `)disentangle\.([\w.]+)", "\n".join(p.read_text() for p in (DOCS / "api").glob("*.md")), re.MULTILINE
)
PUBLIC = [
    "", ".dependence", ".conditionals", ".critics", ".networks", ".pairwise", ".variables", ".functional", ".information",
    ".nn", ".nn.backbones", ".erasure", ".training", ".tasks", ".experiments", ".data", ".features", ".metrics", ".text_tables",
]  # fmt: skip
PAGE = (DOCS / "mutual_information.md").read_text()


@pytest.mark.parametrize(("name", "count"), SNIPPETS)
def test_every_snippet_of_a_page_runs_and_what_it_asserts_holds(tmp_path, monkeypatch, name, count):
    """In order, in one namespace. Blank lines in front keep the line numbers of a traceback those of the page."""
    monkeypatch.chdir(tmp_path)
    page = (DOCS / name).read_text()
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert len(blocks) >= count
    namespace = {"__name__": "page"}
    for block in blocks:
        first = page[: block.start(1)].count("\n")
        exec(compile("\n" * first + block[1], f"docs/{name}", "exec"), namespace)


def test_the_table_of_bounds_is_that_of_the_code():
    cells = re.findall(r"^\| `(\w+)` \| (\w+) \| (upper|lower|neither) \| (.+) \|$", PAGE, re.MULTILINE)
    table = {name: (label, Bound(side, condition.replace(r"\|", "|"))) for name, label, side, condition in cells}
    assert len(table) == len(cells)
    assert table == {name: (c.label, c.bound) for name, c in _dependences().items()}


def test_every_dependence_says_what_it_is():
    assert len(_dependences()) > 15
    for dependence in _dependences().values():
        assert dependence.bound != Dependence.bound, f"{dependence.__name__} claims nothing"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("part", PUBLIC, ids=lambda part: f"disentangle{part}")
def test_every_public_name_has_a_page(part):
    """Under its shortest path, or where the name is the same, another one."""
    pages = {path.rsplit(".", 1)[-1] for path in API}
    missing = set(importlib.import_module(f"disentangle{part}").__all__) - pages
    assert not missing


def test_every_page_is_of_a_name_where_it_is_imported_from():
    assert len(set(API)) == len(API) > 150
    for path in API:
        module, _, name = f"disentangle.{path}".rpartition(".")
        assert name in importlib.import_module(module).__all__, path
        assert module == "disentangle" or name not in disentangle.__all__, f"{name} is imported from disentangle itself"


def test_no_sentence_is_shown_as_a_type():
    """What stands before a colon at the beginning of `Returns`, or in a property, is taken for the type."""
    taken = []
    for path in API:
        module, _, name = f"disentangle.{path}".rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        members = {f"{name}.{n}": m for n, m in vars(thing).items()} if inspect.isclass(thing) else {}
        for where, each in {name: thing, **members}.items():
            if not (inspect.isclass(each) or inspect.isroutine(each) or isinstance(each, property)):
                continue
            text = inspect.getdoc(each) or ""
            returns = re.search(r"^Returns:\n\s+([^`\n]*?):\s", text, re.MULTILINE)
            first = re.match(r"([^`\n]*?):\s", text) if isinstance(each, property) else None
            taken += [(where, found[1]) for found in (returns, first) if found]
    assert taken == []


def _dependences():
    """The public dependences by name, less the wrappers, whose label and bound are those of what they wrap."""
    public = {name: getattr(disentangle.dependence, name) for name in disentangle.dependence.__all__}
    return {
        name: c
        for name, c in public.items()
        if isinstance(c, type) and issubclass(c, Dependence) and c not in (Dependence, GivenClasses, ScaleInvariant)
    }
