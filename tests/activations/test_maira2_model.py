"""A MAIRA-2 checkpoint as published, opened and used: it computes what its parts compute by hand."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Dinov2Backbone, Dinov2Config, LlamaConfig, LlamaForCausalLM

from activations.models.maira2_model import MAX_NEW_TOKENS, Maira2ReportModel, open_maira2
from radiology.errors import InputError
from tests.activations.standin import (
    IMAGE_SIZE,
    edit_json,
    full_study,
    picture,
    standin_config,
    standin_tensors,
    write_shards,
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


def by_hand(folder: Path, ids_bt: torch.Tensor, pixels_nchw: torch.Tensor, tmp_path: Path) -> torch.Tensor:
    """Logits from transformers' own backbone and Llama and four Linear layers, weights straight from the files."""
    config = json.loads((folder / "config.json").read_text())
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    below = {
        part: {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}
        for part in ("vision_tower", "multi_modal_projector", "language_model")
    }
    sizes = {k: config["vision_config"][k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    tower_config = Dinov2Config(
        **sizes, image_size=IMAGE_SIZE, patch_size=14, out_features=["stage2"], reshape_hidden_states=False
    )
    tower_config.save_pretrained(tmp_path)
    save_file(below["vision_tower"], tmp_path / "model.safetensors", metadata={"format": "pt"})
    tower = Dinov2Backbone.from_pretrained(tmp_path).eval()  # transformers renames what it has renamed
    text = config["text_config"]
    language = LlamaForCausalLM(
        LlamaConfig(
            **{k: text[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")},
            num_hidden_layers=text["num_hidden_layers"],
            rms_norm_eps=text["rms_norm_eps"],
            rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0},
        )
    ).eval()
    language.load_state_dict(below["language_model"])
    features = tower(pixels_nchw).feature_maps[-1][:, 1:]
    for place in (0, 2, 4, 6):
        weight, bias = (below["multi_modal_projector"][f"layers.{place}.{leaf}"] for leaf in ("weight", "bias"))
        features = nn.functional.linear(features, weight, bias)
        features = nn.functional.gelu(features) if place < 6 else features
    embeds = language.get_input_embeddings()(ids_bt)
    embeds[ids_bt == config["image_token_index"]] = features.flatten(0, 1)
    return language(inputs_embeds=embeds).logits


def test_the_published_layout_gives_what_its_parts_give_by_hand(
    folder: Path, model: Maira2ReportModel, tmp_path: Path
) -> None:
    inputs = model.encode(full_study(), REPORT)
    assert inputs.pixel_values_nchw is not None
    with torch.no_grad():
        expected = by_hand(folder, inputs.input_ids_bt, inputs.pixel_values_nchw, tmp_path)
    torch.testing.assert_close(model.forward(inputs), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device_map", [None, "auto", {"": "cpu"}])
def test_half_precision_and_device_maps(
    folder: Path, model: Maira2ReportModel, dtype: torch.dtype, device_map: Any
) -> None:
    half = open_maira2(str(folder), "cpu", dtype, device_map=device_map, trust_remote_code=True)
    assert {p.dtype for p in half.module.parameters()} == {dtype}
    inputs = model.encode(full_study())
    torch.testing.assert_close(half.forward(inputs).float(), model.forward(inputs), atol=0.3, rtol=0.1)
    assert half.fingerprint != model.fingerprint


def test_parts_moved_by_accelerate_compute_the_same(folder: Path, model: Maira2ReportModel) -> None:
    from accelerate import dispatch_model

    moved = open_maira2(str(folder), trust_remote_code=True)
    parts = ["vision_tower", "multi_modal_projector", "language_model.lm_head", "language_model.model.embed_tokens"]
    parts += ["language_model.model.norm", "language_model.model.rotary_emb"]
    parts += [f"language_model.model.layers.{n}" for n in range(3)]
    dispatch_model(moved.module, dict.fromkeys(parts, "cpu"), skip_keys="past_key_values", force_hooks=True)
    inputs = model.encode_batch([full_study(), full_study(images={"frontal": picture(3)})])
    assert torch.equal(moved.forward(inputs), model.forward(inputs))
    assert moved.generate(inputs, max_new_tokens=4) == model.generate(inputs, max_new_tokens=4)


def test_the_fingerprint_covers_weights_and_wording(folder: Path, model: Maira2ReportModel, copy: Path) -> None:
    assert open_maira2(str(folder), trust_remote_code=True).fingerprint == model.fingerprint
    seen = {model.fingerprint}
    edit_json(
        copy / "tokenizer_config.json", lambda c: c.update(chat_template=c["chat_template"].replace("Films", "Plates"))
    )
    seen.add(open_maira2(str(copy), trust_remote_code=True).fingerprint)
    with (copy / "processing_maira2.py").open("a") as file:
        file.write("\n# another\n")
    seen.add(open_maira2(str(copy), trust_remote_code=True).fingerprint)
    write_shards(copy, standin_tensors(standin_config(), seed=1))
    seen.add(open_maira2(str(copy), trust_remote_code=True).fingerprint)
    assert len(seen) == 4


def test_progress_counts_every_tensor(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_maira2(str(folder), trust_remote_code=True, progress=lambda done, total: seen.append((done, total)))
    total = len(standin_tensors(standin_config()))
    assert seen == [(n, total) for n in range(1, total + 1)]


def test_weights_of_a_hub_name_are_fetched_after_everything_else_was_checked(
    folder: Path, model: Maira2ReportModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, allow_patterns: asked.append(allow_patterns) or str(folder)
    )
    for options in ({}, {"trust_remote_code": True, "device": "cuda:99"}):
        with pytest.raises(InputError):
            open_maira2("microsoft/maira-2", **options)
    assert not any("safetensors" in pattern for patterns in asked for pattern in patterns)
    opened = open_maira2("microsoft/maira-2", trust_remote_code=True)
    assert "*.safetensors" in asked[-1]
    assert (opened.name, opened.fingerprint) == ("microsoft/maira-2", model.fingerprint)


def test_opening_and_encoding_says_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("transformers")  # does not hand its records on to the root logger
    logger.addHandler(caplog.handler)
    try:
        opened = open_maira2(str(folder), trust_remote_code=True)
        opened.generate(opened.encode(full_study(), REPORT), max_new_tokens=1)
    finally:
        logger.removeHandler(caplog.handler)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert not caplog.records


@pytest.mark.parametrize("shape", [(90, 130), (131, 70), (56, 56)])
def test_the_preview_is_what_the_encoder_sees(model: Maira2ReportModel, shape: tuple[int, int]) -> None:
    ramp = np.add.outer(np.arange(shape[0]), 2 * np.arange(shape[1])).astype(np.uint16) * 50
    one = full_study(images={"frontal": ramp})
    pixels = model.encode(one).pixel_values_nchw
    assert pixels is not None
    seen = (pixels[0, 0].numpy() * 0.2583 + 0.5307) * 255
    preview = model.preview(one, "frontal")
    assert preview.shape == (IMAGE_SIZE, IMAGE_SIZE)
    assert np.abs(seen - preview).max() < 3.5
    assert model.preview(one, "frontal", 140).shape == (140, 140)


def test_a_batch_is_its_single_prompts(model: Maira2ReportModel) -> None:
    some = [
        full_study(),
        full_study(images={"frontal": picture(4)}, indication=None),
        full_study(technique="Portable AP view."),
    ]
    batch = model.encode_batch(some, [None, REPORT, None])
    logits = model.forward(batch)
    for i, one in enumerate(some):
        alone = model.forward(model.encode(one, REPORT if i == 1 else None))[0]
        torch.testing.assert_close(logits[i, batch.padding[i] :], alone, atol=1e-5, rtol=1e-5)


def test_generation_stops_where_the_task_says(model: Maira2ReportModel, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    def note(**arguments: Any) -> torch.Tensor:
        limits.append(arguments["max_new_tokens"])
        return torch.cat([arguments["input_ids"], torch.tensor([[5, 2]] * len(arguments["input_ids"]))], dim=1)

    monkeypatch.setattr(model.module, "generate", note)
    model.generate(model.encode(full_study()))
    model.generate(model.encode(full_study(), grounded=True))
    model.generate(model.collate([model.encode(full_study(), grounded=True), model.encode(full_study())]).to("cpu"))
    model.generate(model.encode(full_study()), max_new_tokens=7)
    model.ground(full_study(), "a nodule")
    assert limits == [300, 450, 450, 7, 150]
    assert MAX_NEW_TOKENS == {"report": 300, "grounded report": 450, "phrase": 150}


def test_grounded_text_is_read_with_the_checkpoints_bins(model: Maira2ReportModel) -> None:
    read = model.grounded(GROUNDED)
    assert read.sentences[0].boxes == ((0.105, 0.205, 0.305, 0.405),)
    assert read.errors == ()
    assert model.grounded("<obj> A nodule.<box><x10></box>").errors != ()


def test_sites_widths_and_the_lens(model: Maira2ReportModel) -> None:
    assert list(model.sites()) == ["vision.0", "vision.1", "projector", "language.0", "language.1", "language.2"]
    assert [model.width(site) for site in ("vision.1", "projector", "language.2")] == [24, 32, 32]
    lens = model.unembedding()
    assert lens is not None
    torch.testing.assert_close(lens[0], model.module.language_model.model.norm.weight.data)
    assert lens[1] is model.module.language_model.lm_head.weight
