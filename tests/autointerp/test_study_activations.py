"""The table of study activations says of every image and sentence what the SAE says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from activations.roles import IMAGE_NAMES
from autointerp.files import features_folder, read_frame
from autointerp.schema import STUDY_ACTIVATIONS_FILE
from autointerp.study_activations import MAX_PATCHES

SITE = "language.0"


@pytest.fixture(scope="module")
def table(hand_run) -> pd.DataFrame:
    return read_frame(features_folder(hand_run.run_dir, "main") / STUDY_ACTIVATIONS_FILE)


def dense(hand_run, study: int) -> tuple[slice, np.ndarray]:
    span = hand_run.store.rows_of_study(study)
    acts_nd = torch.from_numpy(hand_run.store.read(SITE, span))
    return span, hand_run.sae.encode_dense(acts_nd).detach().numpy()


def test_images_have_their_peaks_and_strongest_patches(hand_run, table: pd.DataFrame) -> None:
    _, cols = hand_run.model.grid
    for row in table[table["modality"] == "image"].sample(60, random_state=0).itertuples():
        span, acts_nf = dense(hand_run, row.study)
        own = hand_run.store.column("image")[span] == IMAGE_NAMES.index(row.image)
        values = acts_nf[own, row.feature]
        place = [hand_run.store.column(name)[span][own].astype(int) for name in ("row", "col")]
        of_patch = dict(zip((place[0] * cols + place[1]).tolist(), values.tolist(), strict=True))
        assert row.activation == pytest.approx(values.max())
        assert row.n_tokens == (values > 0).sum()
        assert len(row.patches) == min(row.n_tokens, MAX_PATCHES)
        found = [of_patch[patch] / row.activation * 255 for patch in row.patches]
        np.testing.assert_allclose(row.weights, found, atol=0.51)


def test_every_firing_inside_a_sentence_or_image_is_there_once(hand_run, table: pd.DataFrame) -> None:
    images = table[table["modality"] == "image"]
    assert not images.duplicated(["feature", "study", "image"]).any()
    assert table["feature"].is_monotonic_increasing
    study = int(table["study"].iloc[0])
    span, acts_nf = dense(hand_run, study)
    image_n = hand_run.store.column("image")[span] >= 0
    rows = table[(table["study"] == study) & (table["modality"] == "image")]
    expected = int((acts_nf[image_n] > 0).sum())
    assert rows["n_tokens"].sum() == expected
