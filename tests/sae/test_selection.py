from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.selection import select_largest

HINTS = st.one_of(st.none(), st.floats(0.01, 5))


@settings(deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 40), st.integers(1, 60), st.floats(0, 1), HINTS)
def test_the_selection_is_the_set_of_a_flat_topk(
    seed: int, n_rows: int, n_features: int, share: float, hint: float | None
) -> None:
    # Distinct values: a shuffled range.
    generator = torch.Generator().manual_seed(seed)
    size = n_rows * n_features
    pre_nf = (torch.randperm(size, generator=generator).float() + 0.5 - size / 3).reshape(n_rows, n_features) / size
    count = max(1, int(share * size))
    selection = select_largest(pre_nf, count, hint)
    flat = pre_nf.reshape(-1).relu()
    expected = flat.topk(count).indices
    expected = expected[flat[expected] > 0]
    assert torch.equal(selection.flat, expected.sort().values)
    if len(expected):
        assert selection.cut is not None
        assert float(selection.cut) == float(flat[expected].min())
    else:
        assert selection.cut is None


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(1, 60), HINTS)
def test_ties_go_to_the_lower_position_whatever_the_hint(values: list[int], count: int, hint: float | None) -> None:
    pre_nf = torch.tensor(values, dtype=torch.float32).reshape(1, -1)
    selection = select_largest(pre_nf, count, hint)
    ranked = sorted((i for i, value in enumerate(values) if value > 0), key=lambda i: (-values[i], i))
    assert selection.flat.tolist() == sorted(ranked[:count])


def test_a_large_batch_takes_the_sampled_bound_to_the_same_answer() -> None:
    pre_nf = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0))
    expected = pre_nf.reshape(-1).topk(512 * 16).indices.sort().values
    for hint in (None, 2.1, 50.0, 1e-6):
        assert torch.equal(select_largest(pre_nf, 512 * 16, hint).flat, expected)


def test_nan_is_never_selected() -> None:
    pre_nf = torch.tensor([[float("nan"), 1.0], [2.0, float("nan")]])
    assert select_largest(pre_nf, 3).flat.tolist() == [1, 2]
