"""The documentation as a browser without a network shows it. `SITE=folder`, what `sphinx-build` wrote; `.ci/run` gives it."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = os.environ.get("SITE")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(SITE is None, reason="needs SITE, the folder of the built documentation")
browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures, fonts, frames; not where its links lead."""

    def __init__(self, page: Path):
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio") and of.get("src"):
            self.found.append(of["src"])
        if tag == "link" and {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch"} & set(
            of.get("rel", "").split()
        ):
            self.found.append(of["href"])


def dom(place: str) -> str:
    """The page as it is once its scripts have run; no name of a host is found."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom", f"file://{Path(SITE).resolve()}/{place}",
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_nothing_that_a_page_loads_is_elsewhere_or_missing():
    pages = sorted(Path(SITE).rglob("*.html"))
    assert len(pages) > 100
    wrong = []
    for page in pages:
        for place in Loaded(page).found:
            parts = urlsplit(place)
            there = not parts.scheme and not parts.netloc and (page.parent / unquote(parts.path)).exists()
            if not there and parts.scheme != "data":
                wrong.append((page.relative_to(SITE).as_posix(), place))
    assert wrong == []


def test_no_style_loads_from_elsewhere():
    styles = list(Path(SITE).rglob("*.css"))
    assert styles
    assert [
        style for style in styles if re.search(r"url\(['\"]?(https?:)?//|@import\s+['\"]https?:", style.read_text())
    ] == []


@browser
def test_the_front_page_shows_what_it_is_for():
    page = dom("index.html")
    assert "<h1>disentangle" in page
    assert "digits_styles" in page
    assert "PenaltyLoss" in page


@browser
def test_who_searches_for_club_finds_the_estimator_first():
    page = dom("search.html?q=CLUB")
    first = re.search(r'<ul[^>]* class="search".*?<a [^>]*>(.*?)</a>', page, re.DOTALL)
    assert first is not None, "nothing was found"
    assert re.sub("<.*?>", "", first[1]) == "disentangle.CLUBEstimator"


@browser
def test_a_tutorial_shows_its_output_and_pictures():
    page = dom("tutorials_run/1_remove_an_attribute.html")
    assert "sphx-glr-script-out" in page
    assert "images/sphx_glr_1_remove_an_attribute" in page


@browser
def test_formulas_are_set_without_a_network():
    page = dom("api/names/disentangle.CLUBEstimator.html")
    assert "mjx-container" in page
    assert r"\log" not in re.sub(
        r"<script.*?</script>|<mjx-assistive-mml.*?</mjx-assistive-mml>", "", page, flags=re.DOTALL
    )
