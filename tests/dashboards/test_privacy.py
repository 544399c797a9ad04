from __future__ import annotations

import pandas as pd

from dashboards.privacy import Shown

STUDIES = pd.DataFrame(
    {"study_id": ["a", "b", "c", "d", "e"], "terms": ["phantom", "open", "own", "credentialed", "unheard-of"]}
)


def test_credentialed_and_unknown_terms_are_withheld() -> None:
    shown = Shown(STUDIES, with_credentialed_data=False)
    assert set(shown.numbers) == {0, 1, 2}
    assert set(shown.ids) == {"a", "b", "c"}
    assert shown.n_withheld == 2
    assert not shown.free_text
    assert not shown.may_show_id("d")
    assert not shown.may_show_id("from elsewhere")


def test_the_flag_shows_everything() -> None:
    shown = Shown(STUDIES, with_credentialed_data=True)
    assert set(shown.numbers) == set(range(5))
    assert shown.n_withheld == 0
    assert shown.free_text
    assert shown.may_show_id("from elsewhere")


def test_open_studies_leave_nothing_to_withhold() -> None:
    shown = Shown(STUDIES[:3], with_credentialed_data=False)
    assert shown.free_text
    assert shown.may_show_id("from elsewhere")


def test_without_an_index_there_is_nothing_to_show() -> None:
    shown = Shown(None, with_credentialed_data=False)
    assert len(shown.numbers) == 0
    assert shown.n_withheld == 0
