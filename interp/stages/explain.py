"""Stage ``explain``: labels with polarity for the features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    from autointerp.explainers.base import Explainer

STAGE = "explain"
EXPLAINERS = ("contrast", "llm")


@dataclass(frozen=True)
class ExplainConfig:
    """Who explains which features.

    Attributes:
        name: SAE of the run.
        explainer: ``contrast`` (offline) or ``llm``.
        features: feature numbers; empty is all.
        base_url, llm: address of an OpenAI-compatible server and its name for the model; from the environment if None.
        allow_remote: let text of credentialed studies go to a server on another machine.
    """

    name: str = "main"
    explainer: str = "contrast"
    features: tuple[int, ...] = ()
    base_url: str | None = None
    llm: str | None = None
    allow_remote: bool = False

    def __post_init__(self) -> None:
        if self.explainer not in EXPLAINERS:
            raise InputError(f"explainer: {self.explainer!r} is not one of {list(EXPLAINERS)}")


def stage_of(sae: str, explainer: str) -> str:
    """Labels of several explainers stand side by side, so each explainer is a stage of its own."""
    return f"{STAGE}:{sae}" + ("" if explainer == "contrast" else f":{explainer}")


def explain(run: Run, config: ExplainConfig, work: Work) -> StageResult:
    """Put labels into ``RUN/sae/NAME/labels/explanations.parquet``."""
    return work.do(
        run,
        stage_of(config.name, config.explainer),
        f"Explaining features ({config.explainer})",
        config,
        [run.labels_dir(config.name) / "explanations.parquet"],
        lambda progress: _explain(run, config, progress),
        after=[f"index:{config.name}"],
        shared=True,
    )


def _explain(run: Run, config: ExplainConfig, progress: Progress) -> Mapping[str, Any]:
    from autointerp.explain import explain_features

    explainer = _explainer(run, config)
    frame = explain_features(run.path, config.name, explainer, config.features or None, progress)
    polarity = frame["polarity"].value_counts().to_dict()
    return {
        "features": len(frame),
        "with_concept": int(frame["concept"].notna().sum()),
        "polarity": polarity,
        "failures": int(getattr(explainer, "failures", 0)),
        "cost": float(frame["cost"].fillna(0).sum()),
    }


def _explainer(run: Run, config: ExplainConfig) -> Explainer:
    if config.explainer == "contrast":
        from autointerp.explainers.contrast import ContrastExplainer

        return ContrastExplainer()
    from autointerp.explainers.llm import LLMExplainer
    from autointerp.explainers.llm_client import BASE_URL_VARIABLE, MODEL_VARIABLE, Endpoint

    base_url = config.base_url or os.environ.get(BASE_URL_VARIABLE)
    model = config.llm or os.environ.get(MODEL_VARIABLE)
    if not base_url or not model:
        raise InputError(
            f"explainer llm: give --base-url and --llm (or set {BASE_URL_VARIABLE} and {MODEL_VARIABLE}), "
            "e.g. --base-url http://127.0.0.1:8080/v1 --llm my-model"
        )
    return LLMExplainer.for_run(run.path, config.name, Endpoint(base_url, model), allow_remote=config.allow_remote)
