"""The page for those who bring an estimator of their own: its function, by its command, on a few tasks."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your_estimator.md").read_text()


def command(*more):
    line = re.search(r"^python (benchmarks/mutual_information\.py .*--beside .*)$", PAGE, re.MULTILINE)
    script, *arguments = shlex.split(line[1])
    places = {each: str(ROOT / each) for each in arguments if each.startswith("docs/")}
    return str(ROOT / script), [*(places.get(each, each) for each in arguments), *more]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def call(*more):
        script, arguments = command(*more)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return call


def test_the_function_of_the_page_is_measured_and_ranked(run):
    Path("mine.py").write_text(re.search(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1])
    said = run("--every", "5")
    records = [json.loads(line) for line in Path("runs/mine.jsonl").read_text().splitlines()]
    gaussian = [r for r in records if r["family"] in ("gaussian", "multinormal")]
    assert len(gaussian) >= 4
    for record in gaussian:  # where its formula is exact
        assert record["value"] == pytest.approx(record["truth"], abs=0.1 + 0.05 * record["truth"])
    classes = [r for r in records if r["family"] == "classes"]
    assert classes
    assert all(r["failed"] == "classes are not for me" for r in classes)
    ranking = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if "%" in line]
    for half in ("held-out", "tuning"):
        shares = [int(row[5].rstrip("%")) for row in ranking if row[1] == half]
        assert len(shares) == 2
        assert shares == sorted(shares, reverse=True)


def test_a_function_that_is_not_there_is_named(run):
    Path("mine.py").write_text("def other(x, y): return 0.0\n")
    with pytest.raises(SystemExit, match=r"expected FILE.py:FUNCTION, got 'mine.py:estimate': KeyError 'estimate'"):
        run()
