"""What report metrics catch: phantom reports with one planted error, held against the same report reworded.

Run: python benchmarks/metric_sensitivity.py [--studies 600] [--seed 0]

For every metric a threshold is set on one half of the chests, so that 5 % of reworded reports (which say the same)
fall below it. The other half is reported: how many reworded reports fall below (false alarms), and how many reports
with each error do (sensitivity). Prints two tables in Markdown and writes every row to
benchmarks/results/metric_sensitivity.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from radiology.compare import compare
from radiology.metrics.bootstrap import f1_of
from radiology.metrics.chexpert import label_matrix, study_f1
from radiology.metrics.entailment import FindingsEntailment
from radiology.metrics.evaluation import Tools, evaluate
from radiology.metrics.reports import ReportText, pair_reports
from radiology.metrics.text_encoders import MINILM_PACKAGE, TextEncoder, open_encoder
from radiology.phantom.planted_errors import ERRORS, PlantedReports, plant_errors

FALSE_ALARMS = 0.05
#: Candidates without an error.
CONTROLS = ("same words", "reworded", "shuffled", "summed up")
RESULTS = Path(__file__).parent / "results" / "metric_sensitivity.json"
_TOLERANCE = 1e-9


def scores(candidates: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """Metric → score of each report (n,), higher is better."""
    ours, theirs = (
        {str(place): ReportText(str(place), text) for place, text in enumerate(side)}
        for side in (candidates, references)
    )
    pairing = pair_reports(ours, theirs)
    names = ("radfact", "lunguage", "bleu", "rouge", "length", "repetition")
    found = evaluate(pairing, names, Tools(judge=FindingsEntailment(), draws=1))
    columns = {
        name: {key: np.array(values) for key, values in result.columns.items()} for name, result in found.items()
    }
    radfact = columns["radfact"]
    sides = zip(radfact["logical_precision"], radfact["logical_recall"], strict=True)
    table = {
        "RadFact logical F1 (findings)": np.array([f1_of(precision, recall) for precision, recall in sides]),
        "LUNGUAGESCORE (hashing)": columns["lunguage"]["f1"],
    }
    if (minilm := _minilm()) is not None:
        encoded = evaluate(pairing, ("lunguage",), Tools(encoders=(minilm,), draws=1))["lunguage"]
        table["LUNGUAGESCORE (MiniLM)"] = np.array(encoded.columns["f1"])
    same = [not compare(right, said).findings_differ for said, right in zip(candidates, references, strict=True)]
    return table | {
        "CheXpert-14 F1": study_f1(label_matrix(candidates), label_matrix(references)),
        "no finding differs (compare)": np.array(same, dtype=float),
        "BLEU": columns["bleu"]["bleu"],
        "ROUGE-L": columns["rouge"]["rouge_l"],
        "length": -np.abs(np.log(columns["length"]["ratio"])),
        "repetition": -columns["repetition"]["candidate"],
    }


@cache
def _minilm() -> TextEncoder | None:
    """The packaged sentence encoder, where it is installed; it keeps what it has encoded."""
    return open_encoder("minilm") if find_spec(MINILM_PACKAGE) is not None else None


def measure(planted: Sequence[PlantedReports]) -> list[dict[str, object]]:
    """A row for each metric and kind of candidate: mean score, loss against reworded, share below the threshold."""
    references = [one.reference for one in planted]
    half = np.arange(len(planted)) % 2 == 0
    reworded = scores([one.reworded for one in planted], references)
    limits = {name: float(np.quantile(values[half], FALSE_ALARMS, method="lower")) for name, values in reworded.items()}
    rows: list[dict[str, object]] = []
    for kind in (*CONTROLS, *ERRORS):
        candidates = {place: _candidate(one, kind) for place, one in enumerate(planted) if not half[place]}
        places = [place for place, text in candidates.items() if text is not None]
        made = scores([candidates[place] or "" for place in places], [references[place] for place in places])
        for name, values in made.items():
            below = int((values < limits[name] - _TOLERANCE).sum())
            loss = float((reworded[name][places] - values).mean())
            rows.append(
                {"metric": name, "candidate": kind, "n": len(places), "below": below, "limit": limits[name]}
                | {"share": below / len(places), "score": float(values.mean()), "loss": loss}
            )
    return rows


def _candidate(planted: PlantedReports, kind: str) -> str | None:
    if kind in CONTROLS:
        return {
            "same words": planted.reference,
            "reworded": planted.reworded,
            "shuffled": planted.shuffled,
            "summed up": planted.summed_up,
        }[kind]
    return planted.wrong.get(kind)


def print_table(rows: Sequence[dict[str, object]], key: str, title: str, digits: int) -> None:
    kinds = list(dict.fromkeys(str(row["candidate"]) for row in rows))
    counts = {str(row["candidate"]): row["n"] for row in rows}
    print(f"\n{title}\n")
    print("| | " + " | ".join(f"{kind} ({counts[kind]})" for kind in kinds) + " |")
    print("|---|" + "---:|" * len(kinds))
    for metric in dict.fromkeys(str(row["metric"]) for row in rows):
        cells = [f"{row[key]:.{digits}f}".replace("-0.00", "0.00") for row in rows if row["metric"] == metric]
        print(f"| {metric} | " + " | ".join(cells) + " |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=600)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    rng = np.random.default_rng(asked.seed)
    rows = measure([plant_errors(rng) for _ in range(asked.studies)])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print_table(rows, "share", "Share of reports below the threshold of 5 % false alarms", 2)
    print_table(rows, "loss", "Mean score lost against the reworded report without the error", 3)


if __name__ == "__main__":
    main()
