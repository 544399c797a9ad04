"""Stage ``explain``: labels with polarity for the features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.plain import later
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.language_model import Asking
from radiology.errors import InputError

if TYPE_CHECKING:
    from autointerp.explainers.base import Explainer

STAGE = "explain"
EXPLAINERS = ("contrast", "llm", "vision", "steer")
#: Explainers that ask a language model.
ASKING = ("llm", "vision")


@dataclass(frozen=True)
class Pushing:
    """How ``steer`` pushes features.

    Attributes:
        studies: reports that are written with and without the push.
        strength: in units of the feature's mean map on the frontal image; of its largest activation without one.
    """

    studies: int = 16
    strength: float = 4.0

    def __post_init__(self) -> None:
        if self.studies < 1:
            raise InputError(f"--push-studies {self.studies}: push at least one")


@dataclass(frozen=True)
class ExplainConfig:
    """Who explains which features.

    Attributes:
        name: SAE of the run.
        explainer: ``contrast`` (offline), ``llm``, ``vision`` or ``steer``.
        features: feature numbers; empty is all.
        base_url, llm: address of an OpenAI-compatible server and its name for the model; from the environment if None.
        allow_remote: let texts and images of bound studies go to a server on another machine.
        asking: how the model is asked.
        pushing: how ``steer`` pushes.
    """

    name: str = "main"
    explainer: str = "contrast"
    features: tuple[int, ...] = ()
    base_url: str | None = None
    llm: str | None = None
    allow_remote: bool = False
    asking: Asking = later(Asking())
    pushing: Pushing = later(Pushing())

    def __post_init__(self) -> None:
        if self.explainer not in EXPLAINERS:
            raise InputError(f"explainer: {self.explainer!r} is not one of {list(EXPLAINERS)}")
        if self.explainer == "vision" and (self.asking.local or self.asking.completion):
            raise InputError("explainer: vision needs a chat model that sees; leave --local and --completion out")


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

    with _explainer(run, config) as (explainer, told):
        frame = explain_features(run.path, config.name, explainer, config.features or None, progress)
        polarity = frame["polarity"].value_counts().to_dict()
        return {
            "features": len(frame),
            "with_concept": int(frame["concept"].notna().sum()),
            "polarity": polarity,
            "failures": int(getattr(explainer, "failures", 0)),
            "cost": float(frame["cost"].fillna(0).sum()),
        } | told


@contextmanager
def _explainer(run: Run, config: ExplainConfig) -> Iterator[tuple[Explainer, dict[str, Any]]]:
    """The explainer, and what the record of the run should say about it besides the settings."""
    if config.explainer == "contrast":
        from autointerp.explainers.contrast import ContrastExplainer

        yield ContrastExplainer(), {}
    elif config.explainer == "steer":
        from autointerp.explainers.steer import SteerExplainer
        from interp.pushing import FeaturePusher

        pushing = config.pushing
        yield SteerExplainer(FeaturePusher(run, config.name, pushing.studies, pushing.strength)), {}
    else:
        from autointerp.explainers.llm import LLMExplainer, terms_of_run

        calls = run.labels_dir(config.name) / "llm-calls.jsonl"
        with config.asking.asker(config.base_url, config.llm, config.allow_remote, calls) as asker:
            endpoint = asker.endpoint
            told = {"sent_to": endpoint.address, "model": endpoint.model, "left_this_machine": not endpoint.is_local}
            messages = _messages(run, config, endpoint)
            sees = config.explainer == "vision"
            yield LLMExplainer(asker, terms_of_run(run.path), messages, config.explainer, needs_maps=sees), told


def _messages(run: Run, config: ExplainConfig, endpoint: Any) -> Any:
    """What is shown of a feature."""
    shown = config.asking.shown
    if config.explainer == "llm":
        from autointerp.explainers.llm_prompt import MAX_CONTEXTS, PromptForm

        return PromptForm(endpoint.api, shown or MAX_CONTEXTS).messages
    from autointerp.explainers.pictures import StudyPictures
    from autointerp.explainers.vision import MAX_PICTURES, VisionPrompt

    return VisionPrompt(StudyPictures(run.path), shown or MAX_PICTURES).messages
