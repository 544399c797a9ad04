"""Laws of the truth table, on stores whose truth is planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activations import ActivationStore
from activations.manifest import StoreConfig
from activations.roles import Role, TokenTable
from activations.studies_table import StudyIndex, patient_share
from activations.writer import StoreWriter, StudyRows
from interp.evaluation.pooling import encode_rows, pool
from interp.evaluation.token_sets import before_mention, frontal_tokens, last_prompt_tokens, report_sentences
from interp.evaluation.truth import summarise, truth_table
from interp.evaluation.truth_detectors import _Areas, detectors
from interp.problems import Sides, Source
from interp.run import Run
from sae import MatryoshkaSAE, SAEConfig

WIDTH, PATCHES, STUDIES = 6, 4, 60
WORDS = ["<pad>", "Heart", "enlarged", "normal", "Lungs", "clear", ".", "USER", "ASSISTANT", "<image>"]
#: Study 3's report does not name the heart; that of study 4 begins with it.
REPORTS = {3: "Lungs clear ."}
DEFAULT_REPORT = "Lungs clear . Heart enlarged ."


class Words:
    """A tokenizer of whole words."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f" {WORDS[i]}" if WORDS[i].isalpha() else WORDS[i] for i in ids]

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return " ".join(WORDS[i] for i in ids)


def tokens_of(study: int) -> TokenTable:
    report = "Heart enlarged . Lungs clear ." if study == 4 else REPORTS.get(study, DEFAULT_REPORT)
    return TokenTable.concatenate(
        [
            TokenTable.text([WORDS.index("USER")], Role.TEMPLATE),
            TokenTable.patches(WORDS.index("<image>"), "frontal", 2, 2),
            TokenTable.patches(WORDS.index("<image>"), "lateral", 2, 2),
            TokenTable.text([WORDS.index("ASSISTANT")], Role.TEMPLATE),
            TokenTable.text([WORDS.index(word) for word in report.split()], Role.REPORT),
        ]
    )


def present(study: int) -> bool:
    return study % 3 == 0


def rows_of(study: int, table: TokenTable, planted: bool) -> torch.Tensor:
    """Noise; with ``planted``, one frontal patch of each study with the finding points along the first dimension."""
    rows_nd = torch.from_numpy(np.random.default_rng(study).normal(0, 0.3, (len(table), WIDTH))).float()
    if planted and present(study):
        rows_nd[2, 0] += 5.0
    return rows_nd


def make_store(folder: Path, planted: bool) -> Path:
    config = StoreConfig("words", "x", {"language.0": WIDTH}, "float32", tuple(Role))
    with StoreWriter(folder / "activations", config) as writer:
        for study in range(STUDIES):
            table = tokens_of(study)
            labels = {"cardiomegaly": "present" if present(study) else "absent"}
            labels["pacemaker"] = "present" if study == 0 else "absent"
            record: dict[str, Any] = {
                "study": study,
                "study_id": f"s{study}",
                "patient_id": f"p{study // 2}",
                "terms": "phantom",
                "split": "test",
                "labels": json.dumps(labels),
                "rows": len(table),
            }
            writer.add([StudyRows(record, table, table.position, {"language.0": rows_of(study, table, planted)})])
        writer.finish()
    return folder


def identity_sae() -> MatryoshkaSAE:
    """Feature f is dimension f."""
    sae = MatryoshkaSAE(SAEConfig(d=WIDTH, n_features=WIDTH, k=2))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(WIDTH))
        sae.W_dec.copy_(torch.eye(WIDTH))
    return sae


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("planted"), planted=True)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("empty"), planted=False)


def source(folder: Path) -> Source:
    return Source(folder / "activations", "language.0", identity_sae(), Words())


def test_the_planted_feature_is_found_and_the_control_has_none(planted: Path, empty: Path) -> None:
    rows = truth_table(StudyIndex.read(planted), ["cardiomegaly"], source(planted), source(empty))
    image = rows[0]
    assert (image["finding"], image["tokens"], image["feature"]) == ("cardiomegaly", "image", 0)
    assert image["auroc"] == image["probe"] == 1.0
    assert image["low"] == image["high"] == 1.0
    assert image["random"] < 0.8
    assert image["positives"] + image["negatives"] == int(StudyIndex.read(planted).halves()[1].sum())
    last = next(row for row in rows if row["tokens"] == "last prompt token")
    assert last["auroc"] < 0.8  # nothing is planted there


def test_choosing_and_measuring_see_different_patients(planted: Path) -> None:
    studies = StudyIndex.read(planted)
    select, report = studies.halves(0)
    patients = studies.frame["patient_id"].to_numpy()
    assert not set(patients[select]) & set(patients[report])
    assert [patient_share(p, "half 0") < 0.5 for p in patients] == select.tolist()


def test_too_few_studies_give_a_note_and_no_number(planted: Path) -> None:
    rows = truth_table(StudyIndex.read(planted), ["pacemaker"], source(planted), None)
    assert all(row["note"].startswith("n too small") and np.isnan(row["auroc"]) for row in rows)
    summary = summarise(rows)["image"]
    assert (summary["n_findings"], summary["too_few"]) == (0, ["pacemaker"])


