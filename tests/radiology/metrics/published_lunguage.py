"""The scorer inside the published package ``lunguage-score``, with an encoder of ours put in its place."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from radiology.metrics.lunguage_score import WEIGHTS
from radiology.metrics.text_encoders import Pooling, unit_rows
from radiology.structured import StructuredFinding

BIOLORD, MEDCPT = "FremyCompany/BioLORD-2023", "ncbi/MedCPT-Query-Encoder"
#: The package draws pictures on request; the library for that is large and not needed to compute.
_PLOTTING = ("matplotlib", "matplotlib.gridspec", "matplotlib.pyplot", "matplotlib.colors")


def stub_vectors(model: str, pooling: Pooling, texts: Sequence[str], width: int = 12) -> np.ndarray:
    """Unit vectors that depend on model, pooling and text and on nothing else; cosines of both signs."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(f"{model}|{pooling}|{text}".encode()).digest()[:8], "big")
        rows.append(np.random.default_rng(seed).normal(size=width) + 0.7)
    return unit_rows(np.array(rows))


class StubEncoder:
    """What the package's stub gives, in the form of our encoders: descriptions pooled as the package pools them."""

    def __init__(self, model: str) -> None:
        self.name = model
        self._pooling: Pooling = "mean" if model == BIOLORD else "first"

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        return stub_vectors(self.name, self._pooling, texts)

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return stub_vectors(self.name, "first", texts)


def load_scorer() -> ModuleType:
    """The module with the scorer alone: the package's front door wants an LLM client and more."""
    path = next(f for f in metadata.files("lunguage-score") or () if f.name == "lunguagescore.py").locate()
    stands_in = [name for name in _PLOTTING if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in stands_in:
        sys.modules[name] = ModuleType(name)
    try:
        for name in stands_in[1:]:
            setattr(sys.modules["matplotlib"], name.rpartition(".")[2], sys.modules[name])
        if stands_in:
            sys.modules["matplotlib.colors"].LinearSegmentedColormap = None  # type: ignore[attr-defined]
        spec = importlib.util.spec_from_file_location("published_lunguage_score", str(path))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        for name in stands_in:
            del sys.modules[name]
    by_name = SimpleNamespace(from_pretrained=lambda name: name)
    module.AutoModel = module.AutoTokenizer = by_name  # type: ignore[attr-defined]
    module.SemanticMatcher.get_embeddings = _embeddings
    return module


def published_scores(
    module: ModuleType, reference: list[StructuredFinding], candidate: list[StructuredFinding], sequential: bool
) -> tuple[float, float, float]:
    """Precision, recall and F1 of one study, or of one patient, as the package computes them."""
    mode = "sequential" if sequential else "single"
    weights = {name.replace("_", " ") if name in _WITH_SPACE else name: w for name, w in WEIGHTS.items()}
    total = sum(weights.values())
    tables = [{"sequence": 0.5, "episode": 0.5}, {name: weight / total for name, weight in weights.items()}]
    evaluator = module.MetricEvaluator(tables, mode)
    (ours,) = evaluator.data_converter.convert_to_structured_dict(_frame(reference, sequential)).values()
    (theirs,) = evaluator.data_converter.convert_to_structured_dict(_frame(candidate, sequential)).values()
    _, f1, precision, recall, _, _ = evaluator.evaluate_subject(ours, theirs)
    return precision, recall, f1


_WITH_SPACE = ("no_change", "past_hx", "other_source", "assessment_limitations")


def _frame(rows: list[StructuredFinding], sequential: bool) -> pd.DataFrame:
    table = pd.DataFrame([row.to_row() for row in rows]).replace("", np.nan).infer_objects()
    table = table.rename(columns={"temporal_group": "episode"}).assign(subject_id="p1")
    if sequential:
        table["sequence"] = [row.sequence for row in rows]
    return table


def _embeddings(self: Any, model: str, tokenizer: str, texts: list[str], model_name: str | None = None) -> torch.Tensor:
    pooling: Pooling = "mean" if model_name == BIOLORD else "first"
    return torch.from_numpy(stub_vectors(model, pooling, texts))
