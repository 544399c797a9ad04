from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture
from activations.models.base import ReportModel
from activations.norms import norm_table, outlier_limit
from activations.roles import ROLE_PRESETS, Role
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from activations.summary import StoreSummary
from radiology.errors import InputError
from radiology.study import Study

SITES = ["language.1", "blocks.3.hook_resid_post"]
NEW_TOKENS = 5


def cache(model: ReportModel, studies: Any, run: Path, **options: Any) -> StoreSummary:
    settings = {"roles": "content", "batch_size": 3, "shard_rows": 500, "max_new_tokens": NEW_TOKENS} | options
    return cache_activations(model, studies, settings.pop("sites", SITES), run / "activations", **settings)


def digest(run: Path) -> dict[str, str]:
    paths = [path for path in run.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def run(model: ReportModel, studies: list[Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cached")
    cache(model, studies, directory)
    return directory


@pytest.fixture(scope="module")
def store(run: Path) -> ActivationStore:
    return ActivationStore(run / "activations")


def teacher_forced(model: ReportModel, study: Study, report: str, site: str) -> tuple[torch.Tensor, Any]:
    """What a single, plain pass gives: rows of every token of one study, and its token table."""
    inputs = model.encode(study, report)
    with capture(model, [site]) as recorder:
        model.forward(inputs)
    return recorder.take(site)[0], inputs.tokens[0]


def test_stored_rows_are_those_of_a_plain_pass(
    model: ReportModel, studies: list[Study], store: ActivationStore, run: Path
) -> None:
    reports = StudyIndex.read(run).frame["report"]
    for number in (0, 1, 4):  # several images; one image; a report that the model wrote
        rows = store.rows_of_study(number)
        for site in store.sites:
            acts, table = teacher_forced(model, studies[number], reports[number], site)
            kept = table.where(ROLE_PRESETS["content"])
            assert store.column("position")[rows].tolist() == kept.tolist()
            for name in ("token_id", "role", "image", "row", "col"):
                assert store.column(name)[rows].tolist() == getattr(table, name)[kept].tolist()
            np.testing.assert_allclose(store.read(site, rows), acts[torch.from_numpy(kept)], rtol=0.01, atol=0.01)


def test_only_kept_roles_are_stored(store: ActivationStore) -> None:
    stored = set(store.column("role").tolist())
    assert stored <= {int(role) for role in ROLE_PRESETS["content"]}
    assert {int(Role.IMAGE), int(Role.REPORT), int(Role.INDICATION), int(Role.PRIOR_REPORT)} <= stored


def test_summary_counts_what_is_there(
    model: ReportModel, studies: list[Study], run: Path, store: ActivationStore
) -> None:
    summary = cache(model, studies, run)
    assert summary.complete
    assert summary.written_now == 0
    assert summary.studies == len(studies)
    assert summary.rows == store.rows == sum(summary.rows_by_role.values())
    assert summary.rows_by_role["technique"] == 0  # asked for, but no study has one
    assert summary.generated_reports == sum(study.report is None for study in studies)
    assert summary.bytes == sum(path.stat().st_size for path in (run / "activations").glob("*.h5"))


def test_a_complete_store_is_not_touched(model: ReportModel, studies: list[Study], run: Path) -> None:
    before = digest(run)
    cache(model, studies, run, batch_size=7)
    assert digest(run) == before


class BrokenError(Exception):
    pass


def stopping_after(studies: list[Study], count: int) -> Iterable[Study]:
    yield from studies[:count]
    raise BrokenError


def test_an_interrupted_run_goes_on_and_ends_as_if_uninterrupted(
    model: ReportModel, studies: list[Study], run: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    for count in (4, 8, 11):
        with pytest.raises(BrokenError):
            cache(model, stopping_after(studies, count), tmp_path)
        with pytest.raises(InputError, match="incomplete"):
            ActivationStore(tmp_path / "activations")
    part = StudyIndex.read(tmp_path, allow_incomplete=True)
    assert 3 <= len(part) < len(studies)
    summary = cache(model, studies, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert summary.written_now == len(studies) - len(part)
    assert seen[0] == (len(part), len(studies))
    assert seen[-1] == (len(studies), len(studies))
    assert digest(tmp_path) == digest(run)


def test_reports_that_are_missing_are_written_by_the_model(run: Path, studies: list[Study], model: ReportModel) -> None:
    frame = StudyIndex.read(run).frame
    for number, study in enumerate(studies):
        row = frame.loc[number]
        if study.report is None:
            assert row["report_source"] == "generated"
            assert row["reference_report"] is None
            assert row["report"] == model.write([study], max_new_tokens=NEW_TOKENS)[0].text
        else:
            assert row["report_source"] == "reference"
            assert row["report"] == row["reference_report"] == study.report


def test_watching_the_model_write_gives_the_rows_of_reading_it_back(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    cache(model, studies[:4], tmp_path, mode="generate", roles="prior_report,report", batch_size=4, dtype="float32")
    store = ActivationStore(tmp_path / "activations")
    frame = StudyIndex.read(tmp_path).frame
    for number, study in enumerate(studies[:4]):
        inputs = model.encode(study)
        (written,) = model.generate(inputs, max_new_tokens=NEW_TOKENS)
        assert frame.loc[number, "report"] == written.text
        assert frame.loc[number, "report_source"] == "generated"
        ids = torch.cat([inputs.input_ids_bt, torch.tensor([written.token_ids])], dim=1)
        whole = dataclasses.replace(inputs, input_ids_bt=ids, attention_mask_bt=torch.ones_like(ids))
        with capture(model, ["language.3"]) as recorder:
            model.forward(whole)
        rows = store.rows_of_study(number)
        positions, roles = store.column("position")[rows], store.column("role")[rows]
        # the last token was sampled at the limit and never read
        report = positions[roles == Role.REPORT]
        first = inputs.input_ids_bt.shape[1]
        seen = len(written.token_ids) - (0 if written.finished else 1)
        assert report.tolist() == list(range(first, first + seen))
        assert store.column("token_id")[rows][roles == Role.REPORT].tolist() == list(written.token_ids[:seen])
        expected = recorder.take("language.3")[0, torch.from_numpy(positions).long()]
        np.testing.assert_allclose(store.read("language.3", rows), expected, rtol=1e-3, atol=1e-4)


def test_image_sites_store_image_tokens_only(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    cache(model, studies[:3], tmp_path, sites=["projector", "language.0"], roles="image")
    store = ActivationStore(tmp_path / "activations")
    assert set(store.column("role")) == {Role.IMAGE}
    inputs = model.encode(studies[1])
    with capture(model, ["projector"]) as recorder:
        model.forward(inputs)
    rows = store.rows_of_study(1)
    np.testing.assert_allclose(store.read("projector", rows), recorder.take("projector")[0], rtol=0.01, atol=0.01)
    with pytest.raises(InputError, match=r"projector has rows for image tokens only.*ask for roles 'image'"):
        cache(model, studies, tmp_path, sites=["projector"], roles="content")


def test_several_writers_share_the_studies(
    model: ReportModel, studies: list[Study], store: ActivationStore, tmp_path: Path
) -> None:
    first = cache(model, studies, tmp_path, rank=0, world=2)
    assert not first.complete
    assert cache(model, studies, tmp_path, rank=1, world=2).complete
    shared = ActivationStore(tmp_path / "activations")
    assert shared.rows == store.rows
    for number in range(len(studies)):
        ours = shared.read("language.1", shared.rows_of_study(number))
        np.testing.assert_allclose(ours, store.read("language.1", store.rows_of_study(number)), rtol=0.02, atol=0.02)


def test_several_sources_keep_their_names_and_terms(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    private = [dataclasses.replace(study, terms="credentialed") for study in studies[2:4]]
    cache(model, {"phantom:n=2": studies[:2], "folder:x": iter(private)}, tmp_path)
    index = StudyIndex.read(tmp_path)
    assert index.frame["source"].tolist() == ["phantom:n=2"] * 2 + ["folder:x"] * 2
    assert index.terms == {"phantom", "credentialed"}
    with pytest.raises(InputError, match="'s0001' comes twice"):
        cache(model, {"a": studies[:2], "b": studies[1:3]}, tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sites": ["language.2"]}, "sites differs"),
        ({"roles": "report"}, "roles differs"),
        ({"dtype": "float32"}, "dtype differs"),
        ({"mode": "generate"}, "mode differs"),
        ({"max_new_tokens": 6}, "max_new_tokens differs"),
        ({"sites": ["language.77"]}, "no 'language.77'; it has"),
        ({"batch_size": 0}, "batch_size: 0"),
    ],
)
def test_a_store_of_another_request_is_refused(
    model: ReportModel, studies: list[Study], run: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        cache(model, studies, run, **options)


def test_a_store_of_another_model_is_refused(model: ReportModel, studies: list[Study], run: Path) -> None:
    fingerprint = model.fingerprint
    try:
        model.fingerprint = "another"
        with pytest.raises(InputError, match=f"model fingerprint differs: .*'{fingerprint}', now 'another'"):
            cache(model, studies, run)
    finally:
        model.fingerprint = fingerprint


def test_a_store_of_other_studies_is_refused_without_telling_their_text(
    model: ReportModel, studies: list[Study], run: Path
) -> None:
    changed = dataclasses.replace(studies[2], indication="a secret of the patient")
    with pytest.raises(InputError, match="indication of study number 2 is not as stored") as caught:
        cache(model, [*studies[:2], changed, *studies[3:]], run)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="more studies than the 5 given"):
        cache(model, studies[:5], run)
    extra = dataclasses.replace(studies[0], study_id="another")
    with pytest.raises(InputError, match="complete with 12 studies, but more are given"):
        cache(model, [*studies, extra], run)


def test_requests_that_would_store_nothing_are_refused(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="the source gives none"):
        cache(model, [], tmp_path)
    with pytest.raises(InputError, match="no token of any study has one of the roles technique"):
        cache(model, studies[:2], tmp_path, roles="technique")
    assert cache(model, studies[:2], tmp_path).rows  # and nothing is in the way of a better request


def test_studies_without_rows_are_counted(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    summary = cache(model, studies[:3], tmp_path, roles="indication")
    assert summary.studies_without_rows == 2
    assert summary.studies == 3
    assert StudyIndex.read(tmp_path).frame["rows"].tolist() == [0, 1, 0]


def test_previews_are_what_the_encoder_sees(model: ReportModel, studies: list[Study], run: Path) -> None:
    index = StudyIndex.read(run)
    for number in (0, 1):
        for name in ("frontal", "lateral", "prior_frontal"):
            picture = index.preview(number, name)
            if name in studies[number].images:
                assert picture is not None
                np.testing.assert_array_equal(picture, model.preview(studies[number], name))
            else:
                assert picture is None


def test_norms_by_role(store: ActivationStore) -> None:
    table, norms = norm_table(store, "language.1"), store.norms("language.1")
    image = norms[store.column("role") == Role.IMAGE]
    assert table.loc["image", "rows"] == len(image)
    assert table.loc["image", "median"] == pytest.approx(float(np.median(image)))
    assert table.loc["image", "rms"] == pytest.approx(float(np.sqrt((image**2).mean())), rel=1e-5)
    assert "technique" not in table.index
    limit = outlier_limit(store, "language.1", times=1)
    assert limit == pytest.approx(table["median"].max())
    assert int((image > 1.5 * np.median(image)).sum()) == norm_table(store, "language.1", 1.5).loc["image", "outliers"]


def test_the_study_table_needs_nothing_of_ours_to_read(run: Path) -> None:
    table = pd.read_parquet(run / "studies.parquet")
    assert table["study"].tolist() == list(range(len(table)))
    assert table["preview_frontal"].map(lambda png: png[:4] == b"\x89PNG").all()


@pytest.mark.parametrize("compression", ["blosc2", "bitshuffle"])
def test_a_compressed_store_has_the_same_rows(
    model: ReportModel, studies: list[Study], store: ActivationStore, tmp_path: Path, compression: str
) -> None:
    assert cache(model, studies, tmp_path, compression=compression).complete
    with ActivationStore(tmp_path / "activations") as compressed:
        for site in store.sites:
            np.testing.assert_array_equal(compressed.read(site, slice(None)), store.read(site, slice(None)))
