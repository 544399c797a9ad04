"""Stage ``index``: the feature table and its contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.progress import Progress, silent
from interp.ranks import Ranks
from interp.run import Run, StageResult
from interp.stages.base import Work

if TYPE_CHECKING:
    from interp.opening import Opening

STAGE = "index"
_UNFINISHED = "unfinished"


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


def index(run: Run, config: IndexConfig, work: Work, *, ranks: Ranks | None = None) -> StageResult:
    """Write ``features.parquet`` and ``contexts.parquet`` under ``RUN/sae/NAME/features``.

    Args:
        ranks: the processes that share the pass over the store, of which this is number 0; the others call
            :func:`follow`. A pass that some began may be ended by any number of them.
    """
    ranks = ranks or Ranks()
    folder = run.features_dir(config.name)
    shares = "" if ranks.alone else f" ({ranks.world} processes)"

    def lead(progress: Progress) -> Mapping[str, Any]:
        ranks.from_first(True)
        return _index(run, config, ranks.watched(progress), ranks)

    result = work.do(
        run,
        config.stage,
        f"Indexing features{shares}",
        config,
        [folder / "features.parquet", folder / "contexts.parquet"],
        lead,
        after=["cache", f"train-sae:{config.name}"],
        also=[
            folder / "study_activations.parquet",
            folder / _UNFINISHED,
            run.labels_dir(config.name),
            run.sae_dir(config.name) / "steering",
        ],
    )
    if result.skipped:
        ranks.from_first(False)
    return result


def follow(path: Path, opening: Opening, config: IndexConfig, ranks: Ranks) -> None:
    """What the processes beside the first do of :func:`index`: their share of the pass, once it has begun."""
    if not ranks.from_first():  # done before
        return
    run = Run.open(path)
    run.opening = opening
    _index(run, config, ranks.watched(silent), ranks)


def _index(run: Run, config: IndexConfig, progress: Progress, ranks: Ranks) -> Mapping[str, Any]:
    from autointerp.index import index_features

    train = run.config_of(f"train-sae:{config.name}")
    with run.store as store:
        summary = index_features(
            run.path,
            run.sae_named(config.name).to(run.opening.device),
            train["site"],
            model=run.model,
            store=store,
            out_dir=run.features_dir(config.name),
            contexts_per_kind=config.contexts_per_kind,
            seed=config.seed,
            roles=train["roles"].split(","),
            max_context_studies=config.max_context_studies,
            progress=progress,
            peers=ranks,
        )
    return {} if summary is None else asdict(summary)