def test_without_a_control_its_columns_are_empty(planted: Path) -> None:
    rows = truth_table(StudyIndex.read(planted), ["cardiomegaly"], source(planted), None)
    assert np.isnan(rows[0]["random"])
    assert rows[0]["random_feature"] is None


def test_known_detectors(planted: Path) -> None:
    assert detectors(StudyIndex.read(planted), ["cardiomegaly"], Sides(STUDIES, source(planted))) == [
        {"feature": 0, "key": "cardiomegaly", "polarity": "present", "auroc": 1.0, "others": []}
    ]


def areas() -> _Areas:
    """400 studies; features: left effusion, effusion of either side, effusion or a pacemaker, no effusion."""
    rng = np.random.default_rng(0)
    left, right, pacemaker = (rng.random(400) < share for share in (0.2, 0.05, 0.2))
    labels = np.stack([left, right, pacemaker], axis=1).astype(float)
    either = left | right
    scores = np.stack([left, either, 2.0 * either + pacemaker, ~either], axis=1) + 0.01 * rng.random((400, 4))
    return _Areas(scores, labels, ["pleural_effusion:left", "pleural_effusion:right", "pacemaker"])


def test_a_side_must_be_told_from_the_other_side() -> None:
    everyone = np.ones(400, dtype=bool)
    table = areas()
    both = table.all_areas(everyone)
    assert both[1, 0] > 0.9  # few have it on the right only, so the left seems to be known
    assert table.tells_side(0, 0, everyone, 1.0) == 1.0
    assert table.tells_side(1, 0, everyone, 1.0) < 0.7
    assert table.tells_side(2, 2, everyone, 1.0) == 1.0  # no side, nothing to tell


def test_what_a_feature_detects_besides_is_told() -> None:
    everyone = np.ones(400, dtype=bool)
    assert areas().others(2, 0, everyone, 0.9) == ["pacemaker"]
    assert areas().others(0, 0, everyone, 0.9) == []


def test_pooling_is_the_same_as_by_hand(planted: Path) -> None:
    with ActivationStore(planted / "activations") as store:
        mask = frontal_tokens(store)
        sae = identity_sae()
        pooled = pool(store, "language.0", encode_rows(store, "language.0", sae, mask), mask, STUDIES)
        for study in (0, 7, STUDIES - 1):
            acts_nd = store.read("language.0", np.flatnonzero(mask & (store.column("study") == study)))
            assert len(acts_nd) == PATCHES == pooled.counts_s[study]
            codes_nf = sae.encode_dense(torch.from_numpy(acts_nd)).detach().numpy()
            np.testing.assert_allclose(pooled.features_max_sf[study], codes_nf.max(0), rtol=1e-6)
            np.testing.assert_allclose(pooled.features_mean_sf[study], codes_nf.mean(0), rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(pooled.residual_max_sd[study], acts_nd.max(0), rtol=1e-6)
            np.testing.assert_allclose(pooled.residual_mean_sd[study], acts_nd.mean(0), rtol=1e-5, atol=1e-7)


def test_the_last_prompt_token_comes_right_before_the_report(planted: Path) -> None:
    with ActivationStore(planted / "activations") as store:
        rows = np.flatnonzero(last_prompt_tokens(store))
        assert len(rows) == STUDIES
        assert {WORDS[i] for i in store.column("token_id")[rows]} == {"ASSISTANT"}
        assert (store.column("role")[rows + 1] == int(Role.REPORT)).all()


def test_text_is_looked_at_only_before_the_finding_is_named(planted: Path) -> None:
    with ActivationStore(planted / "activations") as store:
        sentences = report_sentences(store, Words())
        mask = before_mention(store, sentences, "cardiomegaly")

        def words(study: int) -> str:
            rows = store.rows_of_study(study)
            kept = np.flatnonzero(mask[rows]) + rows.start
            return " ".join(WORDS[i] for i in store.column("token_id")[kept])

        assert words(0) == "Lungs clear ."
        assert words(3) == "Lungs clear ."  # never named: all of it
        assert words(4) == ""  # named first: none of it
        assert not (mask & (store.column("role") != int(Role.REPORT))).any()


def test_the_file_holds_every_finding_on_every_token_set(tiny_run: Run) -> None:
    content = json.loads((tiny_run.sae_dir() / "evaluation.json").read_text())
    assert (content["kind"], content["version"]) == ("interp-evaluation", 2)
    assert len(content["truth"]) == 4 * 3
    assert content["control"]["model"]["name"] == "phantom:random"
    for row in content["truth"]:
        assert (row["random"] is None) == (row["auroc"] is None) == bool(row["note"])
    assert 0 < content["reconstruction"]["variance_explained"] < 1
    assert content["reconstruction"]["loss_clean"] < content["reconstruction"]["loss_ablated"] + 1
