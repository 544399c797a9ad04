"""Pushing many features in one teacher-forced pass: what each does to the words of given reports.

The residuals at the site are computed once; each feature's push is added to a copy of them, and the model is replayed
from there. The change is exactly that of ``Add(strength, shape=…)`` under :func:`steering.steer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from activations.hooks import canonical_site
from activations.models.base import ModelInputs, ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import FeaturePool
from steering.interventions.positions import Ledger, prompt_length
from steering.interventions.selection import on_grid, select
from steering.interventions.spec import Tokens
from steering.tracing.patching import record, replayed, residual, with_residual


@dataclass(frozen=True)
class Forced:
    """What a push does to the reports of each pair; arrays are (features, pairs).

    Attributes:
        effect: change of log p(report with the finding) − log p(report without it), nats, end token included.
        output_score: change of the probability of the first token in which the report with the finding differs.
        confidence: change of the mean probability of the likeliest token along the report without the finding.
    """

    effect: np.ndarray
    output_score: np.ndarray
    confidence: np.ndarray


class TeacherForced:
    """The base pass over pairs of reports of the same studies, and pushes on top of it.

    Args:
        studies: what the model sees.
        reports: (without the finding, with it) of each study.
        site: where to push; a site of the pass.
        pool: maps or max activations of the features.
        shape: ``map``: each feature in its own map on the frontal image; ``uniform``: its max activation on ``tokens``.
    """

    def __init__(
        self,
        model: ReportModel,
        sae: MatryoshkaSAE,
        studies: Sequence[Study],
        reports: Sequence[tuple[str, str]],
        site: str,
        pool: FeaturePool,
        shape: str = "map",
        tokens: Tokens | None = None,
    ) -> None:
        self._model, self._pool, self._shape = model, pool, shape
        self._rows_fd = sae.W_dec.detach().to(model.device, torch.float32)
        self._rows = [model.encode(study, text) for study, both in zip(studies, reports, strict=True) for text in both]
        self._site = canonical_site(site)
        inputs = model.collate(self._rows)
        logits_btv, outputs = record(model, [self._site], inputs)
        self._output = outputs[self._site]
        self._places = Ledger(self._site, inputs).next(tuple(residual(self._output).shape))
        self._tokens = tokens or Tokens(("prompt.image",), image="frontal" if shape == "map" else None)
        self._chosen_bs = select(self._places, self._tokens, model.grid)
        if not self._chosen_bs.any():
            raise SteeringError(f"site {self._site}: none of the tokens {list(self._tokens.scopes)} is there to push")
        self._reports = [_Words.of(inputs, i) for i in range(len(self._rows))]
        self._base = self._measured(logits_btv)

    def push(self, features: Sequence[int], strength: float) -> Forced:
        """Push each feature by itself, all in one pass."""
        base_bsd = residual(self._output)
        copies = [base_bsd + self._delta(feature, strength).to(base_bsd.dtype) for feature in features]
        n = len(features)
        tiled = self._model.collate(self._rows * n)
        with replayed(self._model, self._site, with_residual(self._tiled(n), torch.cat(copies))):
            logits_btv = self._model.forward(tiled)
        measured = [self._measured(part) for part in logits_btv.chunk(n)]
        changes = [np.stack([one[k] - self._base[k] for one in measured]) for k in range(3)]
        return Forced(*changes)

    def _tiled(self, n: int) -> object:
        """The rest of the module's output, as it would be for so many copies of the batch."""
        if not isinstance(self._output, (tuple, list)):
            return self._output
        rest = [t.repeat(n, *[1] * (t.dim() - 1)) if isinstance(t, torch.Tensor) else t for t in self._output[1:]]
        return (self._output[0], *rest)

    def _delta(self, feature: int, strength: float) -> torch.Tensor:
        """What is added to the residuals of every row, (b, s, d)."""
        if self._shape == "map":
            if feature not in self._pool.maps:
                raise SteeringError(f"feature {feature}: has no mean map on the frontal image")
            amounts_bs = on_grid(self._pool.maps[feature], self._places) * self._chosen_bs
        else:
            amounts_bs = self._chosen_bs * np.float32(self._pool.max_activations[feature])
        amounts = torch.from_numpy(np.asarray(amounts_bs, dtype=np.float32)).to(self._rows_fd.device)
        return strength * amounts[..., None] * self._rows_fd[feature]

    def _measured(self, logits_btv: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-odds, probability of the finding's word, and confidence of each pair, (pairs,)."""
        log_p = [words.log_p(logits_btv[i]) for i, words in enumerate(self._reports)]
        odds, word, confidence = [], [], []
        for i in range(0, len(log_p), 2):
            without, with_it = self._reports[i], self._reports[i + 1]
            odds.append(float(log_p[i + 1].sum() - log_p[i].sum()))
            apart = min(without.parts_from(with_it), len(with_it.targets) - 1)
            word.append(float(log_p[i + 1][apart].exp()))
            confidence.append(without.confidence(logits_btv[i]))
        return np.array(odds), np.array(word), np.array(confidence)


@dataclass(frozen=True)
class _Words:
    """The tokens of a teacher-forced report, and the columns of the logits that predict them."""

    start: int
    targets: torch.Tensor

    @staticmethod
    def of(inputs: ModelInputs, i: int) -> _Words:
        start = inputs.padding[i] + prompt_length(inputs.tokens[i])
        return _Words(start, inputs.input_ids_bt[i, start:])

    def log_p(self, logits_tv: torch.Tensor) -> torch.Tensor:
        log_p_nv = logits_tv[self.start - 1 : -1].float().log_softmax(dim=-1)
        return log_p_nv.gather(1, self.targets.to(log_p_nv.device)[:, None])[:, 0]

    def confidence(self, logits_tv: torch.Tensor) -> float:
        return float(logits_tv[self.start - 1 : -1].float().softmax(dim=-1).amax(dim=-1).mean())

    def parts_from(self, other: _Words) -> int:
        """Place of the first token that differs."""
        n = min(len(self.targets), len(other.targets))
        differ = (self.targets[:n] != other.targets[:n]).nonzero()
        return int(differ[0]) if len(differ) else n
