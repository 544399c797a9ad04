"""Devices and device maps: who goes where, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaModel

from activations.models.placement import Placement, place
from radiology.errors import InputError


def empty() -> LlamaModel:
    sizes = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2}
    with torch.device("meta"):
        return LlamaModel(LlamaConfig(**sizes, num_hidden_layers=2))


def test_the_longest_path_decides() -> None:
    placement = Placement({"": torch.device("cpu"), "layers": torch.device("cpu", 0), "layers.1": torch.device("meta")})
    assert placement.device_of("norm.weight") == torch.device("cpu")
    assert placement.device_of("layers.0.x") == torch.device("cpu", 0)
    assert placement.device_of("layers.1.x") == torch.device("meta")
    assert placement.device_of("layers.11.x") == torch.device("cpu", 0)


@pytest.mark.parametrize(
    ("device", "device_map", "message"),
    [
        ("cpu", {"ghost": "cpu"}, "ghost"),
        ("cpu", {"layers": "cpu"}, "nothing about 2 tensors, such as embed_tokens.weight"),
        ("cpu", "balanced", "give auto"),
        ("cuda:99", None, "device 'cuda:99' is not here"),
        ("toaster", None, "device 'toaster' is not here"),
        ("cpu", {"": 99}, "device 99 is not here"),
    ],
)
def test_maps_and_devices_that_do_not_fit_are_refused(device: str, device_map: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        place(empty(), device, device_map, torch.float32, "m")


def test_a_model_larger_than_all_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.utils.modeling.get_max_memory", lambda memory=None: {"cpu": 3000})
    with pytest.raises(InputError, match=r"GB of its 0\.0 GB fit neither on a device nor in main memory"):
        place(empty(), "cpu", "auto", torch.float32, "m")
