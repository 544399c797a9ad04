"""``interp eval-sae``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RedoOption,
    RunOption,
    SAEOption,
    SeedOption,
    TrustOption,
    opening,
    work,
)


def eval_sae(
    run: RunOption,
    sae: SAEOption = "main",
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", metavar="KEY", help="Findings of the truth table.  [default: all labelled]"),
    ] = None,
    make_control: Annotated[
        bool,
        typer.Option(
            "--make-control", help="First cache a random-weight twin of the model and train the same SAE on it."
        ),
    ] = False,
    loss_studies: Annotated[
        int, typer.Option("--loss-studies", metavar="N", min=0, help="Studies for loss recovered; 0 leaves it out.")
    ] = 48,
    report_studies: Annotated[
        int,
        typer.Option(
            "--report-studies", metavar="N", min=0, help="Reports written with and without the SAE; 0 leaves it out."
        ),
    ] = 16,
    seeds_of: Annotated[
        list[str] | None,
        typer.Option(
            "--seeds-of",
            metavar="NAME",
            help="SAEs of other seeds to compare with.  [default: those of the run with the same settings]",
        ),
    ] = None,
    seed: SeedOption = 0,
    redo: RedoOption = False,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Measure an SAE: what it rebuilds, what the model loses by it, and which findings it recovered.

    Every figure has an interval over patients and stands beside the same figure for a model with random weights, or the
    output says that there is no such control and how to make it. The truth table gives, for each finding, the AUROC of
    the best single feature and of the best few (chosen on one half of the patients, measured on the other) on image
    tokens, on the last prompt token and on the report before it names the finding, beside a linear probe on the
    residual. It needs studies with labels. Greedy reports are written with the SAE's reconstruction in the residual's
    place, to see which findings they keep. SAEs of other seeds show how stable the features are. docs/evaluation.md
    says how to read it all. Written to RUN/sae/NAME/evaluation.json.

    \b
    Examples:
      interp eval-sae --run runs/mine --make-control
      interp eval-sae --run runs/mine --finding cardiomegaly --finding pacemaker
      interp eval-sae --run runs/mine --sae main-s0 --seeds-of main-s1 --seeds-of main-s2
    """
    from interp.evaluation.control import make_control as control
    from interp.evaluation.stability import other_seeds
    from interp.evaluation.tables import print_evaluation
    from interp.run import Run
    from interp.stages.eval_sae import EvalSAEConfig, discard_older, eval_sae

    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    opened.require(f"train-sae:{sae}")
    seeds = tuple(dict.fromkeys(seeds_of)) if seeds_of else other_seeds(opened, sae)
    config = EvalSAEConfig(
        name=sae,
        findings=tuple(finding or ()),
        seed=seed,
        loss_studies=loss_studies,
        report_studies=report_studies,
        seeds_of=seeds,
    )
    with opened.writing("interp eval-sae"):
        if make_control:
            control(opened, [sae, *seeds], work(redo))
        discard_older(opened, sae)
        eval_sae(opened, config, work(redo=True))
    print_evaluation(opened, sae)
