"""Trying ways of steering on one series of phantoms and reporting them on another; see `benchmarks/steering.py`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from activations.models.base import ModelInputs, ReportModel
from benchmarks.steering_ways import OF_FEATURES, WITH_GROUPS, Candidate, Ground, candidates
from interp.demo import DemoConfig
from interp.evaluation.token_sets import frontal_tokens
from interp.run import Run
from interp.stages.base import Work
from interp.stages.cache import cache
from interp.stages.train_sae import train_sae
from radiology.phantom.cases import phantom_case, study_of
from radiology.phantom.factors import FIELD_OF_KEY
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering import Reading, SteeringError, SteeringSpec, phantom_pairs, steer
from steering.experiments.controls import FeaturePool, in_random_direction, random_group
from steering.experiments.design import Goal, at_strength
from steering.experiments.reports import leaves_room, reaches
from steering.methods.contrast import contrasts
from steering.methods.fields import counterfactual_field, kept_share, mean_field
from steering.reading import phantom_reader, related
from steering.statistics import bootstrap_mean

SITE, NAME = "language.2", "main"
EARLY_SITES = ("language.0", "language.1")
GOALS: tuple[Goal, ...] = ("present", "absent")
MAX_OFF_TARGET, MAX_PARSE_FAILURES, MAX_RANDOM, AIM = 0.03, 0.02, 0.05, 0.8
SELECT_SERIES, REPORT_SERIES, PAIR_SERIES = 21, 24, 23
RANDOM = 5
BATCH = 32


@dataclass(frozen=True)
class Rates:
    """Shares of n studies; ``off_target`` is of (study, other finding), among readable reports."""

    hit: float
    clean: float
    off_target: float
    parse_failures: float
    n: int
    clean_n: tuple[bool, ...]
    hit_n: tuple[bool, ...]

    @property
    def excess(self) -> float:
        """How far beyond the budget, 0 inside it."""
        return max(self.off_target - MAX_OFF_TARGET, 0) + max(self.parse_failures - MAX_PARSE_FAILURES, 0)


class Trials:
    """Steered reports of studies whose unsteered report leaves room for the goal, against those unsteered reports."""

    def __init__(self, model: ReportModel, sae: MatryoshkaSAE, key: str, goal: Goal, series: int, n: int) -> None:
        self._model, self._sae, self._key, self._goal = model, sae, key, goal
        self.studies: list[Study] = []
        self._before: list[Reading] = []
        for some in _batches(_labelled(series, key, goal == "absent")):
            for study, reading in zip(some, self._read(model.encode_batch(some)), strict=True):
                if leaves_room(reading, key, goal):
                    self.studies.append(study)
                    self._before.append(reading)
            if len(self.studies) >= n:
                break
        del self.studies[n:], self._before[n:]
        self._inputs = model.encode_batch(self.studies)

    def of(self, candidate: Candidate, strength: float) -> Rates:
        if candidate.spec is None:
            asked = [_prompted(study, str(candidate.prompt)) for study in self.studies]
            return self._rates(self._read(self._model.encode_batch(asked)))
        return self.steered(at_strength(candidate.spec, strength))

    def steered(self, spec: SteeringSpec) -> Rates:
        try:
            with steer(self._model, self._sae, spec):
                return self._rates(self._read(self._inputs))
        except SteeringError as error:
            if "no token was changed" not in str(error):
                raise
            return self._rates(self._before)

    def _read(self, inputs: ModelInputs) -> list[Reading]:
        return [phantom_reader(generation.text) for generation in self._model.generate(inputs)]

    def _rates(self, after: Sequence[Reading]) -> Rates:
        hits, clean, changed, failed = [], [], [], 0
        vocabulary = {key for reading in (*self._before, *after) for key in reading.findings}
        others = [key for key in vocabulary if not related(self._key, key)]
        for old, new in zip(self._before, after, strict=True):
            hits.append(reaches(new, self._key, self._goal))
            failed += not new.parse_ok
            moved = sum((old.findings.get(k) == "present") != (new.findings.get(k) == "present") for k in others)
            if new.parse_ok:
                changed.append(moved / len(others))
            clean.append(hits[-1] and not moved)
        return Rates(
            float(np.mean(hits)),
            float(np.mean(clean)),
            float(np.mean(changed)) if changed else 0.0,
            failed / len(after),
            len(after),
            tuple(clean),
            tuple(hits),
        )


def _labelled(series: int, key: str, present: bool) -> Iterator[Study]:
    """Phantoms with or without the finding that have one image: nothing else shows what the push takes away."""
    number = 0
    while True:
        case = phantom_case(series, number)
        number += 1
        alone = not case.has_lateral and case.prior_factors is None
        if alone and (case.factors.labels().get(key) == "present") == present:
            yield study_of(case)


def _batches(studies: Iterator[Study]) -> Iterator[list[Study]]:
    while True:
        yield [next(studies) for _ in range(BATCH)]


def _prompted(study: Study, words: str) -> Study:
    return replace(study, indication=f"{study.indication} {words}" if study.indication else words)


@dataclass(frozen=True)
class Tried:
    """A candidate at a strength on the select series; ``by_chance``: clean share of random directions (``absent``)."""

    candidate: Candidate
    strength: float
    rates: Rates
    by_chance: float = 0.0


def choose(found: Sequence[Tried]) -> Tried:
    """Most clean reports beyond chance inside the budget, the weaker push at a tie; else the nearest to the budget."""
    inside = [one for one in found if one.rates.excess == 0]
    if inside:
        return max(inside, key=lambda one: (one.rates.clean - one.by_chance, one.rates.hit, -one.strength))
    return min(found, key=lambda one: (one.rates.excess, one.by_chance - one.rates.clean))


def prepare(path: Path, studies: str) -> Run:
    """The demo's cache and autoencoder, unless the run has them."""
    run = Run.create(path)
    if run.is_done("cache") and run.is_done(f"train-sae:{NAME}"):
        return run
    demo = replace(DemoConfig(late=None), studies=studies, sites=(SITE,))
    with run.writing("benchmarks/steering.py"):
        cache(run, demo.cache, Work())
        train_sae(run, demo.sae, Work())
    return run


