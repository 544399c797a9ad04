"""From an activation store and an SAE to the feature table and its contexts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from activations.filters import RoleSpec
from activations.hooks import canonical_site
from autointerp.catalogue import Catalogue
from autointerp.cofiring import CoFiringSample
from autointerp.contexts import ContextSelector, choose_blocks
from autointerp.extract import ContextSource, write_contexts
from autointerp.files import write_frame
from autointerp.firing import Firing
from autointerp.ground import Ground
from autointerp.lens import Lens, neighbours, no_lens
from autointerp.peaks import Peaks, segments_per_unit
from autointerp.schema import CONTEXTS_FILE, FEATURES_FILE, STUDY_ACTIVATIONS_FILE, TABLES
from autointerp.segments import Entries, cut_segments, write_part
from autointerp.stats import FeatureStats
from autointerp.streaming import CHUNKS_PER_PART, Alone, Countable, Folder, Peers, stream
from autointerp.study_activations import write_study_activations
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.base import ReportModel
    from activations.store import ActivationStore
    from sae.model import MatryoshkaSAE

#: Rows of the store that are encoded at once.
CHUNK_ROWS = 8192
#: (unit, feature) pairs that contexts are chosen from, 28 bytes each; studies are left out until they fit.
MAX_SEGMENTS = 1 << 24
#: Where the pass keeps what it has done until the tables are written, beside them.
UNFINISHED = "unfinished"
#: Changes whenever files of an unfinished pass would be misread.
_WORK_VERSION = 1

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IndexSummary:
    """What :func:`index_features` wrote.

    ``no_contexts`` are features that fire, but never in an image or a sentence of the studies that contexts are taken
    from; ``context_studies`` is the number of those studies, ``co_firing_tokens`` that of the tokens on which co-firing
    was counted. ``findings_told`` is false if no report and no label tells findings, so that only words and co-firing
    can make a negative hard.
    """

    n_features: int
    n_dead: int
    n_tokens: int
    n_contexts: int
    no_contexts: int
    context_studies: int
    co_firing_tokens: int
    findings_told: bool


def index_features(
    run_dir: str | Path,
    sae: MatryoshkaSAE,
    site: str,
    *,
    model: ReportModel,
    store: ActivationStore,
    out_dir: str | Path,
    contexts_per_kind: int = 12,
    seed: int = 0,
    roles: RoleSpec | None = None,
    max_context_studies: int = 2000,
    progress: Progress | None = None,
    peers: Peers | None = None,
) -> IndexSummary | None:
    """Write ``features.parquet``, ``contexts.parquet`` and ``study_activations.parquet`` of an SAE.

    One pass over the store, in parts: residuals are encoded once, counted, and what fires inside images and sentences
    is put aside in ``out_dir/unfinished``, from which contexts are chosen and written. Called again after it was
    stopped it goes on, with any number of processes, and comes to the same tables.

    Memory, beside the SAE and the model: ``8·F·(patches + 110)`` bytes of counts, 2 bits for each feature and study, 28
    bytes for each of at most :data:`MAX_SEGMENTS` (unit, feature) pairs, about 60 bytes a row of the store for its
    token columns, and 5 chunks of :data:`CHUNK_ROWS` rows. With 32,768 features, 10 million tokens of 3,300 studies,
    37 × 37 patches and d = 4096 that is .39 + .03 + .47 + .6 + .67 = 2.2 GB, and 1.1 GB for the weights of the SAE.
    Disk: 8 bytes for each activation in the drawn studies, until the end.

    Args:
        run_dir: for the study index.
        site: where the SAE reads, e.g. ``language.2``.
        model: for its tokenizer, patch grid and unembedding; no forward pass is made.
        out_dir: usually ``RUN/sae/NAME/features``.
        contexts_per_kind: at most so many contexts of each kind, in each split, for each modality.
        seed: decides which patients explain and which score, and which negatives are drawn.
        roles: token roles to index; all that are stored unless given. Give those that the SAE was trained on.
        max_context_studies: contexts come from at most so many studies, drawn with ``seed``; counts are of all.
        peers: processes that share the pass; each calls this with the same arguments.

    Returns:
        What was written; None in every process but the first.

    Raises:
        InputError: the SAE does not fit the site, the store is empty or has no row of the roles, a study of it is not
            in the study index, or no feature fires at all.
    """
    if contexts_per_kind < 1 or max_context_studies < 1:
        raise InputError("contexts_per_kind and max_context_studies must be at least 1")
    site = canonical_site(site)
    if store.width(site) != sae.d:
        raise InputError(
            f"{site}: width {store.width(site)}, the SAE has {sae.d}; name the site that it was trained at"
        )
    peers = peers or Alone()
    ground = Ground(run_dir, store, model, roles, seed, max_context_studies)
    steps = _Steps(progress, store.rows)
    the_pass = _Pass(ground, sae, site, seed, Folder(Path(out_dir) / UNFINISHED), steps)
    the_pass.go(peers)
    if peers.rank:
        return None
    stats, sample = the_pass.stats, the_pass.sample
    if not stats.max_activation.any():
        raise InputError(
            f"{site}: none of the {sae.n_features} features fires on any of the {stats.n_tokens} tokens. "
            "The SAE is not one of this site, or its threshold is too high."
        )
    co_firing = sample.neighbours()
    written = the_pass.choose_and_write(Path(out_dir) / CONTEXTS_FILE, co_firing, contexts_per_kind)
    columns = stats.columns() | {"co_firing": co_firing} | _of_weights(sae, model, site, stats)
    frame = pd.DataFrame({name: columns[name] for name in TABLES[FEATURES_FILE].names})
    write_frame(Path(out_dir) / FEATURES_FILE, frame)
    the_pass.folder.remove()
    n_dead = int(frame["dead"].sum())
    return IndexSummary(
        n_features=sae.n_features,
        n_dead=n_dead,
        n_tokens=stats.n_tokens,
        n_contexts=written.contexts,
        no_contexts=sae.n_features - n_dead - written.features,
        context_studies=written.studies,
        co_firing_tokens=len(sample),
        findings_told=not ground.nothing_told,
    )


@dataclass(frozen=True)
class _Written:
    """How many contexts, of how many features, from how many studies they could come."""

    contexts: int
    features: int
    studies: int


class _Steps:
    """One count over both steps, in rows: the pass, and choosing contexts (a fifth of a pass)."""

    def __init__(self, progress: Progress | None, rows: int) -> None:
        self._progress, self._rows, self._part = progress, rows, max(rows // 5, 1)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._rows + self._part)

    def streaming(self, rows: int) -> None:
        self._tell(rows)

    def choosing(self, done: int, features: int) -> None:
        self._tell(self._rows + self._part * done // max(features, 1))


class _Pass:
    """The pass over the store, and what is made of it."""

    def __init__(self, ground: Ground, sae: MatryoshkaSAE, site: str, seed: int, folder: Folder, steps: _Steps) -> None:
        self._ground, self._sae, self._site, self._seed, self._steps = ground, sae, site, seed, steps
        self.folder = folder
        self.stats = FeatureStats(sae.n_features, sae.d, ground.patient_of_study, ground.grid)
        self.sample = CoFiringSample(sae.n_features, seed)
        spans = ground.store.chunk_spans(CHUNK_ROWS)
        self._parts = [spans[i : i + CHUNKS_PER_PART] for i in range(0, len(spans), CHUNKS_PER_PART)]

    def go(self, peers: Peers) -> None:
        """Count everything, together with the peers."""
        plan = {
            "version": _WORK_VERSION,
            "ground": self._ground.digest(),
            "sae": _digest(self._sae),
            "site": self._site,
            "seed": self._seed,
            "cut": [CHUNK_ROWS, CHUNKS_PER_PART],
        }
        counted: dict[str, Countable] = {"stats": self.stats, "sample": self.sample}
        stream(self.folder, plan, len(self._parts), counted, self._do, peers)

    def _do(self, parts: Sequence[int]) -> Iterator[int]:
        ground = self._ground
        spans = [span for part in parts for span in self._parts[part]]
        chunks = ground.store.iter_chunks(self._site, columns=(), spans=spans)
        for part in parts:
            segments = []
            for _, chunk in zip(self._parts[part], chunks, strict=False):
                keep = np.flatnonzero(ground.kept[chunk.rows])
                acts_nd, row_n = chunk.acts_nd, keep + chunk.rows.start
                if len(keep) < len(acts_nd):
                    acts_nd = acts_nd[keep]
                codes = self._sae.encode(torch.from_numpy(acts_nd).to(self._sae.W_dec.device)).to("cpu")
                firing = Firing.of(codes)
                self.stats.add({name: column[row_n] for name, column in ground.tokens.items()}, acts_nd, firing)
                self.sample.add(row_n, firing)
                segments.append(cut_segments(firing, *ground.units_of(row_n)))
                self._steps.streaming(chunk.rows.stop)
            write_part(self.folder.path, part, segments)
            yield part

    def choose_and_write(self, path: Path, co_firing: list[list[dict[str, Any]]], per_kind: int) -> _Written:
        """Choose and write the contexts of all features."""
        ground, units, n_features = self._ground, self._ground.units, self._sae.n_features
        parts = range(len(self._parts))
        n_segments = segments_per_unit(self.folder.path, parts, len(units))
        taken = _that_fit(ground.drawn, np.bincount(units.study, n_segments, minlength=len(ground.split)))
        allowed = np.isin(np.arange(len(ground.split)), taken)
        peaks = Peaks.read(self.folder.path, parts, n_features, allowed[units.study])
        split = np.where(allowed, ground.split, "")
        selector = ContextSelector(units, peaks, Catalogue.of(units.documents), co_firing, split, per_kind, self._seed)
        blocks = choose_blocks(selector, n_features, lambda done: self._steps.choosing(done, n_features))
        source = ContextSource(
            ground.store,
            units,
            ground.pieces,
            peaks,
            Entries(self.folder.path, parts),
            ground.study_ids,
            ground.patient_ids,
            ground.grid or (0, 0),
        )
        written = _Written(*write_contexts(path, source, blocks), len(taken))
        write_study_activations(path.with_name(STUDY_ACTIVATIONS_FILE), source, n_features)
        return written


def _that_fit(drawn: np.ndarray, n_segments_of_study: np.ndarray) -> np.ndarray:
    """The first of the drawn studies, all or the half of them or a quarter …, whose segments fit in memory."""
    n = len(drawn)
    while n > 1 and n_segments_of_study[drawn[:n]].sum() > MAX_SEGMENTS:
        n = (n + 1) // 2
    return drawn[:n]


def _of_weights(sae: MatryoshkaSAE, model: ReportModel, site: str, stats: FeatureStats) -> dict[str, Any]:
    """The columns of the feature table that come from weights."""
    lens = Lens.of(model, site, sae.d)
    words = no_lens(sae.n_features)
    if lens is not None:
        words = lens.columns(sae.W_dec, stats.max_activation, stats.mean_text_d)
    groups = np.repeat(np.arange(len(sae.groups)), sae.groups)
    return {"group": groups, "neighbours": neighbours(sae.W_dec)} | words


def _digest(sae: MatryoshkaSAE) -> str:
    """Changes with the weights of an SAE and with how it decides what fires."""
    digest = hashlib.blake2b(f"{sae.config.activation} {sae.k}".encode(), digest_size=16)
    for name, tensor in sorted(sae.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
