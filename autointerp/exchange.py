"""Features and labels in the forms of other tools, and labels from files of others.

The mapping of names is written down in ``docs/feature-table.md``. Contexts are not exported: they hold the words of
reports.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from activations.files import write_atomically
from autointerp.explanation import Explanation
from autointerp.files import features_folder, labels_folder, read_frame, upsert
from autointerp.reading import Reading, read_findings
from autointerp.schema import (
    EXPLANATIONS_FILE,
    FAILED_LABEL,
    FEATURES_FILE,
    MAX_LABEL_WORDS,
    Modality,
    Polarity,
)
from autointerp.table import FeatureTable
from radiology.errors import InputError

_DELPHI_NAME = re.compile(r"(?P<hookpoint>.+)_latent(?P<feature>\d+)\.txt")
#: Names of the columns of other tools → ours.
ALIASES = {"index": "feature", "latent": "feature", "description": "label", "explanation": "label"}
#: Beside delphi's files, which hold nothing but the words: all that we know of each label.
_DELPHI_REST = "interp.jsonl"
#: The key under which a row of another tool carries all that we know of a label; the tool itself passes over it.
_REST = "interp"
_TEXT_COLUMNS = ("concept", "side", "polarity", "modality", "reasoning", "model")


def export_neuronpedia(run_dir: str | Path, sae_name: str, out_dir: str | Path, *, model_id: str, source: str) -> int:
    """Write ``features.jsonl`` and ``explanations.jsonl`` in the field names of Neuronpedia; gives the feature count.

    Args:
        model_id: Neuronpedia's name of the model.
        source: Neuronpedia's name of the SAE, such as ``15-maira2-sae``; goes into the field ``layer``.
    """
    table = FeatureTable.open(run_dir, sae_name)
    place = {"modelId": model_id, "layer": source}
    features = [place | _neuronpedia_feature(row) for row in table.frame.to_dict("records")]
    whole = _whole(table)
    labels = [
        place | _neuronpedia_label(row) | {_REST: whole[int(row["feature"]), row["explainer"]]}
        for row in _labels(table).to_dict("records")
    ]
    _write_lines(Path(out_dir) / "features.jsonl", features)
    _write_lines(Path(out_dir) / "explanations.jsonl", labels)
    return len(features)


def export_delphi(run_dir: str | Path, sae_name: str, out_dir: str | Path, *, hookpoint: str) -> int:
    """Write a file ``HOOKPOINT_latentN.txt`` with a JSON string per label, as delphi does; gives their number."""
    table = FeatureTable.open(run_dir, sae_name)
    labels, whole = _labels(table), _whole(table)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    safe = hookpoint.replace("/", "--")
    for row in labels.itertuples():
        path = Path(out_dir) / f"{safe}_latent{row.feature}.txt"
        write_atomically(path, json.dumps(row.label, ensure_ascii=False).encode())
    _write_lines(Path(out_dir) / _DELPHI_REST, [whole[int(row.feature), row.explainer] for row in labels.itertuples()])
    return len(labels)


def import_explanations(
    run_dir: str | Path,
    sae_name: str,
    path: str | Path,
    explainer: str,
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Take labels from a CSV or JSONL file or a folder of delphi explanations into ``explanations.parquet``.

    A row needs ``feature`` (or ``index``, ``latent``) and ``label`` (or ``description``, ``explanation``); the other
    columns of explanations may be there. Concept, side and polarity that are not given are read from the label, if it
    names exactly one finding, so that the label can be scored. A longer label is cut to its first words; the whole of
    it stays in ``reasoning``. What our own exports carry along comes back whole, unless the words were changed.

    Args:
        explainer: name under which the labels stand beside those of other explainers.
        columns: our name → the file's name of a column, where they differ.

    Returns:
        The new explanations.

    Raises:
        InputError: a row is not usable (named by its line), names a feature that does not exist, or comes twice; or a
            column that does not exist is mapped.
    """
    theirs = _checked(columns or {})
    known = set(read_frame(features_folder(run_dir, sae_name) / FEATURES_FILE, ["feature"])["feature"].tolist())
    rows: dict[int, dict[str, Any]] = {}
    for where, fields in _read_labels(Path(path)):
        fields = {ALIASES.get(key, key): value for key, value in _renamed(fields, theirs).items()}
        explanation = _explanation(where, fields, explainer)
        if explanation.feature not in known:
            raise InputError(f"{where}: feature {explanation.feature} does not exist; there are {len(known)} features")
        if explanation.feature in rows:
            raise InputError(f"{where}: feature {explanation.feature} has a label already; give one label a feature")
        rows[explanation.feature] = explanation.row()
    if not rows:
        raise InputError(f"{path}: there are no labels in it")
    frame = pd.DataFrame(list(rows.values()))
    upsert(labels_folder(run_dir, sae_name) / EXPLANATIONS_FILE, frame, ["feature", "explainer"])
    return frame


def _labels(table: FeatureTable) -> pd.DataFrame:
    labels = table.labels
    return labels[labels["label"].notna() & (labels["label"] != FAILED_LABEL)].sort_values("feature")


