"""Where on a picture a feature fires, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Share of the peaks that must lie in one part of the picture for it to be named.
_MIN_SHARE = 0.75
#: Pictures that show left and right apart.
FRONTAL_LIKE = ("frontal", "prior_frontal")


@dataclass(frozen=True)
class Place:
    """Where most peaks lie on frontal pictures: side of the patient and zone, ``None`` where they are spread."""

    side: str | None
    zone: str | None

    def __str__(self) -> str:
        """``patches left lower``, or empty."""
        parts = [part for part in (self.side, self.zone) if part]
        return f"patches {' '.join(parts)}" if parts else ""


def place_of(firing: pd.DataFrame) -> Place:
    """The place of firing image contexts; the patient's left is at the viewer's right, lateral ones have no side."""
    frontal = firing[firing["image"].isin(FRONTAL_LIKE) & firing["row"].notna()]
    if len(frontal) == 0 or len(frontal) < len(firing) / 2:
        return Place(None, None)
    down = (frontal["row"].to_numpy(float) + 0.5) / frontal["map_rows"].to_numpy(float)
    across = (frontal["col"].to_numpy(float) + 0.5) / frontal["map_cols"].to_numpy(float)
    return Place(
        _named({"left": across > 0.55, "right": across < 0.45, "middle": (across >= 0.35) & (across <= 0.65)}),
        _named({"upper": down < 1 / 3, "lower": down > 2 / 3, "mid": (down >= 1 / 3) & (down <= 2 / 3)}),
    )


def _named(parts: dict[str, np.ndarray]) -> str | None:
    for name, inside in parts.items():
        if inside.mean() >= _MIN_SHARE:
            return name
    return None
