from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from dashboards.pictures import Pictures


def test_pictures_come_in_the_order_asked_with_the_views_wanted(run_dir: Path) -> None:
    pictures = Pictures(run_dir)
    every = pictures.of([3, 0, 1], None, 32, 60)
    assert [sorted(one) for one in every] == [["frontal", "lateral"], ["frontal"], ["frontal", "lateral"]]
    wanted = pictures.of([3, 0, 1], {1: {"lateral"}}, 32, 60)
    assert [sorted(one) for one in wanted] == [["frontal"], ["frontal"], ["frontal", "lateral"]]
    assert pictures.of([], None, 32, 60) == []
    assert pictures.unreadable == 0


def test_a_broken_preview_is_counted(fresh_run: Path) -> None:
    path = fresh_run / "studies.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("preview_frontal")
    broken = [b"broken"] * len(table)
    pq.write_table(table.set_column(place, table.schema.field(place), [broken]), path)
    pictures = Pictures(fresh_run)
    assert pictures.of([0], None, 32, 60) == [{}]
    assert pictures.unreadable == 1
    assert pictures.mean_frontal([0, 1], 32, 60) == (None, 0)
