"""``interp steer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RunOption,
    SAEOption,
    SeedOption,
    TrustOption,
    numbers,
    opening,
    work,
)

if TYPE_CHECKING:
    from interp.run import Run
    from steering import Experiment


def steer(
    run: RunOption,
    sae: SAEOption = "main",
    feature: Annotated[
        list[int] | None,
        typer.Option("--feature", metavar="F", help="Feature to steer; several are steered together."),
    ] = None,
    strength: Annotated[
        str, typer.Option("--strength", metavar="A,B…", help="In units of the feature's mean map or max activation.")
    ] = "2,4",
    finding: Annotated[
        str | None,
        typer.Option("--finding", metavar="KEY", help="What should change in reports.  [default: the label's concept]"),
    ] = None,
    goal: Annotated[
        str,
        typer.Option("--goal", metavar="present|absent", help="present brings the finding in, absent takes it out."),
    ] = "present",
    kind: Annotated[str, typer.Option("--kind", metavar="add|clamp", help="add or clamp.")] = "add",
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="map|uniform",
            help="map: like the feature's own mean activation map; uniform: all alike.  [default: map on images]",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens",
            metavar="SCOPES",
            help="prompt.image, prompt.text, generated (comma-separated) or all.  [default: by the causal map, else "
            "prompt.image]",
        ),
    ] = None,
    studies: Annotated[int, typer.Option("--studies", metavar="N", min=1, help="Studies to steer.")] = 24,
    random: Annotated[int, typer.Option("--random", metavar="N", min=1, help="Random directions as controls.")] = 5,
    random_groups: Annotated[
        int | None,
        typer.Option(
            "--random-groups",
            metavar="N",
            min=0,
            help="Groups of as many other features, each in its own map.  [default: 3 for several features, else 0]",
        ),
    ] = None,
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            metavar="kept|both",
            help="both: also without the earlier image and report, on studies that have one.",
        ),
    ] = "kept",
    grounded: Annotated[
        bool, typer.Option("--grounded", help="Grounded reports, half of them with the finding: how do boxes move?")
    ] = False,
    counterfactual: Annotated[
        int,
        typer.Option(
            "--counterfactual",
            metavar="N",
            min=0,
            help="Hold steering against the change by the image, on so many pairs that differ in the finding.",
        ),
    ] = 0,
    pairs_from: Annotated[
        str | None,
        typer.Option("--pairs-from", metavar="phantom|studies", help="Where these pairs come from, as in trace."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest report.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the experiment.  [default: from features and finding]"),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", metavar="FILE", help="An experiment as JSON, instead of all of the above.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Steer reports with features and measure what that did, beside controls.

    Studies are taken where there is room for the effect. Controls run at every strength: random directions of equal
    norm and shape, groups of other features, the wrong sign, and a feature of equal firing rate. Each report carries a
    proof of how many tokens were changed; if none was, that is an error. Each condition ends with a verdict: steers,
    steers with side effects, no better than random, breaks the text. Written to RUN/sae/NAME/steering/EXPERIMENT.

    Tokens are those that carry the finding on the causal map, if the run has one (interp trace); a place without any
    effect there gets a warning. Stopped, it goes on.

    \b
    Examples:
      interp steer --run runs/mine --feature 412 --strength 2,4 --finding cardiomegaly
      interp steer --run runs/mine --feature 412 --feature 97 --goal absent --strength 4 --finding cardiomegaly
      interp steer --run runs/mine --feature 412 --finding cardiomegaly --counterfactual 16
      interp steer --run runs/mine --spec experiment.json
    """
    from interp.run import Run
    from interp.stages.steer import SteerConfig, steer, steer_spec
    from interp.steering_tables import print_steering

    if (spec is None) == (not feature):
        raise typer.BadParameter("give either --feature or --spec", param_hint="--feature / --spec")
    if prior not in ("kept", "both"):
        raise typer.BadParameter(f"{prior!r}: choose kept or both", param_hint="--prior")
    strengths = numbers(strength, "--strength")
    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    opened.require(f"index:{sae}")
    if spec is not None:
        experiment = _read_spec(spec)
        ids = _studies(
            opened, experiment.key, experiment.goal, studies, seed, experiment.without_prior, experiment.grounded
        )
        with opened.writing("interp steer"):
            result = steer_spec(opened, experiment, ids, work(redo=True), sae, counterfactual, pairs_from or "")
    else:
        chosen = tuple(feature or ())
        key = finding or _labelled_finding(opened, sae, chosen[0])
        scopes = tokens or _default_tokens(opened, sae, key)
        config = SteerConfig(
            experiment=name or _name(chosen, key, goal),
            finding=key,
            groups={_condition(chosen): chosen},
            study_ids=tuple(_studies(opened, key, goal, studies, seed, prior == "both", grounded)),
            strengths=strengths if goal == "present" else tuple(-abs(value) for value in strengths),
            goal=goal,
            kind=kind,
            shape=shape or ("map" if scopes == "prompt.image" else "uniform"),
            tokens=tuple(scopes.split(",")),
            random=random,
            max_new_tokens=max_new_tokens,
            name=sae,
            random_groups=(3 if len(chosen) > 1 else 0) if random_groups is None else random_groups,
            without_prior=prior == "both",
            grounded=grounded,
            counterfactual=counterfactual,
            pairs_from=pairs_from or "",
        )
        with opened.writing("interp steer"):
            result = steer(opened, config, work(redo=True))
    print_steering([result.summary])


def _default_tokens(run: Run, sae: str, finding: str) -> str:
    """The token scope that the causal map favours, said on the screen; images without a map."""
    from interp.causal_defaults import default_tokens

    found = default_tokens(run, sae, finding)
    if found is None:
        return "prompt.image"
    typer.echo(found[1], err=True)
    return found[0]


def _studies(run: Run, key: str, goal: str, n: int, seed: int, with_prior: bool, both_sides: bool) -> list[str]:
    """Studies that leave room; with ``both_sides`` half of them have the finding already, so that boxes can move."""
    from interp.steering_targets import room_for

    if not both_sides:
        return room_for(run, key, goal, n, seed=seed, with_prior=with_prior)
    return [
        study
        for side, share in (("present", n - n // 2), ("absent", n // 2))
        for study in room_for(run, key, side, max(share, 1), seed=seed, with_prior=with_prior)
    ]


def _condition(features: tuple[int, ...]) -> str:
    return f"feature {features[0]}" if len(features) == 1 else f"{len(features)} features"


def _name(features: tuple[int, ...], finding: str, goal: str) -> str:
    shown = "-".join(str(feature) for feature in features[:4]) + ("-more" if len(features) > 4 else "")
    return f"{finding.replace(':', '-')}-{goal}-{shown}"


def _labelled_finding(run: Run, sae: str, feature: int) -> str:
    explanations = run.features_of(sae)[feature].explanations.to_dict("records")
    label: dict[str, Any] = next((row for row in explanations if isinstance(row["concept"], str)), {})
    concept, side = label.get("concept"), label.get("side")
    if not isinstance(concept, str):
        raise typer.BadParameter(
            f"the label of feature {feature} names no finding; say what should change, e.g. --finding cardiomegaly",
            param_hint="--finding",
        )
    return f"{concept}:{side}" if isinstance(side, str) else concept


def _read_spec(path: Path) -> Experiment:
    import json

    from radiology.errors import InputError
    from steering import Experiment

    try:
        return Experiment.from_json(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
