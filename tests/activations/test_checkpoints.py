"""Published checkpoints: every tensor once, none missing, none left over, and a message for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaModel

from activations.models.checkpoints import KeyRules, load_checkpoint
from activations.models.placement import Placement, place
from radiology.errors import InputError
from tests.activations.standin import write_shards

CONFIG = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "rope_parameters": {"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0},
}
RULES = KeyRules(renamed=((r"^old\.", ""),), ignored=(r"layers\.\d+\.inv_freq",))
CPU = Placement({"": torch.device("cpu")})


def empty() -> LlamaModel:
    with torch.device("meta"):
        return LlamaModel(LlamaConfig(**CONFIG))


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in LlamaModel(LlamaConfig(**CONFIG)).state_dict().items()}


@pytest.fixture
def folder(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    write_shards(tmp_path, tensors, 3)
    return tmp_path


def load(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[LlamaModel, str]:
    module = empty()
    return module, load_checkpoint(module, folder, dtype=dtype, **{"placement": CPU, "rules": RULES, **options})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_tensor_is_what_is_stored_in_the_wanted_format(
    folder: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> None:
    module, _ = load(folder, dtype)
    assert module.state_dict().keys() == tensors.keys()
    for name, value in module.state_dict().items():
        assert value.dtype is dtype
        assert torch.equal(value, tensors[name].to(dtype))


def test_rope_is_built_as_on_a_cpu_and_stays_float32(folder: Path) -> None:
    module, _ = load(folder, torch.bfloat16)
    built = LlamaModel(LlamaConfig(**CONFIG)).rotary_emb
    assert module.rotary_emb.inv_freq.dtype is torch.float32
    assert torch.equal(module.rotary_emb.inv_freq, built.inv_freq)
    assert torch.equal(module.rotary_emb.original_inv_freq, built.inv_freq)
    x, positions = torch.zeros(1, 3, 8), torch.arange(3)[None] * 1000
    for mine, theirs in zip(module.rotary_emb(x, positions), built(x, positions), strict=True):
        assert torch.equal(mine, theirs)


def test_tensors_come_one_at_a_time(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    module, seen = empty(), []

    def progress(done: int, total: int) -> None:
        in_memory = sum(not parameter.is_meta for parameter in module.parameters())
        seen.append((done, total, in_memory))

    load_checkpoint(module, folder, dtype=torch.float32, placement=CPU, progress=progress)
    assert seen == [(n, len(tensors), n) for n in range(1, len(tensors) + 1)]


def test_the_fingerprint_is_of_content_not_of_files(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    def fingerprint(changed: dict[str, torch.Tensor], shards: int, **options: Any) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        if shards:
            write_shards(folder, changed, shards)
        else:
            save_file(changed, folder / "model.safetensors")
        return load(folder, **options)[1]

    whole = fingerprint(tensors, 3)
    assert whole == fingerprint(tensors, 5) == fingerprint(tensors, 0)
    bit = {**tensors, "norm.weight": tensors["norm.weight"].clone()}
    bit["norm.weight"].view(torch.int32)[0] ^= 1
    half = {name: value.half() for name, value in tensors.items()}
    others = [
        fingerprint(bit, 3),
        fingerprint(half, 3),
        fingerprint(tensors, 3, dtype=torch.bfloat16),
        fingerprint(tensors, 3, described={"config": 1}),
    ]
    assert len({whole, *others}) == 5


def test_names_are_mapped_by_rule_and_old_buffers_passed_over(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    old = {f"old.{name}" if "norm" in name else name: value for name, value in tensors.items()}
    old["layers.0.inv_freq"] = torch.zeros(2)
    write_shards(tmp_path, old, 2)
    module, _ = load(tmp_path)
    assert torch.equal(module.norm.weight, tensors["norm.weight"])


def test_what_is_missing_left_over_or_of_another_shape_is_listed(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    del tensors["norm.weight"]
    tensors["layers.1.mlp.up_proj.weight"] = torch.zeros(3, 4)
    tensors["layers.1.mlp.down_proj.weight"] = torch.zeros(8, 12, dtype=torch.int8)
    tensors |= {f"visitor.{n:02d}": torch.zeros(1) for n in range(23)}
    write_shards(tmp_path, tensors, 3)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert "LlamaModel" in message
    assert "1 missing: norm.weight" in message
    assert "23 unexpected: visitor.00; " in message
    assert "visitor.19; and 3 more" in message
    assert "visitor.20" not in message
    assert "2 of another kind" in message
    assert "layers.1.mlp.up_proj.weight is (3, 4), the model's (12, 8)" in message
    assert "layers.1.mlp.down_proj.weight is stored as I8" in message


def shard(folder: Path, number: int = 1) -> Path:
    return folder / f"model-{number:05d}-of-00003.safetensors"


def change_index(folder: Path, change: Callable[[dict[str, str]], None]) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def bend(kind: str, folder: Path) -> None:
    """Damage a checkpoint in one way."""
    one = shard(folder)
    first = "embed_tokens.weight"
    match kind:
        case "gone":
            one.unlink()
        case "cut off":
            one.write_bytes(one.read_bytes()[:-7])
        case "empty":
            one.write_bytes(b"")
        case "pointer":
            one.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4999999999\n")
        case "no header":
            one.write_bytes((9).to_bytes(8, "little") + b"not json!")
        case "promised":
            change_index(folder, lambda names: names.update({"ghost": one.name}))
        case "unknown":
            change_index(folder, lambda names: names.pop(first))
        case "outside":
            change_index(folder, lambda names: names.update({first: "../other.safetensors"}))
        case "index":
            (folder / "model.safetensors.index.json").write_text("[]")
        case "pickle":
            for path in folder.iterdir():
                path.unlink()
            (folder / "pytorch_model.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("gone", "1 of 3 files .* are not there: model-00001-of-00003.safetensors"),
        ("cut off", "00001-of-00003.safetensors: has .* cut off"),
        ("empty", r"cut off or no safetensors file \(0 bytes\)"),
        ("pointer", "git-lfs pointer.*git lfs pull"),
        ("no header", "no readable safetensors header"),
        ("promised", "00001-of-00003.safetensors: lacks 1 tensors .* ghost"),
        ("unknown", "holds 1 tensors that .* does not know: embed_tokens.weight"),
        ("outside", "not one beside it"),
        ("index", "is not an index"),
        ("pickle", "neither model.safetensors nor .* There is a .bin file"),
    ],
)
def test_damaged_files_are_named(folder: Path, kind: str, message: str) -> None:
    bend(kind, folder)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_values_beyond_float16_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    tensors["norm.weight"][0] = 1e5
    write_shards(tmp_path, tensors, 1)
    with pytest.raises(InputError, match=r"norm\.weight holds values beyond float16"):
        load(tmp_path, torch.float16)
    load(tmp_path, torch.bfloat16)


def test_other_number_formats_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="float64"):
        load(folder, torch.float64)


@pytest.mark.parametrize(
    "device_map",
    [None, "auto", {"": "cpu"}, {"embed_tokens": "cpu", "layers": "cpu", "norm": "cpu", "rotary_emb": "cpu"}],
)
def test_maps_on_one_device_load_the_same(folder: Path, device_map: Any, tensors: dict[str, torch.Tensor]) -> None:
    placement = place(empty(), "cpu", device_map, torch.float32, "m")
    module, _ = load(folder, placement=placement)
    assert torch.equal(module.norm.weight, tensors["norm.weight"])
    assert not any(value.is_meta for value in (*module.parameters(), *module.buffers()))


def test_rules_keep_a_name_that_the_module_has() -> None:
    rules = KeyRules(renamed=((r"^a\.", "b."),), ignored=("a.y",))
    assert rules.name("a.x", {"a.x": nn.Parameter()}) == "a.x"
    assert rules.name("a.x", {}) == "b.x"
    assert rules.name("a.y", {}) is None
    assert rules.name("a.y", {"a.y": 1}) == "a.y"
