"""What pages say, without a browser: everything that is there, nothing that is hidden, and what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboards.app import view as view_module
from dashboards.app.routing import Router
from dashboards.app.view import Helpers, LiveRun


def text_of(page: Any) -> str:
    return json.dumps(page, cls=PlotlyJSONEncoder, ensure_ascii=False)


def pages(run: Path, helpers: Helpers | None = None, **options: Any) -> Router:
    return Router(LiveRun(run, "main", options.get("credentialed", False)), helpers or Helpers())


ADDRESSES = (
    ("/", ""), ("/features", ""), ("/feature/1", ""), ("/studies", ""), ("/study/study-003", ""), ("/steering", ""),
    ("/search", "?features=1,2"), ("/search", "?study=study-003"),
    ("/search", "?study=study-003&image=frontal&patch=1"),
    ("/history", ""), ("/history/patient-1", ""),
)  # fmt: skip


@pytest.mark.parametrize(("path", "query"), ADDRESSES)
def test_every_page_is_made(router: Router, path: str, query: str) -> None:
    text = text_of(router.page(path, query))
    assert '"H1"' in text
    assert "No such" not in text


@pytest.mark.parametrize(
    "path",
    ["/x", "/feature/99", "/feature/-1", "/feature/1e3", "/study/nobody", "/history/nobody", "/feature/../run.json"],
)
def test_what_is_not_there_is_said_so(router: Router, path: str) -> None:
    assert "No such" in text_of(router.page(path, ""))


def test_a_page_of_a_feature_shows_polarity_controls_and_proof(router: Router) -> None:
    text = text_of(router.page("/feature/1", ""))
    for shown in ("cardiomegaly absent", "machine-written label", "shuffled", "hard negatives", "beyond its controls",
                  "wrong_sign", "prompt_only", "Neighbours and nesting", "In outer groups"):  # fmt: skip
        assert shown in text


def test_reports_and_pictures_of_credentialed_studies_stay_hidden(app_run: Path) -> None:
    closed, opened = pages(app_run), pages(app_run, credentialed=True)
    assert "shows no study" in text_of(closed.page("/study/study-047", ""))
    assert "credentialed" in text_of(closed.page("/", ""))
    for path, query in ADDRESSES:
        text = text_of(closed.page(path, query))
        assert "study-047" not in text
        assert "heart is big in study 47" not in text
        assert "Fires where the report says" not in text, "reasoning may quote reports"
    assert "heart is big in study 47" in text_of(opened.page("/study/study-047", ""))
    assert "Fires where the report says" in text_of(opened.page("/feature/1", ""))


def test_real_radiographs_and_phantoms_are_marked(app_run: Path, router: Router) -> None:
    assert "mean nothing clinically" in text_of(router.page("/study/study-046", ""))
    assert "phantom: synthetic pictures" in text_of(router.page("/study/study-003", ""))
    _, ribbon = router, router.context().view.run["ribbon"]
    assert "Research use only" in ribbon


def test_similar_studies_say_why_and_contradictions_are_named(router: Router) -> None:
    text = text_of(router.page("/search", "?features=0"))
    nearest, against = text.split("Further contradictory cases")
    assert "likeness" in nearest
    assert "#0" in nearest
    assert "None." in against or "labels say absent" in against


def test_the_history_marks_what_changed(router: Router) -> None:
    text = text_of(router.page("/history/patient-1", ""))
    assert "in order of time" in text
    assert "resolved:" in text or "new:" in text
    assert "/study/study-003?finding=" in text


STEPS = [
    "studies.parquet", "activations", "trace", "sae/main/steering", "sae/main/labels/scores.parquet", "sae/main/labels",
    "sae/main/features/contexts.parquet", "sae/main/features/study_activations.parquet", "sae/main/features",
    "sae/main/evaluation.json", "sae/main/metrics.parquet", "sae/main/sae.safetensors", "sae", "run.json",
]  # fmt: skip


#: Of each sort of file one.
DAMAGED = ["studies.parquet", "sae/main/features/contexts.parquet", "sae/main/labels", "sae/main/steering", "run.json"]


@pytest.mark.parametrize(
    ("gone", "how"), [*((gone, "missing") for gone in STEPS), *((gone, "damaged") for gone in DAMAGED)]
)
def test_a_half_done_or_damaged_run_opens_and_names_the_command(
    app_run: Path, tmp_path: Path, gone: str, how: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(app_run, run)
    path = run / gone
    if how == "missing":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif path.is_dir():
        for file in path.rglob("*.*"):
            file.write_bytes(b"\x00damaged")
    else:
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    router = pages(run)
    shown = ("/", "/features", "/feature/1", "/study/study-003", "/steering")
    texts = [text_of(router.page(path, "")) for path in shown]
    assert all('"H1"' in text for text in texts)
    if gone != "sae/main/sae.safetensors":
        assert any("interp " in text for text in texts)
    if gone == "run.json":
        assert all("There is no run to show" in text for text in texts)


def test_an_empty_folder_and_another_version_open_with_a_page(tmp_path: Path, fresh_run: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "interp demo" in text_of(pages(tmp_path / "empty").page("/", ""))
    record = json.loads((fresh_run / "run.json").read_text())
    (fresh_run / "run.json").write_text(json.dumps(record | {"version": 2}))
    assert "version 2" in text_of(pages(fresh_run).page("/features", ""))


def test_tables_of_another_version_are_named(app_run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run = tmp_path / "run"
    shutil.copytree(app_run, run)
    path = run / "sae" / "main" / "features" / "features.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"interp.feature_table": b"9"}), path)
    text = text_of(pages(run).page("/features", ""))
    assert "is of version 9" in text
    assert "interp index" in text


def test_pages_follow_the_run(fresh_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_module, "SECONDS_BETWEEN_LOOKS", 0.0)
    router = pages(fresh_run)
    assert "demo: group" in text_of(router.page("/steering", ""))
    shutil.rmtree(fresh_run / "sae" / "main" / "steering")
    assert "interp steer" in text_of(router.page("/steering", ""))
    shutil.rmtree(fresh_run)
    assert "There is no run to show" in text_of(router.page("/", ""))


def test_live_steering_is_off_unless_asked_for(router: Router, app_run: Path) -> None:
    from dashboards.app.live import steer_result
    from radiology.errors import InputError

    asked = {"study": "study-003", "feature": "1", "strength": "2", "kind": "add"}
    assert "--live" in text_of(pages(app_run).page("/steering", ""))
    with pytest.raises(InputError, match="--live"):
        steer_result(pages(app_run).context(), asked)
    assert "36 image" in text_of(steer_result(router.context(), asked))
    for wrong in (
        {"study": "study-047"},
        {"feature": "99"},
        {"feature": "x"},
        {"strength": "inf"},
        {"strength": "99"},
        {"kind": "melt"},
    ):
        with pytest.raises(InputError):
            steer_result(router.context(), asked | wrong)


def test_planted_markup_is_only_ever_text(evil_app_run: Path, evil: str, helpers: Helpers) -> None:
    """Dash carries text as JSON strings; what could be markup must not be in the start page or in an address."""
    from dashboards.app.server import create_app

    page = create_app(evil_app_run).server.test_client().get("/", headers={"Host": "localhost"}).get_data(as_text=True)
    assert "<img" not in page
    text = text_of(pages(evil_app_run, helpers).page("/studies", ""))
    assert "study-000" in text
    assert 'href": "/study/study-000</script>' not in text
    assert "/study/study-000%3C%2Fscript%3E" in text


def review_of(page: Any) -> dict[str, Any]:
    """What the page of a study gives its review."""
    waiting = [json.loads(text_of(page))]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict) and one.get("data-widget") == "study":
            return dict(json.loads(one["data-content"]))
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
    raise AssertionError("no review on this page")


def test_a_study_shows_its_masks_and_what_lies_in_them(router: Router) -> None:
    review = review_of(router.page("/study/study-001", ""))
    assert {one["finding"]: list(one["images"]) for one in review["masks"]} == {
        "pleural_effusion:left": ["frontal"],
        "cardiomegaly": ["frontal", "lateral"],
    }
    assert review["sentences"][0]["masks"] == ["pleural_effusion:left"]
    effusion = next(one for one in review["features"] if one["concept"] == "pleural_effusion" and one["images"])
    assert effusion["masks"] == ["pleural_effusion:left"]
    assert effusion["inside"]["frontal"]["area"] == pytest.approx(19 * 14 / 48**2, abs=1e-4)


def test_masks_of_credentialed_studies_stay_hidden(app_run: Path) -> None:
    page = text_of(pages(app_run).page("/study/study-047", ""))
    assert "pleural_effusion:left" not in page
    assert "data-content" not in page
    assert review_of(pages(app_run, credentialed=True).page("/study/study-047", ""))["masks"]


def test_a_run_from_before_masks_opens_without_them(app_run: Path, tmp_path: Path) -> None:
    old = shutil.copytree(app_run, tmp_path / "old")
    path = old / "studies.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["masks"]), path)
    review = review_of(pages(old).page("/study/study-003", ""))
    assert review["masks"] == []
    assert review["images"]
    assert all(one["inside"] == {} for one in review["features"])


def test_the_callable_of_the_index_and_the_page_cut_sentences_alike() -> None:
    from dashboards.app.study_data import split_sentences

    text = "Heart 1.5 times too big. No effusion!\nLungs clear? Yes."
    assert split_sentences(text) == ["Heart 1.5 times too big.", "No effusion!", "Lungs clear?", "Yes."]
    assert split_sentences("") == []


def test_a_sentence_lights_its_features_and_the_report_is_held_against_them(
    router: Router, make_run: Callable[..., Path]
) -> None:
    from dashboards.app import study_data

    context = router.context()
    row = study_data.study_row(context.view, "study-000")
    assert row is not None
    features = study_data.features_of(context.view, 0)
    sentences = study_data.sentences_of(context, row)
    assert [one["text"] for one in sentences] == [
        "There is a small left pleural effusion.",
        "The heart is big in study 0.",
    ]
    assert sentences[0]["boxes"] == [[0.5, 0.5, 0.8, 0.9]]
    cut = study_data.sentences_of(context, row | {"crops": '{"frontal": [0.6, 0.0, 1.0, 0.8]}'})
    assert cut[0]["boxes"] == [pytest.approx([0.0, 0.625, 0.5, 1.0])], "moved onto the part that the preview shows"
    assert study_data.sentences_of(context, row | {"crops": '{"frontal": [0, 0, 0.5, 0.5]}'})[0]["boxes"] == []
    behind = {one["id"]: one["why"] for one in study_data.link_sentences(sentences, features)[0]}
    assert behind[3] == "fires in this sentence"
    assert 0 in behind, "labelled pleural effusion present, and fires in the image"
    assert 1 not in behind, "labelled with another finding"
    said = {one["finding"] for one in study_data.unsaid(features, sentences)}
    assert "pleural_effusion" not in said, "the report affirms it"
