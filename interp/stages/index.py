"""Stage ``index``: the feature table and its contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work

STAGE = "index"


@dataclass(frozen=True)
class IndexConfig:
    """What to index.

    Attributes:
        name: SAE of the run.
        contexts_per_kind: at most so many contexts of each kind, split and modality for each feature.
        max_context_studies: contexts come from at most so many studies; counts are of all.
        seed: which patients explain and which score, and which negatives are drawn.
    """

    name: str = "main"
    contexts_per_kind: int = 12
    max_context_studies: int = 2000
    seed: int = 0

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}"


def index(run: Run, config: IndexConfig, work: Work) -> StageResult:
    """Write ``features.parquet`` and ``contexts.parquet`` under ``RUN/sae/NAME/features``."""
    folder = run.features_dir(config.name)
    return work.do(
        run,
        config.stage,
        "Indexing features",
        config,
        [folder / "features.parquet", folder / "contexts.parquet"],
        lambda progress: _index(run, config, progress),
        after=["cache", f"train-sae:{config.name}"],
        also=[run.labels_dir(config.name), run.sae_dir(config.name) / "steering"],
    )


def _index(run: Run, config: IndexConfig, progress: Progress) -> Mapping[str, Any]:
    from autointerp.index import index_features

    train = run.config_of(f"train-sae:{config.name}")
    with run.store as store:
        summary = index_features(
            run.path,
            run.sae_named(config.name),
            train["site"],
            model=run.model,
            store=store,
            out_dir=run.features_dir(config.name),
            contexts_per_kind=config.contexts_per_kind,
            seed=config.seed,
            roles=train["roles"].split(","),
            max_context_studies=config.max_context_studies,
            progress=progress,
        )
    return asdict(summary)
