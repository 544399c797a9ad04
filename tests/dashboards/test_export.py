"""The written file: what it holds, what it must not hold, and how large it may be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dashboards.build import FEATURES_PER_BLOCK
from dashboards.export import export_html
from radiology.errors import InputError

Block = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def whole(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    out = tmp_path_factory.mktemp("pages") / "whole.html"
    summary = export_html(run_dir, out)
    return out.read_text(), summary


def test_the_file_refers_to_nothing_outside_itself(whole: tuple[str, Any]) -> None:
    html, _ = whole
    markup = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", html, flags=re.DOTALL)
    assert not re.search(r"(?:src|href|action|data|poster)\s*=\s*[\"']?(?:https?:)?//", html, flags=re.IGNORECASE)
    assert not re.search(r"url\(\s*[\"']?(?!data:)|@import", html)
    assert "http:" not in markup
    assert "https:" not in markup
    assert not re.search(r"<(?:link|iframe|object|embed|base)\b", html)
    assert re.findall(r"https?://[^\"'\s]+", html) == ["http://www.w3.org/2000/svg"]


def test_every_feature_is_there_with_its_page(whole: tuple[str, Any], block: Block) -> None:
    html, summary = whole
    index = block(html, "index")
    assert index["features"]["id"] == list(range(12))
    assert (summary.features, summary.features_total) == (12, 12)
    assert [feature["id"] for feature in block(html, "features-0")] == list(range(12))
    assert index["page"]["features_per_block"] == FEATURES_PER_BLOCK


def test_contexts_and_examples_point_at_studies_on_the_page(whole: tuple[str, Any], block: Block) -> None:
    html, _ = whole
    index = block(html, "index")
    studies = block(html, "studies-0")
    assert [study["id"] for study in studies] == index["studies"]["id"]
    for feature in block(html, "features-0"):
        for context in (one for rows in feature["contexts"].values() for one in rows):
            assert 0 <= context["study"] < len(studies)
            if context["modality"] == "image":
                assert context["image"] in studies[context["study"]]["images"]
    for example in block(html, "steering-0")["examples"]:
        assert studies[example["study"]]["id"] == example["study_id"]


def test_masks_travel_with_the_pictures_that_they_lie_on(whole: tuple[str, Any], block: Block) -> None:
    first, second = block(whole[0], "studies-0")[:2]
    assert [one["finding"] for one in first["masks"]] == ["pleural_effusion:left", "cardiomegaly"]
    assert [list(one["images"]) for one in second["masks"]] == [["frontal"], ["frontal", "lateral"]]


def test_a_run_from_before_masks_is_exported_without(fresh_run: Path, tmp_path: Path, block: Block) -> None:
    path = fresh_run / "studies.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["masks"]), path)
    export_html(fresh_run, out := tmp_path / "old.html")
    assert [study["masks"] for study in block(out.read_text(), "studies-0")] == [[]] * 7


def test_the_summary_is_true(whole: tuple[str, Any], run_dir: Path) -> None:
    html, summary = whole
    assert summary.bytes == len(html.encode())
    assert (summary.studies, summary.studies_total, summary.withheld_studies) == (7, 8, 1)
    assert summary.missing == ()
    assert not list(summary.path.parent.glob(".*")), "no temporary file is left"


def test_credentialed_studies_need_the_flag(
    run_dir: Path, tmp_path: Path, whole: tuple[str, Any], block: Block
) -> None:
    def content(html: str) -> str:
        names = re.findall(r'type="application/octet-stream" id="((?:index|features|studies|steering)[^"]*)"', html)
        return str([block(html, name) for name in names])

    closed, _ = whole
    assert "study-007" not in content(closed), "the last study is credentialed"
    assert "Fires where the report says" not in content(closed), "reasoning may quote reports"
    assert "1 credentialed study is left out" in content(closed)
    out = tmp_path / "open.html"
    summary = export_html(run_dir, out, with_credentialed_data=True)
    assert "study-007" in content(out.read_text())
    assert "Fires where the report says" in content(out.read_text())
    assert summary.withheld_studies == 0
    assert any("must not be passed on" in note for note in summary.notes)


def test_planted_markup_never_reaches_the_file_as_markup(evil_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "evil.html"
    export_html(evil_run, out, with_credentialed_data=True)
    html = out.read_text()
    assert "pwned" not in html
    assert "onerror" not in html
    assert html.count("<script>") == 1


def test_the_bound_is_kept_by_showing_less(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_studies=40, n_features=60, contexts=8)
    rich = export_html(run, tmp_path / "rich.html")
    empty = 2_100_000
    bound = (rich.bytes + empty) // 2
    poor = export_html(run, tmp_path / "poor.html", max_bytes=bound)
    assert (tmp_path / "poor.html").stat().st_size == poor.bytes <= bound < rich.bytes
    assert poor.features == 60, "contexts and pictures go first"
    assert poor.notes != rich.notes
    with pytest.raises(InputError, match="too small"):
        export_html(run, tmp_path / "none.html", max_bytes=100_000)
    assert not (tmp_path / "none.html").exists()


def test_all_features_are_listed_and_the_best_labelled_or_chosen_ones_have_pages(
    run_dir: Path, tmp_path: Path, block: Block, whole: tuple[str, Any]
) -> None:
    out = tmp_path / "few.html"
    summary = export_html(run_dir, out, max_features=4)
    table, kept = block(whole[0], "index")["features"], block(out.read_text(), "index")["features"]
    best = sorted(range(11), key=lambda row: -table["score"][row])[:4]
    assert kept["id"] == table["id"]
    assert [row for row, page in enumerate(kept["page"]) if page is not None] == sorted(best)
    assert [feature["id"] for feature in block(out.read_text(), "features-0")] == sorted(best)
    assert (summary.features, summary.features_total) == (4, 12)
    assert "12 features are listed; 4 have a page" in summary.notes[0]
    chosen = export_html(run_dir, out, features=(7, 2))
    assert [feature["id"] for feature in block(out.read_text(), "features-0")] == [2, 7]
    assert "asked for" in chosen.notes[0]
    with pytest.raises(InputError, match="no feature 99"):
        export_html(run_dir, out, features=(99,))
    with pytest.raises(InputError, match="max_features"):
        export_html(run_dir, out, max_features=0)


STEPS = [
    "studies.parquet", "activations", "trace", "sae/main/steering", "sae/main/labels/scores.parquet", "sae/main/labels",
    "sae/main/features/contexts.parquet", "sae/main/features", "sae/main/evaluation.json", "sae/main/metrics.parquet",
    "sae",
]  # fmt: skip


@pytest.mark.parametrize("gone", STEPS)
def test_a_half_done_run_gives_a_page_that_says_what_is_missing(
    fresh_run: Path, tmp_path: Path, gone: str, block: Block
) -> None:
    path = fresh_run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    out = tmp_path / "half.html"
    summary = export_html(fresh_run, out)
    missing = block(out.read_text(), "index")["missing"]
    assert summary.missing
    assert all(one["command"].startswith("interp ") for one in missing)


def test_a_run_that_has_only_begun_gives_a_page(fresh_run: Path, tmp_path: Path, block: Block) -> None:
    for gone in ("studies.parquet", "activations", "trace", "sae"):
        path = fresh_run / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    out = tmp_path / "begun.html"
    summary = export_html(fresh_run, out)
    index = block(out.read_text(), "index")
    assert (summary.features, summary.studies) == (0, 0)
    assert {one["where"] for one in index["missing"]} >= {
        "truth",
        "causal",
        "labels",
        "steering",
        "features",
        "studies",
    }
    assert index["figures"]["causal"] == []


def test_a_folder_that_is_not_there_is_an_error(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        export_html(run_dir, tmp_path / "nowhere" / "page.html")


def test_progress_runs_to_the_end(run_dir: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export_html(run_dir, tmp_path / "page.html", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
