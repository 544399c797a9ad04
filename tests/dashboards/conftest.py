"""A small synthetic run directory that obeys the table schemas, and a way to look at pages in a browser."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autointerp import schema
from radiology.masks import encode_mask
from steering.schema import CAUSAL_MAP_COLUMNS, EFFECT_COLUMNS, GENERATION_COLUMNS

#: Planted where a page could mistake text for markup.
EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>&lt;"
CONCEPTS = ("pleural_effusion", "cardiomegaly", "pacemaker")
ROWS = COLS = 6

Draw = Callable[[int, str], np.ndarray]


def gradient(study: int, image: str) -> np.ndarray:
    """A (48, 48) uint8 picture that differs by study and view."""
    ramp = np.linspace(0, 200, 48)[:, None] + np.linspace(0, 40, 48)[None, :]
    return ((ramp + 17 * study + 31 * len(image)) % 256).astype(np.uint8)


def png(picture: np.ndarray) -> bytes:
    Image.fromarray(picture).save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()


def write_run(
    run: Path, *, n_studies: int = 8, n_features: int = 12, contexts: int = 3, draw: Draw = gradient, evil: str = ""
) -> Path:
    """A whole run. Studies: phantoms, but the last two of them real (one own, one credentialed)."""
    rng = np.random.default_rng(0)
    run.mkdir(parents=True, exist_ok=True)
    done = {"state": "done", "seconds": 12.0}
    stages = dict.fromkeys(("cache", "train-sae:main", "eval-sae:main", "index:main"), done)
    write_json(run / "run.json", {
        "kind": "interp-run", "version": 1, "created": "2026-01-02T03:04:05+00:00", "user": "somebody",
        "command": ["interp"], "versions": {"interp": "0.1.0"}, "stages": stages})  # fmt: skip
    write_json(run / "activations" / "manifest.json", {
        "model": {"name": "phantom"}, "dtype": "bfloat16", "sites": [{"name": "language.3", "width": 128}],
        "roles": ["image", "report"], "rows": 12345})  # fmt: skip
    studies = study_rows(n_studies, draw, evil)
    write_parquet(run / "studies.parquet", studies)
    sae = run / "sae" / "main"
    write_sae(sae, n_features)
    features = feature_rows(rng, n_features)
    write_parquet(sae / "features" / "features.parquet", features, schema.FEATURES)
    rows = context_rows(rng, features, studies, contexts, evil)
    write_parquet(sae / "features" / "contexts.parquet", rows, schema.CONTEXTS)
    labels, scores = label_rows(rng, n_features, evil)
    write_parquet(sae / "labels" / "explanations.parquet", labels, schema.EXPLANATIONS)
    write_parquet(sae / "labels" / "scores.parquet", scores, schema.SCORES)
    write_steering(sae / "steering" / "demo", rng, studies, evil)
    write_trace(run / "trace", rng)
    return run


def study_rows(n: int, draw: Draw, evil: str) -> list[dict[str, Any]]:
    rows = []
    for study in range(n):
        real = study >= n - 2
        status = {concept: "present" if (study + i) % 3 == 0 else "absent" for i, concept in enumerate(CONCEPTS)}
        rows.append({
            "study": study,
            "study_id": f"study-{study:03d}{evil if study == 0 else ''}",
            "patient_id": f"patient-{study // 2}{evil if study == 0 else ''}",
            "source": "clinic" if real else "phantom:n=6",
            "terms": ("own", "credentialed")[study - n + 2] if real else "phantom",
            "split": "train", "indication": "Shortness of breath.", "technique": None, "comparison": None,
            "prior_report": None, "report_source": "generated" if real else "reference",
            "report": f"There is a small left pleural effusion. The heart is big in study {study}.{evil}",
            "labels": json.dumps(status),
            "preview_frontal": png(draw(study, "frontal")),
            "preview_lateral": png(draw(study, "lateral")) if study % 2 else None,
            "preview_prior_frontal": None,
            "masks": masks_of(study, evil),
        })  # fmt: skip
    return rows


def masks_of(study: int, evil: str) -> str:
    """The column ``masks``: an effusion at the lower right of the frontal, a ring, and what markup may be planted."""
    effusion, ring = np.zeros((48, 48), dtype=bool), np.zeros((48, 48), dtype=bool)
    effusion[24:43, 24:38] = True
    ring[4:20, 4:20] = True
    ring[8:16, 8:16] = False
    found = {"pleural_effusion:left": effusion, "cardiomegaly": ring} | ({f"x{evil}": ring} if evil else {})
    frontal = {name: encode_mask(mask) for name, mask in found.items()}
    lateral = {"cardiomegaly": encode_mask(ring)} if study % 2 else {}
    return json.dumps({"frontal": frontal, "lateral": lateral})


def write_sae(folder: Path, n_features: int) -> None:
    half = n_features // 2
    shape = {"d": 128, "n_features": n_features, "k": 16, "groups": [half, n_features - half]}
    write_json(folder / "cfg.json", {"sae": shape, "extra": {"site": "language.3"}})
    (folder / "sae.safetensors").write_bytes(b"")
    steps = np.arange(1, 21)
    metrics = pd.DataFrame({"step": steps, "tokens": steps * 2048, "loss": 1.0 / steps,
                            "variance_explained": 1 - 0.5 / steps, "l0": 16 + 10.0 / steps, "dead_share": 0.2 / steps,
                            "learning_rate": 1e-3, "tokens_per_s": 1e4})  # fmt: skip
    metrics.to_parquet(folder / "metrics.parquet")
    truth = [{"finding": concept, "tokens": tokens, "feature": i, "auroc": 0.97 - 0.02 * i, "low": 0.94 - 0.03 * i,
              "high": 0.99 - 0.01 * i, "probe": 0.99, "random": 0.57}
             for tokens in ("image", "last prompt token") for i, concept in enumerate(CONCEPTS)]  # fmt: skip
    truth.append({"finding": "lung_nodule", "tokens": "image", "auroc": None, "feature": None, "note": "n too small"})
    write_json(folder / "evaluation.json", {"reconstruction": {"variance_explained": 0.91, "l0": 15.8}, "truth": truth})


def blob(rng: np.random.Generator, top: float) -> np.ndarray:
    """A (ROWS · COLS,) map with one peak."""
    row, col = rng.integers(0, ROWS), rng.integers(0, COLS)
    grid = np.hypot(*np.meshgrid(np.arange(ROWS) - row, np.arange(COLS) - col, indexing="ij"))
    return (top * np.clip(1 - grid / 2.5, 0, None)).reshape(-1).astype(np.float32)


def feature_rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    rows = []
    for feature in range(n):
        dead = feature == n - 1
        top = 0.0 if dead else float(2 + rng.random() * 4)
        image = 0.0 if dead else 1.0 if feature % 3 else 0.05
        shares = dict.fromkeys(schema.ROLE_NAMES, 0.0) | {"image": image, "report": 0.0 if dead else 1 - image}
        rows.append({
            "feature": feature, "group": feature // max(1, n // 2) % 2,
            "firing_rate": 0.0 if dead else 0.02 / (1 + feature % 7),
            "n_fires": 0 if dead else 1000 - feature, "n_studies": 0 if dead else 50, "n_patients": 0 if dead else 40,
            "max_activation": top, "mean_activation": top / 3,
            "histogram": [] if dead else (400 / np.arange(1, 21)).astype(int).tolist(),
            "histogram_edges": [] if dead else np.geomspace(0.05, top, 21).tolist(),
            "role_shares": shares, "image_share": image,
            "neighbours": [{"feature": (feature + i) % n, "cosine": 0.6 - 0.1 * i} for i in (1, 2, 3)],
            "promoted": [{"token": f" {word}", "value": 1.5} for word in ("effusion", "pleural", "fluid")],
            "suppressed": [{"token": " clear", "value": -1.1}], "output_score": 0.2,
            "dead": dead, "dense": False, "mean_map": None if dead else blob(rng, top / 2).tolist(),
            "map_rows": ROWS, "map_cols": COLS,
        })  # fmt: skip
    return rows


def context_rows(
    rng: np.random.Generator, features: list[dict[str, Any]], studies: list[dict[str, Any]], per_kind: int, evil: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for feature in features:
        for kind in [] if feature["dead"] else list(schema.Kind):
            for _ in range(per_kind):
                study = studies[int(rng.integers(0, len(studies)))]
                fires = kind in schema.POSITIVE_KINDS
                act = float(feature["max_activation"] * rng.random()) if fires else 0.0
                common = {
                    "context": len(rows), "feature": feature["feature"], "kind": str(kind), "split": "score",
                    "study": study["study"], "study_id": study["study_id"], "patient_id": study["patient_id"],
                    "position": 5, "token_start": 3, "activation": act, "findings": ["pleural_effusion:left=present"],
                }  # fmt: skip
                rows.append(
                    common | (image_context(rng, act) if feature["image_share"] > 0.5 else text_context(act, evil))
                )
    return rows


def image_context(rng: np.random.Generator, act: float) -> dict[str, Any]:
    map_n = blob(rng, act)
    row, col = divmod(int(map_n.argmax()), COLS)
    return {"modality": "image", "role": "image", "image": "frontal", "row": row, "col": col, "map": map_n.tolist(),
            "map_rows": ROWS, "map_cols": COLS, "tokens": None, "activations": None, "sentence": None}  # fmt: skip


def text_context(act: float, evil: str) -> dict[str, Any]:
    tokens = ["There", " is", " a", " small", " left", " pleural", " effusion", f".{evil}"]
    return {"modality": "text", "role": "report", "image": None, "row": None, "col": None, "map": None,
            "map_rows": None, "map_cols": None, "tokens": tokens,
            "activations": [0, 0, 0, act / 4, act / 3, act / 2, act, 0],
            "sentence": "There is a small left pleural effusion."}  # fmt: skip


def label_rows(rng: np.random.Generator, n: int, evil: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    labels, scores = [], []
    polarities = list(schema.Polarity)
    for feature in range(n - 1):
        concept = CONCEPTS[feature % len(CONCEPTS)]
        polarity = str(polarities[feature % len(polarities)])
        labels.append({
            "feature": feature, "explainer": "contrast", "concept": concept, "side": None, "polarity": polarity,
            "label": f"{concept.replace('_', ' ')} {polarity}{evil if feature == 0 else ''}", "modality": "image",
            "reasoning": f"Fires where the report says {concept}.{evil}", "n_firing": 20, "n_quiet": 40,
            "firing_share": 0.9, "quiet_share": 0.1, "z": 5.0, "model": None, "prompt_hash": None, "cost": 0.0,
            "prompt_tokens": 0, "completion_tokens": 0,
        })  # fmt: skip
        for kind in schema.NEGATIVE_KINDS:
            auc = 0.7 + 0.28 * float(rng.random())
            scores.append({
                "feature": feature, "explainer": "contrast", "scorer": "detection", "negative_kind": str(kind), "n": 40,
                "n_patients": 22, "balanced_accuracy": auc - 0.05, "balanced_accuracy_low": auc - 0.1,
                "balanced_accuracy_high": auc, "auc": auc, "auc_low": auc - 0.06, "auc_high": min(1.0, auc + 0.04),
                "baseline_balanced_accuracy": 0.5, "baseline_auc": 0.51, "note": "",
            })  # fmt: skip
    return labels, scores


def write_steering(folder: Path, rng: np.random.Generator, studies: list[dict[str, Any]], evil: str) -> None:
    tokens = {"scopes": ["prompt.image"], "image": "frontal"}
    part = {"kind": "add", "strength": 1.0, "unit": "max_activation", "shape": "map", "features": [1, 2]}
    condition = {"site": "language.3", "interventions": [part], "tokens": tokens}
    experiment = {"name": "demo", "key": "pleural_effusion", "goal": "present", "conditions": {"group": condition}}
    write_json(folder / "spec.json", {"version": 1, "experiment": experiment})
    arms = [("unsteered", "unsteered", 0, 0.0), ("prompt", "prompt_only", 0, 0.0)]
    for strength in (1.0, 2.0, 4.0):
        arms += [("group", control, 0, strength) for control in ("none", "wrong_sign", "equal_rate")]
        arms += [("group", "random", draw, strength) for draw in range(3)]
    generations = [generation(arm, number, study, evil) for arm in arms for number, study in enumerate(studies)]
    rows = [{name: row[name] for name in GENERATION_COLUMNS} for row in generations]
    write_parquet(folder / "generations.parquet", rows)
    effects = [effect(arm, rng, len(studies)) for arm in arms]
    write_parquet(folder / "effects.parquet", [{name: row.get(name) for name in EFFECT_COLUMNS} for row in effects])


def generation(arm: tuple[str, str, int, float], number: int, study: dict[str, Any], evil: str) -> dict[str, Any]:
    condition, control, draw, strength = arm
    hit = control == "none" and strength > 1
    text = "There is a left pleural effusion. " if hit else "No pleural effusion. "
    findings = {"pleural_effusion": "present" if hit else "absent", "cardiomegaly": "absent"}
    return {
        "study": number, "study_id": study["study_id"], "condition": condition, "control": control, "draw": draw,
        "strength": strength, "text": f"{text}Heart size is normal.{evil}", "parse_ok": True, "tokens": 11,
        "findings": json.dumps(findings), "finished": True,
        "proof": json.dumps({"tokens": {"image": 36}} if strength else {}),
    }  # fmt: skip


def effect(arm: tuple[str, str, int, float], rng: np.random.Generator, n: int) -> dict[str, Any]:
    (condition, control, draw, strength), nan = arm, float("nan")
    on = {"none": 1 - 0.6 / max(strength, 1), "random": 0.05 * float(rng.random()), "unsteered": nan}.get(control, 0.04)
    return {
        "condition": condition, "control": control, "draw": draw, "strength": strength, "key": "pleural_effusion",
        "goal": "present", "n": n, "n_studies": n, "on_target": on, "on_target_low": on - 0.04,
        "on_target_high": on + 0.04, "off_target": 0.02, "off_target_low": 0.01, "off_target_high": 0.03,
        "added": "{}", "removed": "{}", "parse_failures": 0.0, "repetition": 0.0, "length": 20.0, "length_delta": 0.0,
        "tokens_changed": 36.0,
        "random_on_target": 0.02, "random_on_target_low": 0.0, "random_on_target_high": 0.05,
        "p": 0.01 if control == "none" else nan, "p_adjusted": 0.02 if control == "none" else nan,
    }  # fmt: skip


def write_trace(folder: Path, rng: np.random.Generator) -> None:
    rows = [
        {"key": key, "site": site, "scope": scope, "effect": float(rng.random()), "low": 0.1, "high": 0.9, "gap": 3.0,
         "n": 40, "skipped": 0, "flip_rate": float("nan"), "flip_n": 0}
        for key in CONCEPTS for site in ("projector", *(f"language.{i}" for i in range(6)))
        for scope in ("prompt.image", "prompt.last", "prompt.text")
    ]  # fmt: skip
    write_parquet(folder / "causal_map.parquet", [{name: row[name] for name in CAUSAL_MAP_COLUMNS} for row in rows])


def write_parquet(path: Path, rows: list[dict[str, Any]], columns: pa.Schema | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=columns), path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run without anything planted. Not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="session")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose identifiers, reports, labels and tokens hold markup. Not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "evil", evil=EVIL)


@pytest.fixture(scope="session")
def block() -> Callable[[str, str], Any]:
    """(page, name) → content of a data block, as the page's scripts read it."""

    def open_block(html: str, name: str) -> Any:
        found = re.search(rf'<script type="application/octet-stream" id="{name}">([^<]*)</script>', html)
        assert found, f"no block {name}"
        return json.loads(gzip.decompress(base64.b64decode(found[1])))

    return open_block


@pytest.fixture
def fresh_run(tmp_path: Path) -> Path:
    """A whole run that a test may break."""
    return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """:func:`write_run`."""
    return write_run
