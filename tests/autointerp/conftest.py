"""A run directory whose features are known because they were written by hand: real store, real SAE, chosen weights.

Phantom studies give the text and the truth; the activations are put down here by hand, one axis a meaning. The
SAE's weights are the identity, so feature f is axis f.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activations.manifest import StoreConfig
from activations.models.phantom_language import build_prompt, build_tokenizer, vocabulary
from activations.roles import IMAGE_NAMES, Role, TokenTable
from activations.store import ActivationStore
from activations.studies_table import StudyIndex, base_record
from activations.writer import StoreWriter, StudyRows
from autointerp.explain import explain_features
from autointerp.explainers.contrast import ContrastExplainer
from autointerp.files import features_folder
from autointerp.index import IndexSummary, index_features
from autointerp.score import score_features
from radiology.phantom.factors import Factors, sample_factors, sample_nuisance, sample_prior
from radiology.phantom.grammar import report_text, write_report, write_sections
from radiology.study import Study
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE

GRID = (4, 4)
SITE = "language.0"
WIDTH = 12
N_STUDIES = 300

NO_EFFUSION, EFFUSION, LEFT_EFFUSION_PATCH, NORMAL_HEART_PATCH, DEAD = range(5)
LEFT_WORD, HEDGE, LOUD_WITH_PACEMAKER, NOISE, CHANGE, EVERYWHERE, TUBE_AND_FULL_STOPS = range(5, 12)


@dataclass
class HandModel:
    """What the index asks of a report model: words, patch grid, unembedding."""

    grid: tuple[int, int]
    tokenizer: Any

    def unembedding(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Token v of the vocabulary is raised by axis v mod WIDTH, more so the higher v is."""
        weights_vd = torch.zeros(len(vocabulary()), WIDTH)
        ids = torch.arange(len(vocabulary()))
        weights_vd[ids, ids % WIDTH] = 1 + ids / len(vocabulary())
        return torch.ones(WIDTH), weights_vd


@dataclass
class HandRun:
    run_dir: Path
    model: HandModel
    store: ActivationStore
    sae: MatryoshkaSAE
    factors: list[Factors]
    summary: IndexSummary

    def report(self, study: int) -> str:
        """The report of a study as it stands in the study index."""
        return str(StudyIndex.read(self.run_dir).frame.loc[study, "report"])


def identity_sae() -> MatryoshkaSAE:
    sae = MatryoshkaSAE(SAEConfig(d=WIDTH, n_features=WIDTH, k=4, groups=(4, 8)))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(WIDTH))
        sae.W_dec.copy_(torch.eye(WIDTH))
        sae.threshold.fill_(0.5)
    return sae


@pytest.fixture(scope="session")
def hand_run(tmp_path_factory: pytest.TempPathFactory) -> HandRun:
    """300 phantom studies of 150 patients, indexed. Tests must not change it; copy ``run_dir`` to do so."""
    run_dir = tmp_path_factory.mktemp("hand") / "run"
    factors = write_store(run_dir)
    store, sae = ActivationStore(run_dir / "activations"), identity_sae()
    model = HandModel(GRID, build_tokenizer())
    sae.save(run_dir / "sae" / "main")
    summary = index_features(
        run_dir,
        sae,
        SITE,
        model=model,  # type: ignore[arg-type]
        store=store,
        out_dir=features_folder(run_dir, "main"),
    )
    return HandRun(run_dir, model, store, sae, factors, summary)


def write_store(run_dir: Path, n_studies: int = N_STUDIES, terms: str = "phantom") -> list[Factors]:
    """Write ``activations`` and ``studies.parquet``; gives what is true of each study."""
    rng = np.random.default_rng(7)
    roles = (Role.IMAGE, Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT, Role.REPORT)
    config = StoreConfig("hand", "hand", {SITE: WIDTH}, "float32", roles, grid=GRID)
    truth = []
    with StoreWriter(run_dir / "activations", config, shard_rows=4000) as writer:
        for number in range(n_studies):
            study, now = _study(rng, number, terms)
            table = build_prompt(study, GRID, study.report, False)
            kept = table.where(roles)
            part = TokenTable(*(getattr(table, name)[kept] for name in TokenTable.__dataclass_fields__))
            record = {**base_record(study, number, "hand"), "report": study.report, "report_source": "given"}
            acts_nd = torch.from_numpy(_activations(rng, part, kept, now))
            writer.add([StudyRows(record | {"rows": len(kept)}, part, kept, {SITE: acts_nd})])
            truth.append(now)
        writer.finish()
    return truth


