from __future__ import annotations

import numpy as np
import torch

from activations.memory import Recycled


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_only_when_nothing_looks_at_it() -> None:
    memory = Recycled()
    first = memory.empty((4, 3), np.float32)
    place = address(first)
    assert address(memory.empty((4, 3), np.float32)) != place  # the array itself is held
    view = first[1:]
    del first
    assert address(memory.empty((4, 3), np.float32)) != place  # a view is
    tensor = torch.from_numpy(view)[1:].T
    del view
    assert address(memory.empty((4, 3), np.float32)) != place  # a tensor of a tensor is
    del tensor
    assert address(memory.empty((4, 3), np.float32)) == place


def test_another_shape_or_type_is_other_memory() -> None:
    memory = Recycled()
    place = address(memory.empty((4, 3), np.float32))
    assert memory.empty((4, 2), np.float32).shape == (4, 2)
    assert memory.empty((4, 3), np.int16).dtype == np.int16
    assert address(memory.empty((4, 3), np.float32)) == place


def test_what_is_held_longer_than_memory_is_remembered_stays_as_it_is() -> None:
    memory = Recycled(keep=2)
    held = []
    for number in range(7):
        held.append(torch.from_numpy(memory.empty((8,), np.int64)).fill_(number))
    assert [int(tensor[0]) for tensor in held] == list(range(7))
    assert all(len(set(tensor.tolist())) == 1 for tensor in held)
