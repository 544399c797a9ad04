"""What commands print about results. Everything is read from the run directory; nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from interp.run import Run

NOTHING = "–"


def console() -> Console:
    """Standard output; wide enough for the tables when it is not a terminal."""
    from rich.console import Console

    out = Console(highlight=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, emoji=False, width=max(out.width, 110))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> Table:
    """A table whose first column is text and whose others are numbers, right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=caption or None, caption_justify="left"
    )
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed digits; a dash where it is not known."""
    if not isinstance(value, int | float) or value != value:
        return NOTHING
    return f"{value:.{digits}f}"


def percent(value: Any) -> str:
    """A share in per cent; a dash where it is not known."""
    return NOTHING if not isinstance(value, int | float) or value != value else f"{100 * value:.0f} %"


def span(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    """``value (low–high)``."""
    if not isinstance(row.get(value), int | float):
        return NOTHING
    bounds = "" if row.get(low) is None else f" ({number(row[low], 2)}–{number(row[high], 2)})"
    return f"{number(row[value])}{bounds}"


_NEGATIVES = {
    "hard_negative": "hard negatives",
    "other_polarity": "  same finding, other polarity",
    "nearest_text": "  nearest text",
    "co_firing": "  same features firing",
    "random_negative": "random negatives",
}


def score_lines(summary: Mapping[str, Any]) -> list[str]:
    """What the score stage came to, in sentences and a small table."""
    lines = [
        f"{summary['labels_scored']} labels scored by {summary.get('scorer', 'detection')}; "
        f"{summary['labels_not_scored']} name nothing that can be scored",
        f"{'mean balanced accuracy on':32}{'label':>8}{'other labels':>16}{'opposite polarity':>20}",
    ]
    for kind in sorted(summary["means"], key=[*_NEGATIVES, *summary["means"]].index):
        means = summary["means"][kind]
        values = [number(means.get(f"{which}balanced_accuracy"), 2) for which in ("", "baseline_", "flipped_")]
        lines.append(f"{_NEGATIVES.get(kind, kind):32}{values[0]:>8}{values[1]:>16}{values[2]:>20}")
    if summary.get("beyond_chance") is not None:
        lines.append(f"{summary['beyond_chance']} labels beat chance against hard negatives (false discovery rate 5 %)")
    if summary.get("failures"):
        lines.append(f"{summary['failures']} questions got no usable answer and do not count")
    agreement = summary["agreement"]
    if agreement:
        lines.append(
            f"of {agreement['n_features']} features that detect one known finding, the label has the right concept in "
            f"{percent(agreement['right_concept'])}, concept and polarity in {percent(agreement['right_polarity'])}, "
            f"and the right side in {percent(agreement['right_side'])} of those with a side"
        )
        if agreement.get("n_several"):
            lines.append(
                f"{agreement['n_several']} more detect several findings at once; the label names one of them in "
                f"{percent(agreement['names_one'])}"
            )
    return lines


def print_causal_map(run: Run) -> None:
    """Effect of swapping residuals, mean over findings: a row a site, a column a token scope."""
    import pandas as pd

    cells = pd.read_parquet(run.path / "trace" / "causal_map.parquet")
    means = cells.groupby(["site", "scope"], sort=False)["effect"].mean().unstack("scope", sort=False)
    rows = [
        (str(site), *(number(value, 2) for value in values))
        for site, values in zip(means.index, means.to_numpy(), strict=True)
    ]
    console().print(
        table(
            "Share of the finding that a swap carries over, mean over findings",
            ["site", *map(str, means.columns)],
            rows,
        )
    )
    summary = run.require("trace").summary
    first = summary.get("first_read_at") or {}
    if first:
        console().print("First read from the image in: " + ", ".join(f"{site} ({key})" for key, site in first.items()))
    if place := summary.get("place"):
        console().print(
            f"Deepest site that still carries the findings: {place['site']} on {place['tokens']} "
            f"({place['effect']:.2f}); train-sae and steer start from there."
        )
