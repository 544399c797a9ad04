"""What ``interp steer`` and ``interp screen`` print, and the demo's table of steering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from interp.tables import NOTHING, console, number, percent, span, table

if TYPE_CHECKING:
    from rich.table import Table

    from interp.run import Run
    from interp.stages.screen import ScreenStageConfig

#: Controls of an experiment in its summary; of the random directions the one that moved most.
_CONTROLS = ("random_on_target_max", "wrong_sign_on_target", "equal_rate_on_target")
#: Verdicts as short as a column allows; the reasons stand below the table of ``interp steer``.
_SHORT = {
    "steers": "steers",
    "steers with side effects": "side effects",
    "no better than random": "as random",
    "breaks the text": "breaks text",
    "too few studies to say": "too few",
}
_OLD_CAPTION = "conditions without a verdict: the better of the strengths tried, on these same studies. "


def print_steering(summaries: Iterable[Mapping[str, Any]]) -> None:
    """The verdict on each condition with the figures that decided, and how it compares with changing the picture."""
    summaries = list(summaries)
    out = console()
    out.print(steering_table(summaries))
    for summary in summaries:
        for row in summary.get("verdicts") or ():
            out.print(f"{row['condition']}: {row['verdict']} ({row['reason']})", soft_wrap=True)
        if rows := summary.get("counterfactual"):
            out.print(counterfactual_table(rows))


def steering_table(summaries: Iterable[Mapping[str, Any]]) -> Table:
    """One row a condition, at the strength chosen on one half of the patients, with figures of the other half."""
    rows, old = [], False
    for summary in summaries:
        verdicts = {row["condition"]: row for row in summary.get("verdicts") or ()}
        for best in summary["best"]:
            shown = verdicts.get(best["condition"])
            old = old or shown is None
            rows.append(_row(summary, best, shown))
    columns = ["steered to say", "with", "×", "on target", "clean", "random", "off target", "n", "verdict"]
    caption = (
        "×: of the features' own mean map, chosen on one half of the patients; figures of the other half. clean: on "
        "target, readable and no other finding changed. random: mean (highest) of random directions of equal shape and "
        "length. off target: share of other findings that changed. " + (_OLD_CAPTION if old else "")
    )
    made = table("Steering: share of reports that now say so, beside random directions", columns, rows, caption.strip())
    made.columns[1].justify = made.columns[-1].justify = "left"
    for place, column in enumerate(made.columns):
        column.no_wrap = place != 1
    return made


def _row(summary: Mapping[str, Any], best: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> tuple[str, ...]:
    of = verdict or best
    if verdict is not None:
        random = f"{number(of.get('random_on_target'), 2)} ({number(of.get('random_on_target_high'), 2)})"
    else:
        random = number(max(best.get(control) or 0.0 for control in _CONTROLS), 2)
    return (
        f"{'' if summary['goal'] == 'present' else 'no '}{summary['finding']}",
        str(best["condition"]),
        f"{of['strength']:g}",
        span(of, "on_target", "on_target_low", "on_target_high"),
        number(of.get("clean"), 2),
        random,
        number(of["off_target"], 3),
        str(of["n"]),
        _SHORT.get(str(of.get("verdict")), NOTHING),
    )


def counterfactual_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Agreement of the change by steering with the change by the image."""
    return table(
        "Change of the report by steering, held against the change by the image",
        ["with", "×", "F1 of changed findings", "random: mean (highest)", "same change", "on target", "by image", "n"],
        [
            (
                str(row["condition"]),
                f"{row['strength']:g}",
                span(row, "f1", "f1_low", "f1_high"),
                f"{number(row['random_f1'], 2)} ({number(row['random_f1_high'], 2)})",
                percent(row["same"]),
                percent(row["steered_target"]),
                percent(row["image_target"]),
                str(row["n"]),
            )
            for row in rows
        ],
    )


def print_screening(run: Run, config: ScreenStageConfig, summary: Mapping[str, Any], n: int = 10) -> None:
    """The best features, what each way of choosing is worth, and how fast it went."""
    import pandas as pd

    from interp.stages.screen import table_path

    path = table_path(run, config.name, config.finding, config.goal)
    frame = pd.read_parquet(path)
    written = frame[frame["generated"]].sort_values(["select_clean", "effect"], ascending=False).head(n)
    what = f"{'' if config.goal == 'present' else 'no '}{config.finding}"
    out = console()
    rows = [(str(row["feature"]), *_screened(row), f"{row['effect']:.2f}", row["label"] or NOTHING)
            for row in written.to_dict("records")]  # fmt: skip
    columns = ["feature", "×", "clean", "clean, chosen on", "on target", "off target", "garbled", "nats", "label"]
    caption = "Figures of the half of the patients that had no say in the choice; nats: log-odds in the forced pass."
    made = table(f"Features that make reports say: {what}", columns, rows, caption)
    made.columns[-1].justify = "left"
    out.print(made)
    rows = [(row["way"], *_screened(row), row["features"]) for row in summary["groups"]]
    made = table(f"The {config.group} best of each way, together", ["chosen by", *columns[1:-2], "features"], rows)
    made.columns[-1].justify = "left"
    out.print(made)
    rate, in_all = summary.get("features_an_hour"), summary.get("features_an_hour_in_all")
    speed = f"; {rate:,.0f} an hour in the pass, {in_all:,.0f} with reports" if rate and in_all else ""
    told = f"{summary['features']} features, {summary['written']} of them wrote reports{speed}. Table: {path}"
    out.print(told, soft_wrap=True)


def _screened(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("report_clean", "select_clean", "report_on_target")
    shares = tuple(number(row[name], 2) for name in names)
    return f"{row['strength']:g}", *shares, number(row["report_off_target"], 3), number(row["report_parse_failures"], 2)
