"""The demo's settings: the whole way on the embedded model, sized for five minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from interp.stages.cache import CacheConfig
from interp.stages.eval_sae import EvalSAEConfig
from interp.stages.explain import ExplainConfig
from interp.stages.index import IndexConfig
from interp.stages.score import ScoreConfig
from interp.stages.trace import TraceConfig
from interp.stages.train_sae import TrainSAEConfig
from radiology.errors import InputError


@dataclass(frozen=True)
class DemoSteering:
    """What the demo steers.

    Attributes:
        findings: each is an experiment of its own: brought into reports that lack it.
        group: features that carry the finding most, steered together beside the single strongest one.
        strengths: in units of each feature's own mean map.
        studies: phantoms of the report half without the finding.
        random: random directions at each strength.
        image_studies: of the user's own images, steered with the first finding's group.
    """

    findings: tuple[str, ...] = ("cardiomegaly", "pulmonary_edema", "pacemaker")
    group: int = 10
    strengths: tuple[float, ...] = (2.0, 4.0)
    studies: int = 16
    random: int = 3
    image_studies: int = 6


@dataclass(frozen=True)
class DemoConfig:
    """All settings of ``interp demo``.

    The phantom model's text reads the image from block 3 on. The SAE ``main`` reads after block 2: everything that the
    report will say about the image still lies in the image tokens there, and text knows nothing of it. The SAE
    ``late`` reads text after block 4, where part of it has arrived.

    Attributes:
        images: a folder of the user's own radiographs, as further studies.
        studies: held-out phantoms (the model was trained on series 0).
        sites: cached sites; the SAEs are trained at them.
        late: the second SAE, for the truth table only; None leaves it out.
        max_new_tokens: limit of written reports; None is the model's own.
    """

    images: Path | None = None
    model: str = "phantom"
    studies: str = "phantom:n=640,seed=1"
    sites: tuple[str, ...] = ("language.2", "language.4")
    trace: TraceConfig = TraceConfig(pairs=4)
    sae: TrainSAEConfig = TrainSAEConfig(site="language.2", expansion=8, k=16, tokens=1_000_000)
    late: TrainSAEConfig | None = TrainSAEConfig(
        name="late", site="language.4", roles="text,template", expansion=4, k=16, tokens=400_000
    )
    evaluation: EvalSAEConfig = EvalSAEConfig(loss_studies=24)
    late_evaluation: EvalSAEConfig = EvalSAEConfig(
        name="late", token_sets=("last prompt token", "report before mention"), loss_studies=24
    )
    index: IndexConfig = IndexConfig(contexts_per_kind=16)
    steering: DemoSteering = field(default_factory=DemoSteering)
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        for sae in (self.sae, self.late):
            if sae is not None and sae.site not in self.sites:
                raise InputError(f"demo: the site {sae.site!r} of SAE {sae.name!r} is not one of {list(self.sites)}")
        if self.images is not None and not self.images.is_dir():
            what = "is a file" if self.images.exists() else "does not exist"
            raise InputError(f"--images {self.images}: {what}; give a folder with PNG, JPG or DICOM files")

    @property
    def image_source(self) -> str | None:
        return None if self.images is None else f"folder:{self.images}"

    @property
    def cache(self) -> CacheConfig:
        """Own images come without the words of their reports: the phantom model has no vocabulary for them."""
        own = () if self.image_source is None else (self.image_source,)
        return CacheConfig(
            self.model,
            (self.studies, *own),
            self.sites,
            max_new_tokens=self.max_new_tokens,
            generated_sources=own,
        )

    @property
    def explain(self) -> ExplainConfig:
        return ExplainConfig(self.sae.name)

    @property
    def score(self) -> ScoreConfig:
        return ScoreConfig(self.sae.name)