def _study(rng: np.random.Generator, number: int, terms: str) -> tuple[Study, Factors]:
    now = sample_factors(rng)
    prior = sample_prior(rng, now) if number % 3 == 0 else None
    images = {"frontal": Path("frontal.png"), "lateral": Path("lateral.png")}
    if prior is not None:
        images["prior_frontal"] = Path("prior.png")
    sections = write_sections(rng, now, prior, sample_nuisance(rng, now))
    return (
        Study(
            study_id=f"study-{number}",
            patient_id=f"patient-{number // 2}",
            images=images,
            terms=terms,  # type: ignore[arg-type]
            prior_report=None if prior is None else report_text(write_report(rng, prior)),
            report=report_text(write_report(rng, now, prior)),
            labels=now.labels(),
            **sections,  # type: ignore[arg-type]
        ),
        now,
    )


def _activations(rng: np.random.Generator, table: TokenTable, position: np.ndarray, now: Factors) -> np.ndarray:
    acts_nd = np.zeros((len(table), WIDTH), dtype=np.float32)
    words = [vocabulary()[token] for token in table.token_id]
    frontal = table.image == IMAGE_NAMES.index("frontal")
    at = {(int(r), int(c)): i for i, (r, c) in enumerate(zip(table.row, table.col, strict=True)) if frontal[i]}
    if now.effusion_left:
        acts_nd[at[3, 3], LEFT_EFFUSION_PATCH] = 3 + rng.random()
        acts_nd[at[2, 3], LEFT_EFFUSION_PATCH] = 1
    if not now.cardiomegaly:
        acts_nd[at[2, 2], NORMAL_HEART_PATCH] = 2 + rng.random()
    acts_nd[frontal, LOUD_WITH_PACEMAKER] = 2.6
    if now.pacemaker:
        acts_nd[at[0, 3], LOUD_WITH_PACEMAKER] = 6 + rng.random()
    acts_nd[:, NOISE] = np.where(rng.random(len(table)) < 0.05, 1.0, 0.0)
    acts_nd[:, EVERYWHERE] = 1 + rng.random(len(table))
    if now.endotracheal_tube:
        acts_nd[at[1, 1], TUBE_AND_FULL_STOPS] = 4 + rng.random()
    stops = [i for i, word in enumerate(words) if word == "." and table.role[i] == Role.TECHNIQUE]
    acts_nd[stops, TUBE_AND_FULL_STOPS] = 1
    acts_nd[[i for i, word in enumerate(words) if word == "left"], LEFT_WORD] = 2
    for sentence in _report_sentences(table, words):
        _speak(acts_nd, sentence, [words[i].lower() for i in sentence])
    return acts_nd


def _report_sentences(table: TokenTable, words: list[str]) -> list[list[int]]:
    sentences: list[list[int]] = [[]]
    for i in np.flatnonzero(table.role == Role.REPORT):
        sentences[-1].append(int(i))
        if words[i] == ".":
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _speak(acts_nd: np.ndarray, sentence: list[int], words: list[str]) -> None:
    """Fire at the word "effusion", apart for affirmed and negated ones, and at hedges and changes of any finding."""
    negated = bool({"no", "not"} & set(words)) or "resolved" in words
    hedged = bool({"possible", "subtle", "may"} & set(words))
    for i, word in zip(sentence, words, strict=True):
        if word == "effusion" and not hedged:
            acts_nd[i, NO_EFFUSION if negated else EFFUSION] = 2 + 0.1 * (i % 5)
        if word in ("possible", "subtle", "may"):
            acts_nd[i, HEDGE] = 2
        if word in ("new", "worsened", "increased", "decreased", "improved"):
            acts_nd[i, CHANGE] = 2


@pytest.fixture(scope="session")
def explained_run(hand_run: HandRun) -> HandRun:
    """The same run with labels of the offline explainer and their scores."""
    explain_features(hand_run.run_dir, "main", ContrastExplainer())
    score_features(hand_run.run_dir, "main")
    return hand_run
