"""The phantom model behind the common interface: language, prompt roles, preprocessing, generation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from activations.hooks import capture
from activations.models import open_model
from activations.models.phantom import PhantomReportModel, phantom_pixels
from activations.models.phantom_language import BOX_BINS, ids_text, text_ids, vocabulary
from activations.roles import Role
from radiology.errors import InputError
from radiology.phantom.cases import PhantomStudy, phantom_studies
from radiology.phantom.grammar import write_grounded


@pytest.fixture(scope="module")
def studies() -> list[PhantomStudy]:
    return list(phantom_studies(40, seed=11))


@pytest.fixture(scope="module")
def model() -> PhantomReportModel:
    opened = open_model("phantom:random")
    assert isinstance(opened, PhantomReportModel)
    return opened


def test_every_phantom_text_survives_the_vocabulary(studies: list[PhantomStudy]) -> None:
    for study in studies:
        grounded = write_grounded([(s.text, s.boxes) for s in study.grounded or ()], BOX_BINS)
        for text in (study.report, study.indication, study.technique, study.comparison, study.prior_report, grounded):
            if text is not None:
                assert ids_text(text_ids(text)) == text


def test_the_tokenizer_agrees_with_the_word_table(model: PhantomReportModel, studies: list[PhantomStudy]) -> None:
    for study in studies[:10]:
        assert study.report is not None
        assert model.tokenizer(study.report, add_special_tokens=False)["input_ids"] == text_ids(study.report)
    assert len(model.tokenizer) == len(vocabulary())


def test_roles_follow_the_construction_of_the_prompt(model: PhantomReportModel, studies: list[PhantomStudy]) -> None:
    study = next(s for s in studies if len(s.images) == 3 and s.indication)
    (table,) = model.encode(study, study.report).tokens
    rows, cols = model.grid
    for name in study.images:
        places = table.where([Role.IMAGE], name)
        assert len(places) == rows * cols
        assert table.row[places].tolist() == np.repeat(np.arange(rows), cols).tolist()
        assert table.col[places].tolist() == np.tile(np.arange(cols), rows).tolist()
    for role, text in (
        (Role.INDICATION, study.indication),
        (Role.TECHNIQUE, study.technique),
        (Role.COMPARISON, study.comparison),
        (Role.PRIOR_REPORT, study.prior_report),
        (Role.REPORT, study.report),
    ):
        assert ids_text(table.token_id[table.where([role])]) == text
    assert table.token_id[0] == 1
    assert table.token_id[-1] == 2
    assert {int(table.role[0]), int(table.role[-1])} == {int(Role.SPECIAL)}


def test_a_missing_section_is_template_and_no_prior_is_asked(
    model: PhantomReportModel, studies: list[PhantomStudy]
) -> None:
    study = next(s for s in studies if "prior_frontal" not in s.images)
    (table,) = model.encode(study).tokens
    assert len(table.where([Role.PRIOR_REPORT])) == len(table.where([Role.COMPARISON])) == 0
    names = [vocabulary()[i] for i in table.token_id[table.where([Role.TEMPLATE])]]
    assert "N/A" in names
    assert "PRIOR_REPORT" not in names


def test_batched_passes_equal_single_ones(model: PhantomReportModel, studies: list[PhantomStudy]) -> None:
    chosen = sorted(studies[:12], key=lambda s: len(s.images))[::4]
    batch = model.encode_batch(chosen, [s.report for s in chosen])
    logits_btv = model.forward(batch)
    for i, study in enumerate(chosen):
        alone = model.forward(model.encode(study, study.report))[0]
        torch.testing.assert_close(logits_btv[i, batch.padding[i] :], alone, atol=2e-5, rtol=1e-4)


def test_nnsight_reads_and_edits_the_same_residuals(model: PhantomReportModel, studies: list[PhantomStudy]) -> None:
    inputs = model.encode(studies[0])
    arguments = {
        "input_ids": inputs.input_ids_bt,
        "attention_mask": inputs.attention_mask_bt,
        "pixel_values": inputs.pixel_values_nchw,
    }
    with capture(model, ["language.2"]) as recorder:
        model.forward(inputs)
        ours = recorder.take("language.2")
    wrapped = model.nnsight()
    with wrapped.trace(**arguments):
        theirs = wrapped.language_model.model.layers[2].output.save()
    assert torch.equal(theirs, ours)

    with wrapped.trace(**arguments):
        wrapped.language_model.model.layers[2].output[:, -1, :] += 1.0
        edited = wrapped.language_model.lm_head.output.save()
    handle = model.sites()["language.2"].register_forward_hook(
        lambda _m, _a, output: torch.cat([output[:, :-1], output[:, -1:] + 1.0], dim=1)
    )
    try:
        expected = model.forward(inputs)
    finally:
        handle.remove()
    torch.testing.assert_close(edited, expected)


def test_generation_does_not_depend_on_the_batch(model: PhantomReportModel, studies: list[PhantomStudy]) -> None:
    together = model.generate(model.encode_batch(studies[:3]), max_new_tokens=6)
    alone = [model.generate(model.encode(s), max_new_tokens=6)[0] for s in studies[:3]]
    assert together == alone


def test_preprocessing_stretches_crops_and_survives_a_constant_image() -> None:
    grey = np.zeros((200, 300), dtype=np.uint16)
    grey[:, 150:] = 4000
    crop = phantom_pixels(grey)
    assert crop.shape == (140, 140)
    assert crop.dtype == np.uint8
    assert crop.min() == 0
    assert crop.max() == 255
    assert phantom_pixels(np.full((140, 140), 7, dtype=np.uint8)).max() == 0


def test_equal_models_have_equal_fingerprints(model: PhantomReportModel) -> None:
    assert open_model("phantom:random").fingerprint == model.fingerprint
    late = open_model("phantom")
    assert late.fingerprint != model.fingerprint


def test_reading_depth_is_known() -> None:
    late, free = open_model("phantom"), open_model("phantom:free")
    assert isinstance(late, PhantomReportModel)
    assert isinstance(free, PhantomReportModel)
    assert late.image_read_from == 3
    assert free.image_read_from == 0


def test_unknown_models_and_sites_are_refused(model: PhantomReportModel) -> None:
    with pytest.raises(InputError, match="no such variant"):
        open_model("phantom:late2")
    with pytest.raises(InputError, match="no such folder"):
        open_model("no/such/model")
    with pytest.raises(InputError, match=r"language\.0"):
        model.width("language.17")
