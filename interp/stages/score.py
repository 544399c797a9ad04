"""Stage ``score``: how well labels tell where features fire, and on phantoms whether they are true."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.plain import later
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.explain import stage_of
from interp.stages.language_model import Asking
from radiology.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from autointerp.scorers.base import Judge, Scorer

STAGE = "score"
SCORERS = ("detection", "fuzzing", "intruder", "embedding")
JUDGES = ("rules", "llm")


@dataclass(frozen=True)
class ScoreConfig:
    """Which labels to score, and how.

    Attributes:
        name: SAE of the run.
        explainer: whose labels.
        features: feature numbers; empty is all that have a label.
        scorer: ``detection``, ``fuzzing``, ``intruder`` or ``embedding``.
        judge: ``rules`` (offline) or ``llm``; embedding has a judge of its own.
        base_url, llm, allow_remote, asking: the language model that judges, as in :class:`ExplainConfig`.
    """

    name: str = "main"
    explainer: str = "contrast"
    features: tuple[int, ...] = ()
    scorer: str = later("detection")
    judge: str = later("rules")
    base_url: str | None = later(None)
    llm: str | None = later(None)
    allow_remote: bool = later(False)
    asking: Asking = later(Asking())

    def __post_init__(self) -> None:
        if self.scorer not in SCORERS:
            raise InputError(f"scorer: {self.scorer!r} is not one of {list(SCORERS)}")
        if self.judge not in JUDGES:
            raise InputError(f"judge: {self.judge!r} is not one of {list(JUDGES)}")
        if self.scorer == "embedding" and self.judge == "llm":
            raise InputError("judge: embedding compares words by itself; leave --judge out")

    @property
    def stage(self) -> str:
        names = [STAGE, self.name]
        names += [] if self.explainer == "contrast" else [self.explainer]
        if (self.scorer, self.judge) != ("detection", "rules"):
            names.append(self.scorer if self.judge == "rules" else f"{self.scorer}-{self.judge}")
        return ":".join(names)


def score(run: Run, config: ScoreConfig, work: Work) -> StageResult:
    """Put scores into ``RUN/sae/NAME/labels/scores.parquet``."""
    explained = stage_of(config.name, config.explainer)
    evaluated = f"eval-sae:{config.name}"
    labelled = run.is_done(explained) or not _imported(run, config)
    return work.do(
        run,
        config.stage,
        "Scoring labels",
        config,
        [run.labels_dir(config.name) / "scores.parquet"],
        lambda progress: _score(run, config, progress),
        after=[
            *([explained] if labelled else [f"index:{config.name}"]),
            *([evaluated] if run.is_done(evaluated) else []),
        ],
        shared=True,
    )


def _imported(run: Run, config: ScoreConfig) -> bool:
    """Whether there are labels of this name that no stage made."""
    path = run.labels_dir(config.name) / "explanations.parquet"
    return path.is_file() and (_explanations(run, config)["explainer"] == config.explainer).any()


def _score(run: Run, config: ScoreConfig, progress: Progress) -> Mapping[str, Any]:
    from autointerp.score import score_features

    with _scorer(run, config) as (scorer, told):
        frame = score_features(
            run.path,
            config.name,
            scorer,
            explainer=config.explainer,
            features=config.features or None,
            progress=progress,
        )
    scored = frame[frame["n"] > 0]
    columns = ["balanced_accuracy", "auc", "baseline_balanced_accuracy"]
    columns += ["flipped_balanced_accuracy", "baseline_auc", "purity"]
    means = scored.groupby("negative_kind")[columns].mean()
    hard = scored[scored["negative_kind"] == "hard_negative"]
    return {
        "scorer": scorer.name,
        "labels_scored": int(scored["feature"].nunique()),
        "labels_not_scored": int(frame["feature"].nunique() - scored["feature"].nunique()),
        "means": means.to_dict("index"),
        "beyond_chance": int((hard["q"] <= 0.05).sum()) if hard["q"].notna().any() else None,
        "agreement": _agreement(run, config),
    } | told


@contextmanager
def _scorer(run: Run, config: ScoreConfig) -> Iterator[tuple[Scorer, dict[str, Any]]]:
    """The scorer with its judge, and what the record of the run should say about it besides the settings."""
    if config.scorer == "embedding":
        from autointerp.scorers.embedding import EmbeddingJudge

        yield _of(config, EmbeddingJudge()), {}
    elif config.judge == "rules":
        from autointerp.scorers.rules import RuleJudge

        yield _of(config, RuleJudge()), {}
    else:
        from autointerp.explainers.llm import terms_of_run
        from autointerp.scorers.llm_judge import PER_QUESTION, LLMJudge

        calls = run.labels_dir(config.name) / "llm-calls.jsonl"
        with config.asking.asker(config.base_url, config.llm, config.allow_remote, calls) as asker:
            endpoint = asker.endpoint
            judge = LLMJudge(asker, terms_of_run(run.path), config.asking.shown or PER_QUESTION)
            told: dict[str, Any] = {"sent_to": endpoint.address, "model": endpoint.model}
            told |= {"left_this_machine": not endpoint.is_local}
            yield _of(config, judge), told
            told["failures"] = judge.failures


def _of(config: ScoreConfig, judge: Judge) -> Scorer:
    from autointerp.scorers.detection import DetectionScorer
    from autointerp.scorers.fuzzing import FuzzingScorer
    from autointerp.scorers.intruder import IntruderScorer

    if config.scorer == "fuzzing":
        return FuzzingScorer(judge)
    if config.scorer == "intruder":
        return IntruderScorer(judge)
    return DetectionScorer(judge, base=config.scorer)


def _agreement(run: Run, config: ScoreConfig) -> dict[str, Any] | None:
    """Whether the labels of features with a known meaning are right; None without an evaluation against truth."""
    import pandas as pd

    from autointerp.truth import agreement

    path = run.sae_dir(config.name) / "evaluation.json"
    if not path.is_file():
        return None
    detectors = pd.DataFrame(json.loads(path.read_text())["detectors"])
    if detectors.empty:
        return None
    found = agreement(_explanations(run, config), detectors, config.explainer)
    return {
        "n_features": found.n_features,
        "n_labelled": found.n_labelled,
        "right_concept": found.right_concept,
        "right_polarity": found.right_polarity,
        "right_side": found.right_side,
        "n_sided": found.n_sided,
        "n_several": found.n_several,
        "names_one": found.names_one,
        "features": found.table.to_dict("records"),
    }


def _explanations(run: Run, config: ScoreConfig) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(run.labels_dir(config.name) / "explanations.parquet")
