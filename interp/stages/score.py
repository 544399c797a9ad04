"""Stage ``score``: how well labels tell where features fire, and on phantoms whether they are true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.explain import stage_of

if TYPE_CHECKING:
    import pandas as pd

STAGE = "score"


@dataclass(frozen=True)
class ScoreConfig:
    """Which labels to score.

    Attributes:
        name: SAE of the run.
        explainer: whose labels.
        features: feature numbers; empty is all that have a label.
    """

    name: str = "main"
    explainer: str = "contrast"
    features: tuple[int, ...] = ()

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}" + ("" if self.explainer == "contrast" else f":{self.explainer}")


def score(run: Run, config: ScoreConfig, work: Work) -> StageResult:
    """Put detection scores into ``RUN/sae/NAME/labels/scores.parquet``."""
    explained = stage_of(config.name, config.explainer)
    evaluated = f"eval-sae:{config.name}"
    return work.do(
        run,
        config.stage,
        "Scoring labels",
        config,
        [run.labels_dir(config.name) / "scores.parquet"],
        lambda progress: _score(run, config, progress),
        after=[explained, *([evaluated] if run.is_done(evaluated) else [])],
        shared=True,
    )


def _score(run: Run, config: ScoreConfig, progress: Progress) -> Mapping[str, Any]:
    from autointerp.score import score_features

    frame = score_features(
        run.path,
        config.name,
        explainer=config.explainer,
        features=config.features or None,
        progress=progress,
    )
    scored = frame[frame["n"] > 0]
    means = scored.groupby("negative_kind")[["balanced_accuracy", "auc", "baseline_balanced_accuracy"]].mean()
    return {
        "labels_scored": int(scored["feature"].nunique()),
        "labels_not_scored": int(frame["feature"].nunique() - scored["feature"].nunique()),
        "means": means.to_dict("index"),
        "agreement": _agreement(run, config),
    }


def _agreement(run: Run, config: ScoreConfig) -> dict[str, Any] | None:
    """Whether the labels of features with a known meaning are right; None without an evaluation against truth."""
    import pandas as pd

    from autointerp.truth import agreement

    path = run.sae_dir(config.name) / "evaluation.json"
    if not path.is_file():
        return None
    detectors = pd.DataFrame(json.loads(path.read_text())["detectors"], columns=["feature", "key", "auroc"])
    if detectors.empty:
        return None
    found = agreement(_explanations(run, config), detectors, config.explainer)
    return {
        "n_features": found.n_features,
        "n_labelled": found.n_labelled,
        "right_concept": found.right_concept,
        "right_polarity": found.right_polarity,
        "right_side": found.right_side,
        "features": found.table.to_dict("records"),
    }


def _explanations(run: Run, config: ScoreConfig) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(run.labels_dir(config.name) / "explanations.parquet")
