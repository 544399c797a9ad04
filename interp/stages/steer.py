"""Stage ``steer``: an experiment with controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.plain import later
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from steering import Experiment

STAGE = "steer"
KINDS = ("add", "clamp")
#: What is stale together with the reports of an experiment.
_TABLES = (
    "side_effects.parquet",
    "verdicts.parquet",
    "counterfactual.parquet",
    "counterfactual-generations.parquet",
)


@dataclass(frozen=True)
class SteerConfig:
    """One experiment about one finding.

    Attributes:
        experiment: its folder under ``RUN/sae/NAME/steering``.
        finding, goal: what should change: ``present`` brings the finding into reports, ``absent`` takes it out.
        groups: condition → features that are steered together.
        strengths: in units of the feature's own mean map (shape ``map``) or max activation.
        kind: ``add`` or ``clamp``.
        shape: ``map`` pushes patch by patch like the feature's own mean activation map, ``uniform`` all alike.
        tokens: ``prompt.image``, ``prompt.text``, ``generated`` or ``all``.
        study_ids: studies to steer.
        random: random directions per condition and strength.
        wrong_sign, equal_rate: further controls.
        name: SAE of the run.
        random_groups: controls of as many other features, each in its own map.
        without_prior: run everything again without the earlier picture and report.
        grounded: ask for grounded reports, and measure how boxes move.
        counterfactual: pairs on which the change by the image is held against the change by steering; 0 is none.
        pairs_from: where they come from; empty is phantom twins for the phantom model, else donors of the run.
    """

    experiment: str
    finding: str
    groups: Mapping[str, tuple[int, ...]]
    study_ids: tuple[str, ...]
    strengths: tuple[float, ...] = (2.0, 4.0)
    goal: str = "present"
    kind: str = "add"
    shape: str = "map"
    tokens: tuple[str, ...] = ("prompt.image",)
    random: int = 5
    wrong_sign: bool = True
    equal_rate: bool = True
    max_new_tokens: int | None = None
    name: str = "main"
    extra: Mapping[str, Any] = field(default_factory=dict)
    random_groups: int = later(0)
    without_prior: bool = later(False)
    grounded: bool = later(False)
    counterfactual: int = later(0)
    pairs_from: str = later("")

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind: {self.kind!r} is not one of {list(KINDS)}")
        if "/" in self.experiment or not self.experiment.strip("."):
            raise InputError(f"experiment: {self.experiment!r} cannot be a folder name")
        if not self.study_ids:
            raise InputError("studies: none to steer")

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}:{self.experiment}"


def steer(run: Run, config: SteerConfig, work: Work) -> StageResult:
    """Write ``spec.json``, the reports and the tables of the experiment."""
    return _do(run, config, work, lambda: build_experiment(run, config))


def steer_spec(
    run: Run,
    experiment: Experiment,
    study_ids: Sequence[str],
    work: Work,
    name: str = "main",
    counterfactual: int = 0,
    pairs_from: str = "",
) -> StageResult:
    """The same for an experiment that a person wrote as JSON."""
    config = SteerConfig(
        experiment.name,
        experiment.key,
        {},
        tuple(study_ids),
        strengths=experiment.strengths,
        goal=experiment.goal,
        name=name,
        extra=experiment.to_json(),
        counterfactual=counterfactual,
        pairs_from=pairs_from,
    )
    return _do(run, config, work, lambda: experiment)


def _do(run: Run, config: SteerConfig, work: Work, build: Any) -> StageResult:
    folder = run.steering_dir(config.name, config.experiment)
    return work.do(
        run,
        config.stage,
        f"Steering {config.experiment}",
        config,
        [folder / name for name in ("spec.json", "generations.parquet", "effects.parquet")],
        lambda progress: _steer(run, config, build(), progress, work),
        also=[folder / name for name in _TABLES],
        after=[f"index:{config.name}"],
    )


def build_experiment(run: Run, config: SteerConfig) -> Experiment:
    """Specs with the maps and strengths of the feature table.

    Raises:
        InputError: a feature that does not exist or never fires on the image tokens that are to be steered.
    """
    from steering import Add, Clamp, Controls, Experiment, Tokens
    from steering.interventions.targets import build_spec

    rows = run.features_of(config.name)
    used = sorted({number for numbers in config.groups.values() for number in numbers})
    records = {number: rows[number].row for number in used}
    kind: Add | Clamp = (Add if config.kind == "add" else Clamp)(1.0, shape=config.shape)  # type: ignore[arg-type]
    image = "frontal" if config.shape == "map" else None
    sae = run.sae_named(config.name)
    conditions = {
        condition: build_spec(
            {tuple(numbers): kind},
            sae,
            site=run.config_of(f"train-sae:{config.name}")["site"],
            tokens=Tokens(config.tokens, image=image),
            maps={number: grid for number, row in records.items() if (grid := _mean_map(row)) is not None},
            max_activations={number: float(row["max_activation"]) for number, row in records.items()},
        )
        for condition, numbers in config.groups.items()
    }
    return Experiment(
        config.experiment,
        config.finding,
        conditions,
        goal=config.goal,  # type: ignore[arg-type]
        strengths=config.strengths,
        controls=Controls(
            config.random,
            wrong_sign=config.wrong_sign,
            equal_rate=config.equal_rate,
            random_groups=config.random_groups,
        ),
        max_new_tokens=config.max_new_tokens,
        without_prior=config.without_prior,
        grounded=config.grounded,
    )


def _mean_map(row: Mapping[str, Any]) -> np.ndarray | None:
    """The mean activation map of a feature, (rows, columns); None if it never fires on a frontal image."""
    if row["mean_map"] is None or not row["map_rows"]:
        return None
    return np.asarray(row["mean_map"], dtype=np.float64).reshape(int(row["map_rows"]), int(row["map_cols"]))


def _steer(run: Run, config: SteerConfig, experiment: Experiment, progress: Progress, work: Work) -> Mapping[str, Any]:
    import warnings

    import pandas as pd

    from steering import feature_pool, run_experiment
    from steering.schema import VERDICTS_FILE
    from steering.tables import read_json
    from steering.tracing.place import NoCausalEffect, read_causal_map

    model = run.model
    if not model.writes:
        raise InputError(f"model {model.name!r}: is an encoder and writes no reports that could be steered")
    folder = run.steering_dir(config.name, config.experiment)
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.read_parquet(run.features_dir(config.name) / "features.parquet", columns=_NEEDED).sort_values("feature")
    given: dict[str, Any] = {"firing_rates": table["firing_rate"].to_numpy()}
    if experiment.controls.random_groups:
        given["pool"] = feature_pool(table)
    sae = run.sae_named(config.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoCausalEffect)  # said below
        effects = run_experiment(
            model,
            sae,
            experiment,
            run.studies.pick(config.study_ids),
            folder,
            causal_map=read_causal_map(run.path),
            progress=progress,
            **given,
        )
    inert = read_json(folder / "spec.json").get("warnings", [])
    for text in inert:
        work.reporter.say(f"Warning: {text}")
    summary = {
        "finding": config.finding,
        "goal": config.goal,
        "studies": len(config.study_ids),
        "best": best_rows(effects),
        "verdicts": pd.read_parquet(folder / VERDICTS_FILE).to_dict("records"),
        "warnings": inert,
    }
    if config.counterfactual:
        with work.reporter.stage("Held against the change by the image") as shown:
            summary["counterfactual"] = _counterfactual(run, config, experiment, given, shown)
    return summary


_NEEDED = ["feature", "firing_rate", "max_activation", "mean_map", "map_rows", "map_cols"]


def _counterfactual(
    run: Run, config: SteerConfig, experiment: Experiment, given: Mapping[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """The rows of the steered arms, after ``counterfactual.parquet`` was written."""
    from interp.causal_pairs import causal_pairs
    from steering.experiments.counterfactual import counterfactual_check

    pairs = causal_pairs(run, [experiment.key], config.counterfactual, source=config.pairs_from, seed=_PAIR_SERIES)
    table = counterfactual_check(
        run.model,
        run.sae_named(config.name),
        experiment,
        pairs[experiment.key],
        run.steering_dir(config.name, config.experiment),
        progress=progress,
        **given,
    )
    return list(table[table["control"] == "none"].to_dict("records"))


#: Phantom series of the counterfactual pairs: neither the models nor any demo studies come from it.
_PAIR_SERIES = 103


def best_rows(effects: pd.DataFrame) -> list[dict[str, Any]]:
    """For each condition the strength with the largest on-target minus off-target rate, with its controls."""
    rows = []
    for _, group in effects[effects["control"] == "none"].groupby("condition", sort=False):
        best = group.assign(net=group["on_target"] - group["off_target"]).sort_values("net", ascending=False).iloc[0]
        same = effects[(effects["condition"] == best["condition"]) & (effects["strength"] == best["strength"])]
        columns = ("on_target", "on_target_low", "on_target_high", "off_target", "parse_failures", "n", "p_adjusted")
        row = {"condition": best["condition"], "strength": best["strength"]} | {c: best[c] for c in columns}
        for control, of_control in same[same["control"] != "none"].groupby("control"):
            row[f"{control}_on_target"] = of_control["on_target"].mean()
            row[f"{control}_on_target_max"] = of_control["on_target"].max()
        rows.append(row)
    return rows
