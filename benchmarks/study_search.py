"""Does search by features find studies that are alike? On the phantom the findings of every study are known.

Run: python benchmarks/study_search.py --run runs/demo            # a run of phantoms, indexed; minutes, no GPU

Every study with a finding is a query, all studies of other patients are the gallery. Of the ten nearest by each way:

- alike: mean overlap (Jaccard) of the findings that are present with those of the query.
- finding: share that has a finding of the query, averaged within findings and then over them.
- at a place: the query is the patch that the mask of a finding covers most (and the eight around it); the share that
  has this finding, averaged in the same way.

Ways: what the dashboard's page does (the twelve strongest features, or those at the place); all features; the mean
residual of the frontal image, or the residuals at the place, as they are and with the mean of all studies taken off;
features and residuals of the random-weight model; the picture itself. Chance is a gallery in random order. Intervals
are 95 % over query patients. No label is used in any search, and nothing was chosen by these figures.

Prints a table and writes it to benchmarks/results/study_search.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from activations import ActivationStore
from dashboards.app import similar
from dashboards.app.view import LiveRun, RunView
from interp.evaluation.control import control_of
from interp.evaluation.pooling import Pooled, encode_rows, pool
from interp.evaluation.token_sets import frontal_tokens
from interp.run import Run
from radiology.masks import patch_coverage
from radiology.phantom.factors import FINDING_KEYS

RESULTS = Path(__file__).parent / "results" / "study_search.json"
NEAREST, DRAWS, SEED = 10, 2000, 0
#: Likeness (S,) of all studies to a query; the larger, the nearer.
Way = Callable[[int], np.ndarray]
#: The same for a query at a patch.
PlaceWay = Callable[[int, int], np.ndarray]


def cosine_way(values_sd: np.ndarray, *, centred: bool = False) -> Way:
    """Cosine of one vector a study."""
    values_sd = values_sd - values_sd.mean(axis=0) if centred else values_sd
    unit_sd = values_sd / np.maximum(np.linalg.norm(values_sd, axis=1, keepdims=True), 1e-9)
    return lambda query: unit_sd @ unit_sd[query]


def page_way(view: RunView, n: int, grid: tuple[int, int]) -> PlaceWay:
    """What the page does; patch −1 is the whole study."""

    def likeness(query: int, patch: int) -> np.ndarray:
        asked = similar.Asked(study=query, patch=None if patch < 0 else patch, cols=grid[1])
        found = np.full(n, -1.0)
        for study, value in similar.ranked(view, asked):
            found[study] = value
        return found

    return likeness


class Places:
    """Residuals of the frontal image by study and patch."""

    def __init__(self, run: Run, site: str, grid: tuple[int, int]) -> None:
        self.grid = grid
        with ActivationStore(run.activations_dir) as store:
            rows = np.flatnonzero(frontal_tokens(store))
            study, row, col = (store.column(name)[rows].astype(np.int64) for name in ("study", "row", "col"))
            self.acts_spd = np.zeros((store.n_studies, grid[0] * grid[1], store.width(site)), dtype=np.float32)
            self.acts_spd[study, row * grid[1] + col] = store.read(site, rows)

    def way(self, *, centred: bool) -> PlaceWay:
        """Best cosine of the query's patch with the patch of another study at that place or around it."""
        acts = self.acts_spd - self.acts_spd.mean(axis=0) if centred else self.acts_spd
        unit = acts / np.maximum(np.linalg.norm(acts, axis=2, keepdims=True), 1e-9)

        def likeness(query: int, patch: int) -> np.ndarray:
            near = [one for one in similar.around(patch, self.grid[1]) if one < unit.shape[1]]
            found: np.ndarray = (unit[:, near] @ unit[query, patch]).max(axis=1)
            return found

        return likeness


def pooled(run: Run, name: str, n: int) -> Pooled:
    """Largest activation of every feature and mean residual on the frontal image."""
    site = str(run.config_of(f"train-sae:{name}")["site"])
    with ActivationStore(run.activations_dir) as store:
        mask = frontal_tokens(store)
        return pool(store, site, encode_rows(store, site, run.sae_named(name), mask), mask, n)


def share_way(found: Pooled) -> Way:
    """All features, each by its largest activation anywhere."""
    return cosine_way(found.features_max_sf / np.maximum(found.features_max_sf.max(axis=0), 1e-9))


def pictures(run: Run, n: int) -> np.ndarray:
    """Frontal previews at 32 × 32, (S, 1024)."""
    found = []
    for study in range(n):
        picture = run.study_index.preview(study, "frontal")
        assert picture is not None
        small = Image.fromarray(picture).resize((32, 32))
        found.append(np.asarray(small, dtype=np.float32).ravel())
    return np.stack(found)


