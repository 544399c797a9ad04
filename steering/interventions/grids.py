"""Maps and masks on the patch grid: one for all studies, or one a study, so that a region follows the anatomy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steering.errors import SteeringError

if TYPE_CHECKING:
    from steering.interventions.positions import Places

Grid = tuple[tuple[float, ...], ...]

#: Stands for every study that has no grid of its own.
OTHERS = "*"


@dataclass(frozen=True)
class StudyGrids:
    """A grid a study: (study id, grid) pairs; a mapping is taken too. The id ``*`` stands for all other studies.

    A grid of zeros says that nothing is steered in that study; at least one must hold something else.
    """

    grids: tuple[tuple[str, Grid], ...]

    def __post_init__(self) -> None:
        pairs = self.grids.items() if isinstance(self.grids, Mapping) else self.grids
        checked = tuple((str(study), as_grid(grid, f"grid of study {study!r}", empty=True)) for study, grid in pairs)
        object.__setattr__(self, "grids", checked)
        shapes = {(len(grid), len(grid[0])) for _, grid in checked}
        if len(shapes) != 1 or not any(np.any(grid) for _, grid in checked):
            raise SteeringError(
                f"grids of studies: {len(checked)} given, of shapes {sorted(shapes)}; give at least one, all of one "
                "shape, and not all zero"
            )
        if len({study for study, _ in checked}) != len(checked):
            raise SteeringError("grids of studies: a study is named twice")

    @property
    def shape(self) -> tuple[int, int]:
        grid = self.grids[0][1]
        return len(grid), len(grid[0])

    def of(self, study_id: str, field: str) -> Grid:
        """The grid of a study.

        Raises:
            SteeringError: it has none, and there is no ``*``.
        """
        known = dict(self.grids)
        grid = known.get(study_id, known.get(OTHERS))
        if grid is None:
            raise SteeringError(f"{field}: no grid for study {study_id!r}; add one, or {OTHERS!r} for all others")
        return grid

    def to_json(self) -> dict[str, Grid]:
        return dict(self.grids)


Grids = Grid | StudyGrids


def as_grid(values: Any, field: str, top: float | None = None, *, empty: bool = False) -> Grid:
    """(rows, columns) numbers as nested tuples: finite, not negative, at most ``top``, not all 0 unless ``empty``."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SteeringError(f"{field}: not a (rows, columns) table of numbers") from error
    if array.ndim != 2 or not array.size:
        raise SteeringError(f"{field}: shape {array.shape}; (rows, columns) of the patch grid is needed")
    hollow = not empty and not array.any()
    if not np.isfinite(array).all() or (array < 0).any() or hollow or (top is not None and array.max() > top):
        limit = "" if top is None else f", at most {top:g}"
        raise SteeringError(f"{field}: values must be finite, not negative{limit}, and not all zero")
    return tuple(tuple(row) for row in array.tolist())


def as_grids(values: Any, field: str, top: float | None = None) -> Grids:
    """A grid, or a grid a study where a mapping is given."""
    if not isinstance(values, (Mapping, StudyGrids)):
        return as_grid(values, field, top)
    try:
        grids = values if isinstance(values, StudyGrids) else StudyGrids(tuple(values.items()))
    except SteeringError as error:
        raise SteeringError(f"{field}: {error}") from error
    if top is not None and max(np.max(grid) for _, grid in grids.grids) > top:
        raise SteeringError(f"{field}: values must be at most {top:g}")
    return grids


def shape_of(grids: Grids) -> tuple[int, int]:
    return grids.shape if isinstance(grids, StudyGrids) else (len(grids), len(grids[0]))


def peak(grids: Grids) -> float:
    """Largest value, over all studies."""
    if isinstance(grids, StudyGrids):
        return max(float(np.max(grid)) for _, grid in grids.grids)
    return float(np.max(grids))


def table_for(grids: Grids, study_ids: Sequence[str], field: str) -> np.ndarray:
    """The values for a batch, float32: (rows, columns), or (B, rows, columns) where each study has its own.

    Raises:
        SteeringError: a study of the batch that has none.
    """
    if isinstance(grids, StudyGrids):
        return np.stack([np.asarray(grids.of(study, field), dtype=np.float32) for study in study_ids])
    return np.asarray(grids, dtype=np.float32)


def on_grid(table: Grid | np.ndarray, places: Places) -> np.ndarray:
    """Value of a table of :func:`table_for` at each element's patch, 0 for text; float32, shape of the places."""
    values_grid = np.asarray(table, dtype=np.float32)
    inside = places.row >= 0
    values = np.zeros(places.row.shape, dtype=np.float32)
    patch = (places.row[inside], places.col[inside])
    values[inside] = values_grid[(places.study[inside], *patch) if values_grid.ndim == 3 else patch]
    return values


def maps_of_similar(maps: Mapping[str, Any], similar: Mapping[str, Sequence[str]]) -> StudyGrids:
    """For each study the mean of the maps of the studies that are similar to it.

    Args:
        maps: study id → (rows, columns) activation map of the feature in that study.
        similar: study id → ids of studies like it, for instance its neighbours in an image search among studies with
            the finding; a study's own map is used only if it is named.

    Raises:
        SteeringError: a study without similar ones, or a similar one without a map.
    """
    means: dict[str, Grid] = {}
    for study, others in similar.items():
        missing = [other for other in others if other not in maps]
        if missing or not others:
            raise SteeringError(
                f"maps of similar studies: study {study!r} has "
                + (f"the similar study {missing[0]!r}, which has no map" if missing else "no similar study")
            )
        mean = np.mean([np.asarray(maps[other], dtype=np.float64) for other in others], axis=0)
        means[study] = as_grid(mean, f"map of study {study!r}", empty=True)
    return StudyGrids(tuple(means.items()))
