"""The cache with room: the same keys and values as the one that concatenates, also when reordered or cropped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache, LlamaConfig
from transformers.masking_utils import create_causal_mask

from activations.models import kv_cache
from activations.models.kv_cache import RoomyLayer, give_room
from activations.models.maira2 import _bar, one_step_masks


def states(steps: list[int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, n, 4, generator=generator) for n in steps]


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(1, 9), min_size=1, max_size=8), room=st.integers(1, 12))
def test_growing_in_place_equals_concatenation(steps: list[int], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kv_cache, "ROOM", room)
        layer, told = RoomyLayer(), []
        for keys in states(steps):
            told.append(keys)
            seen, values = layer.update(keys, -keys)
            assert torch.equal(seen, torch.cat(told, dim=-2))
            assert torch.equal(values, -seen)
            assert layer.get_seq_length() == seen.shape[-2]


def test_a_step_does_not_copy_what_is_there() -> None:
    layer = RoomyLayer()
    first, second = states([5, 1])
    before = layer.update(first, first)[0].data_ptr()
    assert layer.update(second, second)[0].data_ptr() == before


def test_reordered_and_cropped_rows_go_on_right() -> None:
    first, second, third = states([4, 1, 1])
    layer, plain = RoomyLayer(), DynamicCache()
    for cache in (lambda keys: layer.update(keys, keys), lambda keys: plain.update(keys, keys, 0)):
        cache(first)
        cache(second)
    beams = torch.tensor([1, 1])
    layer.reorder_cache(beams)
    plain.reorder_cache(beams)
    layer.crop(-1)
    plain.crop(-1)
    assert torch.equal(layer.update(third, third)[0], plain.update(third, third, 0)[0])


def test_only_an_empty_dynamic_cache_gets_room() -> None:
    config = LlamaConfig(num_hidden_layers=2)
    empty = DynamicCache(config=config)
    give_room(empty)
    assert [type(layer) for layer in empty.layers] == [RoomyLayer, RoomyLayer]
    begun = DynamicCache(config=config)
    begun.update(*states([3, 3]), 0)
    kinds = [type(layer) for layer in begun.layers]
    give_room(begun)
    give_room(None)
    assert [type(layer) for layer in begun.layers] == kinds


@pytest.mark.parametrize("padding", [0, 2])
def test_masks_of_one_step_are_those_of_transformers(padding: int) -> None:
    config = LlamaConfig(num_hidden_layers=1, hidden_size=12, num_attention_heads=3)
    config._attn_implementation = "sdpa"
    cache = DynamicCache(config=config)
    cache.update(*states([6, 6]), 0)
    real_bt = torch.ones(2, 7, dtype=torch.long)
    real_bt[1, :padding] = 0
    image_bt = torch.zeros(2, 7, dtype=torch.bool)
    image_bt[:, 2:4] = True
    arguments = {
        "config": config,
        "inputs_embeds": torch.zeros(2, 1, 12),
        "attention_mask": real_bt,
        "past_key_values": cache,
        "position_ids": real_bt.cumsum(-1)[:, -1:] - 1,
    }
    expected_open = create_causal_mask(**arguments)
    expected_barred = create_causal_mask(**arguments, and_mask_function=_bar(image_bt), allow_is_causal_skip=False)
    found_open, found_barred = one_step_masks(real_bt, image_bt)
    assert found_barred is not None
    assert torch.equal(found_barred.expand(expected_barred.shape), expected_barred)
    assert (found_open is None) == (expected_open is None)
    if expected_open is not None:
        assert torch.equal(found_open.expand(expected_open.shape), expected_open)
