"""Stage ``trace``: where the report reads what, a causal map of site × token role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.causal_pairs import causal_pairs, pair_source
from interp.plain import later
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NAME = "trace"
DEFAULT_FINDINGS = ("pleural_effusion:left", "cardiomegaly", "pulmonary_edema", "pacemaker")


@dataclass(frozen=True)
class TraceConfig:
    """What to trace.

    Attributes:
        findings: label keys; each gets its own pairs.
        pairs: counterfactual pairs for each finding.
        sites: sites; empty is the projector and all blocks of the decoder.
        flips: also generate with swapped prompts and count reports that change sides (many times slower).
        seed: phantom series that the pairs come from; with donors, of their choice.
        source: ``phantom`` twins, or donors from the ``studies`` of the run; empty is the first for the phantom model,
            the second for any other.
    """

    findings: tuple[str, ...] = DEFAULT_FINDINGS
    pairs: int = 8
    sites: tuple[str, ...] = ()
    flips: bool = False
    seed: int = 101
    source: str = later("")

    def __post_init__(self) -> None:
        if not self.findings:
            raise InputError("findings: none given; name at least one, e.g. cardiomegaly")
        if self.pairs < 1:
            raise InputError(f"pairs: {self.pairs}; at least one is needed")


def trace(run: Run, config: TraceConfig, work: Work) -> StageResult:
    """Write ``RUN/trace/causal_map.parquet``."""
    return work.do(
        run,
        NAME,
        "Tracing where the report reads the image",
        config,
        [run.path / "trace" / "causal_map.parquet"],
        lambda progress: _trace(run, config, progress),
        after=["cache"],
    )


def _trace(run: Run, config: TraceConfig, progress: Progress) -> Mapping[str, Any]:
    from steering.tracing.place import best_site, read_blocks
    from steering.tracing.trace import trace as causal_map
    from steering.tracing.trace import trace_to_parquet

    model = run.model
    if not model.writes or not model.image_size:
        raise InputError(
            f"model {model.name!r}: a causal map shows where a report reads the image, and this model "
            f"{'reads no images' if model.writes else 'writes no reports'}"
        )
    pairs = causal_pairs(run, config.findings, config.pairs, source=config.source, seed=config.seed)
    table = causal_map(model, pairs, sites=config.sites or None, flips=config.flips, progress=progress)
    trace_to_parquet(table, run.path)
    place = best_site(table)
    return {
        "pairs": config.pairs,
        "pairs_from": pair_source(run, config.source),
        "image_effect_by_site": image_effects(table),
        "first_read_at": read_blocks(table),
        "place": None if place is None else {"site": place.site, "tokens": place.scope, "effect": place.effect},
    }


def image_effects(table: pd.DataFrame) -> dict[str, float]:
    """Mean effect over findings of swapping the image tokens, site by site."""
    rows = table[table["scope"] == "prompt.image"]
    return {str(site): float(mean) for site, mean in rows.groupby("site", sort=False)["effect"].mean().items()}
