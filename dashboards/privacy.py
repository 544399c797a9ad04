"""Which studies may be shown: credentialed ones only when the caller says so."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from dashboards.data import OPEN_TERMS


class Shown:
    """The studies whose text and pictures may be on the page.

    Args:
        studies: the study index, or None.
        with_credentialed_data: show studies of any terms. Without it, a study of unknown terms is withheld too.
    """

    def __init__(self, studies: pd.DataFrame | None, with_credentialed_data: bool) -> None:
        if studies is None:
            self.numbers: Collection[int] = frozenset()
            self.ids: Collection[str] = frozenset()
            self.n_withheld = 0
        else:
            open_n = pd.Series(with_credentialed_data, studies.index) | studies["terms"].isin(OPEN_TERMS)
            self.numbers = frozenset(int(number) for number in studies.index[open_n])
            self.ids = frozenset(studies.loc[open_n, "study_id"])
            self.n_withheld = int((~open_n).sum())
        self._everything = with_credentialed_data

    @property
    def free_text(self) -> bool:
        """Whether texts that cannot be traced to one study (an explainer's reasoning) may be shown."""
        return self._everything or not self.n_withheld

    def may_show_id(self, study_id: str) -> bool:
        """Whether text of this study may be shown; studies outside the index follow :attr:`free_text`."""
        return study_id in self.ids or self.free_text
