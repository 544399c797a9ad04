from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sae.codes import SparseCodes
from sae.errors import SAEError


@st.composite
def dense_codes(draw: st.DrawFn) -> torch.Tensor:
    """(n, F) with many zeros, empty rows and empty matrices included."""
    n_rows, n_features = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    entry = st.one_of(st.just(0.0), st.floats(0.125, 8, width=32))
    values = draw(st.lists(entry, min_size=n_rows * n_features, max_size=n_rows * n_features))
    return torch.tensor(values).reshape(n_rows, n_features)


@given(dense_codes())
def test_dense_to_sparse_and_back_is_the_identity(acts_nf: torch.Tensor) -> None:
    codes = SparseCodes.from_dense(acts_nf)
    assert torch.equal(codes.dense(), acts_nf)
    assert len(codes) == len(acts_nf)
    assert (codes.values != 0).all()


@given(dense_codes())
def test_rows_counts_and_l0_agree_with_the_dense_matrix(acts_nf: torch.Tensor) -> None:
    codes = SparseCodes.from_dense(acts_nf)
    assert torch.equal(codes.counts(), (acts_nf != 0).sum(0))
    assert codes.l0 * max(1, len(acts_nf)) == pytest.approx(int((acts_nf != 0).sum()))
    for i, row_f in enumerate(acts_nf):
        values, indices = codes.row(i)
        assert torch.equal(indices, torch.nonzero(row_f).squeeze(1))
        assert torch.equal(values, row_f[indices])


@given(dense_codes(), st.integers(0, 10))
def test_a_prefix_is_the_dense_matrix_with_the_rest_set_to_zero(acts_nf: torch.Tensor, width: int) -> None:
    expected_nf = acts_nf.clone()
    expected_nf[:, width:] = 0
    assert torch.equal(SparseCodes.from_dense(acts_nf).prefix(width).dense(), expected_nf)


@given(dense_codes(), st.integers(0, 6))
def test_concatenating_the_parts_gives_the_whole(acts_nf: torch.Tensor, cut: int) -> None:
    parts = [SparseCodes.from_dense(acts_nf[:cut]), SparseCodes.from_dense(acts_nf[cut:])]
    assert torch.equal(SparseCodes.concatenate(parts).dense(), acts_nf)


def test_disagreeing_parts_are_refused() -> None:
    values, indices = torch.ones(2), torch.tensor([0, 1])
    with pytest.raises(SAEError, match="shapes"):
        SparseCodes(values, indices[:1], torch.tensor([0, 2]), 4)
    with pytest.raises(SAEError, match="row_offsets"):
        SparseCodes(values, indices, torch.tensor([0, 1]), 4)
    with pytest.raises(SAEError, match="int64"):
        SparseCodes(values, indices.int(), torch.tensor([0, 2]), 4)
    with pytest.raises(SAEError, match="row 2"):
        SparseCodes(values, indices, torch.tensor([0, 2]), 4).row(2)
