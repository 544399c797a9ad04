"""Draws docs/images/sae-training-growth.svg from the rows of `sae_training.py --what growth`.

Run: python benchmarks/sae_training_plot.py
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

ROWS = Path(__file__).parent / "results" / "sae_training.json"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "sae-training-growth.svg"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 300, 62, 250, 20, 400
LINES = (
    ("limit", "clean", "encoder product", "#888"),
    ("ours", "clean", "step, no dead features", "#1668b0"),
    ("ours", "dead", "step, 10% dead", "#c2571a"),
)


def points(rows: list[dict[str, object]], side: str, kind: str) -> list[tuple[int, float]]:
    """(F, median seconds) in rising F."""
    chosen = [row for row in rows if row["what"] == "growth" and row["side"] == side and row["kind"] == kind]
    sizes = sorted({int(str(row["F"])) for row in chosen})
    return [(F, statistics.median(float(str(row["seconds"])) for row in chosen if row["F"] == F)) for F in sizes]


def main() -> None:
    rows = json.loads(ROWS.read_text())
    series = [(label, colour, points(rows, side, kind)) for side, kind, label, colour in LINES]
    sizes = [F for F, _ in series[0][2]]
    times = [seconds for _, _, line in series for _, seconds in line]
    low, high = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))

    def x(F: int) -> float:
        return LEFT + (RIGHT - LEFT) * math.log(F / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def y(seconds: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * math.log(seconds / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        level = y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for F in sizes:
        parts.append(f'<text x="{x(F):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{F:,}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 38}" text-anchor="middle">features F</text>')
    # Labels stand beside the last points, pushed apart where they would touch.
    heights = sorted(range(len(series)), key=lambda i: y(series[i][2][-1][1]))
    label_y: dict[int, float] = {}
    for place, i in enumerate(heights):
        wanted = y(series[i][2][-1][1])
        label_y[i] = wanted if place == 0 else max(wanted, label_y[heights[place - 1]] + 15)
    for i, (label, colour, line) in enumerate(series):
        path = " ".join(f"{x(F):.1f},{y(seconds):.1f}" for F, seconds in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for F, seconds in line:
            parts.append(f'<circle cx="{x(F):.1f}" cy="{y(seconds):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{RIGHT + 8}" y="{label_y[i] + 4:.1f}" fill="{colour}">{label}</text>')
    PICTURE.write_text("\n".join([*parts, "</svg>"]) + "\n")
    for label, _, line in series:
        print(f"{label:24}", "  ".join(f"F {F:,}: {seconds:.3f} s" for F, seconds in line))


if __name__ == "__main__":
    main()
