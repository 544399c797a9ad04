"""Choosing the contexts of every feature: where it fires most, across its range, and where it is quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from activations.roles import IMAGE_NAMES
from autointerp.catalogue import Catalogue
from autointerp.keys import first_of_each, is_among
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


#: What the codes of :class:`Chosen` stand for.
KINDS, HARDNESSES, SPLITS = tuple(Kind), tuple(Hardness), tuple(Split)
#: Features whose contexts are chosen before they are handed on.
_FEATURES_AT_ONCE = 128


@dataclass(frozen=True)
class Chosen:
    """c contexts, each array (c,): feature, unit, and places in KINDS, HARDNESSES (−1 for none) and SPLITS."""

    feature: np.ndarray
    unit: np.ndarray
    kind: np.ndarray
    hardness: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.feature)

    def __getitem__(self, part: slice) -> Chosen:
        return Chosen(*(getattr(self, field.name)[part] for field in fields(self)))


@dataclass(frozen=True)
class _Pool:
    """Units of one split and modality that the feature could have fired in, with its peaks there."""

    unit: np.ndarray
    peak: np.ndarray
    quiet: np.ndarray
    firing: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Units of one kind and split, with their hardness (its place in HARDNESSES) if they are hard negatives."""

    kind: Kind
    split: Split
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
        self._is_image = units.is_image
        self._n_studies = len(split_of_study)
        split = split_of_study[units.study]
        self._units_in = {
            (name, modality): np.flatnonzero((split == name) & (self._is_image == modality))
            for name in Split
            for modality in (True, False)
        }

    def choose(self, feature: int) -> Chosen:
        """The contexts of one feature; none if it never fires in a unit."""
        unit_m, value_m = self._peaks.of(feature)
        rng = np.random.default_rng((self._seed, feature))
        parts: list[_Part] = []
        if len(unit_m) == 0:
            return _collect(feature, parts)
        company_u, peak_u = self._company(feature), np.zeros(len(self._units), dtype=np.float32)
        peak_u[unit_m] = value_m
        image_m = self._is_image[unit_m]
        for is_image in (True, False):
            here = image_m == is_image
            if np.count_nonzero(here) < max(1, min(MIN_UNITS, MIN_SHARE * len(unit_m))):
                continue
            wanted = _frequent(self._group[unit_m[here]])
            for split in Split:
                unit_p = self._units_in[split, is_image]
                unit_p = unit_p[wanted[self._group[unit_p]]]
                pool = self._pool(unit_p, peak_u[unit_p], value_m[here], is_image)
                parts += self._of_pool(pool, split, is_image, company_u, rng)
        return _collect(feature, parts)

    def _company(self, feature: int) -> np.ndarray:
        """(u,) float32: how much of the usual company of a feature fires in each unit, weighted by Jaccard index."""
        company = np.zeros(len(self._units), dtype=np.float32)
        for neighbour in self._co_firing[feature]:
            company[self._peaks.of(neighbour["feature"])[0]] += neighbour["jaccard"]
        return company

    def _pool(self, unit_p: np.ndarray, peak_p: np.ndarray, value_m: np.ndarray, is_image: bool) -> _Pool:
        loudest_p = self._loudest_in_study(unit_p, peak_p) if is_image else peak_p
        silent = loudest_p == 0
        if np.count_nonzero(silent) >= 2 * self._per_kind:
            return _Pool(unit_p, peak_p, silent, peak_p > 0)
        strong, weak = _quantile(value_m, _STRONG_QUANTILE), _quantile(loudest_p, _WEAK_QUANTILE)
        if weak > MAX_FLOOR * strong:
            return _Pool(unit_p, peak_p, silent, peak_p > 0)
        quiet = loudest_p <= weak + QUIET_BELOW * (strong - weak)
        return _Pool(unit_p, peak_p, quiet, peak_p > weak + FIRING_ABOVE * (strong - weak))

    def _loudest_in_study(self, unit_p: np.ndarray, peak_p: np.ndarray) -> np.ndarray:
        loudest, study_p = np.zeros(self._n_studies, dtype=np.float32), self._units.study[unit_p]
        np.maximum.at(loudest, study_p, peak_p)
        return loudest[study_p]

    def _of_pool(
        self, pool: _Pool, split: Split, is_image: bool, company_u: np.ndarray, rng: np.random.Generator
    ) -> list[_Part]:
        n = self._per_kind
        firing = np.flatnonzero(pool.firing)
        ordered = pool.unit[firing[np.argsort(-pool.peak[firing], kind="stable")]]
        ordered = ordered[first_of_each(self._same[ordered])]
        top, rest = ordered[:n], ordered[n:]
        spread = rest[_evenly(len(rest), n)]
        quiet = pool.unit[pool.quiet]
        if len(quiet) > MAX_QUIET:
            quiet = np.sort(rng.choice(quiet, MAX_QUIET, replace=False))
        parts = [_Part(Kind.TOP, split, top), _Part(Kind.QUANTILE, split, spread)]
        if len(ordered) == 0 or len(quiet) == 0:
            return parts
        hard, hardness = self._hard(np.concatenate([top, spread]), quiet, is_image, company_u, rng)
        used = is_among(self._same[quiet], self._same[hard])
        left = rng.permutation(quiet[~used])
        random = left[first_of_each(self._same[left])[:n]]
        return [
            *parts,
            _Part(Kind.HARD_NEGATIVE, split, hard, hardness),
            _Part(Kind.RANDOM_NEGATIVE, split, random),
        ]

    def _hard(
        self,
        firing: np.ndarray,
        quiet: np.ndarray,
        is_image: bool,
        company_u: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        document, n, noise = self._units.document, self._per_kind, rng.random(len(quiet))
        same_q = self._same[quiet]
        if is_image:
            study = self._units.study[quiet]
            ranking = rank_images(self._catalogue, document[firing], document[quiet], study, noise, n)
        else:
            ranking = rank_sentences(self._catalogue, document[firing], document[quiet], noise)
        same_as_firing = is_among(same_q, self._same[firing])
        ranking[Hardness.CO_FIRING] = rank_co_firing(company_u[quiet], same_as_firing, noise)
        places, ways = take_in_turns(ranking, same_q, n)
        return quiet[places], np.array([HARDNESSES.index(way) for way in ways], dtype=np.int8)


def choose_blocks(
    selector: ContextSelector, n_features: int, progress: Callable[[int], None] | None = None
) -> Iterator[Chosen]:
    """The contexts of features 0 … n_features − 1, in that order, some features at a time.

    ``progress`` gets the number of features done.
    """
    for start in range(0, n_features, _FEATURES_AT_ONCE):
        block = range(start, min(start + _FEATURES_AT_ONCE, n_features))
        parts = [selector.choose(feature) for feature in block]
        yield Chosen(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Chosen)))
        if progress is not None:
            progress(block.stop)