def grounds(run: Run, keys: Sequence[str]) -> dict[str, Ground]:
    """What the ways are made from, for each finding that the autoencoder recovers."""
    sae, model = run.sae_named(NAME), run.model
    select_s, _ = run.study_index.halves(0)
    with run.store as store:
        found = contrasts(store, SITE, sae, keys, run.study_index.label_matrix(keys), select_s, model.grid)
        rows = np.flatnonzero(frontal_tokens(store) & select_s[store.column("study")])
        rows = np.sort(np.random.default_rng(0).choice(rows, 4000, replace=False))
        x_nd = store.read(SITE, rows)
        patch_n = store.column("row")[rows].astype(np.int64) * model.grid[1] + store.column("col")[rows]
        tops_f = np.zeros(sae.n_features, dtype=np.float32)
        for chunk in store.iter_chunks(SITE, columns=()):
            codes = sae.encode(_tensor(chunk.acts_nd))
            np.maximum.at(tops_f, codes.indices.numpy(), codes.values.float().numpy())
    pairs = phantom_pairs(keys, 24, seed=PAIR_SERIES)
    out = {}
    for key, contrast in found.items():
        best = float(np.nanmax(contrast.auroc_f))
        print(f"{key:24s} best feature AUROC {best:.3f}  with {contrast.n_with}  without {contrast.n_without}")
        if best >= 0.9:
            field = counterfactual_field(model, SITE, pairs[key])
            early = {site: _difference(model, site, key) for site in EARLY_SITES}
            out[key] = Ground(SITE, sae, contrast, field, early, tops_f, x_nd, patch_n)
            print(f"{'':24s} counterfactual field: rank 12 holds {kept_share(field, 12):.2f}", flush=True)
    return out


