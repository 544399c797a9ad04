"""One training run's state and what one batch does to it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from sae.activation_functions import activation_function
from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.objective import MatryoshkaObjective, StepResult, Weights
from sae.prefixes import PrefixSchedule
from sae.selection import select_largest

_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_OUTLIER = 50


@dataclass(frozen=True)
class Measures:
    """What a step says about itself, for the log; see `MetricsLog`."""

    loss: float
    variance_explained: float
    l0: float
    dead_share: float
    learning_rate: float


class TrainingState:
    """Weights in training units, Adam's moments and the firing record.

    Training units are the activations divided by `input_scale`; `finished` converts back.
    """

    def __init__(self, sae_config: SAEConfig, train_config: TrainConfig) -> None:
        self.sae_config = sae_config
        self.train_config = train_config
        self.step = 0
        self.tokens = 0
        self.input_scale = 1.0
        if sae_config.k is None:
            raise SAEError("k = None: training needs the number of features to keep per token")
        self._k = sae_config.k
        train_config.check_against(sae_config)
        self.sae = MatryoshkaSAE(replace(sae_config, dtype="float32"))
        self.sae.initialise(train_config.seed)
        self.sae.to(train_config.device)
        self.silent_tokens_f = torch.zeros(sae_config.n_features, dtype=torch.int64, device=train_config.device)
        """Tokens since each feature was last selected."""
        jumps = sae_config.activation == "jumprelu"
        settings = train_config.jumprelu_settings() if jumps else {}
        self.activation = activation_function(sae_config.activation, **settings)
        self.learned = {name: getattr(self.sae, name) for name in _WEIGHTS}
        """The tensors that Adam moves, by name."""
        if self.activation.learns_threshold:
            self.learned["log_threshold"] = torch.nn.Parameter(torch.zeros_like(self.sae.threshold))
        self.optimizer = torch.optim.Adam(list(self.learned.values()), lr=0.0, fused=True)
        self.prefixes = PrefixSchedule(sae_config.groups, train_config.prefixes == "random", train_config.seed)
        self.objective = MatryoshkaObjective(
            sae_config.groups,
            sae_config.k,
            prefix_loss=train_config.prefix_loss,
            group_weights=train_config.group_weights,
            aux_k=train_config.aux_width(sae_config.d),
            aux_alpha=train_config.aux_alpha,
            activation=self.activation,
        )

    @torch.no_grad()
    def advance(self, batch_nd: torch.Tensor, *, measure: bool) -> Measures | None:
        """Take one step.

        Args:
            batch_nd: (B, d) activations.
            measure: also compute the measures, which costs one more pass over the pre-activations.

        Raises:
            SAEError: the batch has a wrong shape, or the loss is not finite; the state is then as before the step.
        """
        x_nd = self._checked(batch_nd)
        if self.step == 0:
            self._start_from(x_nd)
        x_nd = x_nd / self.input_scale
        if self.step == 0 and self.activation.learns_threshold:
            self.learned["log_threshold"].fill_(self._first_log_threshold(x_nd))
        dead_f = self.silent_tokens_f >= self.train_config.dead_after()
        weights = Weights(**{name: tensor.detach() for name, tensor in self.learned.items()})
        result = self.objective.step(
            weights,
            x_nd,
            dead_f if bool(dead_f.any()) else None,
            k=self.train_config.k_at(self.tokens, self._k),
            widths=self.prefixes.widths(self.step),
        )
        loss = float(result.loss)
        if not loss < float("inf"):
            raise SAEError(self._not_finite(loss, batch_nd))

        rate = self._descend(result.gradient, len(x_nd))
        if self.activation.learns_threshold:
            self.sae.threshold.copy_(self.learned["log_threshold"].exp())
        elif self.activation.follows_cut:
            self._follow_threshold(result.cut)
        self.silent_tokens_f += len(x_nd)
        self.silent_tokens_f[result.fired_f] = 0
        self.step += 1
        self.tokens += len(x_nd)
        return self._measures(x_nd, result, loss, rate) if measure else None

    def dead_share(self) -> float:
        """Share of the features that are dead now."""
        return float((self.silent_tokens_f >= self.train_config.dead_after()).float().mean())

    @torch.no_grad()
    def finished(self) -> MatryoshkaSAE:
        """The autoencoder for raw activations, on the CPU, in the type that the configuration asks for."""
        sae = MatryoshkaSAE(self.sae_config)
        sae.W_enc.copy_(self.sae.W_enc)
        sae.W_dec.copy_(self.sae.W_dec)
        sae.b_enc.copy_(self.sae.b_enc * self.input_scale)
        sae.b_dec.copy_(self.sae.b_dec * self.input_scale)
        sae.threshold.copy_(self.sae.threshold * self.input_scale)
        sae.training_config = self.train_config.to_dict()
        return sae

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the state, by name."""
        named = {f"sae.{name}": tensor.detach() for name, tensor in self.learned.items()}
        named["sae.threshold"] = self.sae.threshold.detach()
        named["silent_tokens"] = self.silent_tokens_f
        moments = self.optimizer.state_dict()["state"]
        for place, name in enumerate(self.learned):
            # Before the first step Adam has no moments yet.
            for moment in _MOMENTS if place in moments else ():
                named[f"adam.{name}.{moment}"] = moments[place][moment]
        return named

    def numbers(self) -> dict[str, Any]:
        """All numbers of the state, as JSON values."""
        return {"step": self.step, "tokens": self.tokens, "input_scale": self.input_scale}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
        """Become the state that `tensors` and `numbers` describe.

        Raises:
            KeyError: something is missing.
        """
        self.step, self.tokens = int(numbers["step"]), int(numbers["tokens"])
        self.input_scale = float(numbers["input_scale"])
        for name, tensor in (*self.learned.items(), ("threshold", self.sae.threshold)):
            tensor.copy_(tensors[f"sae.{name}"])
        self.silent_tokens_f.copy_(tensors["silent_tokens"])
        if self.step:
            moments = {
                place: {moment: tensors[f"adam.{name}.{moment}"].clone() for moment in _MOMENTS}
                for place, name in enumerate(self.learned)
            }
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _checked(self, batch_nd: torch.Tensor) -> torch.Tensor:
        most = self.train_config.batch_size
        if batch_nd.ndim != 2 or batch_nd.shape[1] != self.sae_config.d or not 0 < len(batch_nd) <= most:
            want = f"(B, {self.sae_config.d}) with B from 1 to batch_size ({most})"
            raise SAEError(f"batch {self.step} has shape {tuple(batch_nd.shape)}: must be {want}")
        return batch_nd.to(device=self.train_config.device, dtype=torch.float32)

    def _start_from(self, x_nd: torch.Tensor) -> None:
        """b_dec and the input scale from the first batch."""
        if not bool(torch.isfinite(x_nd).all()):
            raise SAEError(self._not_finite(float("nan"), x_nd))
        centre_d = x_nd.mean(0) if self.train_config.b_dec_init == "mean" else geometric_median(x_nd)
        distance_n = (x_nd - centre_d).norm(dim=1)
        typical = float(distance_n.median()) or float(distance_n.square().mean().sqrt())
        if typical == 0:
            raise SAEError(f"all {len(x_nd)} rows of the first batch are equal: there is nothing to learn from them")
        n_far = int((distance_n > _OUTLIER * typical).sum())
        if n_far:
            warnings.warn(
                f"{n_far} of {len(x_nd)} rows of the first batch lie more than {_OUTLIER} times the median distance "
                "from the centre (attention sinks?); they will rule the loss, so leave them out of the activations",
                stacklevel=2,
            )
        if self.train_config.normalize:
            self.input_scale = typical
        self.sae.b_dec.copy_(centre_d / self.input_scale)

    def _first_log_threshold(self, x_nd: torch.Tensor) -> float:
        """Logarithm of the cut that BatchTopK would make in the first batch: all JumpReLU thresholds start there."""
        pre_nf = (x_nd - self.sae.b_dec) @ self.sae.W_enc.T + self.sae.b_enc
        k = self.train_config.k_at(0, self._k)
        cut = select_largest(pre_nf, max(1, round(k * len(x_nd)))).cut
        return math.log(max(float(cut) if cut is not None else 0.0, self.train_config.jumprelu_bandwidth))

    def _not_finite(self, loss: float, batch_nd: torch.Tensor) -> str:
        bad = int((~torch.isfinite(batch_nd)).any(dim=1).sum())
        if bad:
            return f"step {self.step}: {bad} of {len(batch_nd)} rows of the batch hold NaN or infinity; filter them out"
        rate = self.train_config.peak_rate(self.sae_config.n_features)
        return (
            f"step {self.step}: the loss became {loss} on finite data: training diverged. "
            f"Lower learning_rate (now {rate:.2g}) and start again"
        )

    def _descend(self, gradient: Weights, n_rows: int) -> float:
        """One Adam step on the unit sphere of decoder rows; returns the rate."""
        W_dec = self.sae.W_dec
        remove_parallel(gradient.W_dec, W_dec)
        parts = [getattr(gradient, name) for name in self.learned]
        clip = self.train_config.grad_clip
        if clip is not None:
            norm = torch.stack([part.norm() for part in parts]).norm()
            scale = (clip / norm.clamp(min=1e-30)).clamp(max=1.0)
            # On a GPU asking whether there is anything to do would cost more than doing it.
            if scale.device.type != "cpu" or float(scale) < 1:
                for part in parts:
                    part.mul_(scale)
        for tensor, part in zip(self.learned.values(), parts, strict=True):
            tensor.grad = part
        peak = self.train_config.peak_rate(self.sae_config.n_features)
        rate = peak * self.train_config.rate_factor(self.tokens, n_rows)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        W_dec.div_(W_dec.norm(dim=1, keepdim=True))
        return rate

    def _follow_threshold(self, cut: torch.Tensor | None) -> None:
        if cut is None:
            return
        if float(self.sae.threshold) == 0:
            self.sae.threshold.copy_(cut)
        else:
            self.sae.threshold.lerp_(cut, 1 - self.train_config.threshold_beta)

    def _measures(self, x_nd: torch.Tensor, result: StepResult, loss: float, rate: float) -> Measures:
        spread = float((x_nd - x_nd.mean(0)).square().sum())
        unexplained = float(result.residual_nd.square().sum())
        active = int(self.sae.active(result.pre_nf).sum())
        return Measures(
            loss=loss,
            variance_explained=1 - unexplained / spread if spread else float("nan"),
            l0=active / len(x_nd),
            dead_share=self.dead_share(),
            learning_rate=rate,
        )


def remove_parallel(gradient_fd: torch.Tensor, rows_fd: torch.Tensor) -> None:
    """Take from each gradient row, in place, its part along the unit row: moving along it only changes the norm."""
    along_f1 = (gradient_fd * rows_fd).sum(dim=1, keepdim=True)
    gradient_fd.addcmul_(along_f1, rows_fd, value=-1)


def geometric_median(x_nd: torch.Tensor, iterations: int = 50) -> torch.Tensor:
    """(d,) point of least summed distance to the rows, by Weiszfeld's iteration from the mean."""
    centre_d = x_nd.mean(0)
    for _ in range(iterations):
        distance_n = (x_nd - centre_d).norm(dim=1)
        # A row at the centre itself would have infinite weight.
        weight_n = 1 / distance_n.clamp(min=1e-6 * float(distance_n.mean()) or 1.0)
        centre_d = (weight_n @ x_nd) / weight_n.sum()
    return centre_d
