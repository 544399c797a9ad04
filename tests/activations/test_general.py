"""Opening checkpoints: quiet, whole, and refused in one sentence where something is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, T5Config

from activations.models.causal import CausalReportModel
from activations.models.general import open_general
from activations.models.opening import open_model
from activations.models.pixels import crop_of
from radiology.errors import InputError
from tests.activations import tiny_models


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama_chat(tmp_path_factory.mktemp("models") / "chat")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_opened_through_the_front_door(saved: Path) -> None:
    model = open_model(str(saved))
    assert isinstance(model, CausalReportModel)
    assert model.name == str(saved)
    assert model.dtype == torch.float32
    assert not any(p.requires_grad for p in model.module.parameters())
    assert not model.module.training


def test_opening_is_quiet_and_tells_its_progress(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_models.qwen25_vl(tmp_path)
    capfd.readouterr()
    caplog.clear()
    told: list[tuple[int, int]] = []
    open_general(str(folder), progress=lambda done, total: told.append((done, total)))
    said = capfd.readouterr()
    assert (said.out, said.err, caplog.text) == ("", "", "")
    totals = {total for _, total in told}
    assert len(totals) == 1
    assert [done for done, _ in told] == list(range(1, totals.pop() + 1))


def test_equal_models_have_equal_fingerprints(saved: Path, folder: Path) -> None:
    original = open_general(str(saved)).fingerprint
    assert open_general(str(folder)).fingerprint == original
    assert open_general(str(folder), dtype=torch.bfloat16).fingerprint != original
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("norm.weight"))
    weights[name] = weights[name] + torch.eye(1, len(weights[name]))[0]  # one number of one tensor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = open_general(str(folder)).fingerprint
    assert changed != original
    edit_config(folder, rms_norm_eps=1e-3)
    assert open_general(str(folder)).fingerprint not in (original, changed)


def test_parts_that_accelerate_keeps_on_disk_count(saved: Path) -> None:
    whole = open_general(str(saved))
    parts = ("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head")
    spread = open_general(str(saved), device_map={**dict.fromkeys(parts, "cpu"), "model.layers": "disk"})
    assert any(p.is_meta for p in spread.module.parameters())
    assert spread.fingerprint == whole.fingerprint
    study = tiny_models.example_studies()[2]
    torch.testing.assert_close(spread.forward(spread.encode(study)), whole.forward(whole.encode(study)))


def test_end_tokens_come_from_template_and_configuration(folder: Path) -> None:
    assert open_general(str(folder)).eos_token_ids == (2,)  # type: ignore[attr-defined]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7]}))
    assert open_general(str(folder)).eos_token_ids == (2, 0, 7)  # type: ignore[attr-defined]


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def drop_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def drop_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def own_code(folder: Path) -> None:
    edit_config(folder, model_type="unheard_of", auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Model"})
    (folder / "code.py").write_text("raise SystemExit('this must never run')")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_weights, r"its weights cannot be read \(OSError: .*model.safetensors"),
        (cut_weights, "its weights cannot be read"),
        (drop_tensor, r"lacks 1 parameters of LlamaForCausalLM: model\.layers\.1\.mlp\.up_proj\.weight"),
        (drop_tokenizer, "its tokenizer cannot be read"),
        (own_code, "is code that comes with the checkpoint.*--trust-remote-code"),
        (lambda folder: edit_config(folder, model_type="unheard_of"), "its configuration cannot be read.*unheard_of"),
        (lambda folder: edit_config(folder, hidden_size=64), "its weights cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "its configuration cannot be read"),
        (lambda folder: shutil.rmtree(folder), "its configuration cannot be read"),
    ],
    ids=["no weights", "half a file", "no tensor", "no tokenizer", "own code", "kind", "shapes", "not json", "nothing"],
)
def test_damaged_checkpoints_are_refused_by_name(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as refusal:
        open_general(str(folder))
    assert str(refusal.value).startswith(f"model {str(folder)!r}: ")
    assert "\n" not in str(refusal.value)


def test_models_that_write_no_text_are_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(**small, vocab_size=30)).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="was saved as BertForMaskedLM, which writes no text"):
        open_general(str(tmp_path / "bert"))
    T5Config(d_model=8, num_layers=1).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="'t5' is neither a vision-language model"):
        open_general(str(tmp_path / "t5"))


def test_processor_that_is_missing_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.llava_clip(tmp_path)
    for path in folder.glob("*processor*"):
        path.unlink()
    with pytest.raises(InputError, match="processor"):
        open_general(str(folder))


def test_template_that_drops_the_images_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.gemma3(tmp_path)
    (folder / "chat_template.jinja").write_text(tiny_models.TURNS.replace("<start_of_image>", ""))
    with pytest.raises(InputError, match=r"its processor cannot take the prompt \(ValueError: .*0 <start_of_image>"):
        open_general(str(folder))


def test_tokens_that_form_no_grid_are_refused(tmp_path: Path) -> None:
    folder = tiny_models.gemma3(tmp_path)
    path = folder / "processor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_seq_length": 5}))
    with pytest.raises(InputError, match="makes 5 image tokens of a square picture of 56 pixels, which form no square"):
        open_general(str(folder))


def test_gguf_file_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        open_general(str(tmp_path / "missing.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(InputError, match="its configuration cannot be read"):
        open_general(str(tmp_path / "text.gguf"))


@pytest.mark.parametrize(
    ("settings", "side", "seen"),
    [
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True},
            256,
            224,
        ),
        ({"size": {"height": 896, "width": 896}}, 896, 896),
        ({"size": {"shortest_edge": 3136, "longest_edge": 1_003_520}}, 448, 448),
        ({"size": {"shortest_edge": 64}, "do_resize": False}, 448, 448),
        ({"size": 32}, 32, 32),
        ({}, 448, 448),
    ],
)
def test_the_square_that_a_processor_wants(settings: dict[str, Any], side: int, seen: int) -> None:
    crop = crop_of(type("Processor", (), settings)(), 448)
    assert (crop.side, crop.seen) == (side, seen)


def test_pictures_that_are_no_square_are_refused() -> None:
    with pytest.raises(InputError, match="is no square"):
        crop_of(type("Processor", (), {"size": {"height": 2, "width": 3}})(), 448)
    wide = {"size": {"shortest_edge": 8}, "crop_size": 9, "do_center_crop": True}
    with pytest.raises(InputError, match="crop of 9 pixels is larger"):
        crop_of(type("Processor", (), wide)(), 448)
