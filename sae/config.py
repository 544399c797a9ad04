"""What an autoencoder is (`SAEConfig`) and how it is trained (`TrainConfig`): frozen and validated when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sae.config_fields import check, from_json, is_int, is_real, later, to_json

ACTIVATIONS = ("batch_topk", "topk", "jumprelu")
ENCODERS = ("float32", "bfloat16")
SPARSE_KERNELS = ("gather", "dense", "triton")
PREFIXES = ("fixed", "random")
DTYPES = ("float32", "bfloat16", "float16")
PREFIX_LOSSES = ("mean", "sum")
B_DEC_INITS = ("mean", "geometric_median")
DEFAULT_GROUP_FRACTIONS = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2)


def group_sizes(n_features: int, fractions: tuple[float, ...]) -> tuple[int, ...]:
    """Sizes of the Matryoshka groups from their shares of the features; the last group takes the rounding.

    Args:
        n_features: F, the number of features.
        fractions: share of each group, in prefix order, summing to 1.
    """
    check(len(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6, "fractions", fractions, "shares that sum to 1")
    sizes = [int(n_features * fraction) for fraction in fractions[:-1]]
    sizes.append(n_features - sum(sizes))
    check(min(sizes) > 0, "fractions", fractions, f"shares that give each group at least one of {n_features} features")
    return tuple(sizes)


@dataclass(frozen=True, kw_only=True)
class SAEConfig:
    """The shape of one Matryoshka BatchTopK autoencoder."""

    d: int
    """Width of the activations."""

    n_features: int
    """F, the number of features; the expansion factor is F / d."""

    k: int | None
    """Features kept per token in training, on average over a batch. None for an imported file that does not say."""

    groups: tuple[int, ...] = ()
    """Group sizes in prefix order: prefix g of the reconstruction uses the groups 0..g. They sum to F.
    Empty means 1/16, 1/16, 1/8, 1/4, 1/2 of the features (one group when F is under 16)."""

    dtype: str = "float32"
    """Type of the stored weights. Training always computes in float32 and converts at the end."""

    activation: str = later("batch_topk")
    """Which activations count: 'batch_topk' (the k · B largest of a batch, a threshold afterwards), 'topk' (the k
    largest of each token) or 'jumprelu' (above a learned threshold per feature). See `sae.activation_functions`."""

    def __post_init__(self) -> None:
        check(is_int(self.d) and self.d > 0, "d", self.d, "a positive whole number")
        check(is_int(self.n_features) and self.n_features > 0, "n_features", self.n_features, "a positive number")
        if self.k is not None:
            good = is_int(self.k) and 0 < self.k <= self.n_features
            check(good, "k", self.k, f"a whole number from 1 to n_features ({self.n_features})")
        check(self.dtype in DTYPES, "dtype", self.dtype, "one of " + ", ".join(DTYPES))
        check(self.activation in ACTIVATIONS, "activation", self.activation, "one of " + ", ".join(ACTIVATIONS))
        groups = tuple(self.groups)
        if not groups:
            small = self.n_features < 16
            groups = (self.n_features,) if small else group_sizes(self.n_features, DEFAULT_GROUP_FRACTIONS)
        check(all(is_int(size) and size > 0 for size in groups), "groups", self.groups, "positive whole numbers")
        want = f"sizes that sum to n_features ({self.n_features}), not {sum(groups)}"
        check(sum(groups) == self.n_features, "groups", self.groups, want)
        object.__setattr__(self, "groups", groups)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return to_json(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SAEConfig:
        """From `to_dict`'s output.

        Raises:
            SAEError: a field is unknown, missing or out of range.
        """
        groups = values.get("groups", ())
        check(isinstance(groups, list | tuple), "groups", groups, "a list of whole numbers")
        return from_json(cls, {**values, "groups": tuple(groups)})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How an autoencoder is trained. Where implementations differ, the choice is stated at the field."""

    n_tokens: int
    """Tokens (rows) to train on; the last batch may go over it."""

    batch_size: int = 2048
    """Most rows a batch may have. The iterator decides; a short batch is allowed, a longer one is an error."""

    learning_rate: float | None = None
    """Peak rate of Adam. None: 2e-4 / sqrt(F / 2**14), the scaling of dictionary_learning."""

    warmup_fraction: float = 0.02
    """Share of n_tokens over which the rate rises linearly from 0."""

    decay_fraction: float = 0.2
    """Share of n_tokens at the end over which the rate falls linearly to 0."""

    grad_clip: float | None = 1.0
    """Largest norm of the whole gradient. None: no clipping."""

    aux_k: int | None = None
    """Dead features asked to explain each token's error. None: d / 2. Zero turns the auxiliary loss off."""

    aux_alpha: float = 1 / 32
    """Weight of the auxiliary loss."""

    dead_after_tokens: int | None = None
    """A feature is dead when it was not selected for this many tokens. None: n_tokens / 20, at most 10 million."""

    threshold_beta: float = 0.99
    """Decay of the moving average of the smallest kept activation, which starts from its first value."""

    prefix_loss: str = "mean"
    """'mean' or 'sum' of the squared errors of the prefixes."""

    b_dec_init: str = "mean"
    """b_dec starts at the 'mean' or the 'geometric_median' of the first batch."""

    normalize: bool = True
    """Train in units in which the first batch has median distance 1 from b_dec, and convert back at the end.
    The result does not depend on the scale of the activations then, and default rates fit every layer."""

    seed: int = 0
    """Seed of the initial weights. The order of the data is the iterator's affair."""

    log_every: int = 50
    """Steps between two rows of metrics.parquet."""

    checkpoint_every: int = 1000
    """Steps between two checkpoints."""

    keep_checkpoints: int = 2
    """Checkpoints kept; older ones are deleted."""

    device: str = "cpu"
    """Device to train on, as torch names it."""

    group_weights: tuple[float, ...] = later(())
    """Weight of each prefix in the loss, in prefix order. Empty: 1 each. 'mean' divides them by their sum."""

    prefixes: str = later("fixed")
    """'fixed': the prefixes of the groups. 'random': as many, drawn anew for every step (see `sae.prefixes`)."""

    k_start: int | None = later(None)
    """Features kept per token at the first step; falls linearly to k over the first `k_anneal_fraction`. None: k."""

    k_anneal_fraction: float = later(0.1)
    """Share of n_tokens over which k_start becomes k."""

    jumprelu_bandwidth: float = later(0.03)
    """JumpReLU: ε, width of the band around a threshold in which it feels a gradient, in training units."""

    jumprelu_sparsity: float = later(1.0)
    """JumpReLU: λ, weight of (L0 / k − 1)²."""

    kernels: str = later("auto")
    """How the products of a step are computed: ENCODER+SPARSE out of `ENCODERS` and `SPARSE_KERNELS`, or 'measured':
    all that run here are timed on the first batch and the fastest is used. 'auto': measured on a GPU; on a CPU
    float32+gather, so that a training ends with the same bits on every run. See `sae.kernels`."""

    def __post_init__(self) -> None:
        for name in ("n_tokens", "batch_size", "log_every", "checkpoint_every", "keep_checkpoints"):
            value = getattr(self, name)
            check(is_int(value) and value > 0, name, value, "a positive whole number")
        for name in ("learning_rate", "grad_clip"):
            value = getattr(self, name)
            good = value is None or (is_real(value) and 0 < value < float("inf"))
            check(good, name, value, "a positive number, or None")
        for name in ("warmup_fraction", "decay_fraction"):
            value = getattr(self, name)
            check(is_real(value) and 0 <= value <= 1, name, value, "between 0 and 1")
        together = self.warmup_fraction + self.decay_fraction
        check(together <= 1, "warmup_fraction + decay_fraction", together, "at most 1")
        good = self.aux_k is None or (is_int(self.aux_k) and self.aux_k >= 0)
        check(good, "aux_k", self.aux_k, "a whole number ≥ 0, or None")
        check(is_real(self.aux_alpha) and self.aux_alpha >= 0, "aux_alpha", self.aux_alpha, "a number ≥ 0")
        good = self.dead_after_tokens is None or (is_int(self.dead_after_tokens) and self.dead_after_tokens > 0)
        check(good, "dead_after_tokens", self.dead_after_tokens, "a positive number of tokens, or None")
        good = is_real(self.threshold_beta) and 0 <= self.threshold_beta < 1
        check(good, "threshold_beta", self.threshold_beta, "from 0 to below 1")
        check(self.prefix_loss in PREFIX_LOSSES, "prefix_loss", self.prefix_loss, "'mean' or 'sum'")
        check(self.b_dec_init in B_DEC_INITS, "b_dec_init", self.b_dec_init, "'mean' or 'geometric_median'")
        check(isinstance(self.normalize, bool), "normalize", self.normalize, "true or false")
        check(is_int(self.seed) and self.seed >= 0, "seed", self.seed, "a whole number ≥ 0")
        check(isinstance(self.device, str) and bool(self.device), "device", self.device, "a device name such as 'cpu'")

        self._check_later_fields()

    def _check_later_fields(self) -> None:
        weights = self.group_weights
        good = isinstance(weights, tuple) and all(is_real(one) and 0 <= one < float("inf") for one in weights)
        good = good and (not weights or sum(weights) > 0)
        check(good, "group_weights", weights, "numbers ≥ 0, one of them above 0")
        check(self.prefixes in PREFIXES, "prefixes", self.prefixes, "'fixed' or 'random'")
        good = self.k_start is None or (is_int(self.k_start) and self.k_start > 0)
        check(good, "k_start", self.k_start, "a positive whole number, or None")
        good = is_real(self.k_anneal_fraction) and 0 <= self.k_anneal_fraction <= 1
        check(good, "k_anneal_fraction", self.k_anneal_fraction, "between 0 and 1")
        for name in ("jumprelu_bandwidth", "jumprelu_sparsity"):
            value = getattr(self, name)
            check(is_real(value) and 0 < value < float("inf"), name, value, "a positive number")
        encoder, _, sparse = self.kernels.partition("+") if isinstance(self.kernels, str) else ("", "", "")
        good = self.kernels in ("auto", "measured") or (encoder in ENCODERS and sparse in SPARSE_KERNELS)
        want = f"auto, measured, or one of {', '.join(ENCODERS)}, a plus, and one of {', '.join(SPARSE_KERNELS)}"
        check(good, "kernels", self.kernels, want)

    def check_against(self, sae: SAEConfig) -> None:
        """Refuse settings that do not fit the autoencoder.

        Raises:
            SAEError: as many group_weights as groups are needed; k_start must not exceed F.
        """
        n_groups = len(sae.groups)
        good = len(self.group_weights) in (0, n_groups)
        check(good, "group_weights", self.group_weights, f"one for each of the {n_groups} groups, or none")
        good = self.k_start is None or self.k_start <= sae.n_features
        check(good, "k_start", self.k_start, f"at most n_features ({sae.n_features})")

    def jumprelu_settings(self) -> dict[str, float]:
        """Keyword arguments of `sae.activation_functions.JumpReLU`."""
        return {"bandwidth": self.jumprelu_bandwidth, "sparsity_weight": self.jumprelu_sparsity}

    def k_at(self, tokens_before: int, k: int) -> float:
        """Features kept per token, on average, in a batch that comes after tokens_before tokens."""
        span = self.k_anneal_fraction * self.n_tokens
        if self.k_start is None or tokens_before >= span:
            return k
        return self.k_start + (k - self.k_start) * tokens_before / span

    def peak_rate(self, n_features: int) -> float:
        """The peak learning rate for F features."""
        return self.learning_rate if self.learning_rate is not None else 2e-4 / (n_features / 2**14) ** 0.5

    def rate_factor(self, tokens_before: int, n_rows: int) -> float:
        """Share of the peak rate for a batch of n_rows that comes after tokens_before tokens; in (0, 1]."""
        warmup, decay = self.warmup_fraction * self.n_tokens, self.decay_fraction * self.n_tokens
        rise = (tokens_before + n_rows) / warmup if warmup else 1.0
        fall = (self.n_tokens - tokens_before) / decay if decay else 1.0
        return min(1.0, rise, fall)

    def aux_width(self, d: int) -> int:
        """Dead features used by the auxiliary loss for each token."""
        return self.aux_k if self.aux_k is not None else max(1, d // 2)

    def dead_after(self) -> int:
        """Tokens without selection after which a feature counts as dead."""
        return self.dead_after_tokens if self.dead_after_tokens is not None else max(1, min(10**7, self.n_tokens // 20))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return to_json(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """From `to_dict`'s output.

        Raises:
            SAEError: a field is unknown, missing or out of range.
        """
        weights = values.get("group_weights", ())
        check(isinstance(weights, list | tuple), "group_weights", weights, "a list of numbers")
        return from_json(cls, {**values, "group_weights": tuple(weights)})
