"""From an activation store and an SAE to the feature table and its contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from activations.filters import RoleSpec
from activations.hooks import canonical_site
from activations.studies_table import StudyIndex
from autointerp.catalogue import Catalogue
from autointerp.contexts import Chosen, ContextSelector, choose_all
from autointerp.extract import ContextSource, write_contexts
from autointerp.files import write_frame
from autointerp.lens import Lens, neighbours, no_lens
from autointerp.peaks import PeakCollector
from autointerp.pieces import Pieces
from autointerp.reading import read_findings
from autointerp.reports import findings_of_image
from autointerp.schema import CONTEXTS_FILE, FEATURES_FILE, TABLES
from autointerp.splits import split_of
from autointerp.stats import FeatureStats
from autointerp.units import TEXT_ROLES, Units, cut_units
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.base import ReportModel
    from activations.store import ActivationStore
    from sae.model import MatryoshkaSAE


@dataclass(frozen=True)
class IndexSummary:
    """What :func:`index_features` wrote.

    ``no_contexts`` are features that fire, but never in an image or a sentence of the studies that contexts are taken
    from; ``context_studies`` is the number of those studies.
    """

    n_features: int
    n_dead: int
    n_tokens: int
    n_contexts: int
    no_contexts: int
    context_studies: int


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
    progress: Callable[[int, int], None] | None = None,
) -> IndexSummary:
    """Write ``features.parquet`` and ``contexts.parquet`` for every feature of an SAE.

    Two passes over the store: one counts and finds where each feature peaks, one reads the chosen contexts. Memory
    grows with features and with the studies that contexts are taken from, not with the rows of the store.

    Args:
        run_dir: for the study index.
        site: where the SAE reads, e.g. ``language.2``.
        model: for its tokenizer, patch grid and unembedding; no forward pass is made.
        out_dir: usually ``RUN/sae/NAME/features``.
        contexts_per_kind: at most so many contexts of each kind, in each split, for each modality.
        seed: decides which patients explain and which score, and which negatives are drawn.
        roles: token roles to index; all that are stored unless given. Give those that the SAE was trained on.
        max_context_studies: contexts come from at most so many studies, drawn with ``seed``; counts are of all.

    Raises:
        InputError: the SAE does not fit the site, or a study of the store is not in the study index.
    """
    if contexts_per_kind < 1 or max_context_studies < 1:
        raise InputError("contexts_per_kind and max_context_studies must be at least 1")
    site = canonical_site(site)
    if store.width(site) != sae.d:
        raise InputError(
            f"{site}: width {store.width(site)}, the SAE has {sae.d}; name the site that it was trained at"
        )
    index = _Indexer(StudyIndex.read(run_dir), sae, site, model, store, roles, seed, max_context_studies)
    report = _Steps(progress, store.rows, sae.n_features)
    stats, peaks, mean_text_d = index.first_pass(report)
    chosen = index.choose(peaks, contexts_per_kind, report)
    write_contexts(Path(out_dir) / CONTEXTS_FILE, index.source, chosen, report.second_pass)
    columns = stats.columns() | {"co_firing": [None] * sae.n_features} | index.model_columns(stats, mean_text_d)
    frame = pd.DataFrame({name: columns[name] for name in TABLES[FEATURES_FILE].names})
    write_frame(Path(out_dir) / FEATURES_FILE, frame)
    n_dead = int(frame["dead"].sum())
    return IndexSummary(
        n_features=sae.n_features,
        n_dead=n_dead,
        n_tokens=stats.n_tokens,
        n_contexts=len(chosen),
        no_contexts=sae.n_features - n_dead - len(np.unique(chosen.feature)),
        context_studies=index.n_context_studies,
    )


class _Steps:
    """One count over the three steps, in rows: first pass, choosing (a tenth of a pass), second pass."""

    def __init__(self, progress: Callable[[int, int], None] | None, rows: int, n_features: int) -> None:
        self._progress, self._rows, self._n_features = progress, rows, n_features
        self._choosing = max(rows // 10, 1)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, 2 * self._rows + self._choosing)

    def first_pass(self, rows: int) -> None:
        self._tell(rows)

    def choosing(self, features: int) -> None:
        self._tell(self._rows + self._choosing * features // max(self._n_features, 1))

    def second_pass(self, rows: int, total: int) -> None:
        self._tell(self._rows + self._choosing + rows)


class _Indexer:
    """What both passes share."""

    def __init__(
        self,
        studies: StudyIndex,
        sae: MatryoshkaSAE,
        site: str,
        model: ReportModel,
        store: ActivationStore,
        roles: RoleSpec | None,
        seed: int,
        max_context_studies: int,
    ) -> None:
        self._sae, self._site, self._model, self._store, self._seed = sae, site, model, store, seed
        self._tokens: dict[str, np.ndarray] = {name: store.column(name) for name in _COLUMNS}
        self._records = _records(studies, self._tokens["study"])
        self._kept = store.select(roles=roles)
        patients = sorted({str(record["patient_id"]) for record in self._records.values()})
        number = {patient: i for i, patient in enumerate(patients)}
        n_studies = max(self._records) + 1
        self._patient_of_study = np.zeros(n_studies, dtype=np.int32)
        study_ids, patient_ids, self._split = (np.full(n_studies, "", dtype=object) for _ in range(3))
        for study, record in self._records.items():
            study_ids[study], patient_ids[study] = record["study_id"], record["patient_id"]
            self._patient_of_study[study] = number[str(record["patient_id"])]
            self._split[study] = split_of(str(record["patient_id"]), seed).value
        self._n_patients = len(patients)
        self.units, pieces = self._cut(max_context_studies)
        device = sae.W_dec.device
        grid = self._grid or (0, 0)
        self.source = ContextSource(store, site, sae, self.units, pieces, study_ids, patient_ids, grid, device)

    @property
    def _grid(self) -> tuple[int, int] | None:
        return self._model.grid if bool((self._tokens["image"] >= 0).any()) else None

    def _cut(self, max_context_studies: int) -> tuple[Units, Pieces]:
        tokens = self._tokens
        stored = np.unique(tokens["study"][self._kept])
        if len(stored) > max_context_studies:
            stored = np.random.default_rng(self._seed).permutation(stored)[:max_context_studies]
        self.n_context_studies = len(stored)
        pieces = Pieces(self._model.tokenizer, tokens["token_id"])
        units = cut_units(
            tokens,
            pieces,
            self._kept & np.isin(tokens["study"], stored),
            tokenizer=self._model.tokenizer,
            read_sentence=read_findings,
            read_image=lambda study, image: findings_of_image(self._records[study], image),
        )
        return units, pieces

    def first_pass(self, report: _Steps) -> tuple[FeatureStats, PeakCollector, np.ndarray | None]:
        """Statistics of all features, peaks in all units, and the mean of the text tokens."""
        stats = FeatureStats(self._sae.n_features, len(self._split), self._n_patients, self._grid)
        peaks = PeakCollector(self.units.unit_of_row, self._sae.n_features)
        text_sum_d, n_text = np.zeros(self._sae.d), 0
        for rows, acts_nd in self._chunks():
            tokens = {name: column[rows] for name, column in self._tokens.items()}
            codes = self._sae.encode(torch.from_numpy(acts_nd).to(self.source.device)).to("cpu")
            row_m, feature_m = codes.rows().numpy(), codes.indices.numpy()
            value_m = codes.values.float().numpy()
            stats.add(tokens, self._patient_of_study[tokens["study"]], row_m, feature_m, value_m)
            peaks.add(rows[row_m], feature_m, value_m)
            is_text = np.isin(tokens["role"], [int(role) for role in TEXT_ROLES])
            text_sum_d += acts_nd[is_text].sum(axis=0, dtype=np.float64)
            n_text += int(is_text.sum())
            report.first_pass(int(rows[-1]) + 1)
        return stats, peaks, text_sum_d / n_text if n_text else None

    def choose(self, peaks: PeakCollector, per_kind: int, report: _Steps) -> Chosen:
        """The contexts of all features."""
        catalogue = Catalogue.of(self.units.documents)
        selector = ContextSelector(self.units, peaks.finish(), catalogue, self._split, per_kind, self._seed)
        return choose_all(selector, self._sae.n_features, report.choosing)

    def model_columns(self, stats: FeatureStats, mean_text_d: np.ndarray | None) -> dict[str, Any]:
        """The columns of the feature table that come from weights."""
        sae = self._sae
        lens = Lens.of(self._model, self._site, sae.d)
        words = no_lens(sae.n_features)
        if lens is not None:
            words = lens.columns(sae.W_dec, stats.max_activation, mean_text_d)
        groups = np.repeat(np.arange(len(sae.groups)), sae.groups)
        return {"group": groups, "neighbours": neighbours(sae.W_dec)} | words

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers (n,) and activations (n, d) of the kept rows."""
        for chunk in self._store.iter_chunks(self._site, columns=()):
            keep = np.flatnonzero(self._kept[chunk.rows])
            if len(keep):
                yield keep + chunk.rows.start, chunk.acts_nd[keep]


_COLUMNS = ("study", "position", "token_id", "role", "image", "row", "col")


def _records(studies: StudyIndex, study_column: np.ndarray) -> dict[int, Mapping[str, Any]]:
    """Rows of the study index by study number."""
    records = {int(record["study"]): record for record in studies.frame.to_dict("records")}
    unknown = set(np.unique(study_column).tolist()) - set(records)
    if unknown:
        raise InputError(f"studies.parquet lacks {len(unknown)} studies of the activation store; cache anew")
    return records