def _difference(model: ReportModel, site: str, key: str, n: int = 64) -> np.ndarray:
    """Mean residual of phantoms with the finding minus that of phantoms without it."""
    some = (list(islice(_labelled(PAIR_SERIES, key, present), n)) for present in (True, False))
    with_pd, without_pd = (mean_field(model, site, studies) for studies in some)
    return with_pd - without_pd


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(values)


def one_goal(
    ground: Ground, model: ReportModel, goal: Goal, n_select: int, n_report: int, n_control: int
) -> list[dict[str, Any]]:
    """Choose on one series, report on the other: a row a way."""
    key = ground.contrast.key
    trying = Trials(model, ground.sae, key, goal, SELECT_SERIES, n_select)
    tried = [Tried(c, s, trying.of(c, s)) for c in candidates(ground, goal) for s in c.strengths]
    reporting = Trials(model, ground.sae, key, goal, REPORT_SERIES, n_report)
    controls = Trials(model, ground.sae, key, goal, REPORT_SERIES, n_control)
    rows = []
    for way in dict.fromkeys(one.candidate.way for one in tried):
        of_way = [one for one in tried if one.candidate.way == way]
        best = choose(_beyond_chance(trying, ground, of_way, goal))
        candidate, strength, before = best.candidate, best.strength, best.rates
        rates = reporting.of(candidate, strength)
        row = {"key": key, "goal": goal, "way": way, "variant": candidate.variant, "strength": strength}
        row |= {f"select_{name}": value for name, value in _plain(before).items()} | _plain(rates)
        row["clean_low"], row["clean_high"] = bootstrap_mean(np.array(rates.clean_n, dtype=float))
        row |= {"select_excess": before.excess, "select_by_chance": best.by_chance}
        row |= _controls(ground, controls, candidate, strength, goal)
        rows.append(row)
    return rows


def _beyond_chance(trying: Trials, ground: Ground, tried: Sequence[Tried], goal: Goal) -> list[Tried]:
    """Any push suppresses: for the goal absent the two cleanest of a way are tried beside a random direction."""
    if goal == "present" or tried[0].candidate.spec is None:
        return list(tried)
    width = ground.contrast.residual_with_pd.shape[1]
    best = sorted((one for one in tried if one.rates.excess == 0), key=lambda one: one.rates.clean)[-2:]
    found = []
    for one in best:
        assert one.candidate.spec is not None
        spec = in_random_direction(at_strength(one.candidate.spec, one.strength), width, 9)
        found.append(replace(one, by_chance=trying.steered(spec).clean))
    return found or list(tried)


def _plain(rates: Rates) -> dict[str, float]:
    return {k: v for k, v in asdict(rates).items() if not k.endswith("_n")}


def _controls(
    ground: Ground, reporting: Trials, candidate: Candidate, strength: float, goal: Goal
) -> dict[str, list[float]]:
    """Shares of reports that the controls bring to the goal: random directions, and random groups for groups."""
    if candidate.spec is None:
        return {"random_hit": [], "random_clean": [], "group_hit": [], "group_clean": []}
    width = ground.contrast.residual_with_pd.shape[1]
    spec = at_strength(candidate.spec, strength)
    random = [reporting.steered(in_random_direction(spec, width, (7, draw))) for draw in range(RANDOM)]
    groups = []
    if candidate.way in WITH_GROUPS:
        added = candidate.way == "group, difference maps"
        pool = _pool(ground, ground.contrast.difference_map if added else ground.contrast.own_map)
        groups = [reporting.steered(random_group(spec, ground.sae, pool, (8, draw))) for draw in range(RANDOM)]
    return {
        "random_hit": [r.hit for r in random],
        "random_clean": [r.clean for r in random],
        "group_hit": [r.hit for r in groups],
        "group_clean": [r.clean for r in groups],
    }


