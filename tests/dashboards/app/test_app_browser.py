"""The app in a real browser that can reach nothing else, driven as a person would."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.app.server import DashboardServer

CHROMIUM = Path("/usr/bin/chromium")
#: Screenshots are kept here (git does not see it); INTERP_SCREENSHOTS names another folder.
SHOTS = Path(os.environ.get("INTERP_SCREENSHOTS", Path(__file__).parents[3] / "build" / "screenshots"))
WAIT_MS = 30_000
PAGES = {
    "overview": "/", "features": "/features", "feature": "/feature/1", "studies": "/studies",
    "study": "/study/study-000",
    "steering": "/steering", "search": "/search?study=study-003", "history": "/history/patient-1",
    "patients": "/history",
    "nothing": "/nothing",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser here (/usr/bin/chromium)")


class Person:
    """One tab, and everything it complained about.

    Attributes:
        page: of playwright.
        complaints: console errors and warnings, exceptions, failed requests, and requests for other hosts.
    """

    def __init__(self, browser: Any, server: DashboardServer, **options: Any) -> None:
        self.base = server.url.rstrip("/")
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.context.set_default_timeout(WAIT_MS)
        self.page = page = self.context.new_page()
        page.on(
            "console", lambda one: one.type in ("error", "warning") and self.complaints.append(f"console: {one.text}")
        )
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.pending: set[Any] = set()
        page.on("request", self._begun)
        page.on("requestfinished", lambda one: self.pending.discard(one))
        page.on("requestfailed", self._failed)
        page.on("response", lambda one: one.status >= 400 and self.complaints.append(f"{one.status}: {one.url}"))

    def _begun(self, request: Any) -> None:
        self.pending.add(request)
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"request: {request.url}")

    def _failed(self, request: Any) -> None:
        self.pending.discard(request)
        if request.failure != "net::ERR_ABORTED":  # the page was left while something was still on its way
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def open(self, address: str) -> None:
        """Open an address anew and wait until its page is drawn."""
        self.page.goto(self.base + address)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector("#page h1")
        quiet = 0
        while quiet < 3:
            self.page.wait_for_timeout(40)
            quiet = 0 if self.pending else quiet + 1

    def wait(self, expression: str) -> None:
        """Wait until an expression holds; playwright's own way of waiting is against the policy of the page."""
        until = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.03)

    def text(self) -> str:
        return self.page.inner_text("#page")

    def address(self) -> str:
        return self.page.url.removeprefix(self.base)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
        # No other host has an address. To hold requests up one by one would switch off the browser's cache, and
        # every page would read the libraries that draw anew.
        flags.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        one = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield one
        one.close()


@pytest.fixture(scope="module")
def server(app_run: Path, serving: Callable[..., DashboardServer]) -> DashboardServer:
    return serving(app_run)


@pytest.fixture(scope="module")
def person(browser: Any, server: DashboardServer) -> Iterator[Person]:
    one = Person(browser, server)
    yield one
    one.context.close()


