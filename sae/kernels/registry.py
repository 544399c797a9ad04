"""The implementations by name, and whether one runs here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sae.config import ENCODERS, SPARSE_KERNELS
from sae.errors import SAEError
from sae.kernels.base import SparseKernels
from sae.kernels.dense import Dense
from sae.kernels.encoder import Encoder, FullEncoder, ScreeningEncoder
from sae.kernels.gather import Gather

_ENCODERS: dict[str, type[Encoder]] = {kind.name: kind for kind in (FullEncoder, ScreeningEncoder)}


@dataclass(frozen=True)
class Kernels:
    """Names of an encoder (`sae.config.ENCODERS`) and of sparse kernels (`sae.config.SPARSE_KERNELS`)."""

    encoder: str = "float32"
    sparse: str = "gather"

    @property
    def name(self) -> str:
        """As it stands in files and options: ENCODER+SPARSE."""
        return f"{self.encoder}+{self.sparse}"

    @classmethod
    def named(cls, name: str) -> Kernels:
        """From `name`; SAEError for anything else."""
        encoder, _, sparse = name.partition("+")
        if encoder not in ENCODERS or sparse not in SPARSE_KERNELS:
            want = f"one of {', '.join(ENCODERS)}, a plus, and one of {', '.join(SPARSE_KERNELS)}"
            raise SAEError(f"kernels = {name!r}: must be {want}")
        return cls(encoder, sparse)

    def make(self) -> tuple[Encoder, SparseKernels]:
        """The implementations.

        Raises:
            SAEError: Triton is asked for and not installed.
        """
        return _ENCODERS[self.encoder](), _sparse(self.sparse)


#: Plain torch, in the type of the weights.
REFERENCE = Kernels()


def _sparse(name: str) -> SparseKernels:
    if name == "dense":
        return Dense()
    if name == "gather":
        return Gather()
    try:
        from sae.kernels.triton_gather import TritonGather
    except ImportError as error:
        raise SAEError(f"kernels = '…+triton': Triton cannot be imported here ({error}); use gather") from error
    return TritonGather()


def unavailable(kernels: Kernels, device: torch.device) -> str | None:
    """Why these kernels cannot run on a device; None if they can."""
    if kernels.sparse != "triton":
        return None
    try:
        from sae.kernels.triton_gather import trouble
    except ImportError as error:
        return f"Triton cannot be imported ({error})"
    return trouble(device)
