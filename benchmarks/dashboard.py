"""How fast the dashboard is, and in how much memory, on a run of any size.

Run: python benchmarks/dashboard.py                   # 32,768 features, 2,000,000 contexts, 20,000 studies
     python benchmarks/dashboard.py --features 2048 --contexts 20000 --studies 500

The run is synthetic (benchmarks/dashboard_run.py) and kept in --run for the next time. The server is a process of its
own. Measured: seconds until it answers; seconds until a browser shows the first page (Chromium with an empty cache, in
a tab that was open before; left out without one); a search and a sort of the table, one after the other; pages of drawn
features asked for by --users at once, each thinking for a second between two pages; and what the server held at most.
A page of a feature is everything that its address needs: the page itself, and the panel that measures it as a detector.

Prints medians and 95th percentiles beside the bounds and adds a row to benchmarks/results/dashboard.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dashboard_run import Size, write_run

RESULTS = Path(__file__).parent / "results" / "dashboard.json"
CHROMIUM = Path("/usr/bin/chromium")
#: Figure → bound (seconds, or GB for the memory).
BOUNDS = {
    "server_ready_s": 5.0, "first_page_s": 1.5, "search_p95_s": 0.15, "sort_p95_s": 0.15, "feature_p95_s": 0.3,
    "memory_gb": 1.5,
}  # fmt: skip
THINKING_S = 1.0


class Client:
    """One connection to the server, which speaks to it as Dash's own scripts do."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._connection.getresponse().read()

    def callback(
        self, outputs: list[tuple[str, str]], changed: tuple[str, str, Any], *more: tuple[str, str, Any], **kinds: Any
    ) -> Any:
        """Run a callback; ``more`` are its other inputs, ``state`` its states."""
        listed = [{"id": name, "property": prop} for name, prop in outputs]
        one = len(listed) == 1
        names = [f"{name}.{prop}" for name, prop in outputs]
        body = {
            "output": names[0] if one else f"..{'...'.join(names)}..",
            "outputs": listed[0] if one else listed,
            "inputs": [{"id": name, "property": prop, "value": value} for name, prop, value in (changed, *more)],
            "changedPropIds": [f"{changed[0]}.{changed[1]}"],
            "state": [{"id": name, "property": prop, "value": value} for name, prop, value in kinds.get("state", ())],
        }
        self._connection.request(
            "POST", "/_dash-update-component", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {content[:300]!r}")
        return json.loads(content)

    def page(self, path: str, search: str = "") -> Any:
        outputs = [("page", "children"), ("ribbon", "children")]
        return self.callback(outputs, ("url", "pathname", path), ("url", "search", search))

    def rows(self, query: dict[str, str], sort: list[dict[str, str]] | None = None) -> Any:
        outputs = [("features-grid", "getRowsResponse"), ("features-found", "children"), ("features-csv", "href")]
        request = {"startRow": 0, "endRow": 100, "sortModel": sort or []}
        state = [("features-query", "data", query), ("grid-start", "data", ""), ("url", "search", "")]
        return self.callback(outputs, ("features-grid", "getRowsRequest", request), state=state)

    def feature(self, number: int) -> None:
        self.page(f"/feature/{number}")
        asked = {"finding": "cardiomegaly", "modality": "image", "feature": str(number)}
        self.callback([("roc", "children")], ("roc-ask", "data", asked))


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


def start_server(run: Path) -> tuple[subprocess.Popen[str], int, float]:
    """The process, its port, and the seconds until its first page was answered."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "interp", "dashboard", "--run", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline().split("http://127.0.0.1:")[1].split("/")[0])
    Client(port).page("/")
    return process, port, time.perf_counter() - begun


def first_page(port: int) -> float | None:
    """Median seconds from asking for the address to the first page with its figures."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if not CHROMIUM.exists():
        return None
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        for _ in range(6):
            context = browser.new_context()
            tab = context.new_page()
            tab.goto("about:blank")
            start = time.perf_counter()
            tab.goto(f"http://127.0.0.1:{port}/")
            tab.wait_for_selector("#page h1")
            times.append(time.perf_counter() - start)
            context.close()
        browser.close()
    return statistics.median(times[1:])


def searches(port: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each search and of each sort."""
    client = Client(port)
    words = ["effusion", "cardiomegaly present", "word17", "pacemaker absent", "lung nod", "12", "word1 word2"]
    columns = ["score", "rate", "label", "n_studies"]
    client.rows({})
    found = [timed(lambda i=i: client.rows({"q": words[i % len(words)]})) for i in range(rounds)]
    sort = [
        timed(lambda i=i: client.rows({}, [{"colId": columns[i % 4], "sort": ("asc", "desc")[i // 4 % 2]}]))
        for i in range(rounds)
    ]
    return found, sort


def many_users(port: int, users: int, pages: int, n_features: int) -> list[float]:
    """Seconds of every page that the users asked for."""
    times: list[float] = []

    def use(seed: int) -> None:
        draw, client = random.Random(seed), Client(port)
        time.sleep(draw.random() * THINKING_S)
        for _ in range(pages):
            number = draw.randrange(n_features)
            times.append(timed(lambda number=number: client.feature(number)))
            time.sleep(draw.expovariate(1 / THINKING_S))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def most_memory_gb(pid: int) -> float:
    """Largest resident size of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kilobytes * 1024 / 1e9


def measure(run: Path, size: Size, users: int, pages: int) -> dict[str, Any]:
    process, port, ready = start_server(run)
    try:
        figures: dict[str, Any] = {"server_ready_s": ready, "first_page_s": first_page(port)}
        found, sort = searches(port, 40)
        figures |= {"search_p95_s": p95(found), "search_median_s": statistics.median(found),
                    "sort_p95_s": p95(sort), "sort_median_s": statistics.median(sort)}  # fmt: skip
        times = many_users(port, users, pages, size.features)
        figures |= {
            "feature_p95_s": p95(times),
            "feature_median_s": statistics.median(times),
            "feature_pages": len(times),
        }
        figures["memory_gb"] = most_memory_gb(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/dashboard-benchmark"))
    parser.add_argument("--features", type=int, default=Size.features)
    parser.add_argument("--contexts", type=int, default=Size.contexts)
    parser.add_argument("--studies", type=int, default=Size.studies)
    parser.add_argument("--grid", type=int, default=Size.grid)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--pages", type=int, default=12, help="pages that each user asks for")
    parser.add_argument("--only-make", action="store_true", help="make the run and end")
    args = parser.parse_args()
    size = Size(args.features, args.contexts, args.studies, grid=args.grid)
    folder = args.run / f"{size.features}-{size.contexts}-{size.studies}-{size.grid}"
    if not (folder / "sae" / "main" / "labels" / "scores.parquet").is_file():
        print(f"Making {folder} ...", flush=True)
        write_run(folder, size)
    if args.only_make:
        return
    figures = measure(folder, size, args.users, args.pages)
    for name, value in figures.items():
        bound = BOUNDS.get(name)
        beside = (
            ""
            if bound is None
            else f"   bound {bound:g}: {'kept' if value is not None and value <= bound else 'NOT KEPT'}"
        )
        print(f"{name:20} {value if value is None else round(value, 3)}{beside}")
    row = {"features": size.features, "contexts": size.contexts, "studies": size.studies, "grid": size.grid,
           "users": args.users, **figures}  # fmt: skip
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
