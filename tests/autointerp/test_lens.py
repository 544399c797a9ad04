"""The lens lists what a direction raises and lowers, and scores what it gains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activations.models.phantom_language import vocabulary
from autointerp.files import features_folder, read_frame
from autointerp.lens import Lens, neighbours
from radiology.errors import InputError


def test_promoted_tokens_are_the_largest_logits(hand_run) -> None:
    table = read_frame(features_folder(hand_run.run_dir, "main") / "features.parquet")
    # The hand-built unembedding raises token v by axis v mod 12, more so the higher v is.
    last = len(vocabulary()) - 1
    for feature in range(12):
        best = max(v for v in range(last + 1) if v % 12 == feature)
        assert table["promoted"][feature][0]["token"] == vocabulary()[best]
        values = [token["value"] for token in table["promoted"][feature]]
        assert values == sorted(values, reverse=True)
        assert table["suppressed"][feature][0]["value"] <= table["suppressed"][feature][-1]["value"] < values[-1]


def test_output_score_is_a_gain_in_probability(hand_run) -> None:
    table = read_frame(features_folder(hand_run.run_dir, "main") / "features.parquet")
    alive = table[~table["dead"]]
    assert alive["output_score"].between(-1, 1).all()
    assert (alive["output_score"] > 0).all()
    assert table[table["dead"]]["output_score"].isna().all()


def test_the_score_vanishes_with_the_strength() -> None:
    torch.manual_seed(0)
    lens = Lens(torch.ones(6), torch.randn(20, 6), _Names())
    weak, strong = (
        lens.columns(torch.eye(6), np.full(6, strength, dtype=np.float32), np.ones(6))["output_score"]
        for strength in (1e-4, 5)
    )
    np.testing.assert_allclose(weak, 0, atol=1e-3)
    assert strong.mean() > 0.1


def test_vision_sites_have_no_lens_and_a_wrong_width_is_refused(hand_run) -> None:
    assert Lens.of(hand_run.model, "vision.3", 12) is None
    assert Lens.of(hand_run.model, "projector", 12) is None
    with pytest.raises(InputError, match="width 7"):
        Lens.of(hand_run.model, "language.1", 7)


def test_neighbours_are_sorted_by_cosine_and_exclude_the_feature_itself() -> None:
    torch.manual_seed(1)
    W_dec = torch.randn(9, 4)
    unit = torch.nn.functional.normalize(W_dec, dim=1)
    for feature, near in enumerate(neighbours(W_dec, 3)):
        cosines = (unit @ unit[feature]).tolist()
        others = sorted((c for f, c in enumerate(cosines) if f != feature), reverse=True)
        assert [one["cosine"] for one in near] == pytest.approx(others[:3], abs=1e-6)
        assert all(cosines[one["feature"]] == pytest.approx(one["cosine"], abs=1e-6) for one in near)


class _Names:
    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [str(i) for i in ids]
