"""Number formats of stored activations: how a float row becomes bytes on disk and comes back.

HDF5 has no bfloat16. Its 16 bits are kept as ``uint16`` with the attribute ``dtype="bfloat16"``, which is exact and as
fast as plain integers; a float32 with the same value is those bits followed by sixteen zeros.
"""

from __future__ import annotations

import numpy as np
import torch

from activations.manifest import DTYPES
from activations.memory import Recycled
from radiology.errors import InputError

#: Bytes of one block of rows; a block is what is read in one go and what an HDF5 chunk holds.
BLOCK_BYTES = 1 << 20
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 64, 1024


def block_rows(width: int, dtype: str) -> int:
    """Rows of one block: about 1 MiB, between 64 and 1,024 rows."""
    rows = BLOCK_BYTES // (width * DTYPES[dtype].itemsize)
    return int(min(max(rows, MIN_BLOCK_ROWS), MAX_BLOCK_ROWS))


def encode(rows_nd: torch.Tensor, dtype: str) -> np.ndarray:
    """Round (n, d) rows to ``dtype`` and give them as they lie on disk, on the CPU.

    Raises:
        InputError: a value is not finite, or does not fit into ``dtype`` (float16 ends at 65,504).
    """
    stored_nd = round_to(rows_nd, dtype)
    if not _all_finite(as_tensor(stored_nd, dtype)):
        if _all_finite(rows_nd):
            raise InputError(f"dtype: an activation does not fit into {dtype}; store bfloat16 or float32 instead")
        raise InputError("the model gives activations that are not finite; open it with another dtype, such as float32")
    return stored_nd


def round_to(rows_nd: torch.Tensor, dtype: str) -> np.ndarray:
    """As :func:`encode`, but whether the values are finite is for the caller to see."""
    rounded_nd = rows_nd.detach().to(getattr(torch, dtype)).cpu().contiguous()
    if dtype == "bfloat16":
        return rounded_nd.view(torch.int16).numpy().view(DTYPES[dtype])
    return rounded_nd.numpy().astype(DTYPES[dtype], copy=False)


def _all_finite(rows_nd: torch.Tensor) -> bool:
    """A NaN is both least and greatest; many times faster than looking at every value by itself."""
    return not rows_nd.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(rows_nd))).all())


def decode(stored_nd: np.ndarray, dtype: str, memory: Recycled | None = None) -> torch.Tensor:
    """Rows as they lie on disk → (n, d) float32 tensor, exactly; in memory of its own, or in that of ``memory``."""
    # numpy asks for huge pages, torch does not: a fresh batch of 32 MiB is filled many times faster.
    empty = np.empty if memory is None else memory.empty
    return torch.from_numpy(empty(stored_nd.shape, np.float32)).copy_(as_tensor(stored_nd, dtype))


def as_tensor(stored_nd: np.ndarray, dtype: str) -> torch.Tensor:
    """Rows as they lie on disk → the same memory as a tensor of that number format."""
    stored_nd = np.ascontiguousarray(stored_nd)
    if dtype == "bfloat16":
        return torch.from_numpy(stored_nd.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(stored_nd)
