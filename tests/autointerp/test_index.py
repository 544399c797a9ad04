"""The index of a hand-built run is what was put into it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from activations.roles import IMAGE_NAMES
from activations.store import ActivationStore
from autointerp import extract
from autointerp.files import features_folder, read_frame
from autointerp.index import index_features
from autointerp.reading import content_words
from autointerp.schema import CONTEXTS_FILE, FEATURES_FILE, NEGATIVE_KINDS, POSITIVE_KINDS, Hardness, Kind
from radiology.errors import InputError
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE

SITE = "language.0"
DEAD, LOUD_WITH_PACEMAKER, EVERYWHERE = 4, 7, 10
POSITIVE, NEGATIVE = [k.value for k in POSITIVE_KINDS], [k.value for k in NEGATIVE_KINDS]


@pytest.fixture(scope="module")
def contexts(hand_run) -> pd.DataFrame:
    return read_frame(features_folder(hand_run.run_dir, "main") / CONTEXTS_FILE)


def index(hand_run, out: Path, **options: object) -> pd.DataFrame:
    index_features(
        hand_run.run_dir, hand_run.sae, SITE, model=hand_run.model, store=hand_run.store, out_dir=out, **options
    )
    return read_frame(out / CONTEXTS_FILE)


def test_activations_in_contexts_are_those_of_the_sae(hand_run, contexts: pd.DataFrame) -> None:
    store = hand_run.store
    dense_nf = hand_run.sae.encode_dense(torch.from_numpy(store.read(SITE, slice(None)))).detach().numpy()
    for row in contexts.sample(200, random_state=0).itertuples():
        span = store.rows_of_study(row.study)
        position = store.column("position")[span]
        if row.modality == "text":
            first = span.start + int(np.searchsorted(position, row.token_start))
            own = dense_nf[first : first + len(row.tokens), row.feature]
            np.testing.assert_allclose(row.activations, own)
        else:
            of_image = span.start + np.flatnonzero(store.column("image")[span] == IMAGE_NAMES.index(row.image))
            own = dense_nf[of_image, row.feature]
            np.testing.assert_allclose(row.map, own)
        assert row.activation == pytest.approx(own.max())


def test_the_peak_is_where_the_map_is_highest(contexts: pd.DataFrame) -> None:
    images = contexts[(contexts["modality"] == "image") & (contexts["activation"] > 0)]
    for row in images.itertuples():
        assert row.map[int(row.row) * int(row.map_cols) + int(row.col)] == pytest.approx(row.activation)
    silent = contexts[(contexts["modality"] == "image") & (contexts["activation"] == 0)]
    assert silent["row"].isna().all()
    assert silent["col"].isna().all()


def test_the_peak_token_lies_in_its_sentence(contexts: pd.DataFrame) -> None:
    texts = contexts[(contexts["modality"] == "text") & (contexts["activation"] > 0)]
    for row in texts.itertuples():
        assert row.activations[row.position - row.token_start] == pytest.approx(row.activation)
        assert row.sentence.replace(" ", "") == "".join(row.tokens)


def test_features_fire_in_positive_and_are_silent_in_negative_contexts(contexts: pd.DataFrame) -> None:
    silent_anywhere = contexts[~contexts["feature"].isin([LOUD_WITH_PACEMAKER])]
    assert (silent_anywhere[silent_anywhere["kind"].isin(POSITIVE)]["activation"] > 0).all()
    assert (silent_anywhere[silent_anywhere["kind"].isin(NEGATIVE)]["activation"] == 0).all()


def test_a_feature_that_is_never_silent_is_quiet_where_it_is_weak(contexts: pd.DataFrame) -> None:
    loud = contexts[contexts["feature"] == LOUD_WITH_PACEMAKER]
    assert loud[loud["kind"].isin(NEGATIVE)]["activation"].between(2.5, 2.7).all()
    assert (loud[loud["kind"].isin(POSITIVE)]["activation"] > 5).all()
    assert not contexts[(contexts["feature"] == EVERYWHERE)]["kind"].isin(NEGATIVE).any()


def test_negatives_of_images_come_from_studies_where_the_feature_is_silent(hand_run, contexts: pd.DataFrame) -> None:
    has_left_effusion = {i for i, factors in enumerate(hand_run.factors) if factors.effusion_left}
    own = contexts[contexts["feature"] == 2]
    assert set(own[own["kind"].isin(POSITIVE)]["study"]) <= has_left_effusion
    assert not set(own[own["kind"].isin(NEGATIVE)]["study"]) & has_left_effusion


def test_top_contexts_are_the_strongest(contexts: pd.DataFrame) -> None:
    for _, own in contexts[contexts["kind"].isin(POSITIVE)].groupby(["feature", "split", "modality"]):
        top, rest = own[own["kind"] == Kind.TOP], own[own["kind"] == Kind.QUANTILE]
        assert len(rest) == 0 or top["activation"].min() >= rest["activation"].max()


def test_near_duplicates_are_left_out(contexts: pd.DataFrame) -> None:
    texts = contexts[contexts["modality"] == "text"].copy()
    texts["words"] = texts["sentence"].map(content_words)
    fires = texts["kind"].isin(POSITIVE)
    for part in (texts[fires], texts[~fires]):
        keys = part.groupby(["feature", "split"])["words"]
        assert (keys.nunique() == keys.size()).all()
    images = contexts[contexts["modality"] == "image"]
    studies = images.groupby(["feature", "split"])["study"]
    assert (studies.nunique() == studies.size()).all()


def test_dead_features_have_a_row_and_no_context(hand_run, contexts: pd.DataFrame) -> None:
    features = read_frame(features_folder(hand_run.run_dir, "main") / FEATURES_FILE)
    assert features["feature"].tolist() == list(range(12))
    assert features[features["dead"]]["feature"].tolist() == [DEAD]
    assert not contexts["feature"].isin([DEAD]).any()
    assert hand_run.summary.n_dead == 1
    assert hand_run.summary.n_contexts == len(contexts) == contexts["context"].nunique()


def test_groups_are_those_of_the_sae(hand_run) -> None:
    features = read_frame(features_folder(hand_run.run_dir, "main") / FEATURES_FILE)
    assert features["group"].tolist() == [hand_run.sae.group_of(f) for f in range(12)]


def test_bounded_memory_changes_nothing(hand_run, contexts: pd.DataFrame, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(extract, "BLOCK_VALUES", 2000)
    pd.testing.assert_frame_equal(index(hand_run, tmp_path), contexts)


def test_the_same_seed_gives_the_same_contexts_and_another_one_others(hand_run, contexts, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(index(hand_run, tmp_path / "a"), contexts)
    other = index(hand_run, tmp_path / "b", seed=1)
    assert (
        other.groupby("split")["patient_id"].agg(set).tolist()
        != contexts.groupby("split")["patient_id"].agg(set).tolist()
    )


def test_contexts_come_from_the_drawn_studies_and_counts_from_all(hand_run, contexts, tmp_path: Path) -> None:
    few = index(hand_run, tmp_path, max_context_studies=40, contexts_per_kind=2)
    assert few["study"].nunique() <= 40
    assert few.groupby(["feature", "split", "modality", "kind"]).size().max() == 2
    columns = ["n_fires", "n_studies", "max_activation"]
    whole = read_frame(features_folder(hand_run.run_dir, "main") / FEATURES_FILE)[columns]
    pd.testing.assert_frame_equal(read_frame(tmp_path / FEATURES_FILE)[columns], whole)


def test_only_the_asked_roles_are_indexed(hand_run, tmp_path: Path) -> None:
    only = index(hand_run, tmp_path, roles=["report"])
    assert set(only["role"]) == {"report"}
    features = read_frame(tmp_path / FEATURES_FILE)
    assert features["n_fires"][2] == 0


def test_progress_rises_to_its_total(hand_run, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    index(hand_run, tmp_path, progress=lambda done, total: told.append((done, total)), contexts_per_kind=1)
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {done[-1]}


def test_an_sae_of_another_width_is_refused(hand_run, tmp_path: Path) -> None:
    other = MatryoshkaSAE(SAEConfig(d=5, n_features=8, k=2))
    with pytest.raises(InputError, match="width 12, the SAE has 5"):
        index_features(hand_run.run_dir, other, SITE, model=hand_run.model, store=hand_run.store, out_dir=tmp_path)


def refused(hand_run, out: Path, message: str, **given: object) -> None:
    options = {"sae": hand_run.sae, "site": SITE, "store": hand_run.store, "roles": None} | given
    sae, site = options.pop("sae"), options.pop("site")
    with pytest.raises(InputError, match=message):
        index_features(hand_run.run_dir, sae, site, model=hand_run.model, out_dir=out, **options)
    assert not list(out.glob("*.parquet"))


def test_an_unknown_site_is_refused_with_those_there_are(hand_run, tmp_path: Path) -> None:
    refused(hand_run, tmp_path, "site 'language.7' is not stored; stored are language.0", site="language.7")


def test_roles_that_select_nothing_are_refused(hand_run, tmp_path: Path) -> None:
    refused(hand_run, tmp_path, "no row passes roles=.'special'.*the store has 29814 rows", roles=["special"])


def test_an_sae_that_fires_nowhere_is_refused(hand_run, tmp_path: Path) -> None:
    silent = copy.deepcopy(hand_run.sae)
    silent.threshold.fill_(1e9)
    refused(hand_run, tmp_path, "none of the 12 features fires on any of the 29814 tokens", sae=silent)


def test_an_empty_store_is_refused(hand_run, tmp_path: Path) -> None:
    class Empty(ActivationStore):
        rows = property(lambda self: 0)  # type: ignore[assignment]

    store = Empty(hand_run.run_dir / "activations")
    refused(hand_run, tmp_path, "the store is empty, there is nothing to index", store=store)


def test_studies_without_text_have_images_as_contexts_and_it_is_said(tmp_path: Path, hand_run) -> None:
    """No report, no labels, no sentence: nothing tells findings, and co-firing alone makes a negative hard."""
    shutil.copytree(hand_run.run_dir / "activations", tmp_path / "activations")
    studies = pq.read_table(hand_run.run_dir / "studies.parquet")
    told = [name for name in ("report", "reference_report", "prior_report", "labels") if name in studies.column_names]
    for name in told:
        at = studies.column_names.index(name)
        studies = studies.set_column(at, studies.schema.field(name), pa.nulls(len(studies), studies.schema.types[at]))
    pq.write_table(studies, tmp_path / "studies.parquet")
    with ActivationStore(tmp_path / "activations") as store:
        summary = index_features(
            tmp_path, hand_run.sae, SITE, model=hand_run.model, store=store, out_dir=tmp_path / "out", roles=["image"]
        )
    assert summary is not None
    assert not summary.findings_told
    contexts = read_frame(tmp_path / "out" / CONTEXTS_FILE)
    assert set(contexts["modality"]) == {"image"}
    assert contexts["findings"].isna().all()
    assert set(contexts["hardness"].dropna()) == {"co_firing"}
    assert hand_run.summary.findings_told


def test_hard_negatives_are_of_all_kinds_and_say_which(contexts: pd.DataFrame) -> None:
    hard = contexts["kind"] == Kind.HARD_NEGATIVE
    assert contexts["hardness"].notna().tolist() == hard.tolist()
    assert set(contexts["hardness"].dropna()) == set(Hardness)


def test_co_firing_negatives_hold_what_usually_fires_with_the_feature(hand_run, contexts: pd.DataFrame) -> None:
    features = read_frame(features_folder(hand_run.run_dir, "main") / FEATURES_FILE)
    company = {f: {one["feature"] for one in listed} for f, listed in enumerate(features["co_firing"])}
    dense_nf = hand_run.sae.encode_dense(torch.from_numpy(hand_run.store.read(SITE, slice(None)))).detach().numpy()
    texts = contexts[(contexts["hardness"] == Hardness.CO_FIRING) & (contexts["modality"] == "text")]
    assert len(texts) > 0
    for row in texts.itertuples():
        span = hand_run.store.rows_of_study(row.study)
        first = span.start + int(np.searchsorted(hand_run.store.column("position")[span], row.token_start))
        fires = np.flatnonzero((dense_nf[first : first + len(row.tokens)] > 0).any(axis=0))
        assert set(fires.tolist()) & company[row.feature]
        assert row.feature not in fires


def test_the_box_of_a_patch_is_where_it_lies_in_the_crop(contexts: pd.DataFrame) -> None:
    assert contexts["box"].notna().tolist() == contexts["row"].notna().tolist()
    for row in contexts[contexts["box"].notna()].sample(50, random_state=0).itertuples():
        expected = [row.col / 4, row.row / 4, (row.col + 1) / 4, (row.row + 1) / 4]
        np.testing.assert_allclose(row.box, expected)
