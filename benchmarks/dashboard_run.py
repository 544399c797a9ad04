"""A synthetic run of any size for ``benchmarks/dashboard.py``: the tables of the contract, filled with drawn values.

Tables are written with the row groups of the program's own writers. Reports are a few sentences, previews small PNGs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from activations.studies_files import ROW_GROUP as STUDIES_ROW_GROUP
from activations.studies_files import SCHEMA as STUDIES
from autointerp import schema
from autointerp.files import FEATURES_ROW_GROUP, ROW_GROUP
from autointerp.study_activations import ROW_GROUP as ACTIVITY_ROW_GROUP

CONCEPTS = ("pleural_effusion", "cardiomegaly", "pneumothorax", "consolidation", "pulmonary_edema", "lung_nodule",
            "pacemaker", "endotracheal_tube", "central_line")  # fmt: skip
SENTENCE = "There is a small left pleural effusion in study {}."


@dataclass(frozen=True)
class Size:
    """How large a run is; ``grid`` is the side of the patch grid."""

    features: int = 32_768
    contexts: int = 2_000_000
    studies: int = 20_000
    active: int = 60
    grid: int = 10


def write_run(folder: Path, size: Size, seed: int = 0) -> None:
    """Write the run; takes minutes at full size."""
    rng = np.random.default_rng(seed)
    sae = folder / "sae" / "main"
    for part in ("activations", "sae/main/features", "sae/main/labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    record = {"kind": "interp-run", "version": 1, "created": "2026-01-02T03:04:05+00:00", "stages": {}, "versions": {}}
    (folder / "run.json").write_text(json.dumps(record))
    manifest = {"model": {"name": "phantom"}, "dtype": "bfloat16", "sites": [], "roles": ["image"], "rows": 1}
    (folder / "activations" / "manifest.json").write_text(json.dumps(manifest))
    cfg = {"sae": {"d": 64, "n_features": size.features, "k": 64, "groups": [size.features // 2] * 2}}
    (sae / "cfg.json").write_text(json.dumps(cfg))
    _studies(folder / "studies.parquet", size, rng)
    top = (1 + 4 * rng.random(size.features)).astype(np.float32)
    _features(sae / "features" / schema.FEATURES_FILE, size, top, rng)
    _contexts(sae / "features" / schema.CONTEXTS_FILE, size, top, rng)
    _activity(sae / "features" / schema.STUDY_ACTIVATIONS_FILE, size, top, rng)
    _labels(sae / "labels", size, rng)


def _studies(path: Path, size: Size, rng: np.random.Generator) -> None:
    pictures = [_png(rng) for _ in range(64)]

    def rows(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for study in range(start, stop):
            status = dict(zip(CONCEPTS, rng.choice(["present", "absent"], len(CONCEPTS)).tolist(), strict=True))
            yield {
                "study": study, "study_id": f"study-{study:06d}", "patient_id": f"patient-{study // 2:06d}",
                "source": "synthetic", "terms": "phantom", "split": "train", "indication": "Shortness of breath.",
                "report": SENTENCE.format(study), "report_source": "reference", "rows": 100,
                "labels": json.dumps(status),
                "metadata": json.dumps({"sex": "female", "view": "AP"}), "preview_frontal": pictures[study % 64],
            }  # fmt: skip

    with pq.ParquetWriter(path, STUDIES) as writer:
        for start in range(0, size.studies, STUDIES_ROW_GROUP):
            part = list(rows(start, min(start + STUDIES_ROW_GROUP, size.studies)))
            writer.write_table(pa.Table.from_pylist(part, schema=STUDIES))


def _png(rng: np.random.Generator) -> bytes:
    Image.fromarray(rng.integers(0, 255, (140, 140), dtype=np.uint8)).save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()


def _features(path: Path, size: Size, top: np.ndarray, rng: np.random.Generator) -> None:
    n, patches = size.features, size.grid**2
    words = [f" word{i}" for i in range(3000)]
    with pq.ParquetWriter(path, schema.FEATURES, compression="zstd") as writer:
        for start in range(0, n, ROW_GROUP):
            rows = []
            for feature in range(start, min(start + ROW_GROUP, n)):
                near = rng.integers(0, n, 8).tolist()
                rows.append({
                    "feature": feature, "group": feature * 2 // n, "firing_rate": float(rng.random() * 0.01),
                    "n_fires": 1000, "n_studies": 100, "n_patients": 60, "max_activation": float(top[feature]),
                    "mean_activation": 0.5, "histogram": [10] * 20,
                    "histogram_edges": np.geomspace(0.01, 5, 21).tolist(),
                    "role_shares": dict.fromkeys(schema.ROLE_NAMES, 0.0) | {"image": 1.0}, "image_share": 1.0,
                    "text_share": 0.0, "co_firing": [{"feature": f, "n_tokens": 9, "jaccard": 0.2} for f in near],
                    "neighbours": [{"feature": f, "cosine": 0.5} for f in near],
                    "promoted": [{"token": words[i], "value": 1.0} for i in rng.integers(0, 3000, 10)],
                    "suppressed": [{"token": words[i], "value": -1.0} for i in rng.integers(0, 3000, 10)],
                    "output_score": 0.1, "dead": False, "dense": False, "mean_map": rng.random(patches).tolist(),
                    "map_rows": size.grid, "map_cols": size.grid,
                })  # fmt: skip
            writer.write_table(pa.Table.from_pylist(rows, schema=schema.FEATURES), row_group_size=FEATURES_ROW_GROUP)


def _contexts(path: Path, size: Size, top: np.ndarray, rng: np.random.Generator) -> None:
    """Half pictures, half sentences, in the order of features."""
    patches, per_group = size.grid**2, 20 * ROW_GROUP
    kinds = np.array([str(kind) for kind in schema.Kind], dtype=object)
    tokens = [["There", " is", " a", " small", " left", " pleural", " effusion", "."]]
    with pq.ParquetWriter(path, schema.CONTEXTS, compression="zstd") as writer:
        for start in range(0, size.contexts, per_group):
            number = np.arange(start, min(start + per_group, size.contexts))
            m = len(number)
            feature = (number * size.features // size.contexts).astype(np.int32)
            study = rng.integers(0, size.studies, m)
            image = number % 2 == 0
            map_mp = (rng.random((m, patches), dtype=np.float32) ** 8 * top[feature][:, None]).astype(np.float32)
            lists = pa.ListArray.from_arrays(
                pa.array(np.arange(m + 1) * patches, pa.int32()), pa.array(map_mp.reshape(-1)), mask=pa.array(~image)
            )
            frame = pd.DataFrame({
                "context": number, "feature": feature, "kind": kinds[number % 4], "hardness": None, "split": "score",
                "study": study, "study_id": [f"study-{s:06d}" for s in study],
                "patient_id": [f"patient-{s // 2:06d}" for s in study], "modality": np.where(image, "image", "text"),
                "role": np.where(image, "image", "report"), "image": np.where(image, "frontal", None),
                "row": 1, "col": 1, "box": None, "map_rows": size.grid, "map_cols": size.grid, "position": 1,
                "token_start": 0, "tokens": tokens * m, "activations": [[0.0] * 7 + [1.0]] * m,
                "sentence": np.where(image, None, SENTENCE.format(0)), "activation": map_mp.max(axis=1),
                "findings": [["pleural_effusion:left=present"]] * m,
            })  # fmt: skip
            columns = [
                lists if field.name == "map" else pa.array(frame[field.name], field.type, from_pandas=True)
                for field in schema.CONTEXTS
            ]
            writer.write_table(pa.table(columns, schema=schema.CONTEXTS), row_group_size=ROW_GROUP)


def _activity(path: Path, size: Size, top: np.ndarray, rng: np.random.Generator) -> None:
    """``active`` features in the image of each of at most 2,000 studies, which is what the index draws."""
    studies = min(2000, size.studies)
    feature = np.sort(rng.integers(0, size.features, studies * size.active)).astype(np.int32)
    n, kept = len(feature), 8
    offsets = pa.array(np.arange(n + 1) * kept, pa.int32())
    patches = pa.ListArray.from_arrays(offsets, pa.array(rng.integers(0, size.grid**2, n * kept), pa.int32()))
    weights = pa.ListArray.from_arrays(offsets, pa.array(rng.integers(0, 255, n * kept), pa.uint8()))
    columns = [
        feature, rng.integers(0, studies, n).astype(np.int32), ["image"] * n, ["image"] * n, ["frontal"] * n,
        [None] * n,
        (top[feature] * rng.random(n)).astype(np.float32), np.full(n, kept, np.int32),
    ]  # fmt: skip
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.STUDY_ACTIVATIONS, strict=False)]
    table = pa.table([*arrays, patches, weights], schema=schema.STUDY_ACTIVATIONS)
    pq.write_table(table, path, row_group_size=ACTIVITY_ROW_GROUP, compression="zstd")


def _labels(folder: Path, size: Size, rng: np.random.Generator) -> None:
    n = size.features
    concept = rng.choice(CONCEPTS, n)
    polarity = rng.choice([str(one) for one in schema.Polarity], n)
    labels = pd.DataFrame({
        "feature": np.arange(n), "explainer": "contrast", "concept": concept, "side": None, "polarity": polarity,
        "label": [f"{c.replace('_', ' ')} {p}" for c, p in zip(concept, polarity, strict=True)], "modality": "image",
        "reasoning": "Drawn.", "n_firing": 20, "n_quiet": 40, "firing_share": 0.9, "quiet_share": 0.1, "z": 5.0,
        "model": None, "prompt_hash": None, "cost": 0.0, "prompt_tokens": 0, "completion_tokens": 0,
    })  # fmt: skip
    _write(folder / schema.EXPLANATIONS_FILE, labels, schema.EXPLANATIONS)
    scores = []
    for kind in schema.NEGATIVE_KINDS:
        auc = rng.random(n)
        values = {name: auc for name in schema.SCORES.names if "auc" in name or "accuracy" in name}
        scores.append(pd.DataFrame({"feature": np.arange(n), "explainer": "contrast", "scorer": "detection",
                                    "negative_kind": str(kind), "n": 40, "n_patients": 20, **values, "purity": 0.9,
                                    "p": 0.01, "q": 0.02, "model": None, "note": ""}))  # fmt: skip
    _write(folder / schema.SCORES_FILE, pd.concat(scores), schema.SCORES)


def _write(path: Path, frame: pd.DataFrame, columns: pa.Schema) -> None:
    table = pa.Table.from_pandas(frame[columns.names], schema=columns, preserve_index=False)
    pq.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd")
