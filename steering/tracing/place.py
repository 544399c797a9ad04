"""What a causal map says about a place: where to steer and train by default, and where nothing can come of it.

An activation can tell a finding apart perfectly and still change no word, because whatever writes the report has read
it already, or never reads it there. The map knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from activations.hooks import canonical_site
from steering.interventions.spec import SCOPES, SteeringSpec
from steering.schema import CAUSAL_MAP_COLUMNS, CAUSAL_MAP_FILE
from steering.tables import read_table

#: A place whose effect has its whole interval under this share carries nothing of the finding.
MIN_EFFECT = 0.05
#: A site still carries the finding whole if it has this share of the largest effect of its kind.
WHOLE = 0.9
#: The image has been read, at least in part, where the interval of its effect lies below this share.
STILL_ALL = 0.95


class NoCausalEffect(UserWarning):
    """A spec points at a place at which the causal map shows no effect on its finding."""


@dataclass(frozen=True)
class Place:
    """A site and token scope with its effect, mean over the findings that were asked for."""

    site: str
    scope: str
    effect: float


def read_causal_map(run: Path) -> pd.DataFrame | None:
    """The causal map of a run directory; ``None`` if none was drawn."""
    path = run / "trace" / CAUSAL_MAP_FILE
    return read_table(path, CAUSAL_MAP_COLUMNS) if path.is_file() else None


def best_site(causal_map: pd.DataFrame, sites: Sequence[str] | None = None) -> Place | None:
    """Where an autoencoder should read: the deepest site at which the prompt still carries the findings whole.

    "Whole" is at least :data:`WHOLE` of the largest effect of a prompt scope on the map. The deepest, since what lies
    there is nearest to the words. Tokens of the report count only where no prompt scope has an effect: after the last
    block they carry everything by construction. ``None`` if nothing has an effect of :data:`MIN_EFFECT`.

    Args:
        sites: choose among these, for instance the cached ones.
    """
    carrying = [cell for cell in _means(causal_map, None, sites) if cell.effect >= MIN_EFFECT]
    cells = [cell for cell in carrying if cell.scope != "generated"] or carrying
    if not cells:
        return None
    top = max(cell.effect for cell in cells)
    order = {site: number for number, site in enumerate(dict.fromkeys(causal_map["site"]))}
    whole = [cell for cell in cells if cell.effect >= WHOLE * top]
    return max(whole, key=lambda cell: (order[cell.site], cell.effect))


def best_scope(causal_map: pd.DataFrame, site: str, key: str | None = None) -> Place | None:
    """The token scope with the largest effect at a site, on one finding if the map has it, else over all its findings.

    ``None`` if the map does not have the site.
    """
    cells = _means(causal_map, key, [site]) or _means(causal_map, None, [site])
    return cells[0] if cells else None


def place_warnings(spec: SteeringSpec, key: str, causal_map: pd.DataFrame) -> list[str]:
    """What is wrong with the place of a spec, in sentences; empty if the finding is carried there.

    A spec is warned about if the interval of every of its sites and token scopes lies below :data:`MIN_EFFECT` for the
    finding. Nothing is said of findings and sites that are not on the map.
    """
    places = {(part.site, scope) for part in spec.resolved if part.tokens for scope in part.tokens.scopes}
    cells = zip(causal_map["site"], causal_map["scope"], strict=True)
    here = np.array([cell in places for cell in cells], dtype=bool)
    rows = causal_map[here & (causal_map["key"] == key) & causal_map["effect"].notna()]
    if len(rows) < len(places) or not (rows["high"] < MIN_EFFECT).all():
        return []
    shown = ", ".join(f"{row.scope} {row.effect:.2f} ({row.low:.2f}–{row.high:.2f})" for row in rows.itertuples())
    better = _means(causal_map, key, None)
    advice = ""
    if better and better[0].effect >= MIN_EFFECT:
        deepest = best_site(causal_map[causal_map["key"] == key]) or better[0]
        advice = f"; it is carried at {deepest.site} on {deepest.scope} ({deepest.effect:.2f})"
    sites = ", ".join(spec.by_site)
    return [
        f"the causal map shows no effect of {sites} on {key}: {shown}, all below {MIN_EFFECT:g}; what is steered there "
        f"cannot reach the report{advice}"
    ]


def read_blocks(causal_map: pd.DataFrame) -> dict[str, str]:
    """For each finding the first decoder block that reads it from the image.

    That is the first ``language.L`` after which the image tokens no longer carry all of it: the upper bound of their
    effect lies below :data:`STILL_ALL`. Findings that are never read so are left out.
    """
    rows = causal_map[(causal_map["scope"] == "prompt.image") & causal_map["site"].str.startswith("language.")]
    found: dict[str, str] = {}
    for key, site, high in rows[["key", "site", "high"]].itertuples(index=False, name=None):
        if high < STILL_ALL and key not in found:
            found[key] = site
    return found


def _means(causal_map: pd.DataFrame, key: str | None, sites: Sequence[str] | None) -> list[Place]:
    """Mean effect over findings of every site × scope that can be steered, the largest first."""
    rows = causal_map[causal_map["scope"].isin(SCOPES)]
    if key is not None:
        rows = rows[rows["key"] == key]
    if sites is not None:
        rows = rows[rows["site"].isin([canonical_site(site) for site in sites])]
    means = rows.groupby(["site", "scope"], sort=False)["effect"].mean()
    cells = [Place(site, scope, float(effect)) for (site, scope), effect in means.items() if not math.isnan(effect)]
    return sorted(cells, key=lambda cell: -cell.effect)
