"""What fires where, in the cache files of delphi (EleutherAI): its explainers and scorers start from these.

``OUT/latents/HOOKPOINT/START_END.safetensors``, features START … END each, with

- ``locations`` (m, 3) uint16 or uint32: sequence, position, feature − START
- ``activations`` (m,) float16
- ``tokens`` (sequences, longest) int64: here one sequence a study, its indexed tokens in prompt order, then padding

and ``config.json``. The form is that of ``delphi/latents/cache.py`` (``save_splits``, ``save_config``). It has no place
for studies, roles, images and patches; ``sequences.csv`` beside the splits says which study a sequence is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from activations.files import publish, storage_errors, temporary_name, write_atomically
from activations.filters import RoleSpec
from activations.hooks import canonical_site
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.store import ActivationStore
    from sae.model import MatryoshkaSAE

#: delphi keeps nothing smaller.
LEAST = 1e-5
N_SPLITS = 5
LATENTS = "latents"
_SEQUENCES = "sequences.csv"


@dataclass(frozen=True)
class Latents:
    """A cache as read back: (m, 3) int64 sequence, position, feature; (m,) float16; (sequences, longest) int64."""

    locations: np.ndarray
    activations: np.ndarray
    tokens: np.ndarray
    config: dict[str, Any]


def export_latents(
    sae: MatryoshkaSAE,
    site: str,
    *,
    store: ActivationStore,
    studies: Sequence[int],
    study_ids: Sequence[str],
    roles: RoleSpec | None,
    pad_token: int,
    model_name: str,
    hookpoint: str,
    out_dir: str | Path,
    n_splits: int = N_SPLITS,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Encode some studies and write what fires in them; gives the number of activations.

    In memory are 14 bytes for each activation of the named studies.

    Args:
        studies: study numbers, one sequence each.
        study_ids: their identifiers, for ``sequences.csv``.
        roles: token roles that were indexed.
        pad_token: fills short sequences up.

    Raises:
        InputError: no study is named, or none of their tokens has the roles.
    """
    kept = store.select(roles=roles, studies=np.asarray(studies, dtype=np.int64))
    token_id = store.column("token_id")
    rows = [np.flatnonzero(kept[span]) + span.start for span in map(store.rows_of_study, studies)]
    tokens = np.full((len(rows), max(map(len, rows))), pad_token, dtype=np.int64)
    locations, activations = [], []
    for sequence, row_n in enumerate(rows):
        tokens[sequence, : len(row_n)] = token_id[row_n]
        acts_nd = torch.from_numpy(store.read(canonical_site(site), row_n)).to(sae.W_dec.device)
        codes = sae.encode(acts_nd).to("cpu")
        values = codes.values.detach().float().numpy()
        loud = values > LEAST
        found = np.empty((int(loud.sum()), 3), dtype=np.uint32)
        found[:, 0], found[:, 1] = sequence, codes.rows().numpy()[loud]
        found[:, 2] = codes.indices.numpy()[loud]
        locations.append(found)
        activations.append(values[loud].astype(np.float16))
        if progress is not None:
            progress(sequence + 1, len(rows))
    folder = Path(out_dir) / LATENTS / hookpoint
    folder.mkdir(parents=True, exist_ok=True)
    _write_splits(folder, np.concatenate(locations), np.concatenate(activations), tokens, sae.n_features, n_splits)
    config = {
        "model_name": model_name,
        "ctx_len": tokens.shape[1],
        "cache_ctx_len": tokens.shape[1],
        "n_tokens": int(sum(map(len, rows))),
        "n_splits": n_splits,
        "batch_size": 1,
        "dataset_repo": None,
        "dataset_split": None,
        "dataset_name": None,
        "dataset_column": None,
    }
    write_atomically(folder / "config.json", json.dumps(config, indent=1).encode())
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(
        [("sequence", "study_id", "tokens"), *zip(range(len(rows)), study_ids, map(len, rows), strict=True)]
    )
    write_atomically(folder / _SEQUENCES, lines.getvalue().encode())
    return sum(map(len, activations))


def _write_splits(
    folder: Path, locations: np.ndarray, activations: np.ndarray, tokens: np.ndarray, n_features: int, n_splits: int
) -> None:
    from safetensors.numpy import save_file

    edges = torch.linspace(0, n_features, steps=n_splits + 1).long().tolist()
    for start, end in pairwise(edges):
        mine = (locations[:, 2] >= start) & (locations[:, 2] < end)
        part = locations[mine]
        part[:, 2] -= start
        small = len(part) == 0 or int(part.max()) < 2**16
        path = folder / f"{start}_{end - 1}.safetensors"
        temporary = temporary_name(path)
        with storage_errors(path):
            save_file(
                {
                    "locations": part.astype(np.uint16 if small else np.uint32),
                    "activations": activations[mine],
                    "tokens": tokens,
                },
                temporary,
            )
            publish(temporary, path)


def read_latents(folder: str | Path) -> Latents:
    """Read the splits of one hookpoint, ours or delphi's own.

    Raises:
        InputError: there are none.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    paths = sorted(folder.glob("*_*.safetensors"), key=lambda path: int(path.stem.split("_")[0]))
    if not paths:
        raise InputError(f"{folder}: no START_END.safetensors in it; give the folder of one hookpoint")
    locations, activations = [], []
    for path in paths:
        split = load_file(path)
        part = split["locations"].astype(np.int64)
        part[:, 2] += int(path.stem.split("_")[0])
        locations.append(part)
        activations.append(split["activations"])
    config = folder / "config.json"
    return Latents(
        np.concatenate(locations),
        np.concatenate(activations),
        split.get("tokens", np.empty((0, 0), dtype=np.int64)),
        json.loads(config.read_text()) if config.is_file() else {},
    )