def _pool(ground: Ground, map_of: Callable[[int], np.ndarray]) -> FeaturePool:
    live = np.flatnonzero(ground.contrast.features_with_pf.max(axis=0) > 0)
    maps = {int(f): map_of(int(f)) for f in live if map_of(int(f)).any()}
    return FeaturePool({int(f): float(ground.tops_f[f]) for f in live}, maps)


def automatic(rows: pd.DataFrame) -> pd.DataFrame:
    """For each factor and goal the way by features that did best on the select series."""
    ours = rows[rows["way"].isin(OF_FEATURES)].copy()
    beyond = ours["select_clean"] - ours["select_by_chance"]
    ours["rank"] = list(zip(ours["select_excess"] == 0, beyond, strict=True))
    best = ours.sort_values("rank", kind="stable").groupby(["key", "goal"], sort=False).tail(1)
    return best.drop(columns="rank").assign(way="automatic: best of the groups and maps")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a way and goal: means over factors, and how many factors reach the aim."""
    out = []
    for (way, goal), of_way in rows.groupby(["way", "goal"], sort=False):
        inside = (of_way["off_target"] <= MAX_OFF_TARGET) & (of_way["parse_failures"] <= MAX_PARSE_FAILURES)
        reached = inside & (of_way["hit"] >= AIM)
        random, group = (_spread(of_way[name]) for name in ("random_hit", "group_hit"))
        out.append(
            {"way": way, "goal": goal, "factors": len(of_way), "on_target": of_way["hit"].mean()}
            | {"clean": of_way["clean"].mean(), "off_target": of_way["off_target"].mean()}
            | {"parse_failures": of_way["parse_failures"].mean(), "reach_aim": int(reached.sum())}
            | {"random": random[0], "random_max": random[1], "random_group": group[0], "random_group_max": group[1]}
        )
    return pd.DataFrame(out)


def _spread(draws: pd.Series) -> tuple[float, float]:
    """Mean and largest share over factors and draws; NaN where the control did not run."""
    values = [value for of_factor in draws for value in of_factor]
    return (float(np.mean(values)), max(values)) if values else (np.nan, np.nan)


def main(description: str) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--studies", default="phantom:n=640,seed=1")
    parser.add_argument("--findings", default=",".join(FIELD_OF_KEY))
    parser.add_argument("--select", type=int, default=16)
    parser.add_argument("--report", type=int, default=40)
    parser.add_argument("--controls", type=int, default=16, help="studies for each of the random directions and groups")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = prepare(options.run, options.studies)
    rows: list[dict[str, Any]] = []
    if options.json and options.json.is_file():  # goes on where it was stopped
        rows = json.loads(options.json.read_text())["rows"]
    done = {(row["key"], row["goal"]) for row in rows}
    begin = time.monotonic()
    for key, ground in grounds(run, options.findings.split(",")).items():
        for goal in [goal for goal in GOALS if (key, goal) not in done]:
            new = one_goal(ground, run.model, goal, options.select, options.report, options.controls)
            rows += new
            best = automatic(pd.DataFrame(new)).iloc[-1]
            where = f"{time.monotonic() - begin:6.0f} s  {key:24s} {goal:8s}"
            chosen = f"{best['variant']:>14s} × {best['strength']:g}"
            rates = f"on target {best['hit']:.2f}, clean {best['clean']:.2f}, off target {best['off_target']:.3f}"
            print(f"{where} {chosen}: {rates}", flush=True)
            if options.json:
                options.json.write_text(json.dumps({"argv": sys.argv[1:], "rows": rows}, indent=1, default=float))
    frame = pd.DataFrame(rows)
    table = summary(pd.concat([frame, automatic(frame)], ignore_index=True))
    print(table.to_string(index=False, float_format="{:.3f}".format))
