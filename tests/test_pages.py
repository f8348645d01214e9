"""The built pages: sound HTML, and in a browser with every other host out of reach, no error, light, dark and narrow.

They are skipped, with the reason, where there is no built book or no Chromium; VAE_REQUIRE_PAGES=1 and
VAE_REQUIRE_BROWSER=1 turn these skips into failures.
"""

import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
PAGES = sorted(path for path in SITE.rglob("*.html") if path.relative_to(SITE).parts[0] not in ("_static", "_sources"))
CHAPTERS = ("likelihood_decomposition", "intractable_posterior", "training_pipeline", "reparameterization", "evaluation")

if not (SITE / "index.html").exists():
    if os.environ.get("VAE_REQUIRE_PAGES"):
        pytest.fail("there is no built book: run `make book` first", pytrace=False)
    pytest.skip("there is no built book: `make book` makes it", allow_module_level=True)


class Page(HTMLParser):
    """What the checks need of one page."""

    LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "object": "data", "embed": "src"}

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.images, self.math = [], [], [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        if tag == "link" and attrs.get("rel") in ("stylesheet", "preload", "icon", "modulepreload", "preconnect", "dns-prefetch"):
            self.loads.append(attrs["href"])
        if tag in self.LOADS and attrs.get(self.LOADS[tag]):
            self.loads.append(attrs[self.LOADS[tag]])
        if tag == "img":
            self.images.append((attrs.get("src", ""), attrs.get("alt")))
        self.math += "math" in attrs.get("class", "").split()


PARSED = {path: Page(path) for path in PAGES}
every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(SITE).with_suffix("").as_posix())


def test_the_whole_book_is_there():
    built = {path.relative_to(SITE).as_posix() for path in PAGES}
    assert {"index.html", "book/index.html", *(f"book/{name}.html" for name in CHAPTERS)} <= built


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_maths_and_figures(name):
    page = PARSED[SITE / "book" / f"{name}.html"]
    assert page.math and page.images


@every_page
def test_ids_are_unique(path):
    ids = PARSED[path].ids
    assert sorted(ids) == sorted(set(ids))


@every_page
def test_every_image_is_described(path):
    for source, alt in PARSED[path].images:
        assert alt, f"{source[:80]} has no alt text"
        assert not alt.startswith(("_images/", "../_images/")), f"{source[:80]} has its file's name as alt text"


@every_page
def test_nothing_is_loaded_from_another_host(path):
    assert not [address for address in PARSED[path].loads if urlsplit(address).scheme not in ("", "data") or urlsplit(address).netloc]


@every_page
def test_every_file_and_anchor_it_points_to_is_there(path):
    page = PARSED[path]
    for address in page.links + page.loads:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.exists(), address
        if parts.fragment and target in PARSED and not address.startswith("#"):
            assert unquote(parts.fragment) in PARSED[target].ids, address


@pytest.fixture(scope="module")
def browser():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        if os.environ.get("VAE_REQUIRE_BROWSER"):
            pytest.fail("there is no Chromium on this machine", pytrace=False)
        pytest.skip("there is no Chromium on this machine (Debian and Ubuntu: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        yield opened
        opened.close()


@every_page
def test_in_a_browser(browser, path):
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
    said, asked = [], []
    page.on("pageerror", lambda error: said.append(f"page error: {error}"))
    page.on("console", lambda message: said.append(f"console: {message.text}") if message.type == "error" else None)

    def answer(route):
        if urlsplit(route.request.url).scheme in ("file", "data", "blob"):
            return route.continue_()
        asked.append(route.request.url)
        route.abort()

    page.route("**/*", answer)
    page.goto(path.as_uri(), wait_until="load")
    if path == SITE / "index.html":  # sends the reader on
        page.wait_for_url("**/book/index.html")
    if page.locator(".math").count():
        page.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
        page.evaluate("MathJax.startup.promise")
    raw = page.evaluate("[...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).map(m => m.textContent)")
    wrong = page.evaluate("[...document.querySelectorAll('mjx-container')].filter(m => m.querySelector('[data-mml-node=merror], [fill=red]')).map(m => m.parentElement.textContent)")
    assert raw == [] and wrong == [], "maths that is not typeset"
    lost = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)")
    assert lost == [], "images that did not load"
    assert page.locator(".output.traceback").count() == 0

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "wider than a phone"

    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme == 'dark'")
    dimmed = page.evaluate("[...document.querySelectorAll('.bd-content img')].filter(i => getComputedStyle(i).filter != 'none').map(i => i.src)")
    assert dimmed == [], "figures whose colours change in dark mode"
    brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert max(brightness) < 80

    page.close()
    assert said == []
    assert asked == [], "requests to other hosts"
