"""How the products of a step are computed: an encoder and a set of sparse kernels, each behind one interface.

All implementations give the same numbers up to rounding; which one is fast depends on the machine, so it is measured
(`sae.kernels.choice`). Plain torch in the weights' own type is the reference.
"""

from __future__ import annotations

from sae.kernels.base import SparseKernels, Sums
from sae.kernels.encoder import Encoder
from sae.kernels.pattern import Pattern, pattern_of
from sae.kernels.registry import REFERENCE, Kernels, unavailable

__all__ = ["REFERENCE", "Encoder", "Kernels", "Pattern", "SparseKernels", "Sums", "pattern_of", "unavailable"]
