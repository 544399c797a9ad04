"""Choosing the contexts of every feature: where it fires most, across its range, and where it is quiet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from activations.roles import IMAGE_NAMES
from autointerp.catalogue import Catalogue
from autointerp.negatives import rank_co_firing, rank_images, rank_sentences, take_in_turns
from autointerp.peaks import Peaks
from autointerp.schema import ROLE_NAMES, Hardness, Kind, Split
from autointerp.units import Units

#: Contexts are taken from images, texts, roles and image names that hold at least this share of the firing units.
MIN_SHARE = 0.05
#: Images, and texts, also if they are so many, whatever their share: a feature may mean one thing on pictures and fire
#: far more often, and more strongly, on words. Fewer cannot tell a meaning from chance.
MIN_UNITS = 8
#: A feature that fires in (nearly) every unit has no silent ones. Then the way from a weak peak (5 % quantile) to a
#: strong one (95 %) is what counts: below the first share of it a unit is quiet, above the second it fires, and what
#: lies between is used for neither. If the weak ones are nearly as strong as the strong ones, no unit is quiet.
QUIET_BELOW, FIRING_ABOVE, MAX_FLOOR = 0.2, 0.4, 0.6
_WEAK_QUANTILE, _STRONG_QUANTILE = 0.05, 0.95
#: Negatives are chosen among so many quiet units, drawn from all of them: choosing must not take longer than indexing.
MAX_QUIET = 2048
_N_GROUPS = max(len(IMAGE_NAMES), len(ROLE_NAMES))


@dataclass(frozen=True)
class Chosen:
    """c contexts, each array (c,): feature, unit, kind, hardness (None unless a hard negative) and split."""

    feature: np.ndarray
    unit: np.ndarray
    kind: np.ndarray
    hardness: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.feature)


@dataclass(frozen=True)
class _Pool:
    """Units of one split and modality that the feature could have fired in, with its peaks there."""

    unit: np.ndarray
    peak: np.ndarray
    quiet: np.ndarray
    firing: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Units of one kind, with their hardness if they are hard negatives."""

    kind: Kind
    unit: np.ndarray
    hardness: np.ndarray | None = None