@pytest.fixture(autouse=True)
def nothing_to_complain_about(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does, the browser is content with it."""
    someone = request.getfixturevalue("person") if "person" in request.fixturenames else None
    if someone is not None:
        someone.complaints.clear()
    yield
    if someone is not None:
        assert someone.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_without_a_complaint(person: Person, name: str) -> None:
    person.open(PAGES[name])
    assert len(person.text()) > 40
    assert "failed" not in person.text()
    assert "Research use only" in person.page.inner_text("#ribbon")
    assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_figures_are_drawn_once_they_are_seen_and_in_the_colours_of_the_theme(person: Person) -> None:
    person.open("/feature/1")
    person.wait("document.querySelectorAll('.plot .main-svg').length > 0")
    hidden = "[...document.querySelectorAll('.plot')].every(p => !!p.offsetWidth === !!p.querySelector('.main-svg'))"
    person.wait(hidden)
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    before = person.page.evaluate(ink)
    person.page.click("#theme")
    person.wait(f"{ink} !== '{before}'")
    person.page.click("#theme")
    person.wait(f"{ink} === '{before}'")


def test_search_and_filters_narrow_the_table_and_keep_the_address(person: Person) -> None:
    page = person.page
    person.open("/features")
    page.wait_for_selector(".ag-row")
    page.fill("input[name=q]", "pacemaker")
    person.wait("document.getElementById('features-found')?.textContent === '3 features'")
    assert person.address() == "/features?q=pacemaker"
    page.select_option("select[name=polarity]", "present")
    person.wait("document.getElementById('features-found')?.textContent === '1 feature'")
    assert person.address() == "/features?q=pacemaker&polarity=present"
    assert page.get_attribute("#features-csv", "href") == "/features.csv?q=pacemaker&polarity=present"
    page.reload()
    person.wait("document.getElementById('features-found')?.textContent === '1 feature'")
    assert page.input_value("input[name=q]") == "pacemaker"
    with page.expect_download() as download:
        page.click("#features-csv")
    assert "pacemaker present" in Path(download.value.path()).read_text()
    page.click(".ag-row a:has-text('pacemaker present')")
    page.wait_for_selector("h1:has-text('pacemaker present')")
    page.go_back()
    page.wait_for_selector(".ag-row")
    assert person.address() == "/features?q=pacemaker&polarity=present"


def test_the_table_sorts_and_meaning_finds_other_words(person: Person) -> None:
    page = person.page
    person.open("/features")
    page.wait_for_selector(".ag-row")
    page.click(".ag-header-cell[col-id=score]")
    person.wait("location.search === '?sort=score'")
    page.click(".ag-header-cell[col-id=score]")
    person.wait("location.search === '?sort=score&order=down'")
    person.wait(
        "(() => { const shown = [...document.querySelectorAll('.ag-row')]"
        ".sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        ".map((row) => parseFloat(row.querySelector('[col-id=score]').textContent)).filter((score) => score);"
        " return shown.length === 11 && shown.every((score, i) => !i || score <= shown[i - 1]) })()"
    )
    page.check("input[name=meaning]")
    page.fill("input[name=q]", "enlarged heart")
    person.wait("document.getElementById('features-found')?.textContent?.startsWith('4 features near in meaning')")
    assert "blind to negation" in person.text()


def test_a_deep_link_opens_and_the_keyboard_goes_on(person: Person) -> None:
    page = person.page
    person.open("/feature/7")
    assert "#7" in page.inner_text(".eyebrow")
    assert "cardiomegaly uncertain" in page.title()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page"
    page.click("text=next →")
    person.wait("location.pathname === '/feature/8'")
    page.wait_for_selector("h1:has-text('pacemaker changed')")
    person.open("/features")
    page.wait_for_selector(".ag-row")
    page.click(".ag-row[row-index='2'] .ag-cell[col-id=concept]")
    page.keyboard.press("Enter")
    person.wait("location.pathname === '/feature/2'")


def test_maps_cover_the_radiograph_as_the_slider_says_and_pictures_enlarge(person: Person) -> None:
    page = person.page
    person.open("/feature/1")
    person.wait("document.querySelector('.context img')?.naturalWidth === 48")
    opacity = "parseFloat(getComputedStyle(document.querySelector('.context canvas')).opacity)"
    assert page.evaluate(opacity) == 0.75
    slider = page.locator(".w-contexts input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    assert page.evaluate(opacity) == 0
    page.keyboard.press("End")
    assert page.evaluate(opacity) == 1
    page.click(".context button.radiograph >> nth=0")
    page.wait_for_selector("dialog[open] .radiograph canvas")
    page.keyboard.press("Escape")
    person.wait("document.querySelector('dialog') === null")
    page.click("button[data-kind=hard_negative]")
    assert page.get_attribute("button[data-kind=hard_negative]", "aria-pressed") == "true"


def test_a_feature_is_measured_as_a_detector(person: Person) -> None:
    page = person.page
    person.open("/feature/0")
    page.wait_for_selector("#roc table")
    text = page.inner_text("#roc")
    assert "AUC" in text
    assert "sensitivity 90 %" in text
    assert "sex: female" in text
    page.select_option("select[name=finding]", "cardiomegaly")
    person.wait("document.getElementById('roc').textContent.includes('for cardiomegaly')")


def test_a_sentence_lights_features_and_a_region_lists_sentences(person: Person) -> None:
    page = person.page
    person.open("/study/study-000")
    drawn = "document.querySelector('.region canvas').toDataURL()"
    blank = page.evaluate(drawn)
    page.click("button.sentence >> nth=0")
    assert page.get_attribute("button.sentence >> nth=0", "aria-pressed") == "true"
    assert "fires in this sentence" in page.inner_text(".behind")
    assert page.evaluate(drawn) != blank
    assert page.locator(".region .marks .box").count() == 1
    box = page.locator(".region").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 3.5 / 6, box["y"] + box["height"] * 0.5 / 6)  # patch 3: feature 3
    assert "#3" in page.inner_text(".behind")
    assert page.get_attribute("button.sentence >> nth=0", "aria-pressed") == "true"
    assert page.get_attribute("button.sentence >> nth=1", "aria-pressed") == "false"
    page.locator(".region").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert "None of the strongest" in page.inner_text(".behind")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "#3" in page.inner_text(".behind")
    person.open("/study/study-000?finding=pleural_effusion")
    assert page.get_attribute("button.sentence >> nth=0", "aria-pressed") == "true"


def test_masks_lie_on_the_picture_and_follow_sentences_and_buttons(person: Person) -> None:
    page = person.page
    person.open("/study/study-001")
    frontal = ".region >> nth=0 >> .masks g"
    assert page.locator(frontal).count() == 2
    path = page.get_attribute(f"{frontal} >> nth=0 >> .line", "d")
    assert path == "M 24 24 L 38 24 L 38 43 L 24 43 Z", "rows 24 to 42, columns 24 to 37 of 48"
    assert (page.get_attribute(f"{frontal} >> nth=1 >> .line", "d") or "").count("M") == 2, "a ring has two borders"
    box, picture = (page.locator(one).first.bounding_box() for one in (".masks .line", ".region"))
    assert abs((box["x"] - picture["x"]) / picture["width"] - 24 / 48) < 0.02
    assert abs((box["y"] - picture["y"]) / picture["height"] - 24 / 48) < 0.02
    page.click("button.sentence >> nth=0")
    states = "[...document.querySelectorAll('.region .masks')[0].children].map((one) => one.className.baseVal)"
    assert page.evaluate(states) == ["mask lit", "mask faint"]
    assert "The frames and lit masks are those of the source." in page.inner_text(".behind")
    page.click("button:has-text('Clear')")
    assert page.evaluate(states) == ["mask", "mask"]
    page.locator("button.mask-key >> nth=0").focus()
    page.keyboard.press("Enter")
    assert page.get_attribute("button.mask-key >> nth=0", "aria-pressed") == "false"
    assert page.evaluate(states) == ["mask gone", "mask"]
    page.click("button:has-text('show or hide all')")
    assert page.evaluate(states) == ["mask", "mask"]
    page.mouse.click(picture["x"] + picture["width"] * 0.6, picture["y"] + picture["height"] * 0.7)
    assert "In the mask of pleural effusion, left." in page.inner_text(".behind")
    assert "Masks: pleural effusion, left; cardiomegaly." in (
        page.get_attribute(".region >> nth=0", "aria-label") or ""
    )


def test_notes_are_kept_and_tags_are_lists(person: Person, app_run: Path) -> None:
    page = person.page
    try:
        person.open("/feature/4")
        page.fill("#note-text", "<b>look again</b>")
        page.fill("#note-tags", "to check, tubes")
        page.click("#note-keep")
        person.wait("document.getElementById('note-state').textContent === 'Kept.'")
        person.open("/features?tag=to+check")
        person.wait("document.getElementById('features-found')?.textContent === '1 feature'")
        person.open("/feature/4")
        assert page.input_value("#note-text") == "<b>look again</b>"
    finally:
        (app_run / "sae" / "main" / "notes.json").unlink(missing_ok=True)


def test_live_steering_shows_its_proof(person: Person) -> None:
    page = person.page
    person.open("/steering")
    page.fill("input[name=feature]", "1")
    page.click("button:has-text('Steer')")
    page.wait_for_selector("#live-result .proof")
    assert "tokens changed: 36 image" in page.inner_text("#live-result")
    assert "added: pleural effusion" in page.inner_text("#live-result")


def test_planted_markup_shows_as_text_and_does_nothing(
    browser: Any, evil_app_run: Path, evil: str, serving: Callable[..., DashboardServer]
) -> None:
    someone = Person(browser, serving(evil_app_run, with_credentialed_data=True))
    page = someone.page
    for address in ("/", "/features", "/feature/1", "/feature/3", "/steering", "/search?features=1,2"):
        someone.open(address)
        assert page.evaluate("typeof window.pwned") == "undefined", address
        assert page.evaluate("document.querySelectorAll('img[src=x]').length") == 0, address
    someone.open("/feature/0")
    assert evil in page.inner_text("h1")
    someone.open("/studies")
    page.click("a.study-card >> nth=0")
    page.wait_for_selector(".study-review")
    assert evil in page.inner_text("h1")
    assert evil in page.inner_text(".sentences")
    assert f"x{evil}".replace(":", ", ", 1) in page.inner_text(".mask-legend")
    page.click("button.sentence >> nth=0")
    page.click(".eyebrow a >> nth=1")
    page.wait_for_selector("ol.timeline")
    assert evil in page.inner_text("h1")
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert someone.complaints == []
    someone.context.close()


def test_a_token_opens_the_dashboard_once_and_for_all(
    browser: Any, app_run: Path, serving: Callable[..., DashboardServer]
) -> None:
    server = serving(app_run, token="0123456789abcdef")
    stranger = Person(browser, server)  # whose browser complains of the page and, some time later, of its icon
    assert stranger.page.goto(stranger.base + "/").status == 401
    stranger.context.close()
    someone = Person(browser, server)
    someone.open("/?token=0123456789abcdef")
    assert "token" not in someone.page.url
    someone.open("/features")
    someone.page.wait_for_selector(".ag-row")
    assert someone.complaints == []
    someone.context.close()


@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible_fit_their_window_and_are_kept_as_pictures(
    browser: Any, server: DashboardServer, theme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    source = (Path(axe.__file__).parent / "axe.min.js").read_text()
    SHOTS.mkdir(parents=True, exist_ok=True)
    # The policy of the page lets no script in; the checker has to get past it.
    someone = Person(browser, server, color_scheme=theme, bypass_csp=True)
    someone.page.set_viewport_size({"width": width, "height": 900})
    found: list[str] = []
    for name, address in PAGES.items():
        someone.open(address)
        someone.page.wait_for_timeout(400)
        someone.page.screenshot(path=str(SHOTS / f"{name}-{theme}-{width}.png"), full_page=True)
        assert someone.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert someone.page.evaluate("document.documentElement.dataset.theme") == theme
        someone.page.evaluate(source)
        report = someone.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{name}: {one['id']} ({one['impact']}) {one['help']}: {one['nodes'][0]['html'][:160]}"
            for one in report["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    someone.context.close()
    assert not found, "\n".join(found)
    assert someone.complaints == []
