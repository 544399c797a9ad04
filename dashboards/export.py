"""Writing the dashboard: one HTML file that holds its data, pictures and scripts, and opens without a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboards.build import LEVELS, Page, PageBuilder
from radiology.errors import InputError

DEFAULT_MAX_BYTES = 25_000_000
#: The first levels are taken only if the page stays this small; it opens faster and travels by mail.
COMFORTABLE_BYTES = 10_000_000
_COMFORT_LEVELS = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExportSummary:
    """What an export came to.

    Attributes:
        path: the written file.
        bytes: its size.
        features, features_total: features with a page in the file, and in the run; all are listed.
        studies, studies_total: studies in the file and in the run.
        withheld_studies: studies left out because they are credentialed (or of unknown terms).
        missing: what the run does not hold yet, in words.
        notes: what was left out or made smaller, in words.
    """

    path: Path
    bytes: int
    features: int
    features_total: int
    studies: int
    studies_total: int
    withheld_studies: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def export_html(
    run_dir: Path,
    out: Path,
    *,
    sae_name: str = "main",
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_features: int | None = None,
    features: Sequence[int] | None = None,
    with_credentialed_data: bool = False,
    progress: Progress | None = None,
) -> ExportSummary:
    """Write the dashboard of a run to one file; a half-done run gives a page that says what is missing.

    To keep under ``max_bytes`` the page holds fewer contexts a feature, then smaller pictures, then fewer features; it
    says so.

    Args:
        run_dir: the run directory.
        out: the HTML file; replaced in one step.
        sae_name: which autoencoder of the run.
        max_bytes: upper bound of the file's size.
        max_features: pages of at most this many features, those with the best labels first; the list has all.
        features: pages of these features instead.
        with_credentialed_data: show text and pictures of credentialed studies. Such a file must not be passed on.
        progress: called with (features done, features in all), anew for each attempt at a size.

    Raises:
        InputError: no run, no such feature, a bound that no page can keep, or a folder that is not there.
    """
    if max_features is not None and max_features < 1:
        raise InputError(f"max_features: {max_features} must be at least 1")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is no folder; make it first, or choose another file for the dashboard")
    builder = PageBuilder(run_dir, sae_name, with_credentialed_data, max_features, features)
    page = smallest_fitting(builder, max_bytes, progress)
    data = page.html.encode("utf-8")
    _write(out, data)
    return ExportSummary(
        path=out,
        bytes=len(data),
        features=page.features,
        features_total=page.features_total,
        studies=page.studies,
        studies_total=page.studies_total,
        withheld_studies=builder.shown.n_withheld,
        missing=tuple(f"{one.what} {one.why}" for one in builder.run.missing),
        notes=tuple(page.notes),
    )


def smallest_fitting(builder: PageBuilder, max_bytes: int, progress: Progress | None = None) -> Page:
    """The richest page that keeps the bound.

    Raises:
        InputError: not even a page without contexts and with one feature keeps it.
    """
    for number, level in enumerate(LEVELS):
        bound = min(max_bytes, COMFORTABLE_BYTES) if number < _COMFORT_LEVELS else max_bytes
        page = builder.page(level, bound, progress)
        if page is not None:
            return page
    n_features = builder.n_features
    while n_features > 1:
        n_features //= 2
        page = builder.page(LEVELS[-1], max_bytes, progress, n_features)
        if page is not None:
            return page
    raise InputError(f"max_bytes: {max_bytes} is too small; the empty page alone has {builder.empty_bytes()} bytes")


def _write(out: Path, data: bytes) -> None:
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
