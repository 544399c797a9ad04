"""What a feature's direction does to the words a model may write next, read through the unembedding (logit lens).

The lens leaves out every block after the site, so it is a first look and not an effect: effects are measured by
steering.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autointerp.pieces import token_strings
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.base import ReportModel

#: Tokens listed at each end.
N_TOKENS = 10
N_NEIGHBOURS = 8
#: Logits held at once.
_BLOCK_LOGITS = 1 << 25
_EPSILON = 1e-6


class Lens:
    """The unembedding of a model: ``logits(x) = rmsnorm(x) · norm @ W_U.T``."""

    def __init__(self, norm_d: torch.Tensor, unembedding_vd: torch.Tensor, tokenizer: Any) -> None:
        self.norm_d = norm_d.detach().float().cpu()
        self.unembedding_vd = unembedding_vd.detach().float().cpu()
        self.tokenizer = tokenizer

    @staticmethod
    def of(model: ReportModel, site: str, width: int) -> Lens | None:
        """The lens for a site; None where the site is no residual stream of a language model with an RMS norm."""
        if not site.startswith(("language.", "blocks.")):
            return None
        read = model.unembedding()
        if read is None:
            return None
        norm_d, unembedding_vd = read
        if unembedding_vd.shape[1] != width:
            raise InputError(f"{site}: the SAE has width {width}, the model's unembedding {unembedding_vd.shape[1]}")
        return Lens(norm_d, unembedding_vd, model.tokenizer)

    def columns(self, W_dec: torch.Tensor, max_activation: np.ndarray, mean_d: np.ndarray | None) -> dict[str, Any]:
        """``promoted``, ``suppressed`` and ``output_score`` of all features.

        Args:
            W_dec: (F, d) decoder rows.
            max_activation: (F,) float32.
            mean_d: mean activation of text tokens at the site, the place from which the output score steps; None
                without text tokens (the score is then NaN).

        The output score is the probability that the promoted tokens gain in the lens when the feature is added once at
        its largest activation: the sum over them of softmax(lens(mean + max · row)) − softmax(lens(mean)). It stands in
        for the output score of Arad, Mueller and Belinkov (arXiv 2505.20063), which amplifies the feature in a forward
        pass: (1 − rank / V) · probability, of the best placed of the promoted tokens.
        """
        n_tokens = min(N_TOKENS, len(self.unembedding_vd))
        highest: list[Any] = []
        lowest: list[Any] = []
        scores: list[torch.Tensor] = []
        for block in _blocks(len(W_dec), len(self.unembedding_vd)):
            direction_bd = W_dec[block].detach().float().cpu()
            logits_bv = direction_bd * self.norm_d @ self.unembedding_vd.T
            logits_bv = logits_bv - logits_bv.mean(dim=1, keepdim=True)
            top = logits_bv.topk(n_tokens, dim=1)
            bottom = logits_bv.topk(n_tokens, dim=1, largest=False)
            highest.append(top)
            lowest.append(bottom)
            strength_b = torch.from_numpy(max_activation[block])
            scores.append(self._output_scores(direction_bd * strength_b[:, None], top.indices, mean_d))
        dead = torch.from_numpy(max_activation) <= 0
        score = torch.cat(scores)
        score[dead] = torch.nan
        return {
            "promoted": self._named(highest),
            "suppressed": self._named(lowest),
            "output_score": score.numpy(),
        }

    def _output_scores(self, step_bd: torch.Tensor, ids_bk: torch.Tensor, mean_d: np.ndarray | None) -> torch.Tensor:
        if mean_d is None:
            return torch.full((len(step_bd),), torch.nan)
        start_d = torch.from_numpy(mean_d).float()
        before_v, after_bv = self._probabilities(start_d[None]), self._probabilities(start_d + step_bd)
        return after_bv.gather(1, ids_bk).sum(dim=1) - before_v[0][ids_bk].sum(dim=1)

    def _probabilities(self, x_nd: torch.Tensor) -> torch.Tensor:
        rms_n = x_nd.pow(2).mean(dim=1, keepdim=True).add(_EPSILON).sqrt()
        return torch.softmax(x_nd / rms_n * self.norm_d @ self.unembedding_vd.T, dim=1)

    def _named(self, blocks: list[Any]) -> list[list[dict[str, Any]]]:
        ids_fk, values_fk = torch.cat([top.indices for top in blocks]), torch.cat([top.values for top in blocks])
        distinct, place = torch.unique(ids_fk, return_inverse=True)
        strings = token_strings(self.tokenizer, distinct.numpy())
        return [
            [{"token": strings[i], "value": value} for i, value in zip(places, values, strict=True)]
            for places, values in zip(place.tolist(), values_fk.tolist(), strict=True)
        ]


def no_lens(n_features: int) -> dict[str, Any]:
    """The columns of :meth:`Lens.columns` for a site without lens."""
    empty: list[list[dict[str, Any]]] = [[] for _ in range(n_features)]
    return {"promoted": empty, "suppressed": empty, "output_score": np.full(n_features, np.nan)}


def neighbours(W_dec: torch.Tensor, n: int = N_NEIGHBOURS) -> list[list[dict[str, Any]]]:
    """The n features of nearest decoder direction (cosine) of each feature, nearest first."""
    unit_fd = torch.nn.functional.normalize(W_dec.detach().float().cpu(), dim=1)
    n = min(n, len(unit_fd) - 1)
    listed: list[list[dict[str, Any]]] = []
    for block in _blocks(len(unit_fd), len(unit_fd)):
        cosine_bf = unit_fd[block] @ unit_fd.T
        cosine_bf[torch.arange(len(cosine_bf)), torch.arange(block.start, block.start + len(cosine_bf))] = -2.0
        top = cosine_bf.topk(n, dim=1)
        listed += [
            [{"feature": feature, "cosine": cosine} for feature, cosine in zip(features, cosines, strict=True)]
            for features, cosines in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
    return listed


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK_LOGITS // max(n_columns, 1))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
