"""The gathering kernels in Triton: one program for each bag, or each entry, and a block of columns.

Two kernels do everything. `_gather_sum` adds weighted rows of a table over bags of consecutive entries: the decoder,
and both weight gradients (entries in feature order: a scatter without atomic additions). `_entry_dots` takes the
product of two rows for each entry: the gradient of the activations.

Sums are taken in float32, or float64 for float64 tables. With TRITON_INTERPRET=1 the kernels run on a CPU, slowly;
that is how they are tested where there is no GPU.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import triton
import triton.language as tl

from sae.kernels.base import SparseKernels, Sums
from sae.kernels.pattern import Pattern

_MOST_COLUMNS = 1024


@triton.jit
def _gather_sum(table: Any, index: Any, ends: Any, weights: Any, out: Any, n_columns: Any, BLOCK: tl.constexpr) -> None:
    bag = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < n_columns
    first = tl.load(ends + bag - 1, mask=bag > 0, other=0)
    last = tl.load(ends + bag)
    total = tl.zeros((BLOCK,), dtype=table.dtype.element_ty)
    for entry in range(first, last):
        row = tl.load(index + entry).to(tl.int64)
        weight = tl.load(weights + entry)
        total += weight * tl.load(table + row * n_columns + columns, mask=inside, other=0.0)
    tl.store(out + bag * n_columns + columns, total, mask=inside)


@triton.jit
def _entry_dots(
    left: Any, left_index: Any, right: Any, right_index: Any, out: Any, n_columns: Any, BLOCK: tl.constexpr
) -> None:
    entry = tl.program_id(0).to(tl.int64)
    left_row = tl.load(left_index + entry).to(tl.int64)
    right_row = tl.load(right_index + entry).to(tl.int64)
    total = tl.zeros((BLOCK,), dtype=left.dtype.element_ty)
    for start in range(0, n_columns, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < n_columns
        a = tl.load(left + left_row * n_columns + columns, mask=inside, other=0.0)
        b = tl.load(right + right_row * n_columns + columns, mask=inside, other=0.0)
        total += a * b
    tl.store(out + entry, tl.sum(total, axis=0))


def gather_sum(
    table: torch.Tensor, index_m: torch.Tensor, ends_b: torch.Tensor, weights_m: torch.Tensor
) -> torch.Tensor:
    """(bags, d): Σ weight · table[index] over bags of consecutive entries.

    Args:
        table: (rows, d).
        index_m: (m,) row of each entry.
        ends_b: (bags,) one past the last entry of each bag, rising.
        weights_m: (m,) factors, in the table's type.
    """
    table, n_columns = table.contiguous(), table.shape[1]
    out = table.new_empty(len(ends_b), n_columns)
    block = min(_MOST_COLUMNS, triton.next_power_of_2(n_columns))
    grid = (len(ends_b), triton.cdiv(n_columns, block))
    with torch.cuda.device_of(table):  # Triton starts its programs on the current device
        _gather_sum[grid](table, index_m, ends_b, weights_m.contiguous(), out, n_columns, BLOCK=block)
    return out


def entry_dots(
    left: torch.Tensor, left_index_m: torch.Tensor, right: torch.Tensor, right_index_m: torch.Tensor
) -> torch.Tensor:
    """(m,): left[left_index] · right[right_index] for each entry."""
    left, right, n_columns = left.contiguous(), right.contiguous(), left.shape[1]
    out = left.new_empty(len(left_index_m))
    if len(out):
        block = min(_MOST_COLUMNS, triton.next_power_of_2(n_columns))
        with torch.cuda.device_of(left):
            _entry_dots[(len(out),)](left, left_index_m, right, right_index_m, out, n_columns, BLOCK=block)
    return out


class TritonGather(SparseKernels):
    """As `Gather`, in Triton."""

    name: ClassVar[str] = "triton"

    def sums(self, pattern: Pattern, W_dec: torch.Tensor, acts_m: torch.Tensor) -> Sums:
        return _TritonSums(pattern, W_dec, acts_m)

    def encoder_gradient(self, pattern: Pattern, centred_nd: torch.Tensor, grad_pre_m: torch.Tensor) -> torch.Tensor:
        return _by_feature(pattern, centred_nd, pattern.rows_m, grad_pre_m)

    def decoder_gradient(self, pattern: Pattern, suffix_bd: torch.Tensor, acts_m: torch.Tensor) -> torch.Tensor:
        return _by_feature(pattern, suffix_bd, pattern.bags_m, acts_m)


class _TritonSums:
    def __init__(self, pattern: Pattern, W_dec: torch.Tensor, acts_m: torch.Tensor) -> None:
        self._pattern, self._W_dec = pattern, W_dec
        ends_b = torch.bincount(pattern.bags_m, minlength=pattern.n_bags).cumsum(0)
        self.values = gather_sum(W_dec, pattern.features_m, ends_b, acts_m)

    def weights_gradient(self, grad_bd: torch.Tensor) -> torch.Tensor:
        return entry_dots(grad_bd, self._pattern.bags_m, self._W_dec, self._pattern.features_m)


def _by_feature(pattern: Pattern, table: torch.Tensor, index_m: torch.Tensor, weights_m: torch.Tensor) -> torch.Tensor:
    order = pattern.by_feature_m
    return gather_sum(table, index_m[order], pattern.feature_offsets_f + pattern.counts_f, weights_m[order])


def trouble(device: torch.device) -> str | None:
    """Why the kernels cannot run on a device; None if they can."""
    knobs: Any = getattr(triton, "knobs", None)
    interpreted = bool(knobs.runtime.interpret) if knobs is not None else False
    if device.type == "cuda" or (interpreted and device.type == "cpu"):
        return None
    return f"Triton has no kernels for {device.type}"
