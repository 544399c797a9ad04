"""The pictures of the page: previews of the study index as small WebP files, once a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dashboards.data import IMAGE_NAMES
from dashboards.encoding import mean_picture, picture
from dashboards.tables import read_table


class Pictures:
    """Previews of the studies on the page as WebP.

    Attributes:
        unreadable: previews that are no pictures.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "studies.parquet"
        self.unreadable = 0

    def of(
        self, numbers: Sequence[int], wanted: Mapping[int, set[str]] | None, side: int, quality: int
    ) -> list[dict[str, str]]:
        """Image name → base64 WebP for each study.

        Args:
            numbers: study numbers.
            wanted: study number → views besides the frontal; None takes every view.
            side: largest side in pixels.
            quality: of WebP, 0 to 100.
        """
        columns = ["study", *(f"preview_{name}" for name in IMAGE_NAMES)]
        table = read_table(self._path, columns, [("study", "in", list(numbers))]) if numbers else None
        found: dict[int, dict[str, str]] = {}
        for row in [] if table is None else table.to_pylist():
            names = IMAGE_NAMES if wanted is None else {"frontal"} | wanted.get(row["study"], set())
            stored = {name: row[f"preview_{name}"] for name in IMAGE_NAMES if name in names and row[f"preview_{name}"]}
            encoded = {name: self._encode(png, side, quality) for name, png in stored.items()}
            found[row["study"]] = {name: text for name, text in encoded.items() if text}
        return [found.get(number, {}) for number in numbers]

    def mean_frontal(self, numbers: Sequence[int], side: int, quality: int) -> tuple[str | None, int]:
        """The mean of the frontal views as base64 WebP, and how many there were."""
        table = (
            read_table(self._path, ["study", "preview_frontal"], [("study", "in", list(numbers))]) if numbers else None
        )
        previews = [] if table is None else [png for png in table["preview_frontal"].to_pylist() if png]
        return mean_picture(previews, side, quality)

    def _encode(self, png: bytes, side: int, quality: int) -> str | None:
        text = picture(png, side, quality)
        self.unreadable += text is None
        return text
