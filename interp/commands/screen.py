"""``interp screen``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    PairsFromOption,
    RunOption,
    SAEOption,
    SeedOption,
    TrustOption,
    numbers,
    opening,
    work,
)


def screen(
    run: RunOption,
    sae: SAEOption = "main",
    finding: Annotated[
        list[str] | None, typer.Option("--finding", metavar="KEY", help="Finding that features should change.")
    ] = None,
    goal: Annotated[
        str,
        typer.Option("--goal", metavar="present|absent", help="present brings the finding in, absent takes it out."),
    ] = "present",
    feature: Annotated[
        list[int] | None, typer.Option("--feature", metavar="F", help="Candidates.  [default: every live feature]")
    ] = None,
    pairs: Annotated[
        int, typer.Option("--pairs", metavar="N", min=1, help="Pairs of reports in each teacher-forced pass.")
    ] = 4,
    pairs_from: PairsFromOption = None,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="Best features of each way that write reports.")
    ] = 8,
    group: Annotated[
        int, typer.Option("--group", metavar="N", min=1, help="Best features of each way that are steered together.")
    ] = 10,
    studies: Annotated[
        int, typer.Option("--studies", metavar="N", min=2, help="Studies to write reports about; halved.")
    ] = 40,
    strength: Annotated[
        str, typer.Option("--strength", metavar="A,B…", help="Of the reports, in units of the feature's mean map.")
    ] = "2,4",
    shape: Annotated[
        str, typer.Option("--shape", metavar="map|uniform", help="map: as each feature's own mean activation map.")
    ] = "map",
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Find the features that change what reports say about a finding.

    Every feature is pushed in a teacher-forced pass: how much likelier becomes a report with the finding? That is a
    sieve, and rewards directions that break the text. The best by each measure, and those whose label names the
    finding, write reports; ranked by how many reach the goal with nothing else changed, on one half of the patients,
    and reported on the other. At last the best of each way are steered together, beside random groups. Written to
    RUN/sae/NAME/steering/screen-FINDING.parquet. Stopped, it goes on.

    \b
    Examples:
      interp screen --run runs/mine --finding cardiomegaly
      interp screen --run runs/mine --finding pacemaker --finding pulmonary_edema --keep 12
    """
    from interp.run import Run
    from interp.stages.screen import screen, screen_config
    from interp.steering_tables import print_screening

    if not finding:
        raise typer.BadParameter("name at least one finding, e.g. cardiomegaly", param_hint="--finding")
    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    opened.require(f"index:{sae}")
    for key in finding:
        config = screen_config(
            opened,
            key,
            studies,
            goal=goal,
            name=sae,
            pairs=pairs,
            source=pairs_from or "",
            strengths=numbers(strength, "--strength"),
            shape=shape,
            keep=keep,
            group=group,
            only=tuple(feature or ()),
            seed=seed,
        )
        with opened.writing("interp screen"):
            result = screen(opened, config, work(redo=True))
        print_screening(opened, config, result.summary)
