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
    seed: SeedOption = 0,
    redo: RedoOption = False,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Measure an SAE: reconstruction, sparsity, loss recovered, and which findings it recovered.

    The truth table gives, for each finding, the AUROC of the best single feature (chosen on one half of the patients,
    measured on the other) on image tokens, on the last prompt token and on the report before it names the finding,
    beside a linear probe on the residual and beside the same for a model with random weights. It needs studies with
    labels; docs/evaluation.md says how to read it. Written to RUN/sae/NAME/evaluation.json.

    \b
    Examples:
      interp eval-sae --run runs/mine --make-control
      interp eval-sae --run runs/mine --finding cardiomegaly --finding pacemaker
    """
    from interp.control import make_control as control
    from interp.run import Run
    from interp.stages.eval_sae import EvalSAEConfig, eval_sae
    from interp.tables import print_evaluation

    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    config = EvalSAEConfig(name=sae, findings=tuple(finding or ()), seed=seed, loss_studies=loss_studies)
    with opened.writing("interp eval-sae"):
        if make_control:
            control(opened, [sae], work(redo))
        eval_sae(opened, config, work(redo=True))
    print_evaluation(opened, sae)