def _neuronpedia_feature(row: dict[str, Any]) -> dict[str, Any]:
    edges, counts = list(row["histogram_edges"]), list(row["histogram"])
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    return {
        "index": str(row["feature"]),
        "maxActApprox": _number(row["max_activation"]),
        "frac_nonzero": _number(row["firing_rate"]),
        "pos_str": [token["token"] for token in row["promoted"]],
        "pos_values": [_number(token["value"]) for token in row["promoted"]],
        "neg_str": [token["token"] for token in row["suppressed"]],
        "neg_values": [_number(token["value"]) for token in row["suppressed"]],
        "freq_hist_data_bar_heights": [int(count) for count in counts],
        "freq_hist_data_bar_values": [_number(value) for value in middles],
        "topkCosSimIndices": [int(one["feature"]) for one in row["neighbours"]],
        "topkCosSimValues": [_number(one["cosine"]) for one in row["neighbours"]],
    }


def _neuronpedia_label(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": str(row["feature"]),
        "description": row["label"],
        "explanationModelName": None,
        "typeName": f"interp-{row['explainer']}",
        "scoreV2": None if pd.isna(row["hard_accuracy"]) else _number(row["hard_accuracy"]),
    }


def _number(value: float) -> float:
    return float(value)


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def _read_labels(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each label stands, for messages, and its fields under our names."""
    if path.is_dir():
        yield from _read_delphi(path)
        return
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a CSV or JSONL file or a folder of delphi explanations")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        for number, fields in enumerate(csv.DictReader(text.splitlines()), start=2):
            yield f"{path}, line {number}", {key: value for key, value in fields.items() if key and value}
    elif path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _json_object(where, line)
    else:
        raise InputError(f"{path}: the name must end in .csv or .jsonl")


def _read_delphi(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    beside = folder / _DELPHI_REST
    lines = beside.read_text(encoding="utf-8").splitlines() if beside.is_file() else []
    rest = {int(row["feature"]): row for row in (_json_object(str(beside), line) for line in lines) if "feature" in row}
    for path in sorted(folder.glob("*_latent*.txt")):
        match = _DELPHI_NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            label = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not a JSON string ({error})") from error
        yield str(path), {"feature": match["feature"], "label": label, _REST: rest.get(int(match["feature"]))}


def _json_object(where: str, line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise InputError(f"{where}: must be a JSON object with feature and label")
    return fields


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    """The file's names → ours."""
    known = ("feature", "label", *_TEXT_COLUMNS)
    for ours in columns:
        if ours not in known:
            raise InputError(f"columns: {ours!r} is no column of labels; there are {list(known)}")
    return {theirs: ours for ours, theirs in columns.items()}


def _renamed(fields: dict[str, Any], theirs: Mapping[str, str]) -> dict[str, Any]:
    """Mapped columns win over those that have our name by chance."""
    mapped = {theirs[key]: value for key, value in fields.items() if key in theirs}
    return {key: value for key, value in fields.items() if key not in theirs} | mapped


def _whole(table: FeatureTable) -> dict[tuple[int, str], dict[str, Any]]:
    """(feature, explainer) → all columns of the label."""
    rows = table.sql("SELECT * FROM explanations").astype(object)
    records = rows.where(rows.notna(), None).to_dict("records")
    return {(int(row["feature"]), str(row["explainer"])): row for row in records}


def _explanation(where: str, fields: dict[str, Any], explainer: str) -> Explanation:
    for name in ("feature", "label"):
        if fields.get(name) is None:
            raise InputError(f"{where}: {name!r} is missing")
    try:
        feature = int(fields["feature"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: feature {fields['feature']!r} is no number") from error
    whole = " ".join(str(fields["label"]).split())
    rest = fields.get(_REST)
    if isinstance(rest, dict) and rest.get("label") == whole:
        return _restored(where, rest | {"feature": feature, "explainer": explainer})
    given: dict[str, Any] = {name: str(fields[name]) for name in _TEXT_COLUMNS if fields.get(name) is not None}
    if "concept" not in given and given.get("polarity", Polarity.NONE) == Polarity.NONE:
        given |= meaning_of(whole)
    words = whole.split()
    if len(words) > MAX_LABEL_WORDS:
        given.setdefault("reasoning", whole)
    label = " ".join(words[:MAX_LABEL_WORDS])
    try:
        return Explanation(
            feature=feature, explainer=explainer, label=label, cost=None, **{"modality": Modality.BOTH.value} | given
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _restored(where: str, rest: dict[str, Any]) -> Explanation:
    """A label that we wrote out ourselves."""
    try:
        return Explanation(**{field.name: rest[field.name] for field in dataclasses.fields(Explanation)})
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{where}: {_REST!r} is damaged ({error}); take it out, and the label is read by itself"
        ) from error


def meaning_of(label: str) -> dict[str, str]:
    """Concept, side and polarity of a label that names one finding in one way; nothing otherwise."""
    readings = [Reading.parse(text) for text in read_findings(label)]
    if len({reading.concept for reading in readings}) != 1 or len({reading.status for reading in readings}) != 1:
        return {}
    sides = [reading.side for reading in readings if reading.side is not None]
    side = {"side": sides[0]} if len(sides) == 1 else {}
    return {"concept": readings[0].concept, "polarity": readings[0].status} | side
