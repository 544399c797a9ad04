"""``interp trace``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    PairsFromOption,
    RunOption,
    TrustOption,
    opening,
    work,
)


def trace(
    run: RunOption,
    finding: Annotated[
        list[str] | None, typer.Option("--finding", metavar="KEY", help="Findings to trace.  [default: four of them]")
    ] = None,
    pairs: Annotated[
        int, typer.Option("--pairs", metavar="N", min=1, help="Counterfactual pairs for each finding.")
    ] = 8,
    site: Annotated[
        list[str] | None, typer.Option("--site", metavar="S", help="Sites.  [default: projector and all blocks]")
    ] = None,
    pairs_from: PairsFromOption = None,
    flips: Annotated[
        bool, typer.Option("--flips", help="Also generate and count reports that change sides (much slower).")
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Phantom series that the pairs come from.")
    ] = 101,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Find where the report reads what: a causal map of site × token role.

      Residuals of a study with a finding are put into the run on one without it: phantom twins, or two patients whose
      reports are made to differ in that finding only. Where that changes what the model would say, the site and the
      tokens carry the finding. Written to RUN/trace/causal_map.parquet; from then on train-sae and steer take their
      default site and tokens from it, and warn of places without an effect.

      \b
      Examples:
        interp trace --run runs/mine
        interp trace --run runs/mine --finding pacemaker --pairs 20 --flips
    interp trace --run runs/mimic --finding pleural_effusion:left --pairs-from studies
    """
    from interp.run import Run
    from interp.stages.trace import DEFAULT_FINDINGS, TraceConfig, trace
    from interp.tables import print_causal_map

    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    config = TraceConfig(tuple(finding or DEFAULT_FINDINGS), pairs, tuple(site or ()), flips, seed, pairs_from or "")
    with opened.writing("interp trace"):
        trace(opened, config, work(redo=True))
    print_causal_map(opened)
