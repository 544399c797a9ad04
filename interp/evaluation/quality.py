"""Reconstruction figures of an SAE on the stored tokens of whole studies, by role, with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interp.run import Run

if TYPE_CHECKING:
    from activations import ActivationStore
    from sae.model import MatryoshkaSAE
    from sae.reconstruction import ReconstructionMeter

_READ_ROWS = 4096


@dataclass(frozen=True)
class Sample:
    """Rows of a store on which SAEs of one site are measured.

    Attributes:
        rows: numbers of the rows, rising.
        units: patient of each row, numbered from 0.
        roles: role of each row, an index into `names`.
        names: roles that occur.
        studies: studies that the rows come from.
    """

    rows: np.ndarray
    units: np.ndarray
    roles: np.ndarray
    names: tuple[str, ...]
    studies: int


def sample_rows(run: Run, store: ActivationStore, sae: str, *, tokens: int, seed: int) -> Sample:
    """Rows of the roles and norms that an SAE was trained on, of whole studies drawn at random.

    Studies are drawn until they hold ``tokens`` rows; the last one may go over.
    """
    from activations.roles import Role

    train = run.config_of(f"train-sae:{sae}")
    limit = run.require(f"train-sae:{sae}").summary["max_norm"]
    keep = store.select(roles=train["roles"].split(","), max_norm=limit, site=train["site"])
    study_n = store.column("study")[keep].astype(np.int64)
    chosen = _drawn(study_n, tokens, seed)
    rows = np.flatnonzero(keep)[chosen[study_n]]
    patients = run.study_index.frame["patient_id"].astype(str).to_numpy()[store.column("study")[rows]]
    roles, role_n = np.unique(store.column("role")[rows], return_inverse=True)
    names = tuple(Role(role).name.lower() for role in roles)
    return Sample(rows, np.unique(patients, return_inverse=True)[1], role_n, names, int(chosen.sum()))


def _drawn(study_n: np.ndarray, tokens: int, seed: int) -> np.ndarray:
    """(studies,) whether a study was drawn."""
    count_s = np.bincount(study_n)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(count_s))
    before = np.cumsum(count_s[order]) - count_s[order]
    chosen = np.zeros(len(count_s), dtype=bool)
    chosen[order[before < tokens]] = True
    return chosen


def measured(store: ActivationStore, site: str, sae: MatryoshkaSAE, sample: Sample) -> ReconstructionMeter:
    """The rows of a sample, taken by a meter."""
    from sae.reconstruction import ReconstructionMeter

    meter = ReconstructionMeter(sae, int(sample.units.max()) + 1, sample.names)
    for part, acts_nd in _read(store, site, sample.rows):
        meter.add(torch.from_numpy(acts_nd), sample.units[part], sample.roles[part])
    return meter


def live_features(store: ActivationStore, site: str, sae: MatryoshkaSAE, sample: Sample) -> np.ndarray:
    """(F,) whether a feature fires on a row of the sample."""
    fired_f = torch.zeros(sae.n_features, dtype=torch.int64)
    for _, acts_nd in _read(store, site, sample.rows):
        fired_f += sae.encode(torch.from_numpy(acts_nd)).counts().cpu()
    return (fired_f > 0).numpy()


def _read(store: ActivationStore, site: str, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(rows), _READ_ROWS):
        part = slice(start, start + _READ_ROWS)
        yield part, store.read(site, rows[part])


def figures(meter: ReconstructionMeter, sample: Sample, seed: int) -> dict[str, Any]:
    """The fields of ``reconstruction`` in ``evaluation.json``."""
    found = meter.figures(seed=seed)
    found["patients"], found["studies"] = found.pop("units"), sample.studies
    found["by_role"] = {role: _of_role(one) for role, one in found.pop("by_kind").items()}
    return found


def _of_role(one: Mapping[str, Any]) -> dict[str, Any]:
    """Short form: the figures of all groups, and of each prefix what differs."""
    names: Sequence[str] = [name for name in one if name not in ("prefixes", "variance_explained_by_group")]
    return {name: one[name] for name in names} | {"by_prefix": one["prefixes"]}
