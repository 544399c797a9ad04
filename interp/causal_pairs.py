"""Pairs of studies that differ in a finding: phantom twins, or donors from the run's own studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.run import Run
from radiology.errors import InputError

if TYPE_CHECKING:
    from steering.tracing.pairs import Pair

SOURCES = ("phantom", "studies")


def pair_source(run: Run, asked: str = "") -> str:
    """Where pairs come from: what was asked for, else phantom twins for the phantom model and donors for any other.

    Raises:
        InputError: an unknown source.
    """
    if asked and asked not in SOURCES:
        raise InputError(f"pairs from {asked!r}: choose one of {', '.join(SOURCES)}")
    if asked:
        return asked
    return "phantom" if str(run.config_of("cache")["model"]).split(":")[0] == "phantom" else "studies"


def causal_pairs(
    run: Run, findings: Sequence[str], n: int, *, source: str = "", seed: int = 101
) -> dict[str, list[Pair]]:
    """``n`` pairs for each finding; with donors, up to ``n``.

    Raises:
        InputError: a finding that phantoms cannot switch, or for which no donor of the run fits.
    """
    if pair_source(run, source) == "phantom":
        from steering.tracing.pairs import phantom_pairs

        return phantom_pairs(findings, n, seed=seed)
    from steering.tracing.donors import donor_pairs

    return donor_pairs(run.studies, findings, n, seed=seed)
