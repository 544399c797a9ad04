"""The largest activations: of a whole batch, chosen once, or of each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sae.sparse import Workspace, nonzero_flat

_SAMPLE = 1 << 16
_MARGIN = 0.95


@dataclass(frozen=True)
class Selection:
    """What was kept of a batch.

    Attributes:
        flat: (m,) int64 rising positions in the flattened (B, F) matrix.
        values: (m,) pre-activations at these positions.
        cut: smallest kept value, a scalar tensor; None when nothing was positive.
    """

    flat: torch.Tensor
    values: torch.Tensor
    cut: torch.Tensor | None


def select_largest(
    pre_nf: torch.Tensor, count: int, hint: float | None = None, space: Workspace | None = None
) -> Selection:
    """The `count` largest positive entries of pre_nf, fewer only when fewer are positive.

    Among equal values at the cut, those at the lower flattened position are kept, so the answer does not depend on the
    order in which a sort meets them. NaN is never selected.

    A flat top-k over B·F entries costs many times the encoder product. Here a bound a little under the expected cut
    leaves some more than `count` survivors, and only these are ranked. The bound changes the cost, never the answer.

    Args:
        pre_nf: (B, F) pre-activations.
        count: k · B, at least 1.
        hint: the previous batch's cut, if known.
        space: where to keep the mask of survivors from batch to batch.
    """
    flat = pre_nf.reshape(-1)
    survivors = _survivors(flat, count, hint, space or Workspace())
    return ranked(survivors, flat[survivors], count)


def ranked(survivors: torch.Tensor, values: torch.Tensor, count: int) -> Selection:
    """The `count` largest of some entries, all of them when there are no more; ties as in `select_largest`.

    Args:
        survivors: (m,) rising flat positions.
        values: (m,) their positive values.
    """
    excess = len(values) - count
    if excess <= 0:
        return Selection(survivors, values, values.min() if len(values) else None)
    cut = _order_statistic(values, excess)
    keep = torch.nonzero(values >= cut).squeeze(1)
    if len(keep) > count:
        tied = values[keep] == cut
        n_above = len(keep) - int(tied.sum())
        keep = keep[~tied | (tied.cumsum(0) <= count - n_above)]
    return Selection(survivors[keep], values[keep], cut)


def _order_statistic(values: torch.Tensor, below: int) -> torch.Tensor:
    """The value that exactly `below` positions of the sorted values come before."""
    if values.device.type == "cpu":
        # numpy's partition is ten times as fast as torch's.
        return torch.as_tensor(np.partition(values.numpy(), below)[below])
    return torch.kthvalue(values, below + 1).values


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


def keep_largest(acts_nm: torch.Tensor, k: int) -> None:
    """Set all but the k largest of each row of non-negative acts_nm to zero, in place."""
    # About half of all pre-activations are negative, so most rows have no more than k to begin with.
    crowded = torch.nonzero(torch.count_nonzero(acts_nm, dim=1) > k).squeeze(1)
    if len(crowded):
        rows_cm = acts_nm[crowded]
        flat = largest_of_rows(rows_cm, k)
        kept_cm = torch.zeros_like(rows_cm)
        kept_cm.view(-1)[flat] = rows_cm.view(-1)[flat]
        acts_nm[crowded] = kept_cm


def _survivors(flat: torch.Tensor, count: int, hint: float | None, space: Workspace) -> torch.Tensor:
    """Rising positions of all entries above a bound that is low enough for `count` of them, or above zero."""
    mask = space.get("survivors", (len(flat),), flat, torch.bool)

    def above(bound: float) -> torch.Tensor:
        return nonzero_flat(torch.gt(flat, bound, out=mask))

    if hint is not None and hint > 0:
        found = above(_MARGIN * hint)
        if len(found) >= count:
            return found
    bound = _sampled_bound(flat, count)
    if bound > 0:
        found = above(bound)
        if len(found) >= count:
            return found
    return above(0)


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