class ContextSelector:
    """Chooses contexts for one feature at a time; the choice for one does not depend on the others.

    Args:
        units, peaks: of the whole store.
        catalogue: of ``units.documents``.
        co_firing: for each feature those that usually fire with it, as in the column of that name.
        split_of_study: study number → split; empty for a study that no context is taken from.
        per_kind: contexts per kind, split and modality, at most.
        seed: of random negatives and ties.
    """

    def __init__(
        self,
        units: Units,
        peaks: Peaks,
        catalogue: Catalogue,
        co_firing: Sequence[Sequence[Mapping[str, Any]]],
        split_of_study: np.ndarray,
        per_kind: int,
        seed: int,
    ) -> None:
        self._units, self._peaks, self._catalogue, self._co_firing = units, peaks, catalogue, co_firing
        self._per_kind, self._seed = per_kind, seed
        self._group = np.where(units.is_image, units.image, units.role)
        # Two contexts of one feature must not say the same: one image a study, one of several near-equal sentences.
        self._same = np.where(units.is_image, units.study, catalogue.duplicate[units.document])
        self._n_studies = len(split_of_study)
        split = split_of_study[units.study]
        self._units_in = {
            (name, modality): np.flatnonzero((split == name) & (units.is_image == modality))
            for name in Split
            for modality in (True, False)
        }

    def choose(self, feature: int) -> Chosen:
        """The contexts of one feature; none if it never fires in a unit."""
        unit_m, value_m = self._peaks.of(feature)
        rng = np.random.default_rng((self._seed, feature))
        company = self._company(feature) if len(unit_m) else np.empty(0)
        parts: list[tuple[_Part, Split]] = []
        for is_image in (True, False):
            here = self._units.is_image[unit_m] == is_image
            if here.sum() < max(1, min(MIN_UNITS, MIN_SHARE * len(unit_m))):
                continue
            groups = _frequent(self._group[unit_m[here]])
            for split in Split:
                pool = self._pool(self._units_in[split, is_image], groups, unit_m[here], value_m[here], is_image)
                parts += [(part, split) for part in self._of_pool(pool, is_image, company, rng)]
        return _collect(feature, parts)

    def _company(self, feature: int) -> np.ndarray:
        """(u,) float32: how much of the usual company of a feature fires in each unit, weighted by Jaccard index."""
        company = np.zeros(len(self._units), dtype=np.float32)
        for neighbour in self._co_firing[feature]:
            company[self._peaks.of(neighbour["feature"])[0]] += neighbour["jaccard"]
        return company

    def _pool(
        self, unit_p: np.ndarray, groups: np.ndarray, unit_m: np.ndarray, value_m: np.ndarray, is_image: bool
    ) -> _Pool:
        wanted = np.zeros(_N_GROUPS, dtype=bool)
        wanted[groups] = True
        unit_p = unit_p[wanted[self._group[unit_p]]]
        peak_p = np.zeros(len(unit_p), dtype=np.float32)
        place_m = np.searchsorted(unit_p, unit_m)
        place_m[place_m == len(unit_p)] = 0
        inside = unit_p[place_m] == unit_m if len(unit_p) else np.zeros(len(unit_m), dtype=bool)
        peak_p[place_m[inside]] = value_m[inside]
        loudest_p = self._loudest_in_study(unit_p, peak_p) if is_image else peak_p
        silent = loudest_p == 0
        if silent.sum() >= 2 * self._per_kind:
            return _Pool(unit_p, peak_p, silent, peak_p > 0)
        strong = float(np.quantile(value_m, _STRONG_QUANTILE))
        weak = float(np.quantile(loudest_p, _WEAK_QUANTILE)) if len(loudest_p) else 0.0
        if weak > MAX_FLOOR * strong:
            return _Pool(unit_p, peak_p, silent, peak_p > 0)
        quiet = loudest_p <= weak + QUIET_BELOW * (strong - weak)
        return _Pool(unit_p, peak_p, quiet, peak_p > weak + FIRING_ABOVE * (strong - weak))

    def _loudest_in_study(self, unit_p: np.ndarray, peak_p: np.ndarray) -> np.ndarray:
        loudest, study_p = np.zeros(self._n_studies, dtype=np.float32), self._units.study[unit_p]
        np.maximum.at(loudest, study_p, peak_p)
        return loudest[study_p]

    def _of_pool(self, pool: _Pool, is_image: bool, company: np.ndarray, rng: np.random.Generator) -> list[_Part]:
        n = self._per_kind
        firing = np.flatnonzero(pool.firing)
        ordered = pool.unit[firing[np.argsort(-pool.peak[firing], kind="stable")]]
        ordered = ordered[_first_of_each(self._same[ordered])]
        top, rest = ordered[:n], ordered[n:]
        spread = rest[np.unique(np.linspace(0, len(rest) - 1, min(n, len(rest))).round().astype(np.int64))]
        quiet = pool.unit[pool.quiet]
        if len(quiet) > MAX_QUIET:
            quiet = np.sort(rng.choice(quiet, MAX_QUIET, replace=False))
        parts = [_Part(Kind.TOP, top), _Part(Kind.QUANTILE, spread)]
        if len(ordered) == 0 or len(quiet) == 0:
            return parts
        hard, hardness = self._hard(np.concatenate([top, spread]), quiet, is_image, company, rng)
        used = np.isin(self._same[quiet], self._same[hard])
        left = rng.permutation(quiet[~used])
        random = left[_first_of_each(self._same[left])[:n]]
        return [*parts, _Part(Kind.HARD_NEGATIVE, hard, hardness), _Part(Kind.RANDOM_NEGATIVE, random)]

    def _hard(
        self,
        firing: np.ndarray,
        quiet: np.ndarray,
        is_image: bool,
        company: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        document, n, noise = self._units.document, self._per_kind, rng.random(len(quiet))
        if is_image:
            study = self._units.study[quiet]
            ranking = rank_images(self._catalogue, document[firing], document[quiet], study, noise, n)
        else:
            ranking = rank_sentences(self._catalogue, document[firing], document[quiet], noise)
        same_as_firing = np.isin(self._same[quiet], self._same[firing])
        ranking[Hardness.CO_FIRING] = rank_co_firing(company[quiet], same_as_firing, noise)
        places, hardness = take_in_turns(ranking, self._same[quiet], n)
        return quiet[places], hardness


def choose_all(selector: ContextSelector, n_features: int, progress: Callable[[int], None] | None = None) -> Chosen:
    """The contexts of features 0 … n_features − 1, in that order; ``progress`` gets the number of features done."""
    parts: list[Chosen] = []
    for feature in range(n_features):
        parts.append(selector.choose(feature))
        if progress is not None:
            progress(feature + 1)
    return Chosen(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Chosen)))


def _collect(feature: int, parts: list[tuple[_Part, Split]]) -> Chosen:
    lengths = [len(part.unit) for part, _ in parts]
    unit = np.concatenate([part.unit for part, _ in parts]) if parts else np.empty(0, dtype=np.int64)
    hardness = np.full(len(unit), None, dtype=object)
    for (part, _), end in zip(parts, np.cumsum(lengths), strict=True):
        if part.hardness is not None:
            hardness[end - len(part.unit) : end] = part.hardness
    kind, split = (
        np.repeat(np.array(words, dtype=object), lengths)
        for words in ([part.kind.value for part, _ in parts], [split.value for _, split in parts])
    )
    return Chosen(np.full(len(unit), feature), unit, kind, hardness, split)


def _frequent(group_m: np.ndarray) -> np.ndarray:
    groups, counts = np.unique(group_m, return_counts=True)
    return groups[counts >= MIN_SHARE * len(group_m)]


def _first_of_each(key_n: np.ndarray) -> np.ndarray:
    """Places of the first of each distinct key, in order."""
    return np.sort(np.unique(key_n, return_index=True)[1])
