"""The random-weight control: the same architecture, untrained, treated the same way.

A model with random weights reconstructs as well and detects far worse; without it a reconstruction figure says nothing
about meaning. The control is a run directory of its own inside the run: ``RUN/control``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interp.plain import restored
from interp.run import Run
from interp.stages.base import Work
from interp.stages.cache import CacheConfig, cache
from interp.stages.train_sae import TrainSAEConfig, train_sae
from radiology.errors import InputError

FOLDER = "control"


def control_of(run: Run) -> Run | None:
    """The control of a run, if it has one."""
    path = run.path / FOLDER
    return Run.open(path) if (path / "run.json").is_file() else None


def control_cache_config(run: Run) -> CacheConfig:
    """What the control caches: the same studies as far as they have reports of their own."""
    config = restored(CacheConfig, run.config_of("cache"))
    own = tuple(spec for spec in config.studies if spec not in config.generated_sources)
    twin = "phantom:random" if config.model.startswith("phantom") else f"{config.model}:random"
    return replace(config, model=twin, studies=own, generated_sources=(), merged_from=())


def make_control(run: Run, names: Sequence[str], work: Work, *, batch_size: int = 16) -> Run:
    """Cache the random-weight model and train SAEs on it with the settings of the run's own; skips what is done.

    Raises:
        InputError: an SAE was imported, so that none can be trained the same way.
    """
    configs = [_train_config(run, name) for name in names]
    cache_config = control_cache_config(run)
    control = Run.create(run.path / FOLDER)
    control.opening = run.opening
    with control.writing("making the random-weight control"):
        marked = replace(work, prefix="Control: ")
        cache(control, cache_config, marked, batch_size=batch_size)
        for config in configs:
            train_sae(control, config, marked, device=run.opening.device)
    return control


def _train_config(run: Run, name: str) -> TrainSAEConfig:
    settings = run.config_of(f"train-sae:{name}")
    if "imported_from" in settings:
        raise InputError(f"control: SAE {name!r} was imported, so that none can be trained the same way")
    return restored(TrainSAEConfig, settings)
