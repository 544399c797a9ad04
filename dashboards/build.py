"""Building the page of a run at a level of detail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from dashboards.data import OPEN_TERMS, RunData
from dashboards.encoding import pack
from dashboards.feature_page import FeaturePages, choose_contexts, feature_list
from dashboards.label_page import Labels, label_summary
from dashboards.overview_page import run_content, summary_content
from dashboards.page import assemble, packed_plotly
from dashboards.pictures import Pictures
from dashboards.privacy import Shown
from dashboards.steering_page import SteeringRecords, steering_note, steering_summary
from dashboards.study_masks import masks_of_studies
from dashboards.study_page import choose_studies, real_note, study_content, study_list, top_features
from radiology.errors import InputError

FEATURES_PER_BLOCK = 32
STUDIES_PER_BLOCK = 64
#: Pictures averaged for the ground behind mean maps, and its side in pixels.
MEAN_OF, MEAN_SIDE = 64, 128
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Level:
    """How much detail a page holds: contexts a feature and kind, side of pictures (pixels), WebP quality, views."""

    contexts: int
    side: int
    quality: int
    all_views: bool


#: From rich to poor. Without ``all_views``, a study has its frontal view and those that a context shows.
LEVELS: tuple[Level, ...] = (
    Level(8, 256, 80, True),
    Level(6, 224, 75, False),
    Level(5, 192, 70, False),
    Level(4, 160, 65, False),
    Level(3, 128, 60, False),
    Level(2, 112, 55, False),
    Level(1, 96, 45, False),
)


@dataclass(frozen=True)
class Page:
    """A page and what it holds."""

    html: str
    features: int
    features_total: int
    studies: int
    studies_total: int
    notes: list[str]


class _TooLargeError(Exception):
    """The blocks so far are already over the bound."""


class PageBuilder:
    """Reads a run once and builds its page at any level.

    Args:
        run_dir, sae_name: the run and which of its autoencoders.
        with_credentialed_data: show studies of any terms.
        max_features: pages of at most this many features; the list has all.
        features: pages of these features, instead of those with the best labels.

    Raises:
        InputError: the directory is no run, or has no feature of such a number.
    """

    def __init__(
        self,
        run_dir: Path,
        sae_name: str,
        with_credentialed_data: bool,
        max_features: int | None,
        features: Sequence[int] | None = None,
    ) -> None:
        self.run = run = RunData.open(run_dir, sae_name)
        self.shown = Shown(run.studies, with_credentialed_data)
        self._labels = Labels(run.explanations, run.scores, reasoning=self.shown.free_text)
        self._steering = SteeringRecords(run, self.shown)
        self._index = {
            "run": run_content(run),
            **summary_content(run),
            "labels": label_summary(run, self._labels),
            "steering": steering_summary(run),
            "steering_note": steering_note(run),
        }
        self._contexts = run.context_index
        self._ranked = _ranked(run.features, self._labels)
        self._chosen = features is not None
        if features is not None:
            unknown = sorted(set(features) - set(self._ranked))
            if unknown:
                raise InputError(f"features: the run has no feature {unknown[0]}")
            self._ranked = list(dict.fromkeys(int(one) for one in features))
        self.n_features = len(self._ranked) if max_features is None else min(max_features, len(self._ranked))

    def page(
        self, level: Level, max_bytes: int | None, progress: Progress | None = None, n_features: int | None = None
    ) -> Page | None:
        """The page at a level; None if it would be larger than ``max_bytes``."""
        features = self._features(self.n_features if n_features is None else n_features)
        blocks = _Blocks(max_bytes)
        try:
            page = self._fill(blocks, features, level, progress)
        except _TooLargeError:
            return None
        return page if max_bytes is None or len(page.html.encode("utf-8")) <= max_bytes else None

    def empty_bytes(self) -> int:
        """Size of the page without features and studies."""
        return len(assemble(self.run.run_dir.name, [("plotly", packed_plotly())]).encode("utf-8"))

    def _features(self, n: int) -> pd.DataFrame:
        features = self.run.features
        if features is None:
            return pd.DataFrame()
        return features.loc[sorted(self._ranked[:n])]

    def _fill(self, blocks: _Blocks, features: pd.DataFrame, level: Level, progress: Progress | None) -> Page:
        run, numbers = self.run, features["feature"] if len(features) else pd.Series(dtype=int)
        index = self._contexts
        mine = None if index is None else index[index["feature"].isin(numbers)]
        chosen, withheld = choose_contexts(mine, self.shown.numbers, level.contexts)
        studies = choose_studies(run, self.shown.numbers, {*chosen["study"].tolist(), *self._steering.referenced})
        rows = {number: row for row, number in enumerate(studies)}
        self._steering.place_studies(rows)
        blocks.add("plotly", packed_plotly())
        for number, record in enumerate(self._steering.records):
            blocks.add(f"steering-{number}", pack(record))
        pages = FeaturePages(
            features, run.contexts_path, chosen, withheld, self._labels, rows, self._steering.of_feature
        )
        top = top_features(_feature_blocks(blocks, pages, len(features), progress))
        pictures = Pictures(run.run_dir)
        self._add_studies(blocks, studies, _views(chosen), top, pictures, level)
        notes = self._notes(len(features), level, pictures.unreadable)
        mean = pictures.mean_frontal(self._typical(studies), min(level.side, MEAN_SIDE), level.quality)
        total = 0 if run.features is None else len(run.features)
        blocks.add("index", pack(self._index_content(features, studies, total, notes, mean)))
        html = assemble(run.run_dir.resolve().name, blocks.items)
        return Page(html, len(features), total, len(studies), _count(run.studies), notes)

    def _add_studies(
        self,
        blocks: _Blocks,
        studies: list[int],
        views: dict[int, set[str]],
        top: dict[int, list[dict[str, Any]]],
        pictures: Pictures,
        level: Level,
    ) -> None:
        frame = self.run.studies
        for start in range(0, len(studies), STUDIES_PER_BLOCK):
            numbers = studies[start : start + STUDIES_PER_BLOCK]
            shown = pictures.of(numbers, None if level.all_views else views, level.side, level.quality)
            masks = masks_of_studies(self.run.run_dir, numbers)
            contents = []
            for row, (number, images) in enumerate(zip(numbers, shown, strict=True), start=start):
                blocks.add(f"pictures-{row}", _picture_json(images))
                assert frame is not None  # numbers come from it
                record = frame.loc[number].to_dict() | {"masks": masks.get(number)}
                contents.append(study_content(self.run, record, list(images), top.get(row, [])))
            blocks.add(f"studies-{start // STUDIES_PER_BLOCK}", pack(contents))

    def _typical(self, studies: list[int]) -> list[int]:
        """Studies whose mean picture stands behind mean maps: phantoms where the model knows only these."""
        frame = self.run.studies
        if frame is None:
            return []
        terms = frame.loc[studies, "terms"]
        kept = terms.index[(terms == "phantom") | (not self.run.model_is_phantom)]
        return [int(number) for number in kept[:MEAN_OF]]

    def _index_content(
        self, features: pd.DataFrame, studies: list[int], total: int, notes: list[str], mean: tuple[str | None, int]
    ) -> dict[str, Any]:
        origin = f"from {self.run.shown_path}, SAE {self.run.sae_name}"
        groups = (self.run.cfg or {}).get("sae", {}).get("groups")
        frame = self.run.studies
        return {
            **self._index,
            "page": {
                "built": f"Written {datetime.now(UTC):%d %B %Y, %H:%M} UTC {origin}.",
                "features_per_block": FEATURES_PER_BLOCK,
                "studies_per_block": STUDIES_PER_BLOCK,
                "features_total": total,
                "studies_total": _count(frame),
                "groups": len(groups) if isinstance(groups, list) else None,
                "notes": notes,
                "real_note": real_note(self.run),
                "mean_frontal": {"picture": mean[0], "n": mean[1]},
            },
            "missing": [one.to_json() for one in self.run.missing],
            "features": feature_list(
                pd.DataFrame() if self.run.features is None else self.run.features,
                self._labels,
                features["feature"].tolist() if len(features) else [],
            ),
            "studies": study_list(frame.loc[studies]) if frame is not None else study_list(None),
        }

    def _notes(self, n_features: int, level: Level, unreadable: int) -> list[str]:
        total = _count(self.run.features)
        which = "those asked for" if self._chosen else "those with the best-scored labels"
        notes = [f"At most {level.contexts} contexts a feature and kind; pictures at most {level.side} pixels a side."]
        if n_features < total:
            notes.insert(0, f"All {total} features are listed; {n_features} have a page in this file: {which}.")
        n = self.shown.n_withheld
        if n:
            notes.append(
                f"{n} credentialed {'study is' if n == 1 else 'studies are'} left out: pictures, texts, contexts and "
                "generated reports, and with them the reasoning behind all labels."
            )
        elif self.run.studies is not None and not self.run.studies["terms"].isin(OPEN_TERMS).all():
            notes.append("This file holds credentialed data. It must not be passed on.")
        if unreadable:
            notes.append(f"{unreadable} previews in the study index could not be read as pictures.")
        return notes


class _Blocks:
    """Data blocks of a page, with a running size."""

    def __init__(self, max_bytes: int | None) -> None:
        self.items: list[tuple[str, str]] = []
        self._left = max_bytes

    def add(self, name: str, text: str) -> None:
        self.items.append((name, text))
        if self._left is not None:
            self._left -= len(text)
            if self._left < 0:
                raise _TooLargeError


def _feature_blocks(
    blocks: _Blocks, pages: FeaturePages, n: int, progress: Progress | None
) -> Iterable[list[dict[str, Any]]]:
    for start in range(0, n, FEATURES_PER_BLOCK):
        stop = min(n, start + FEATURES_PER_BLOCK)
        content = pages.block(start, stop)
        blocks.add(f"features-{start // FEATURES_PER_BLOCK}", pack(content))
        if progress is not None:
            progress(stop, n)
        yield content


def _picture_json(images: dict[str, str]) -> str:
    """JSON of image names and base64: nothing in it can end a script element."""
    return "{" + ",".join(f'"{name}":"{text}"' for name, text in images.items()) + "}"


def _views(chosen: pd.DataFrame) -> dict[int, set[str]]:
    """Study number → images that its chosen contexts show."""
    views: dict[int, set[str]] = {}
    for study, image in zip(chosen["study"], chosen["image"], strict=True):
        if isinstance(image, str):
            views.setdefault(int(study), set()).add(image)
    return views


def _ranked(features: pd.DataFrame | None, labels: Labels) -> list[int]:
    """Feature numbers, those with the best label against hard negatives first, then by studies they fire in."""
    if features is None:
        return []

    def rank(feature: int) -> tuple[float, int, int]:
        score = (labels.hard_score(feature) or {}).get("auc")
        return -(score if score is not None else -1.0), -int(features.at[feature, "n_studies"]), feature

    return sorted((int(feature) for feature in features.index), key=rank)


def _count(frame: pd.DataFrame | None) -> int:
    return 0 if frame is None else len(frame)
