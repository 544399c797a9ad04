"""Phantom studies a second on one core: pictures only, and whole studies with text.

Run: OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/phantom_studies.py
Prints medians and writes every row to benchmarks/results/phantom_studies.json. The two are interleaved.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from radiology.phantom.cases import draw_case, phantom_case, phantom_study

STUDIES, ROUNDS, SEED = 200, 5, 3
RESULTS = Path(__file__).parent / "results" / "phantom_studies.json"


def rate(make: Callable[[int], object], start: int) -> float:
    """Calls a second over ``STUDIES`` cases from ``start``."""
    began = time.perf_counter()
    for index in range(start, start + STUDIES):
        make(index)
    return STUDIES / (time.perf_counter() - began)


def main() -> None:
    sides: dict[str, Callable[[int], object]] = {
        "pictures with masks": lambda index: draw_case(phantom_case(SEED, index)),
        "whole studies": lambda index: phantom_study(SEED, index),
    }
    for make in sides.values():
        make(0)
    rows = [
        {"what": name, "round": number, "per_second": rate(make, number * STUDIES)}
        for number in range(ROUNDS)
        for name, make in sides.items()
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for name in sides:
        rates = [row["per_second"] for row in rows if row["what"] == name]
        print(f"{name:22s} median {statistics.median(rates):6.1f}/s   min {min(rates):6.1f}   max {max(rates):6.1f}")


if __name__ == "__main__":
    main()
