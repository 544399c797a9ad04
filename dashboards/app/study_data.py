"""What the page of one study shows: its pictures, sentences, and the features that tie them together."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dashboards.app.images import image_href
from dashboards.app.truths import read_object
from dashboards.data import IMAGE_NAMES, SECTIONS
from dashboards.study_masks import StudyMasks

if TYPE_CHECKING:
    from dashboards.app.routing import Context
    from dashboards.app.view import RunView

#: Features of a study that the page carries, strongest first by share of their own largest activation.
MOST_FEATURES = 80
#: Share of its largest activation from which a feature says something about a study.
SPEAKS = 0.25
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\d\.(?=\d))\s+|\n+")


def study_row(view: RunView, study_id: str) -> dict[str, Any] | None:
    """All columns of a shown study but its pictures; None if there is none of that id."""
    frame = view.data.studies
    if frame is None or "studies" not in view.tables.there:
        return None
    found = view.tables.ask("SELECT study FROM studies WHERE study_id = ?", [study_id])
    if not found:
        return None
    number = int(found[0]["study"])
    row = {str(key): value for key, value in frame.loc[number].to_dict().items()}
    details = view.tables.ask("SELECT grounded, metadata, masks, crops FROM study_details WHERE study = ?", [number])[0]
    return row | {"study": number} | details


def images_of(view: RunView, number: int) -> list[dict[str, Any]]:
    """Name and address of each picture."""
    there = ", ".join(f"preview_{name} IS NOT NULL AS {name}" for name in IMAGE_NAMES)
    rows = view.tables.ask(f"SELECT {there} FROM pictures WHERE study = ?", [number])
    return [{"name": name, "src": image_href(number, name)} for name in IMAGE_NAMES if rows and rows[0][name]]


def features_of(view: RunView, number: int) -> list[dict[str, Any]]:
    """Features that fire in a study, strongest first: label and what they do in images and sentences."""
    if "activity" not in view.tables.there or view.list is None:
        return []
    strongest = view.tables.ask(
        """SELECT a.feature, max(a.activation) / l.top AS share FROM activity a JOIN list l ON l.id = a.feature
        WHERE a.study = ? AND l.top > 0 AND NOT l.dense
        GROUP BY a.feature, l.top ORDER BY share DESC, a.feature LIMIT ?""",
        [number, MOST_FEATURES],
    )
    share = {row["feature"]: row["share"] for row in strongest}
    known = view.list.short(list(share))
    rows = view.tables.ask(
        "SELECT feature, modality, role, image, sentence, activation, patches, weights FROM activity "
        "WHERE study = ? AND list_contains(?, feature)",
        [number, list(share)],
    )
    found = {
        one: _named(known[one]) | {"share": share[one], "images": {}, "sentences": []} for one in share if one in known
    }
    for row in rows:
        one = found.get(row["feature"])
        if one is None:
            continue
        part = row["activation"] / known[row["feature"]]["top"]
        if row["modality"] == "image":
            one["images"][row["image"]] = {"share": part, "patches": row["patches"], "weights": row["weights"]}
        else:
            one["sentences"].append({"role": row["role"], "text": row["sentence"], "share": part})
    return list(found.values())


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("id", "label", "polarity", "concept", "side", "modality", "score")}


def grid_of(view: RunView) -> tuple[int, int]:
    """(rows, columns) of the patch grid, 0 without images."""
    rows = view.tables.ask("SELECT max(map_rows) AS n, max(map_cols) AS m FROM features")
    return int(rows[0]["n"] or 0), int(rows[0]["m"] or 0)


def split_sentences(text: str) -> list[str]:
    """Sentences as the index cuts them: at full stops, exclamation and question marks and line breaks."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def with_masks(masks: StudyMasks, features: Sequence[Mapping[str, Any]], grid: tuple[int, int]) -> list[dict[str, Any]]:
    """Features with the findings with a mask that their label names (``masks``) and how much lies ``inside``."""
    return [
        {**one, "masks": masks.about(one["concept"], one["side"]), "inside": masks.inside(one, grid)}
        for one in features
    ]


def masks_behind(masks: StudyMasks, sentence: Mapping[str, Any]) -> list[str]:
    """Findings with a mask that a sentence tells of, also where it says that they are absent."""
    told = [_parsed(one) for one in sentence["findings"]]
    return list(dict.fromkeys(name for concept, side, _ in told for name in masks.about(concept, side)))


