"""Activations in the JSONL of Neuronpedia, and its features and activations read back.

The names are those of its tables ``Neuron`` and ``Activation`` (``apps/webapp/prisma/schema.prisma``), and activations
lie in files like those of its exports: ``activations/batch-N.jsonl``, 1,024 features a batch. Numbers are written in
full, so that reading them gives the same float32. (Features and labels are written by :mod:`autointerp.exchange`.)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from activations.files import write_atomically
from autointerp.files import features_folder, read_table
from autointerp.schema import CONTEXTS_FILE, POSITIVE_KINDS, Modality
from autointerp.stats import edges_of
from autointerp.table import FeatureTable
from radiology.errors import InputError

#: Features in one file of activations, as Neuronpedia exports them.
BATCH = 1024
_TEXT_COLUMNS = ["context", "feature", "kind", "split", "study", "modality", "tokens", "activations"]


def export_activations(
    run_dir: str | Path, sae_name: str, out_dir: str | Path, *, model_id: str, source: str, studies: Collection[int]
) -> int:
    """Write the sentences in which each feature fires (top and quantile contexts); gives their number.

    Images have no place in the form, and contexts in which a feature is quiet are not written. They hold the words of
    reports: name only studies whose words may go where the files go.

    Args:
        model_id, source: Neuronpedia's names of the model and of the SAE.
        studies: study numbers whose sentences may be written.
    """
    path = features_folder(run_dir, sae_name) / CONTEXTS_FILE
    n_features, written, allowed = len(FeatureTable.open(run_dir, sae_name)), 0, np.fromiter(studies, dtype=np.int64)
    for batch, first in enumerate(range(0, n_features, BATCH)):
        own = [("feature", ">=", first), ("feature", "<", first + BATCH), ("modality", "=", Modality.TEXT.value)]
        rows = read_table(path, _TEXT_COLUMNS, own).to_pandas()
        rows = rows[rows["kind"].isin([kind.value for kind in POSITIVE_KINDS]) & rows["study"].isin(allowed)]
        place = {"modelId": model_id, "layer": source}
        records = [place | _activation_record(row) for row in rows.to_dict("records")]
        _write_lines(Path(out_dir) / "activations" / f"batch-{batch}.jsonl", records)
        written += len(records)
    return written


def _activation_record(row: dict[str, Any]) -> dict[str, Any]:
    values = [float(value) for value in row["activations"]]
    return {
        "index": str(row["feature"]),
        "dataIndex": str(row["context"]),
        "dataSource": f"{row['kind']}/{row['split']}",
        "tokens": list(row["tokens"]),
        "values": values,
        "maxValue": max(values),
        "maxValueTokenIndex": int(np.argmax(values)),
        "minValue": min(values),
    }


def read_activations(folder: str | Path) -> pd.DataFrame:
    """What :func:`export_activations` wrote: context, feature, kind, split, tokens, activations, activation."""
    rows = []
    for where, record in _lines(Path(folder) / "activations", "batch-*.jsonl"):
        kind, _, split = str(record.get("dataSource") or "").partition("/")
        try:
            rows.append(
                {
                    "context": int(record["dataIndex"]),
                    "feature": int(record["index"]),
                    "kind": kind,
                    "split": split,
                    "tokens": record["tokens"],
                    "activations": np.asarray(record["values"], dtype=np.float32),
                    "activation": np.float32(record["maxValue"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: not a row of activations ({error})") from error
    return pd.DataFrame(rows)


def read_feature_records(folder: str | Path) -> pd.DataFrame:
    """``features.jsonl`` under the names of ``features.parquet``, as far as the form holds them."""
    rows = []
    for where, record in _lines(Path(folder), "features.jsonl"):
        try:
            rows.append(
                {
                    "feature": int(record["index"]),
                    "max_activation": np.float32(record["maxActApprox"]),
                    "firing_rate": float(record["frac_nonzero"]),
                    "promoted": _pairs(record, "pos_str", "pos_values", "token", "value"),
                    "suppressed": _pairs(record, "neg_str", "neg_values", "token", "value"),
                    "histogram": record["freq_hist_data_bar_heights"],
                    "histogram_edges": edges_of(record["freq_hist_data_bar_values"]),
                    "neighbours": _pairs(record, "topkCosSimIndices", "topkCosSimValues", "feature", "cosine"),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: not a row of features ({error})") from error
    return pd.DataFrame(rows)


def _pairs(record: dict[str, Any], names: str, values: str, name: str, value: str) -> list[dict[str, Any]]:
    return [{name: one, value: other} for one, other in zip(record[names], record[values], strict=True)]


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records).encode())


def _lines(folder: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    paths = sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise InputError(f"{folder}: no {pattern} in it")
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                yield f"{path}, line {number}", json.loads(line)
