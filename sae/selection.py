"""The largest activations: of a whole batch, chosen once, or of each row."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_SAMPLE = 1 << 16
_MARGIN = 0.9


@dataclass(frozen=True)
class Selection:
    """What was kept of a batch.

    Attributes:
        flat: (m,) int64 rising positions in the flattened (B, F) matrix.
        cut: smallest kept value, a scalar tensor; None when nothing was positive.
    """

    flat: torch.Tensor
    cut: torch.Tensor | None


def select_largest(pre_nf: torch.Tensor, count: int, hint: float | None = None) -> Selection:
    """The `count` largest positive entries of pre_nf, fewer only when fewer are positive.

    Among equal values at the cut, those at the lower flattened position are kept, so the answer does not depend on the
    order in which a sort meets them. NaN is never selected.

    A flat top-k over B·F entries costs many times the encoder product. Here a bound a little under the expected cut
    leaves some more than `count` survivors, and only these are ranked. The bound changes the cost, never the answer.

    Args:
        pre_nf: (B, F) pre-activations.
        count: k · B, at least 1.
        hint: the previous batch's cut, if known.
    """
    flat = pre_nf.reshape(-1)
    survivors = _survivors(flat, count, hint)
    values = flat[survivors]
    excess = len(values) - count
    if excess > 0:
        cut = torch.kthvalue(values, excess + 1).values
        ties = torch.nonzero(values == cut).squeeze(1)
        above = values > cut
        above[ties[: count - int(above.sum())]] = True
        return Selection(survivors[above], cut)
    return Selection(survivors, values.min() if len(values) else None)


def largest_of_rows(pre_nf: torch.Tensor, k: int) -> torch.Tensor:
    """(m,) rising flat positions of the k largest positive entries of every row; ties go to the lower position."""
    n_features = pre_nf.shape[-1]
    cut_n1 = pre_nf.topk(min(k, n_features), dim=1).values[:, -1:]
    found = torch.nonzero(((pre_nf >= cut_n1) & (pre_nf > 0)).reshape(-1)).squeeze(1)
    rows = torch.div(found, n_features, rounding_mode="floor")
    counts = torch.bincount(rows, minlength=len(pre_nf))
    if len(found) == 0 or int(counts.max()) <= k:
        return found
    # Some row has several entries at its cut: all above it stay, and as many of those at it as there is room for.
    tied = pre_nf.reshape(-1)[found] == cut_n1.squeeze(1)[rows]
    before = tied.cumsum(0) - tied.long()
    first_of_row = before[(counts.cumsum(0) - counts).clamp(max=len(found) - 1)]
    above = torch.bincount(rows, minlength=len(pre_nf)) - torch.bincount(rows[tied], minlength=len(pre_nf))
    return found[~tied | (before - first_of_row[rows] < (k - above)[rows])]


def _survivors(flat: torch.Tensor, count: int, hint: float | None) -> torch.Tensor:
    """Rising positions of all entries above a bound that is low enough for `count` of them, or above zero."""
    if hint is not None and hint > 0:
        found = torch.nonzero(flat > _MARGIN * hint).squeeze(1)
        if len(found) >= count:
            return found
    bound = _sampled_bound(flat, count)
    if bound > 0:
        found = torch.nonzero(flat > bound).squeeze(1)
        if len(found) >= count:
            return found
    return torch.nonzero(flat > 0).squeeze(1)


def _sampled_bound(flat: torch.Tensor, count: int) -> float:
    """A bound under the cut with high probability, from every s-th entry."""
    # An odd stride meets all features, whatever power of two F is.
    stride = len(flat) // _SAMPLE | 1
    sample = flat[::stride]
    expected = count / stride
    rank = int(expected + 4 * expected**0.5 + 4)
    if rank >= len(sample):
        return 0.0
    return float(torch.kthvalue(sample, len(sample) - rank).values)
