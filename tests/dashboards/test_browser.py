"""The page in a real browser without a network: it draws itself, keeps quiet, and shows planted markup as text."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.export import export_html

CHROMIUM = Path("/usr/bin/chromium")
WAIT_S = 30.0

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser here (/usr/bin/chromium)")


class Browser:
    """One tab of a headless Chromium, spoken to over a pipe; every request for a host fails.

    Attributes:
        complaints: uncaught exceptions, console errors and blocked requests since the page was opened.
    """

    def __init__(self, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        pipes = (to_browser, from_browser)
        # The browser wants them as its files 3 and 4; copies with higher numbers are in nobody's way.
        to_browser, from_browser = copies = tuple(fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in pipes)
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe --no-first-run "
            "--disable-background-networking --hide-scrollbars --host-resolver-rules='MAP * ~NOTFOUND'"
        )
        command = f"exec {CHROMIUM} {flags} --user-data-dir='{profile}' 3<&{to_browser} 4>&{from_browser}"
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(["bash", "-c", command], pass_fds=copies, stdout=quiet, stderr=quiet)
        for end in (*pipes, *copies):
            os.close(end)
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(timeout=10)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of one command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            self._buffer += os.read(self._read, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        name, content = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {content['exceptionDetails']}")
        elif name == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console: {content['args']}")
        elif name == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"log: {content['entry']['text']}")
        elif name == "Network.requestWillBeSent" and content["request"]["url"].startswith("http"):
            self.complaints.append(f"request: {content['request']['url']}")

    def js(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression holds."""
        until = time.monotonic() + WAIT_S
        while not self.js(expression):
            if time.monotonic() > until:
                raise TimeoutError(f"never true: {expression}\n{self.complaints}")
            time.sleep(0.05)

    def open(self, page: Path, fragment: str = "overview") -> None:
        """Open a page anew at a fragment and wait until it is drawn."""
        self.call("Page.navigate", url="about:blank")
        self.complaints.clear()
        self.call("Page.navigate", url=f"file://{page}#{fragment}")
        self.wait_for("document.getElementById('main')?.dataset.state === 'shown'")

    def go(self, fragment: str, heading: str) -> None:
        """Follow a link inside the page and wait for the heading of what it leads to."""
        self.js(f"location.hash = {json.dumps(fragment)}")
        self.wait_for(f"document.querySelector('main h1')?.textContent.includes({json.dumps(heading)})")

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def text(self) -> str:
        return self.js("document.querySelector('main').innerText")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def page(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "page.html"
    export_html(run_dir, out)
    return out


def test_every_view_is_drawn_without_a_complaint(browser: Browser, page: Path) -> None:
    browser.size(1280, 900)
    browser.open(page)
    browser.wait_for("document.querySelectorAll('.plot .main-svg').length > 0")
    assert "AUROC" in browser.text()
    browser.go("features", "Features")
    assert browser.js("document.querySelectorAll('.list-row').length") == 12
    browser.go("feature/1", "cardiomegaly absent")
    browser.wait_for("document.querySelectorAll('.plot .main-svg').length > 0")
    assert browser.js("document.querySelectorAll('.pair ins').length") > 0
    assert browser.js("document.querySelectorAll('.context canvas').length") > 0
    browser.go("feature/3", "pleural effusion changed")
    assert browser.js("document.querySelectorAll('.tokens .peak').length") > 0
    browser.go("studies", "Studies")
    browser.go("study/study-006", "study-006")
    assert "mean nothing clinically" in browser.text()
    assert browser.complaints == []


def test_a_deep_link_opens_its_feature(browser: Browser, page: Path) -> None:
    browser.open(page, "feature/7")
    assert browser.js("document.querySelector('.eyebrow').textContent") == "Features / #7"
    browser.open(page, "feature/999")
    assert "no feature 999" in browser.text()


def test_pictures_are_drawn_and_enlarged(browser: Browser, page: Path) -> None:
    browser.open(page, "feature/1")
    browser.wait_for("document.querySelector('.context img')?.naturalWidth === 48")
    browser.js("document.querySelector('button.radiograph').click()")
    browser.wait_for("document.querySelector('dialog[open] .report') !== null")
    browser.js("document.querySelector('dialog button').click()")
    browser.wait_for("document.querySelector('dialog') === null")
    assert browser.complaints == []


def test_search_filters_and_sorting_narrow_the_list_and_keep_the_address(browser: Browser, page: Path) -> None:
    browser.open(page, "features?q=pacemaker&sort=score&order=down")
    shown = "[...document.querySelectorAll('.list-row')].map((row) => row.querySelector('.score').textContent)"
    scores = [float(text) for text in browser.js(shown) if text != "–"]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    browser.js(
        "(s => { s.value = 'present'; s.dispatchEvent(new Event('change')) })(document.querySelectorAll('select')[1])"
    )
    assert browser.js("document.querySelectorAll('.list-row').length") == 1
    assert browser.js("location.hash") == "#features?q=pacemaker&sort=score&order=down&polarity=present"


def test_planted_markup_shows_as_text_and_does_nothing(
    browser: Browser, evil_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("pages") / "evil.html"
    export_html(evil_run, out, with_credentialed_data=True)
    planted = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>&lt;"
    browser.open(out, "feature/0")
    assert planted in browser.js("document.querySelector('h1').textContent")
    browser.wait_for("document.querySelector('.tokens') !== null")
    assert planted in browser.js("document.querySelector('.contexts').textContent")
    browser.open(out, "feature/1")
    browser.wait_for("document.querySelector('.pair') !== null")
    assert planted in browser.js("document.querySelector('.pair').textContent")
    browser.go("studies", "Studies")
    browser.js("document.querySelector('.study-card').click()")
    browser.wait_for(f"document.querySelector('h1').textContent.includes({json.dumps('study-000')})")
    assert planted in browser.js("document.querySelector('.report').textContent")
    assert browser.js("typeof window.pwned") == "undefined"
    assert browser.js("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.complaints == []


def test_a_bare_run_names_the_commands(browser: Browser, fresh_run: Path, tmp_path: Path) -> None:
    for gone in ("studies.parquet", "activations", "trace", "sae"):
        path = fresh_run / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    out = tmp_path / "bare.html"
    export_html(fresh_run, out)
    browser.open(out)
    text = browser.text()
    for verb in ("cache", "train-sae", "eval-sae", "trace", "explain", "steer"):
        assert f"interp {verb} --run" in text
    for view in ("features", "feature/3", "studies", "study/x"):
        browser.open(out, view)
        assert "interp " in browser.text()
    assert browser.complaints == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_their_window_and_text_stands_out(browser: Browser, page: Path, width: int, theme: str) -> None:
    browser.size(width, 900)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    for view in ("overview", "features", "feature/1", "feature/3", "studies", "study/study-006"):
        browser.open(page, view)
        assert browser.js("document.documentElement.scrollWidth <= innerWidth"), view
        assert browser.js(CONTRAST) >= 4.5, view
    assert browser.js("document.documentElement.dataset.theme") == theme
    browser.js("document.getElementById('theme').click()")
    assert browser.js("document.documentElement.dataset.theme") != theme


#: Lowest contrast (WCAG) between muted or body text and the two grounds that it stands on.
CONTRAST = """(() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const pairs = [["--ink", "--paper"], ["--muted", "--paper"], ["--muted", "--panel"], ["--accent", "--panel"],
    ["--accent", "--accent-soft"], ["--warn-ink", "--warn"], ["--ins-ink", "--ins"], ["--del-ink", "--del"]];
  return Math.min(...pairs.map(([a, b]) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  }));
})()"""


def test_the_keyboard_reaches_everything(browser: Browser, page: Path) -> None:
    browser.size(1280, 900)
    browser.open(page, "features")
    press = {"type": "keyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    browser.call("Input.dispatchKeyEvent", **press)
    assert browser.js("document.activeElement.id") == "skip"
    assert browser.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.js("document.querySelector('.list-row').focus()")
    down = {"type": "keyDown", "key": "ArrowDown", "code": "ArrowDown", "windowsVirtualKeyCode": 40}
    browser.call("Input.dispatchKeyEvent", **down)
    assert browser.js("document.activeElement.getAttribute('href')") == "#feature/1"
    clickable = "[...document.querySelectorAll('main [onclick], main div, main span')].filter((e) => e.onclick).length"
    assert browser.js(clickable) == 0
