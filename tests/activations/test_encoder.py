"""Image encoders: Dinov2 as RAD-DINO is built, Dinov2 with registers, and the image half of a CLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture, rows_for
from activations.models.encoder import EncoderModel
from activations.models.general import open_general
from activations.passes import generating, teacher_forced
from activations.roles import IMAGE_NAMES, Role
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from radiology.errors import InputError
from radiology.study import Study
from tests.activations.tiny_models import ENCODERS, example_studies, swin

LEADING = {"dinov2": 1, "dinov2-registers": 5, "clip": 1}
FULL, ONE, TEXT, SILENT = example_studies()


@pytest.fixture(scope="module", params=list(ENCODERS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    opened = open_general(str(ENCODERS[family](tmp_path_factory.mktemp("models") / family)))
    assert isinstance(opened, EncoderModel)
    return opened


def test_tokens_are_the_patches_of_all_images(model: EncoderModel) -> None:
    (table,) = model.encode(FULL).tokens
    rows, cols = model.grid
    assert set(table.role.tolist()) == {int(Role.IMAGE)}
    assert table.image.tolist() == np.repeat([0, 1, 2], rows * cols).tolist()
    assert table.row.tolist() == np.tile(np.repeat(range(rows), cols), 3).tolist()
    assert table.col.tolist() == np.tile(range(cols), 3 * rows).tolist()
    assert set(table.token_id.tolist()) == {0}
    assert model.tokenizer.convert_ids_to_tokens([0]) == ["<patch>"]


def test_rows_are_the_patches_without_class_token_and_registers(model: EncoderModel, family: str) -> None:
    inputs = model.encode_batch([FULL, ONE])
    with capture(model, ["vision.1"]) as recorder:
        features = model.forward(inputs)
    output = recorder.take("vision.1")
    assert output.shape == (4, LEADING[family] + model.grid[0] * model.grid[1], model.width("vision.1"))
    assert output.shape == features.shape
    rows = rows_for("vision.1", output, inputs)
    assert torch.equal(rows[0], output[:3, LEADING[family] :].flatten(0, 1))
    assert torch.equal(rows[1], output[3, LEADING[family] :])


def test_sites_are_the_hidden_states(model: EncoderModel) -> None:
    inputs = model.encode(FULL)
    with capture(model, list(model.sites())) as recorder:
        states = model.module(**model.arguments(inputs), output_hidden_states=True).hidden_states
    for number, site in enumerate(model.sites()):
        assert torch.equal(recorder.take(site), states[number + 1])


def test_images_of_a_batch_do_not_meet(model: EncoderModel) -> None:
    together = teacher_forced(model, ["vision.1"], [FULL, ONE]).rows["vision.1"]
    for rows, study in zip(together, [FULL, ONE], strict=True):
        alone = teacher_forced(model, ["vision.1"], [study]).rows["vision.1"][0]
        torch.testing.assert_close(rows, alone, atol=1e-4, rtol=1e-4)


def test_pixels_are_stretched_cut_and_normalised_as_the_checkpoint_says(model: EncoderModel) -> None:
    crop, processor = model.crop, model._image_processor
    grey = np.random.default_rng(0).integers(1000, 3000, (crop.side, crop.side)).astype(np.uint16)
    low, high = int(grey.min()), int(grey.max())
    stretched = np.rint((grey.astype(np.float64) - low) * 255 / (high - low))
    border = (crop.side - crop.seen) // 2
    seen = stretched[border : border + crop.seen, border : border + crop.seen]
    expected = [(seen / 255 - mean) / std for mean, std in zip(processor.image_mean, processor.image_std, strict=True)]
    pixels = model.encode(Study("s", "p", {"frontal": grey}, "phantom")).pixel_values_nchw
    assert pixels is not None
    np.testing.assert_allclose(pixels[0].numpy(), np.stack(expected), atol=0.02)
    shown = model.preview(Study("s", "p", {"frontal": grey}, "phantom"), "frontal")
    np.testing.assert_allclose(shown, seen, atol=1)
    flat = Study("s", "p", {"frontal": np.full((60, 60), 7, np.uint8)}, "phantom")
    assert model.preview(flat, "frontal").max() == 0


def test_bright_patch_moves_its_row(model: EncoderModel, family: str) -> None:
    grey = np.zeros((model.crop.side, model.crop.side), np.uint8)
    border, patch = (model.crop.side - model.crop.seen) // 2, 14
    row, col = 1, model.grid[1] - 1
    grey[border + row * patch : border + (row + 1) * patch, border + col * patch : border + (col + 1) * patch] = 255
    read: list[torch.Tensor] = []
    handle = model.sites()["vision.0"].register_forward_pre_hook(lambda m, args: read.append(args[0]))
    try:
        for image in (np.zeros_like(grey), grey):
            model.forward(model.encode(Study("s", "p", {"frontal": image}, "phantom")))
    finally:
        handle.remove()
    moved = (read[1] - read[0]).abs().sum(-1)[0, LEADING[family] :].view(model.grid)
    assert torch.nonzero(moved > 1e-6).tolist() == [[row, col]]


def test_an_encoder_writes_nothing(model: EncoderModel) -> None:
    assert not model.writes
    assert model.unembedding() is None
    for write in (lambda: model.generate(model.encode(ONE)), lambda: generating(model, ["vision.0"], [ONE])):
        with pytest.raises(InputError, match="is an encoder"):
            write()


def test_study_without_images_is_refused(model: EncoderModel) -> None:
    with pytest.raises(InputError, match="study 'text': has no image"):
        model.encode(TEXT)


def test_store_is_filled_with_patches_and_keeps_the_studies_own_reports(model: EncoderModel, tmp_path: Path) -> None:
    summary = cache_activations(
        model, [FULL, ONE, SILENT], ["vision.0", "vision.1"], tmp_path / "activations", roles="image", batch_size=2
    )
    patches = model.grid[0] * model.grid[1]
    assert (summary.studies, summary.rows, summary.generated_reports) == (3, 5 * patches, 0)
    index = StudyIndex.read(tmp_path)
    assert index.frame["report"].tolist() == [FULL.report, ONE.report, ""]
    assert index.frame["report_source"].tolist() == ["reference", "reference", None]
    assert np.array_equal(index.preview(1, "frontal"), model.preview(ONE, "frontal"))
    with ActivationStore(tmp_path / "activations") as store:
        assert set(store.column("role")) == {int(Role.IMAGE)}
        rows = store.rows_of_study(1)
        expected = teacher_forced(model, ["vision.1"], [ONE]).rows["vision.1"][0]
        np.testing.assert_allclose(store.read("vision.1", rows), expected, rtol=0.02, atol=0.02)


def test_images_come_in_one_order(model: EncoderModel) -> None:
    turned = replace(FULL, images=dict(reversed(FULL.images.items())))
    ours, theirs = model.encode(FULL), model.encode(turned)
    assert ours.pixel_values_nchw is not None
    assert theirs.pixel_values_nchw is not None
    assert torch.equal(ours.pixel_values_nchw, theirs.pixel_values_nchw)
    assert [IMAGE_NAMES[i] for i in dict.fromkeys(ours.tokens[0].image.tolist())] == list(IMAGE_NAMES)


def test_an_encoder_that_merges_patches_is_refused_with_its_tree(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are not the 8 × 8 patches of an image[\s\S]*encoder: SwinEncoder"):
        open_general(str(swin(tmp_path)))
