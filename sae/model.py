"""The Matryoshka sparse autoencoder: weights, encoding by threshold, decoding by prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sae.activation_functions import activation_function
from sae.codes import SparseCodes
from sae.config import SAEConfig
from sae.errors import SAEError

# Pre-activations held at once by `encode`: 2**23 entries are 32 MB in float32.
_CHUNK_ENTRIES = 1 << 23


class MatryoshkaSAE(nn.Module):
    """x ≈ b_dec + Σ_f a_f · W_dec[f], with a_f = relu(W_enc[f] · (x − b_dec) + b_enc[f]) where that is > threshold.

    (With `activation="topk"`: where that is among the k largest of its token.)

    The features lie in groups, and each prefix of groups is an autoencoder of its own (Matryoshka SAE,
    arXiv 2503.17547). Training keeps the k · B largest activations of a batch (BatchTopK, arXiv 2412.06410);
    afterwards one threshold does, so that the code of a token does not depend on its neighbours.

    Attributes:
        W_enc: (F, d) encoder.
        b_enc: (F,) encoder bias.
        W_dec: (F, d) decoder; rows have norm 1, or 0 for a feature that writes nothing.
        b_dec: (d,) decoder bias, subtracted from the input.
        threshold: () or (F,) float32 buffer; an activation counts when strictly above it.
        extra: what the maker wrote beside the weights (site, model fingerprint, token roles …).
        training_config: how it was trained (`TrainConfig.to_dict`), or None if not known.
    """

    threshold: torch.Tensor

    def __init__(self, config: SAEConfig, *, extra: dict[str, Any] | None = None) -> None:
        """Zero weights and a zero threshold; `initialise` or a loader fills them."""
        super().__init__()
        self.config = config
        self.extra: dict[str, Any] = dict(extra or {})
        self.training_config: dict[str, Any] | None = None
        dtype = getattr(torch, config.dtype)
        shape = (config.n_features, config.d)
        self.W_enc = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.b_enc = nn.Parameter(torch.zeros(config.n_features, dtype=dtype))
        self.W_dec = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.b_dec = nn.Parameter(torch.zeros(config.d, dtype=dtype))
        self._activation = activation_function(config.activation)
        thresholds = (config.n_features,) if self._activation.learns_threshold else ()
        self.register_buffer("threshold", torch.zeros(thresholds, dtype=torch.float32))

    @property
    def d(self) -> int:
        """Width of the activations."""
        return self.config.d

    @property
    def n_features(self) -> int:
        """F, the number of features."""
        return self.config.n_features

    @property
    def k(self) -> int | None:
        """Features kept per token in training, on average; None if not known."""
        return self.config.k

    @property
    def groups(self) -> tuple[int, ...]:
        """Group sizes in prefix order."""
        return self.config.groups

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Random unit decoder rows from `seed`, the encoder equal to the decoder, biases and threshold zero."""
        generator = torch.Generator().manual_seed(seed)
        rows_fd = torch.randn(self.W_dec.shape, generator=generator)
        rows_fd /= rows_fd.norm(dim=1, keepdim=True)
        self.W_dec.copy_(rows_fd)
        self.W_enc.copy_(rows_fd)
        for tensor in (self.b_enc, self.b_dec, self.threshold):
            tensor.zero_()

    @torch.no_grad()
    def encode(self, x_nd: torch.Tensor) -> SparseCodes:
        """Sparse codes of the rows of x_nd, (n, d); each row by itself, in memory bounded by a chunk of rows."""
        self._check_width(x_nd)
        if x_nd.ndim != 2:
            raise SAEError(f"encode got shape {tuple(x_nd.shape)}: must be (n, {self.d})")
        step = max(1, _CHUNK_ENTRIES // self.n_features)
        chunks = x_nd.split(step) if len(x_nd) else (x_nd,)
        return SparseCodes.concatenate([self._encode_chunk(chunk_nd) for chunk_nd in chunks])

    def _encode_chunk(self, x_nd: torch.Tensor) -> SparseCodes:
        pre_nf = self.pre_activations(x_nd)
        flat = torch.nonzero(self.active(pre_nf).reshape(-1)).squeeze(1)
        return SparseCodes.from_flat(flat, pre_nf.reshape(-1), len(pre_nf), self.n_features)

    def encode_dense(self, x: torch.Tensor) -> torch.Tensor:
        """Activations (..., F) of x (..., d), zero where at or under the threshold; differentiable."""
        pre = self.pre_activations(x)
        return torch.where(self.active(pre), pre, torch.zeros_like(pre))

    def active(self, pre: torch.Tensor) -> torch.Tensor:
        """Bool mask of the pre-activations (..., F) that count, each row by itself."""
        return self._activation.keeps(pre, self.threshold, self.k)

    def encode_features(self, x: torch.Tensor, feature_ids: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Activations (..., m) of the m named features only, at m / F of the cost; differentiable.

        A TopK autoencoder has to look at all features, at the full cost.
        """
        self._check_width(x)
        ids = torch.as_tensor(feature_ids, dtype=torch.int64, device=self.W_enc.device).reshape(-1)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.n_features:
            raise SAEError(f"feature ids {ids.tolist()[:8]} …: must lie in 0..{self.n_features - 1}")
        if self.config.activation == "topk":
            # Whether a feature is among the k largest depends on all the others.
            return self.encode_dense(x)[..., ids]
        centred = x.to(self.W_enc.dtype) - self.b_dec
        pre = functional.linear(centred, self.W_enc[ids], self.b_enc[ids])
        threshold = self.threshold[ids] if self.threshold.ndim else self.threshold
        return torch.where(self._activation.keeps(pre, threshold, self.k), pre, torch.zeros_like(pre))

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """W_enc (x − b_dec) + b_enc, (..., F), before the threshold."""
        self._check_width(x)
        return functional.linear(x.to(self.W_enc.dtype) - self.b_dec, self.W_enc, self.b_enc)

    def decode(self, codes: SparseCodes, groups: int | None = None) -> torch.Tensor:
        """Reconstruction (n, d) from the first `groups` groups; all of them when None."""
        if codes.n_features != self.n_features:
            raise SAEError(f"codes have {codes.n_features} features, the autoencoder {self.n_features}")
        if groups is not None:
            codes = codes.prefix(self.prefix_width(groups))
        offsets = codes.row_offsets[:-1]
        sums_nd = functional.embedding_bag(
            codes.indices, self.W_dec, offsets, mode="sum", per_sample_weights=codes.values.to(self.W_dec.dtype)
        )
        return sums_nd + self.b_dec

    def decode_dense(self, acts: torch.Tensor, groups: int | None = None) -> torch.Tensor:
        """Reconstruction (..., d) of dense activations (..., F) from the first `groups` groups; differentiable."""
        if acts.shape[-1] != self.n_features:
            raise SAEError(f"dense codes have shape {tuple(acts.shape)}: the last axis must be {self.n_features}")
        width = self.prefix_width(len(self.groups) if groups is None else groups)
        return acts[..., :width].to(self.W_dec.dtype) @ self.W_dec[:width] + self.b_dec

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruction (..., d) of x (..., d) by all groups; differentiable."""
        return self.decode_dense(self.encode_dense(x))

    def feature_direction(self, feature: int) -> torch.Tensor:
        """(d,) decoder row of a feature, a copy: what one unit of its activation adds to x."""
        self._check_feature(feature)
        return self.W_dec[feature].detach().clone()

    def group_of(self, feature: int) -> int:
        """Number of the group in which a feature lies, from 0."""
        self._check_feature(feature)
        total = 0
        for group, size in enumerate(self.groups):
            total += size
            if feature < total:
                return group
        raise AssertionError("SAEConfig guarantees that the groups sum to n_features")

    def prefix_width(self, groups: int) -> int:
        """Features in the first `groups` groups, from 1 to all."""
        if not 1 <= groups <= len(self.groups):
            raise SAEError(f"groups = {groups}: must be from 1 to {len(self.groups)}")
        return sum(self.groups[:groups])

    def save(self, directory: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write `cfg.json` and `sae.safetensors` into a folder.

        Args:
            extra: replaces `self.extra` in the file; JSON values only.
        """
        from sae.formats.native import write_native

        write_native(self, Path(directory), extra)

    @classmethod
    def load(cls, directory: str | Path) -> MatryoshkaSAE:
        """Read a folder written by `save`.

        Raises:
            SAEError: a file is missing, from a newer version, or its tensors cannot be an autoencoder.
        """
        from sae.formats.native import read_native

        return read_native(Path(directory))

    def _check_width(self, x: torch.Tensor) -> None:
        if x.ndim < 1 or x.shape[-1] != self.d:
            raise SAEError(f"activations have shape {tuple(x.shape)}: the last axis must be {self.d}")

    def _check_feature(self, feature: int) -> None:
        if not 0 <= feature < self.n_features:
            raise SAEError(f"feature {feature} asked of an autoencoder with features 0..{self.n_features - 1}")
