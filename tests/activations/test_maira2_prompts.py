"""What each token of a prompt is, that ids and pixels are the checkpoint's own, and which studies have no prompt."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from activations.models.maira2_model import Maira2ReportModel, open_maira2
from activations.roles import ROLE_PRESETS, Role
from radiology.errors import InputError
from tests.activations.standin import (
    PATCHES,
    PROCESSOR_CODE,
    edit_json,
    full_study,
    picture,
    write_standin,
)

REPORT = "The heart is normal. No pneumothorax."
GROUNDED = "<obj> A nodule.<box><x10><y20><x30><y40></box></obj><obj> No pneumothorax.</obj>"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("maira2") / "standin")


@pytest.fixture(scope="session")
def model(folder: Path) -> Maira2ReportModel:
    return open_maira2(str(folder), trust_remote_code=True)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("preprocessor_config.json", {"size": {"height": 56, "width": 56}}, "'size' gives None"),
        ("preprocessor_config.json", {"do_center_crop": False}, "do_center_crop"),
        ("preprocessor_config.json", {"crop_size": {"height": 42, "width": 42}}, "crop_size"),
        ("preprocessor_config.json", {"image_processor_type": "NoSuchProcessor"}, "no image processor"),
        ("processor_config.json", {"patch_size": 28}, "4 image tokens|3 image tokens"),
        ("processor_config.json", {"num_box_coord_bins": 101}, "2 of 206 box tokens are no single tokens"),
        ("config.json", {"image_token_index": 7}, "the image token has id .* config.json says 7"),
        ("tokenizer_config.json", {"chat_template": None}, "no chat template"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    copy: Path, file: str, change: dict[str, Any], message: str
) -> None:
    edit_json(copy / file, lambda config: config.update(change))
    with pytest.raises(InputError, match=message):
        open_maira2(str(copy), trust_remote_code=True)


def words(model: Maira2ReportModel, ids: Any) -> str:
    return str(model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)).strip()


def test_every_token_has_the_role_it_was_made_for(model: Maira2ReportModel) -> None:
    whole = full_study()
    table = model.encode(whole, REPORT).tokens[0]
    for role, text in (
        (Role.INDICATION, whole.indication),
        (Role.COMPARISON, whole.comparison),
        (Role.PRIOR_REPORT, whole.prior_report),
        (Role.REPORT, REPORT),
    ):
        assert words(model, table.token_id[table.where([role])]) == text
    template = words(model, table.token_id[table.where([Role.TEMPLATE])])
    assert template.startswith("Films are read here. ASK: The front view")
    assert "HOW: none" in template  # a section that is missing is the template's
    special = table.token_id[table.where([Role.SPECIAL])].tolist()
    assert special == [model.tokenizer.bos_token_id, model.tokenizer.eos_token_id]
    assert table.role[-1] == Role.SPECIAL


def test_image_tokens_are_the_patches_of_each_image_in_order(model: Maira2ReportModel) -> None:
    inputs = model.encode(full_study(images={"prior_frontal": picture(2), "frontal": picture(0)}))
    table = inputs.tokens[0]
    image = table.where([Role.IMAGE])
    assert table.image[image].tolist() == [0] * PATCHES + [2] * PATCHES
    assert table.row[image].tolist() == (np.arange(PATCHES) // 4).tolist() * 2
    assert table.col[image].tolist() == (np.arange(PATCHES) % 4).tolist() * 2
    assert set(table.token_id[image].tolist()) == {model.module.config.image_token_index}
    assert inputs.pixel_values_nchw is not None
    alone = model.encode(full_study(images={"frontal": picture(0)})).pixel_values_nchw
    assert torch.equal(inputs.pixel_values_nchw[:1], alone)


def test_image_tokens_are_counted_right_where_transformers_takes_one_off(
    folder: Path, model: Maira2ReportModel
) -> None:
    from transformers import LlavaProcessor

    ours, image = model.prompts._processor, Image.fromarray(picture(0))
    bare = LlavaProcessor(ours.image_processor, ours.tokenizer, 14, "default")
    counts = [
        processor(text="<image>", images=[image])["input_ids"][0].count(ours.image_token_id)
        for processor in (bare, ours)
    ]
    assert counts == [PATCHES - 1, PATCHES]


@pytest.mark.parametrize("separator", [" ", ""])
@pytest.mark.parametrize("report", [REPORT, GROUNDED])
def test_a_report_follows_the_very_prompt_that_generation_sees(tmp_path: Path, separator: str, report: str) -> None:
    made = open_maira2(str(write_standin(tmp_path / "m", separator=separator)), trust_remote_code=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for grounded in (False, True):
            prompt = made.encode(full_study(), grounded=grounded).input_ids_bt[0].tolist()
            table = made.encode(full_study(), report, grounded=grounded).tokens[0]
            assert table.token_id[: len(prompt)].tolist() == prompt
            written = table.token_id[len(prompt) :].tolist()
            assert written[-1] == made.eos_token_id
            assert made.text_of(written) == made.text_of(table.token_id[table.where([Role.REPORT])])
            assert made.grounded(made.text_of(written)).text == made.grounded(report).text
    if report is REPORT:
        assert words(made, [*prompt, *written]).endswith(f"READ:{separator} {REPORT}</s>")  # one space of its own


def test_a_template_that_breaks_the_seam_is_warned_about(copy: Path) -> None:
    template = "chat_template"
    edit_json(
        copy / "tokenizer_config.json",
        lambda c: c.update({template: c[template].replace("'READ: ' }}{% endif", "'READ THIS ' }}{% endif")}),
    )
    made = open_maira2(str(copy), trust_remote_code=True)
    with pytest.warns(UserWarning, match="teacher forcing"):
        made.encode(full_study(), REPORT)


def test_grounding_tokens_belong_to_the_report_even_if_special(copy: Path) -> None:
    def special(config: dict[str, Any]) -> None:
        for token in config["added_tokens"]:
            token["special"] = True

    edit_json(copy / "tokenizer.json", special)
    made = open_maira2(str(copy), trust_remote_code=True)
    table = made.encode(full_study(), GROUNDED, grounded=True).tokens[0]
    boxes = np.isin(table.token_id, list(made.prompts.grounding_ids))
    assert boxes.sum() == 10
    assert set(table.role[boxes].tolist()) == {int(Role.REPORT)}
    assert len(made.grounded(made.text_of(table.token_id[table.where([Role.REPORT])])).sentences[0].boxes) == 1


def test_the_paper_preset_keeps_sections_and_report(model: Maira2ReportModel) -> None:
    table = model.encode(full_study(), REPORT).tokens[0]
    kept = words(model, table.token_id[table.where(ROLE_PRESETS["paper"])])
    assert kept.startswith("There is a small left pleural effusion.")
    assert "Cough & fever for 3 days." in kept
    assert kept.endswith(REPORT)
    assert not {"Films", "ASK", "WHY", "<image>"} & set(kept.replace(":", " ").split())


def test_a_prior_report_is_asked_about_only_with_a_prior_image(model: Maira2ReportModel) -> None:
    table = model.encode(full_study(images={"frontal": picture(0)})).tokens[0]
    assert not len(table.where([Role.PRIOR_REPORT]))
    assert "effusion" not in words(model, table.token_id)


def test_spaces_around_a_section_do_not_matter(model: Maira2ReportModel) -> None:
    padded = model.encode(full_study(indication="  Cough & fever for 3 days.\n"), f" {REPORT} ")
    assert torch.equal(padded.input_ids_bt, model.encode(full_study(), REPORT).input_ids_bt)


@pytest.mark.parametrize(
    ("changes", "report", "message"),
    [
        ({"images": {"lateral": picture(1)}}, None, "'s1': has no frontal image"),
        ({"indication": "private <image> words"}, None, "'s1': 'indication' holds '<image>'"),
        ({"prior_report": "private </s> words"}, None, "'s1': 'prior_report' holds '</s>'"),
        ({"comparison": "private <x3> words"}, None, "'s1': 'comparison' holds '<x3>'"),
        ({}, "private <image> words", "'s1': 'report' holds '<image>'"),
    ],
)
def test_studies_without_a_prompt_are_refused_without_quoting_them(
    model: Maira2ReportModel, changes: dict[str, Any], report: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        model.encode(full_study(**changes), report)
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{section or 'none'}", "{(section or 'none').lower()}", "alters 'indication' .at its character 0"),
        ("{section or 'none'}", "{(section or 'none')[:4]}", "alters 'indication' .at its character 4"),
        ("{prior_report or 'none'}", "{len(prior_report or '')}", "prior_report 0 times"),
        ("views = [", "raise KeyError(indication)\n        views = [", r"failed \(KeyError\)"),
    ],
)
def test_a_processor_that_alters_text_is_refused_without_quoting_it(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in PROCESSOR_CODE
    bent = write_standin(tmp_path / "bent", code=PROCESSOR_CODE.replace(before, after))
    with pytest.raises(InputError, match=message) as caught:
        open_maira2(str(bent), trust_remote_code=True).encode(full_study())
    assert "ough" not in str(caught.value)


def test_a_phrase_is_asked_about_on_the_frontal_image(model: Maira2ReportModel) -> None:
    inputs = model.encode_phrase(full_study(), "A nodule.")
    table = inputs.tokens[0]
    assert inputs.pixel_values_nchw is not None
    assert len(inputs.pixel_values_nchw) == 1
    assert len(table.where([Role.IMAGE], "frontal")) == PATCHES == len(table.where([Role.IMAGE]))
    assert "A nodule.?" in words(model, table.token_id)
    with pytest.raises(InputError, match="'the phrase' holds '<obj>'"):
        model.encode_phrase(full_study(), "<obj>")


def test_sixteen_bit_images_are_stretched_not_cut_off(model: Maira2ReportModel) -> None:
    eight = picture(5)
    eight[0, :2] = 0, 255
    sixteen = eight.astype(np.uint16) * 200 + 1000
    first, second = (model.encode(full_study(images={"frontal": p})).pixel_values_nchw for p in (eight, sixteen))
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_constant_image_is_black_without_a_warning(model: Maira2ReportModel, kind: type) -> None:
    flat = np.full((70, 60), 37, dtype=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = model.encode(full_study(images={"frontal": flat, "lateral": picture(1)})).pixel_values_nchw
    assert pixels is not None
    torch.testing.assert_close(pixels[0], torch.full_like(pixels[0], -0.5307 / 0.2583))
    assert pixels[1].std() > 0.5
