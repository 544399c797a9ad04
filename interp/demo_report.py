"""The table at the end of the demo, read from what the stages left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from interp import tables
from interp.evaluation.tables import evaluation_tables
from interp.stages.steer import STAGE as STEER
from interp.steering_tables import steering_table

if TYPE_CHECKING:
    import pandas as pd

    from interp.run import Run

N_LABELS = 10
OUT_OF_WORLD = "out of the phantom model's world: its words about them mean nothing clinically"


def print_report(run: Run, sae: str = "main") -> None:
    """Print what was cached, recovered, labelled and steered, and where the dashboard is."""
    out = tables.console()
    paths = sorted(run.path.glob("sae/*/evaluation.json"), key=lambda path: path.parent.name != sae)
    evaluations = [json.loads(path.read_text()) for path in paths]
    out.rule("What the demo found (all studies are phantoms unless marked)", align="left")
    out.print(cached_table(run))
    for made in evaluation_tables(evaluations, str(run.path)):
        out.print(made)
    out.print()
    out.print(labels_table(run, sae))
    out.print()
    for line in tables.score_lines(run.require(f"score:{sae}").summary):
        out.print(line)
    out.print()
    out.print(steering_table(steering_summaries(run, sae)))
    out.print(f"Dashboard: {run.dashboard_path}")


def cached_table(run: Run) -> Any:
    """What was cached: studies by source, tokens, sites."""
    summary = run.require("cache").summary
    config = run.config_of("cache")
    rows = []
    own = set(config["generated_sources"])
    for source, n in summary["studies_by_source"].items():
        mark = OUT_OF_WORLD if source in own else "phantom studies, reports and truth known"
        rows.append((source, str(n), mark))
    size = f"{summary['bytes'] / 1e6:.0f} MB at {', '.join(config['sites'])}"
    rows.append(("tokens", str(summary["rows"]), size))
    left_out = sum(summary["left_out"].values())
    if left_out:
        rows.append(("left out", str(left_out), "; ".join(summary["left_out_reasons"][:3])))
    made = tables.table(f"Cached from model {config['model']}", ["what", "n", "note"], rows)
    made.columns[2].justify = "left"
    return made


def labels_table(run: Run, sae: str) -> Any:
    """Labels of different meaning with their scores on patients that the explainer never saw."""
    rows = [
        (
            str(row["feature"]),
            str(row["label"]),
            str(row["polarity"]),
            str(row["modality"]),
            f"{row['balanced_accuracy']:.2f} ({row['balanced_accuracy_low']:.2f}–{row['balanced_accuracy_high']:.2f})",
        )
        for row in common_labels(run, sae)
    ]
    columns = ["feature", "label", "polarity", "fires on", "balanced accuracy on hard negatives"]
    made = tables.table("Labels (offline explainer), of each meaning the feature that fires most", columns, rows)
    for column in made.columns[1:4]:
        column.justify = "left"
    return made


def common_labels(run: Run, sae: str, n: int = N_LABELS) -> list[dict[str, Any]]:
    """For each concept and polarity the label of the feature that fires most, polarities mixed.

    The score that stands beside a label has no say in its choice, so it is not the luckiest of many.
    """
    import pandas as pd

    folder = run.labels_dir(sae)
    labels = pd.read_parquet(folder / "explanations.parquet")
    scores = pd.read_parquet(folder / "scores.parquet")
    fires = pd.read_parquet(run.features_dir(sae) / "features.parquet", columns=["feature", "n_fires"])
    hard = scores[(scores["negative_kind"] == "hard_negative") & (scores["n"] > 0)]
    columns = ["feature", "explainer", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"]
    joined = labels.merge(hard[columns], on=["feature", "explainer"]).merge(fires, on="feature")
    joined = joined.sort_values("n_fires", ascending=False, kind="stable")
    common = joined.dropna(subset=["concept"]).drop_duplicates(["concept", "polarity"])
    return list(_mixed(common, n))


def _mixed(labels: pd.DataFrame, n: int) -> Iterator[dict[str, Any]]:
    """In turn the next label of each polarity."""
    queues = [group.to_dict("records") for _, group in labels.groupby("polarity", sort=False)]
    given = 0
    while given < n and any(queues):
        for queue in queues:
            if queue and given < n:
                yield queue.pop(0)
                given += 1


def steering_summaries(run: Run, sae: str) -> list[dict[str, Any]]:
    """Summaries of all finished experiments; those on own images say so."""
    found = []
    for name, stage in run.record.stages.items():
        if name.startswith(f"{STEER}:{sae}:") and run.is_done(name):
            summary = dict(stage.summary)
            if name.split(":", 2)[2].startswith("own-images"):
                summary["finding"] = f"own images, {summary['finding']}"
            found.append(summary)
    return found
