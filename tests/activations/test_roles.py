from __future__ import annotations

import numpy as np
import pytest

from activations.filters import as_roles
from activations.roles import ROLE_PRESETS, Role, TokenTable, parse_roles
from radiology.errors import InputError


def test_names_and_presets_combine_in_numeric_order() -> None:
    assert parse_roles("report, image") == (Role.IMAGE, Role.REPORT)
    assert parse_roles(["image", "text"]) == tuple(sorted(ROLE_PRESETS["content"]))
    assert parse_roles("all") == tuple(Role)


def test_paper_keeps_neither_template_nor_image() -> None:
    assert not {Role.TEMPLATE, Role.IMAGE, Role.SPECIAL} & set(parse_roles("paper"))


def test_unknown_role_lists_what_there_is() -> None:
    with pytest.raises(InputError, match=r"'pixels'.*'image'.*'paper'"):
        parse_roles("pixels")


def test_roles_are_taken_as_names_presets_or_roles() -> None:
    assert as_roles("report") == as_roles([Role.REPORT]) == as_roles(["report"]) == (Role.REPORT,)


def test_patches_are_row_major_and_columns_have_one_length() -> None:
    table = TokenTable.concatenate([TokenTable.text([5, 6], Role.REPORT), TokenTable.patches(9, "lateral", 2, 3)])
    assert table.row.tolist() == [-1, -1, 0, 0, 0, 1, 1, 1]
    assert table.col.tolist() == [-1, -1, 0, 1, 2, 0, 1, 2]
    assert table.where([Role.IMAGE], "lateral").tolist() == [2, 3, 4, 5, 6, 7]
    assert table.where([Role.IMAGE], "frontal").size == 0
    with pytest.raises(ValueError, match="differ in length"):
        TokenTable(np.zeros(2), np.zeros(1), np.zeros(2), np.zeros(2), np.zeros(2))
