"""What says which version this is: the package, the changelog and the citation."""

import re
import tomllib
from pathlib import Path

import disentangle

ROOT = Path(__file__).parents[1]


def test_the_package_is_later_than_the_last_release_which_is_what_is_cited():
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited
    assert cited[1] == released[0]
    version = disentangle.__version__
    if version != released[0]:  # between two releases
        base, development = re.fullmatch(r"(\d+\.\d+\.\d+)(\.dev\d+)", version).groups()
        assert development
        assert [*map(int, base.split("."))] > [*map(int, released[0].split("."))]


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert (ROOT / project["tool"]["hatch"]["version"]["path"]).samefile(disentangle.__file__)


def test_a_source_distribution_has_every_file_that_tells_of_the_project():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "include"
    ]
    there = {path.name for path in ROOT.iterdir() if path.suffix in (".md", ".cff", ".txt") or path.name == "LICENSE"}
    assert there <= set(included)
