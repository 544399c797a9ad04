"""Options of ``interp train-sae`` that set how an SAE is trained: one for each field of the recipe.

Their defaults stand in :class:`sae.config.TrainConfig`; an option that is not given leaves them alone.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interp.commands.options import numbers

OBJECTIVE = "Objective"
DEAD = "Dead features"
SCHEDULE = "Schedule and optimiser"
UNITS = "Start and units"
COST = "Devices, checkpoints, logs"


def _option(flag: str, metavar: str | None, text: str, panel: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


PrefixLossOption = Annotated[
    str | None,
    _option("--prefix-loss", "RULE", "mean or sum of the squared errors of all prefixes.  [default: mean]", OBJECTIVE),
]
GroupWeightsOption = Annotated[
    str | None,
    _option(
        "--group-weights", "W,…", "Weight of each prefix in the loss, first prefix first.  [default: 1]", OBJECTIVE
    ),
]
PrefixesOption = Annotated[
    str | None,
    _option(
        "--prefixes",
        "RULE",
        "fixed: those of --groups; random: as many, drawn for each step.  [default: fixed]",
        OBJECTIVE,
    ),
]
KStartOption = Annotated[
    int | None,
    _option(
        "--k-start", "N", "Features kept a token at the first step; falls linearly to --k.  [default: --k]", OBJECTIVE
    ),
]
KAnnealOption = Annotated[
    float | None,
    _option("--k-anneal", "SHARE", "Share of the tokens over which --k-start becomes --k.  [default: 0.1]", OBJECTIVE),
]
ThresholdBetaOption = Annotated[
    float | None,
    _option(
        "--threshold-beta",
        "X",
        "Decay of the moving average that gives the threshold.  [default: 0.99]",
        OBJECTIVE,
    ),
]
BandwidthOption = Annotated[
    float | None,
    _option(
        "--jumprelu-bandwidth",
        "X",
        "JumpReLU: band around a threshold in which it learns, in training units.  [default: 0.03]",
        OBJECTIVE,
    ),
]
SparsityOption = Annotated[
    float | None,
    _option("--jumprelu-sparsity", "X", "JumpReLU: weight of (L0 / k - 1)².  [default: 1]", OBJECTIVE),
]
WarmupOption = Annotated[
    float | None,
    _option("--warmup", "SHARE", "Share of the tokens over which the rate rises from 0.  [default: 0.02]", SCHEDULE),
]
DecayOption = Annotated[
    float | None,
    _option("--decay", "SHARE", "Share of the tokens at the end over which it falls to 0.  [default: 0.2]", SCHEDULE),
]
GradClipOption = Annotated[
    float | None,
    _option("--grad-clip", "X", "Largest norm of the whole gradient; 0 does not clip.  [default: 1]", SCHEDULE),
]
AuxKOption = Annotated[
    int | None,
    _option(
        "--aux-k",
        "N",
        "Dead features that are asked to explain each token's error; 0 asks none.  [default: width / 2]",
        DEAD,
    ),
]
AuxAlphaOption = Annotated[
    float | None,
    _option("--aux-alpha", "X", "Weight of this auxiliary loss.  [default: 1/32]", DEAD),
]
DeadAfterOption = Annotated[
    int | None,
    _option(
        "--dead-after",
        "N",
        "Tokens without being kept after which a feature is dead.  [default: --tokens / 20, at most 10 million]",
        DEAD,
    ),
]
BDecInitOption = Annotated[
    str | None,
    _option("--b-dec-init", "RULE", "mean or geometric_median of the first batch.  [default: mean]", UNITS),
]
NormalizeOption = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Train in units in which the median token lies 1 from b_dec, and convert back.  [default: normalize]",
        rich_help_panel=UNITS,
        show_default=False,
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="Type of the weights in the file: float32, bfloat16 or float16; they are trained in float32.",
        rich_help_panel=UNITS,
    ),
]
KernelsOption = Annotated[
    str | None,
    _option(
        "--kernels",
        "E+S",
        "How products are computed: float32 or bfloat16 (screens, then exact), a plus, and gather, dense or triton; "
        "measured: the fastest on the first batch.  [default: measured on a GPU, float32+gather on a CPU]",
        COST,
    ),
]
LogEveryOption = Annotated[
    int,
    typer.Option(
        "--log-every", metavar="N", min=1, help="Steps between two rows of metrics.parquet.", rich_help_panel=COST
    ),
]


#: Where a field of `TrainConfig` is called otherwise than the option.
_FIELDS = {
    "k_anneal": "k_anneal_fraction",
    "warmup": "warmup_fraction",
    "decay": "decay_fraction",
    "dead_after": "dead_after_tokens",
}


def recipe(*, activation: str, **given: Any) -> dict[str, Any]:
    """The fields of :class:`sae.config.TrainConfig` that the options set; what was not given is left out.

    Raises:
        typer.BadParameter: an option that would do nothing.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in ("jumprelu_bandwidth", "jumprelu_sparsity"):
        if name in chosen and activation != "jumprelu":
            _refuse(name, f"belongs to --activation jumprelu, not {activation}")
    if "threshold_beta" in chosen and activation != "batch_topk":
        _refuse("threshold_beta", f"belongs to --activation batch_topk, not {activation}")
    if "k_anneal" in chosen and "k_start" not in chosen:
        _refuse("k_anneal", "says how fast k falls from --k-start, which is not given")
    if "aux_alpha" in chosen and chosen.get("aux_k") == 0:
        _refuse("aux_alpha", "weighs the auxiliary loss, which --aux-k 0 turns off")
    if "group_weights" in chosen:
        chosen["group_weights"] = numbers(chosen["group_weights"], "--group-weights")
    if chosen.get("grad_clip") == 0:
        chosen["grad_clip"] = None
    return {_FIELDS.get(name, name): value for name, value in chosen.items()}


def _refuse(name: str, why: str) -> None:
    raise typer.BadParameter(why, param_hint="--" + name.replace("_", "-"))
