"""The pages of the documentation say what the code does."""

import importlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import disentangle
import disentangle.dependence
from disentangle import HSIC, Dependence, GivenClasses, ScaleInvariant
from disentangle.dependence import Bound
from disentangle.nn import NoisyLatent

from .examples.conftest import content as split_of
from .pages import DOCS, run_code

SNIPPETS = {  # pages, and how many blocks of code each has at least
    "index.md": 1,
    "independent.md": 1,
    "mutual_information.md": 12,
    "own_loop.md": 6,
    "reading_a_report.md": 1,
    "formats/folder.md": 1,
    "formats/tables.md": 2,
}
# Pages whose code other tests run, with what it needs: a trained model, files, a run that stopped, an estimator.
ELSEWHERE = {"deploying.md", "own_videos.md", "resuming.md", "your_estimator.md", "formats/store.md"}
API = re.findall(
    r"^(?:   ~|\| `)disentangle\.([\w.]+)", "\n".join(p.read_text() for p in (DOCS / "api").glob("*.md")), re.MULTILINE
)
PUBLIC = [
    "", ".dependence", ".conditionals", ".critics", ".networks", ".pairwise", ".variables", ".functional", ".information",
    ".nn", ".nn.backbones", ".erasure", ".training", ".tasks", ".experiments", ".data", ".features", ".metrics", ".text_tables",
]  # fmt: skip
PAGE = (DOCS / "mutual_information.md").read_text()


@pytest.mark.parametrize(("name", "count"), SNIPPETS.items())
def test_every_snippet_of_a_page_runs_and_what_it_asserts_holds(tmp_path, monkeypatch, name, count):
    monkeypatch.chdir(tmp_path)
    assert run_code(DOCS / name, {}) >= count


def test_no_page_has_code_that_is_not_run():
    """Code that cannot run as it stands is marked `py`."""
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "```python\n" in path.read_text()}
    assert pages == {*SNIPPETS, *ELSEWHERE}


def test_the_readme_says_where_each_name_is_imported_from():
    table = (DOCS.parent / "README.md").read_text().partition("## What is in it")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    for row in rows:
        modules = [disentangle, *map(importlib.import_module, re.findall(r"`(disentangle\.\w+)`", row))]
        for name in re.findall(r"`([A-Za-z_]+)`", row):
            assert any(hasattr(module, name) for module in modules), name


def test_the_code_of_the_readme_runs_and_its_loop_takes_the_label_out_of_the_style(capsys):
    namespace = {}
    assert run_code(DOCS.parent / "README.md", namespace) == 3
    assert all(latent.grad_fn is not None for latent in (namespace["content"], namespace["loss"]))
    tells, label = HSIC(kernel="laplace", scales=(0.5,)), namespace["label"]
    with torch.no_grad():
        latent = namespace["encode"](torch.randn(256, 6) + 3 * one_hot(label, 6))
        before = NoisyLatent(8, noise=1.0, fixed="rows")(nn.Linear(6, 8)(torch.randn(256, 6) + 3 * one_hot(label, 6)))
    assert tells.p_value(before, label) < 1e-4
    assert tells.p_value(latent, label) > 1e-3
    printed = capsys.readouterr().out
    assert "nats" in printed
    assert "root mean square" in printed


def test_a_set_becomes_a_store_by_the_code_of_its_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {split: split_of(n, n) for split, n in {"train": 6, "valid": 3, "test": 3}.items()}
    Path("unaligned_50.pkl").write_bytes(pickle.dumps(content))
    namespace = {}
    assert run_code(DOCS / "formats" / "store.md", namespace) == 1
    assert namespace["splits"]["train"].text == content["train"]["raw_text"]


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


def test_the_large_set_is_computed_from_the_figures_that_are_there():
    command = [sys.executable, "benchmarks/large_set.py"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=DOCS.parent).stdout
    assert (DOCS / "results" / "speed" / "large_set.md").read_text() == printed


def test_performance_in_short_says_what_was_measured():
    """Each figure of the table at the top of the page, from the outputs that it includes."""
    said = (DOCS / "performance.md").read_text().split("## In short")[1].split("## An iteration")[0]
    of = {
        name: (DOCS / "results" / "speed" / f"{name}.txt").read_text()
        for name in ("iteration", "bounds", "pairs", "gpu")
    }
    shapes = {block.split(":")[0]: block for block in of["iteration"].split("\n\n")[1:]}

    def found(pattern, *names):
        return [float(re.search(pattern, shapes[name])[1]) for name in names]

    real = ("short", "middle", "base")
    mi = found(r"MI +([\d.]+)%", *real)
    public = found(r"public .* ([\d.]+)x", *shapes)
    floor = found(r"ours is ([\d.]+) times", *real)
    bf16 = found(r"bf16 .* ([\d.]+)x", *real)
    club = re.findall(r"^ +512 .* ([\d.]+)x", of["bounds"], re.MULTILINE)[0]
    nine = [float(x) for x in re.findall(r"as documented.* ([\d.]+)x", of["pairs"])]
    for figure in (
        f"{min(mi):g} to {max(mi):g} % on a CPU; [17 %](#on-a-gpu)",
        f"{min(public):.0f} to {max(public):.0f} times as long",
        f"{floor[2]:.1f} (bert-base) to {max(floor):.1f} times",
        f"{bf16[2]:g} times as fast (bert-base), {min(bf16):g} to {max(bf16[:2]):g} with smaller backbones",
        f"{round(float(club), -2):.0f} times as fast",
        f"{min(nine):.0f} to {max(nine):.0f} times as fast",
    ):
        assert figure in said
    assert "MI in an iteration: 17%" in of["gpu"]