def _collect(feature: int, parts: list[_Part]) -> Chosen:
    lengths = [len(part.unit) for part in parts]
    unit = np.concatenate([part.unit for part in parts]) if parts else np.empty(0, dtype=np.int64)
    hardness = np.full(len(unit), -1, dtype=np.int8)
    for part, end in zip(parts, np.cumsum(lengths), strict=True):
        if part.hardness is not None:
            hardness[end - len(part.unit) : end] = part.hardness
    kind, split = (
        np.repeat(np.array(codes, dtype=np.int8), lengths)
        for codes in ([KINDS.index(part.kind) for part in parts], [SPLITS.index(part.split) for part in parts])
    )
    return Chosen(np.full(len(unit), feature, dtype=np.int32), unit, kind, hardness, split)


def _frequent(group_m: np.ndarray) -> np.ndarray:
    """(groups,) bool: those that hold at least MIN_SHARE."""
    return np.bincount(group_m, minlength=_N_GROUPS) >= MIN_SHARE * len(group_m)


def _quantile(value_n: np.ndarray, q: float) -> float:
    """A quantile by linear interpolation, 0 of nothing; without what makes ``np.quantile`` slow on short arrays."""
    if len(value_n) == 0:
        return 0.0
    place = q * (len(value_n) - 1)
    low, high = int(place), min(int(place) + 1, len(value_n) - 1)
    ordered = np.partition(value_n, (low, high))
    return float(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def _evenly(size: int, n: int) -> np.ndarray:
    """Up to n places of ``size``, evenly spread."""
    if size <= n:
        return np.arange(size)
    return np.linspace(0, size - 1, n).round().astype(np.int64)
