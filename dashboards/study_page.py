"""Content of the study list and of the study pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from autointerp.schema import POSITIVE_KINDS
from dashboards.data import SECTIONS, RunData
from dashboards.study_masks import StudyMasks

TOP_FEATURES = 12
#: Studies shown although no feature refers to them, so that a young run has something to look at.
UNREFERENCED = 48
_OUT_OF_WORLD = (
    "it is out of the phantom model’s world. The model has only ever seen synthetic chests; "
    "its words about this image mean nothing clinically."
)
_REAL = "research use only; features and reports shown with it are machine-made and not checked."


def choose_studies(run: RunData, shown: Iterable[int], referenced: Iterable[int]) -> list[int]:
    """Numbers of the studies on the page: all that something refers to, all real ones, and the first few others."""
    if run.studies is None:
        return []
    allowed = run.studies.loc[sorted(shown)]
    wanted = set(referenced)
    real = set(allowed.index[allowed["terms"] != "phantom"])
    others = [number for number in allowed.index if number not in wanted | real]
    chosen = (wanted & set(allowed.index)) | real | set(others[:UNREFERENCED])
    return sorted(int(number) for number in chosen)


def study_list(studies: pd.DataFrame | None) -> dict[str, list[Any]]:
    """The list of studies, one list a column."""
    if studies is None:
        return {"id": [], "source": [], "real": [], "findings": []}
    labels = [_labels(text) for text in studies["labels"]]
    return {
        "id": studies["study_id"].tolist(),
        "source": [_text(value) or terms for value, terms in zip(studies["source"], studies["terms"], strict=True)],
        "real": (studies["terms"] != "phantom").tolist(),
        "findings": [_present(one) for one in labels],
    }


def _present(labels: Mapping[str, str]) -> list[str]:
    """Findings that are present or uncertain; a concept is left out where one of its sides says the same."""
    found = [name for name, status in labels.items() if status in ("present", "uncertain")]
    return [name for name in found if not any(other.startswith(f"{name}:") for other in found)]


def _labels(text: Any) -> dict[str, str]:
    if not isinstance(text, str) or not text:
        return {}
    labels = json.loads(text)
    return {str(name): str(status) for name, status in labels.items()} if isinstance(labels, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def real_note(run: RunData) -> str | None:
    """What stands on every picture of a real patient; None where the model knows real radiographs."""
    return "real radiograph: outside this model’s world" if run.model_is_phantom else None


def study_content(
    run: RunData, row: Mapping[str, Any], images: Sequence[str], top: list[dict[str, Any]]
) -> dict[str, Any]:
    """Content of one study's page."""
    return {
        "id": row["study_id"],
        "patient": row["patient_id"],
        "source": _text(row["source"]) or row["terms"],
        "terms": row["terms"],
        "split": _text(row["split"]),
        "banner": real_banner(run, row),
        "labels": _labels(row["labels"]),
        "texts": {name: _text(row[name]) for name in (*SECTIONS, "report")},
        "report_by": report_by(row),
        "images": list(images),
        "masks": StudyMasks(row.get("masks")).content(images),
        "top": top,
    }


def real_banner(run: RunData, row: Mapping[str, Any]) -> str | None:
    """What stands above a study of a real patient; None for a phantom."""
    if row["terms"] == "phantom":
        return None
    return _OUT_OF_WORLD if run.model_is_phantom else _REAL


def report_by(row: Mapping[str, Any]) -> str:
    """Who wrote the report of a study; "" if that is not known."""
    source = _text(row["report_source"])
    if source is None:
        return ""
    if source.startswith(("gener", "model")):
        return "Machine-written: the model wrote this report."
    whose = "phantom" if row["terms"] == "phantom" else "source"
    return f"Report of the {whose} ({source}), read by the model as it stands."


def top_features(blocks: Iterable[list[dict[str, Any]]]) -> dict[int, list[dict[str, Any]]]:
    """Study row → features that have it among their strongest or range contexts, strongest share first."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for feature in (feature for block in blocks for feature in block):
        for kind in POSITIVE_KINDS:
            for context in feature["contexts"].get(kind, []):
                kept = found.setdefault(context["study"], {})
                old = kept.get(feature["id"])
                if old is None or context["act"] > old["act"]:
                    kept[feature["id"]] = _entry(feature, context)
    return {study: _strongest(list(kept.values())) for study, kept in found.items()}


def _entry(feature: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    entry = {"feature": feature["id"], "act": context["act"], "max": feature["max"]}
    return entry | {key: context[key] for key in ("image", "map", "sentence") if context.get(key) is not None}


def _strongest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def share(entry: Mapping[str, Any]) -> float:
        return entry["act"] / entry["max"] if entry["max"] else 0.0

    return sorted(entries, key=lambda entry: (-share(entry), entry["feature"]))[:TOP_FEATURES]