class Gallery:
    """Who has what, and the measures."""

    def __init__(self, run: Run) -> None:
        frame = run.study_index.frame
        self.patients = frame["patient_id"].to_numpy()
        self.has_sk = np.array([[(labels or {}).get(key) == "present" for key in FINDING_KEYS]
                                for labels in frame["labels"]])  # fmt: skip
        self.queries = np.flatnonzero(self.has_sk.any(axis=1)).tolist()
        self.n = len(frame)

    def nearest(self, query: int, likeness_s: np.ndarray) -> np.ndarray:
        """The ten most alike of other patients; ties in the order of the run."""
        others = np.flatnonzero(self.patients != self.patients[query])
        return others[np.argsort(-likeness_s[others], kind="stable")[:NEAREST]]

    def alike(self, query: int, found: np.ndarray) -> float:
        own, other = self.has_sk[query], self.has_sk[found]
        return float(((own & other).sum(axis=1) / (own | other).sum(axis=1)).mean())

    def whole(self, way: Way) -> dict[str, Any]:
        """Both measures of a way of searching by whole studies."""
        alike, hits = [], []
        for query in self.queries:
            found = self.nearest(query, way(query))
            alike.append(self.alike(query, found))
            own = np.where(self.has_sk[query], self.has_sk[found].mean(axis=0), np.nan)
            hits.append(own)
        return {"alike": self._over_patients(np.array(alike)[:, None]),
                "finding": self._over_patients(np.array(hits))}  # fmt: skip

    def places(self, way: PlaceWay, asked: list[tuple[int, int, int]]) -> dict[str, Any]:
        """Share with the finding, of (query, patch, finding)."""
        hits = np.full((len(asked), len(FINDING_KEYS)), np.nan)
        for at, (query, patch, finding) in enumerate(asked):
            hits[at, finding] = self.has_sk[self.nearest(query, way(query, patch)), finding].mean()
        return {"place": self._over_patients(hits, [query for query, _, _ in asked])}

    def _over_patients(self, value_qk: np.ndarray, queries: list[int] | None = None) -> tuple[float, float, float]:
        """Mean within columns, then over them, with a bootstrap over the patients of the queries."""
        _, who = np.unique(self.patients[self.queries if queries is None else queries], return_inverse=True)
        n, columns = int(who.max()) + 1, value_qk.shape[1]
        told, total, count = ~np.isnan(value_qk), np.zeros((n, columns)), np.zeros((n, columns))
        np.add.at(total, who, np.nan_to_num(value_qk))
        np.add.at(count, who, told)
        rng = np.random.default_rng(SEED)
        weights = rng.multinomial(n, np.full(n, 1 / n), DRAWS)
        drawn = np.nanmean((weights @ total) / np.maximum(weights @ count, 1e-9), axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(np.mean(total.sum(axis=0) / np.maximum(count.sum(axis=0), 1))), float(low), float(high)


def asked_places(run: Run, grid: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(query, patch that the finding's mask covers most, finding) of every finding with a mask."""
    found = []
    for study in range(len(run.study_index)):
        for key, mask in run.study_index.masks(study).get("frontal", {}).items():
            if key in FINDING_KEYS:
                patch = int(patch_coverage(mask, *grid).argmax())
                found.append((study, patch, FINDING_KEYS.index(key)))
    return found


def measure(run: Run, name: str) -> list[dict[str, Any]]:
    """One row a way."""
    gallery = Gallery(run)
    live = LiveRun(run.path, name, False)
    grid = (int(run.model.grid[0]), int(run.model.grid[1]))
    control = control_of(run)
    site = str(run.config_of(f"train-sae:{name}")["site"])
    trained = pooled(run, name, gallery.n)
    page, places, asked = page_way(live.current(), gallery.n, grid), Places(run, site, grid), asked_places(run, grid)
    rng = np.random.default_rng(SEED)
    whole: dict[str, Way] = {
        "features, as the page does": lambda query: page(query, -1),
        "features, all": share_way(trained),
        "residual": cosine_way(trained.residual_mean_sd),
        "residual, centred": cosine_way(trained.residual_mean_sd, centred=True),
    }
    local: dict[str, PlaceWay] = {
        "features, as the page does": page,
        "residual": places.way(centred=False),
        "residual, centred": places.way(centred=True),
    }
    if control is not None:
        random, at = pooled(control, name, gallery.n), Places(control, site, grid)
        whole["random weights: features, all"] = share_way(random)
        whole["random weights: residual, centred"] = cosine_way(random.residual_mean_sd, centred=True)
        local["random weights: residual, centred"] = at.way(centred=True)
    whole["the picture, centred"] = cosine_way(pictures(run, gallery.n), centred=True)
    whole["chance"] = lambda query: rng.random(gallery.n)
    local["chance"] = lambda query, patch: rng.random(gallery.n)
    rows = []
    for way in whole:
        figures: Mapping[str, Any] = gallery.whole(whole[way])
        figures = {**figures, **(gallery.places(local[way], asked) if way in local else {})}
        rows.append({"way": way, "n": len(gallery.queries), "n_places": len(asked), **figures})
        print(_line(rows[-1]), flush=True)
    live.close()
    return rows


def _line(row: Mapping[str, Any]) -> str:
    def shown(name: str) -> str:
        return "{:.2f} ({:.2f}–{:.2f})".format(*row[name]) if name in row else "–"

    return f"{row['way']:36} {shown('alike'):>20} {shown('finding'):>20} {shown('place'):>20}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--sae", default="main")
    args = parser.parse_args()
    print(f"{'':36} {'alike':>20} {'finding':>20} {'at a place':>20}")
    RESULTS.write_text(json.dumps(measure(Run.open(args.run), args.sae), indent=1) + "\n")


if __name__ == "__main__":
    main()
