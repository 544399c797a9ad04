"""What a store holds, in numbers: for ``interp store info`` and for machines that read its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from activations import shuffle
from activations.norms import limit_of, norm_table, outlier_places
from activations.store import ActivationStore
from activations.studies_files import all_records


def describe(directory: Path, batch_size: int = 2048, seed: int = 0) -> dict[str, Any]:
    """Contents, norms and shuffle quality of a store, complete or not, in JSON types.

    ``shuffle`` is the entropy of study numbers within a batch against a perfect shuffle of the same rows (1 is
    perfect), or None where the rows do not fill one batch. ``max_norm`` of a site is what leaves its outliers out;
    ``norms`` and ``outliers`` are those of :func:`activations.norms.norm_table` and
    :func:`activations.norms.outlier_places`.

    Raises:
        InputError: no store that can be read.
    """
    with ActivationStore(directory, allow_incomplete=True) as store:
        manifest, config = store.manifest, store.manifest.config
        roles = store.column("role")
        patients = {record["patient_id"] for record in all_records(directory, manifest, ["study", "patient_id"])}
        return {
            "directory": str(directory),
            "model": config.model_name,
            "fingerprint": config.fingerprint,
            "mode": config.mode,
            "dtype": config.dtype,
            "compression": config.compression,
            "complete": manifest.complete,
            "writers": config.writers,
            "finished_writers": len(manifest.finished),
            "shards": len(manifest.shards),
            "bytes": sum(shard.bytes for shard in manifest.shards),
            "rows": store.rows,
            "studies": store.n_studies,
            "patients": len(patients),
            "roles": {role.name.lower(): int(np.sum(roles == int(role))) for role in config.roles},
            "sites": [_site(store, site, batch_size, seed) for site in store.sites],
            "batch_size": batch_size,
        }


def _site(store: ActivationStore, site: str, batch_size: int, seed: int) -> dict[str, Any]:
    quality = None
    if store.rows >= batch_size:
        plan = store.plan(site, np.ones(store.rows, dtype=bool), seed)
        quality = shuffle.mixing(plan, store.column("study"), batch_size)
    told: dict[str, Any] = {"max_norm": None, "norms": {}, "outliers": {}}
    if store.rows:
        table = norm_table(store, site)
        told = {
            "max_norm": limit_of(table),
            "norms": table.to_dict(orient="index"),
            "outliers": outlier_places(store, site, table),
        }
    return {"name": site, "width": store.width(site), **told, "shuffle": quality}