def sentences_of(context: Context, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sentences of the report with their findings (where they can be read) and boxes (where the source has them).

    Boxes are of the preview of the frontal image, in [0, 1]; what its crop cuts off is left out.
    """
    grounded = [one for one in _list(row.get("grounded")) if isinstance(one, Mapping)]
    boxes = {_key(one.get("text")): one for one in grounded}
    crop = read_object(row.get("crops")).get("frontal") or (0.0, 0.0, 1.0, 1.0)
    read = context.helpers.read_findings
    found = []
    for text in split_sentences(row["report"]) if isinstance(row.get("report"), str) else []:
        known = boxes.get(_key(text), {})
        findings = list(read(text)) if read is not None else []
        if not findings and known.get("label"):
            findings = [f"{known['label']}={'present' if known.get('boxes') else 'absent'}"]
        found.append({"text": text, "findings": findings, "boxes": _on_preview(known.get("boxes") or [], crop)})
    return found


def _on_preview(boxes: Sequence[Sequence[float]], crop: Sequence[float]) -> list[list[float]]:
    """Boxes of an image as they lie on a part of it; those outside of it are left out."""
    x, y = crop[2] - crop[0], crop[3] - crop[1]
    moved = [
        [(box[0] - crop[0]) / x, (box[1] - crop[1]) / y, (box[2] - crop[0]) / x, (box[3] - crop[1]) / y]
        for box in boxes
    ]
    cut = [[min(1.0, max(0.0, edge)) for edge in box] for box in moved]
    return [box for box in cut if box[0] < box[2] and box[1] < box[3]]


def link_sentences(
    sentences: Sequence[Mapping[str, Any]], features: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """For each sentence the features behind it, with why.

    A feature is behind a sentence if it fires in it, or if its label names a finding that the sentence tells, on the
    same side, and it fires in an image (which it may only do for a finding that is there).
    """
    linked = []
    for sentence in sentences:
        key, told = _key(sentence["text"]), [_parsed(one) for one in sentence["findings"]]
        behind = []
        for feature in features:
            own = next(
                (one for one in feature["sentences"] if one["role"] == "report" and _key(one["text"]) == key), None
            )
            if own is not None:
                behind.append({"id": feature["id"], "share": own["share"], "why": "fires in this sentence"})
            elif feature["images"] and _same_finding(feature, told):
                share = max(one["share"] for one in feature["images"].values())
                behind.append(
                    {"id": feature["id"], "share": share, "why": "fires in an image, and its label names this finding"}
                )
        linked.append(sorted(behind, key=lambda one: (-one["share"], one["id"]))[:16])
    return linked


def _same_finding(feature: Mapping[str, Any], told: Sequence[tuple[str, str, str]]) -> bool:
    for concept, side, status in told:
        same_side = not side or not feature["side"] or side == feature["side"]
        # An image feature of a finding that is there speaks for "present", one of its absence for "absent".
        says = {"present": "present", "uncertain": "present", "changed": "present"}.get(status, status)
        means = {"changed": "present", "uncertain": "present"}.get(str(feature["polarity"]), feature["polarity"])
        if concept == feature["concept"] and same_side and says == means:
            return True
    return False


def unsaid(features: Sequence[Mapping[str, Any]], sentences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings that image features speak for and no sentence of the report affirms, with these features."""
    told: dict[str, set[str]] = {}
    for sentence in sentences:
        for concept, _, status in map(_parsed, sentence["findings"]):
            told.setdefault(concept, set()).add(status)
    found: dict[str, list[dict[str, Any]]] = {}
    for feature in features:
        shares = [one["share"] for one in feature["images"].values()]
        speaks = shares and max(shares) >= SPEAKS and feature["polarity"] == "present" and feature["concept"]
        if speaks and not told.get(feature["concept"], set()) & {"present", "uncertain", "changed"}:
            entry = {key: feature[key] for key in ("id", "label", "score")} | {"share": max(shares)}
            found.setdefault(feature["concept"], []).append(entry)
    return [
        {
            "finding": concept,
            "features": own,
            "report": "says it is absent" if told.get(concept) else "does not name it",
        }
        for concept, own in found.items()
    ]


def unbacked(features: Sequence[Mapping[str, Any]], sentences: Sequence[Mapping[str, Any]]) -> list[str]:
    """Findings that the report affirms and for which no image feature with such a label fires."""
    backed = {
        one["concept"] for one in features if one["images"] and one["polarity"] in ("present", "changed", "uncertain")
    }
    affirmed = {
        concept for one in sentences for concept, _, status in map(_parsed, one["findings"]) if status == "present"
    }
    return sorted(affirmed - backed)


def _parsed(finding: str) -> tuple[str, str, str]:
    """``concept[:side]=status`` → (concept, side, status)."""
    name, _, status = str(finding).partition("=")
    concept, _, side = name.partition(":")
    return concept, side, status


def _key(text: Any) -> str:
    return " ".join(str(text or "").lower().split())


def _list(text: Any) -> list[Any]:
    if not isinstance(text, str):
        return []
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def texts_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Sections of the prompt that the study has."""
    return [(name, row[name]) for name in SECTIONS if isinstance(row.get(name), str) and row[name]]
