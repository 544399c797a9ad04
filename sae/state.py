"""One training run's state and what one batch does to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from sae.activation_functions import activation_function
from sae.config import SAEConfig, TrainConfig
from sae.divergence import Watch, cause, refuse_exploded
from sae.errors import SAEError
from sae.kernels import REFERENCE, Kernels, unavailable
from sae.kernels.at_start import measured_kernels, settled_kernels
from sae.kernels.choice import Choice
from sae.model import MatryoshkaSAE
from sae.objective import StepResult, Weights
from sae.parallel import Alone
from sae.prefixes import PrefixSchedule
from sae.selection import select_largest
from sae.start import centre_and_scale
from sae.unit_rows import remove_parallel

_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Measures:
    """What a step says about itself, for the log; see `MetricsLog`."""

    loss: float
    variance_explained: float
    l0: float
    dead_share: float
    learning_rate: float
    gradient_norm: float


class TrainingState:
    """Weights in training units, Adam's moments and the firing record.

    Training units are the activations divided by `input_scale`; `finished` converts back.
    """

    def __init__(self, sae_config: SAEConfig, train_config: TrainConfig, parallel: Alone | None = None) -> None:
        self.sae_config = sae_config
        self.train_config = train_config
        self.step = 0
        self.tokens = 0
        self.kernels: Kernels | None = settled_kernels(train_config)
        """How products are computed; None until it is measured on the first batch."""
        self.choice: Choice | None = None
        """What was measured in this process."""
        self.input_scale = 1.0
        self.watch = Watch()
        self.parallel = parallel or Alone()
        if sae_config.k is None:
            raise SAEError("k = None: training needs the number of features to keep per token")
        self._k = sae_config.k
        train_config.check_against(sae_config)
        whole = replace(sae_config, dtype="float32")
        self.sae = MatryoshkaSAE(self.parallel.local(whole))
        self.parallel.initialise(self.sae, whole, train_config.seed)
        self.sae.to(train_config.device)
        self.silent_tokens_f = torch.zeros(self.sae.n_features, dtype=torch.int64, device=train_config.device)
        """Tokens since each feature was last selected."""
        jumps = sae_config.activation == "jumprelu"
        settings = train_config.jumprelu_settings() if jumps else {}
        alone = activation_function(sae_config.activation, **settings)
        self.activation = self.parallel.activation(alone, sae_config.n_features)
        self.learned = {name: getattr(self.sae, name) for name in _WEIGHTS}
        """The tensors that Adam moves, by name."""
        if self.activation.learns_threshold:
            self.learned["log_threshold"] = torch.nn.Parameter(torch.zeros_like(self.sae.threshold))
        self.optimizer = torch.optim.Adam(list(self.learned.values()), lr=0.0, fused=True)
        self.prefixes = PrefixSchedule(sae_config.groups, train_config.prefixes == "random", train_config.seed)
        self.objective = self.parallel.objective(
            sae_config.groups,
            sae_config.k,
            prefix_loss=train_config.prefix_loss,
            group_weights=train_config.group_weights,
            aux_k=train_config.aux_width(sae_config.d),
            aux_alpha=train_config.aux_alpha,
            activation=self.activation,
            kernels=self.kernels or REFERENCE,
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
        batch_nd = x_nd = self.parallel.rows(self._checked(batch_nd))
        if self.step == 0:
            self._start_from(self.parallel.batch(x_nd))
        x_nd = x_nd / self.input_scale
        if self.step == 0 and self.activation.learns_threshold:
            self.learned["log_threshold"].fill_(self._first_log_threshold(self.parallel.batch(x_nd)))
        dead_f = self.silent_tokens_f >= self.train_config.dead_after()
        weights = Weights(**{name: tensor.detach() for name, tensor in self.learned.items()})
        any_dead = self.parallel.any(bool(dead_f.any()))
        k = self.train_config.k_at(self.tokens, self._k)
        widths = self.parallel.widths(self.prefixes.widths(self.step))
        if self.kernels is None:
            self.choice = self.parallel.of_first(measured_kernels(self.objective, weights, x_nd, k, widths))
            self.kernels = self.choice.kernels
            self.objective.use(self.kernels)
        result = self.objective.step(weights, x_nd, dead_f if any_dead else None, k=k, widths=widths)
        result = self.parallel.agree(result)
        remove_parallel(result.gradient.W_dec, self.sae.W_dec)
        norm = self.parallel.norm(self._parts(result.gradient))
        loss, norm_now = torch.stack([result.loss, norm]).tolist()
        verdict = self.watch.verdict(loss, norm_now)
        if verdict is not None:
            whole_nd = self.parallel.batch(batch_nd)
            raise cause(verdict, self.step, whole_nd, self.sae.b_dec * self.input_scale, self._peak_rate())

        n_rows = self.parallel.n_rows(x_nd)
        rate = self._descend(result.gradient, norm, n_rows)
        if self.activation.learns_threshold:
            self.sae.threshold.copy_(self.learned["log_threshold"].exp())
        elif self.activation.follows_cut:
            self._follow_threshold(result.cut)
        self.silent_tokens_f += n_rows
        self.silent_tokens_f[result.fired_f] = 0
        self.step += 1
        self.tokens += n_rows
        return self._measures(x_nd, result, loss, rate, norm_now) if measure else None

    def rows_of(self, batch_nd: torch.Tensor) -> int:
        """Rows of the whole batch of which a reader gave this."""
        return len(batch_nd) * self.parallel.readers

    def dead_share(self) -> float:
        """Share of the features that are dead now."""
        dead = (self.silent_tokens_f >= self.train_config.dead_after()).sum()
        return int(self.parallel.over_features(dead)) / self.sae_config.n_features

    @torch.no_grad()
    def finished(self) -> MatryoshkaSAE | None:
        """The autoencoder for raw activations, on the CPU, in the type that the configuration asks for.

        None in a process that writes no files.
        """
        names = (*_WEIGHTS, "threshold")
        whole = {name: self.parallel.whole(name, getattr(self.sae, name).detach()) for name in names}
        if not self.parallel.leads:
            return None
        sae = MatryoshkaSAE(self.sae_config)
        for name, tensor in whole.items():
            assert tensor is not None
            in_units = name in ("b_enc", "b_dec", "threshold")
            getattr(sae, name).copy_(tensor * self.input_scale if in_units else tensor)
        sae.training_config = self.train_config.to_dict()
        return sae

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the state, by name; none in a process that writes no files."""
        named = {f"sae.{name}": tensor.detach() for name, tensor in self.learned.items()}
        named["sae.threshold"] = self.sae.threshold.detach()
        named["silent_tokens"] = self.silent_tokens_f
        moments = self.optimizer.state_dict()["state"]
        for place, name in enumerate(self.learned):
            # Before the first step Adam has no moments yet.
            for moment in _MOMENTS if place in moments else ():
                named[f"adam.{name}.{moment}"] = moments[place][moment]
        whole = {name: self.parallel.whole(name, tensor) for name, tensor in named.items()}
        return {name: tensor for name, tensor in whole.items() if tensor is not None}

    def numbers(self) -> dict[str, Any]:
        """All numbers of the state, as JSON values."""
        counted: dict[str, Any] = {"step": self.step, "tokens": self.tokens, "input_scale": self.input_scale}
        if self.kernels is not None:
            counted["kernels"] = self.kernels.name
        return {**counted, **self.watch.numbers()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> None:
        """Become the state that `tensors` and `numbers` describe.

        Raises:
            KeyError: something is missing.
        """
        self.step, self.tokens = int(numbers["step"]), int(numbers["tokens"])
        self.input_scale = float(numbers["input_scale"])
        self.watch.restore(numbers)
        self._restore_kernels(numbers.get("kernels"))
        for name, tensor in (*self.learned.items(), ("threshold", self.sae.threshold)):
            tensor.copy_(self.parallel.part(name, tensors[f"sae.{name}"]))
        self.silent_tokens_f.copy_(self.parallel.part("silent_tokens", tensors["silent_tokens"]))
        if self.step:
            moments = {
                place: {
                    moment: self.parallel.part(name, tensors[f"adam.{name}.{moment}"]).clone() for moment in _MOMENTS
                }
                for place, name in enumerate(self.learned)
            }
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _restore_kernels(self, name: str | None) -> None:
        """Those that a training has begun with, where they run: other ones would end with other bits.

        Elsewhere (another device, no Triton) they are measured anew if that is what was asked for.
        """
        begun = REFERENCE if name is None else Kernels.named(name)
        if self.kernels is None and unavailable(begun, torch.device(self.train_config.device)) is None:
            self.kernels = begun
            self.objective.use(begun)

    def _checked(self, batch_nd: torch.Tensor) -> torch.Tensor:
        most = self.parallel.most_rows(self.train_config.batch_size)
        if batch_nd.ndim != 2 or batch_nd.shape[1] != self.sae_config.d or not 0 < len(batch_nd) <= most:
            want = f"(B, {self.sae_config.d}) with B from 1 to batch_size ({most})"
            raise SAEError(f"batch {self.step} has shape {tuple(batch_nd.shape)}: must be {want}")
        return batch_nd.to(device=self.train_config.device, dtype=torch.float32)

    def _start_from(self, x_nd: torch.Tensor) -> None:
        """b_dec and the input scale from the first batch."""
        if not bool(torch.isfinite(x_nd).all()):
            raise cause("the first batch is not finite", self.step, x_nd, x_nd[0], self._peak_rate())
        centre_d, typical = centre_and_scale(x_nd, self.train_config.b_dec_init)
        if self.train_config.normalize:
            self.input_scale = typical
        self.sae.b_dec.copy_(centre_d / self.input_scale)

    def _first_log_threshold(self, x_nd: torch.Tensor) -> float:
        """Logarithm of the cut that BatchTopK would make in the first batch: all JumpReLU thresholds start there."""
        pre_nf = (x_nd - self.sae.b_dec) @ self.sae.W_enc.T + self.sae.b_enc
        k = self.train_config.k_at(0, self._k)
        cut = select_largest(pre_nf, max(1, round(k * len(x_nd)))).cut
        return math.log(max(float(cut) if cut is not None else 0.0, self.train_config.jumprelu_bandwidth))

    def require_sound(self) -> None:
        """SAEError if the weights are not worth keeping: NaN, infinity, or an encoder that grew out of all measure."""
        squares = torch.stack([tensor.detach().square().sum() for tensor in self.learned.values()])
        sums = dict(zip(self.learned, self.parallel.over_features(squares).tolist(), strict=True))
        refuse_exploded(self.step, sums, self.sae_config.n_features, self._peak_rate())

    def _parts(self, gradient: Weights) -> dict[str, torch.Tensor]:
        """The gradient of each learned tensor, in their order."""
        return {name: getattr(gradient, name) for name in self.learned}

    def _peak_rate(self) -> float:
        return self.train_config.peak_rate(self.sae_config.n_features)

    def _descend(self, gradient: Weights, norm: torch.Tensor, n_rows: int) -> float:
        """One Adam step on the unit sphere of decoder rows; returns the rate."""
        W_dec = self.sae.W_dec
        parts = list(self._parts(gradient).values())
        clip = self.train_config.grad_clip
        if clip is not None:
            scale = (clip / norm.clamp(min=1e-30)).clamp(max=1.0)
            # On a GPU asking whether there is anything to do would cost more than doing it.
            if scale.device.type != "cpu" or float(scale) < 1:
                for part in parts:
                    part.mul_(scale)
        for tensor, part in zip(self.learned.values(), parts, strict=True):
            tensor.grad = part
        rate = self._peak_rate() * self.train_config.rate_factor(self.tokens, n_rows)
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

    def _measures(self, x_nd: torch.Tensor, result: StepResult, loss: float, rate: float, norm: float) -> Measures:
        over_rows, n_rows = self.parallel.over_rows, self.parallel.n_rows(x_nd)
        mean_d = over_rows(x_nd.sum(0)) / n_rows
        spread = float(over_rows((x_nd - mean_d).square().sum()))
        unexplained = float(over_rows(result.residual_nd.square().sum()))
        pre_nf = result.pre_nf if result.pre_exact else self.sae.pre_activations(x_nd)
        active = self.parallel.over_features(over_rows(self.sae.active(pre_nf).sum()))
        return Measures(
            loss=loss,
            variance_explained=1 - unexplained / spread if spread else float("nan"),
            l0=int(active) / n_rows,
            dead_share=self.dead_share(),
            learning_rate=rate,
            gradient_norm=norm,
        )
