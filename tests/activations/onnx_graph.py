"""Reading an ONNX file and computing it with torch, as far as one image encoder needs it.

An ONNX file is a protocol buffer: fields of (number << 3 | wire type), a value or a length and that many bytes. The
numbers below are those of ``onnx.proto``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

_TYPES: dict[int, Any] = {1: "<f4", 7: "<i8", 9: "?"}
_TORCH = {1: torch.float32, 7: torch.int64, 9: torch.bool}
_VARINT, _BYTES, _FOUR = 0, 2, 5


@dataclass(frozen=True)
class Node:
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of computation, and the constants by name."""

    nodes: tuple[Node, ...]
    initializers: dict[str, torch.Tensor]

    def compute(self, given: dict[str, torch.Tensor], wanted: Sequence[str]) -> dict[str, torch.Tensor]:
        """Values of ``wanted``; nodes after the last of them are not computed."""
        values = {"": torch.empty(0), **self.initializers, **given}
        for node in self.nodes:
            if all(name in values for name in wanted):
                break
            values[node.outputs[0]] = _OPS[node.op]([values[name] for name in node.inputs], node.attributes)
        return {name: values[name] for name in wanted}


def read_graph(path: Path) -> Graph:
    content = memoryview(path.read_bytes())
    (graph,) = [value for number, value in _fields(content) if number == 7]
    nodes, initializers = [], {}
    for number, value in _fields(graph):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, tensor = _tensor(value)
            initializers[name] = tensor
    return Graph(tuple(nodes), initializers)


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        elif kind == _FOUR:
            yield number, data[at : at + 4]
            at += 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (value - (1 << 64) if value >> 63 else value), at


def _text(data: memoryview) -> str:
    return bytes(data).decode()


def _tensor(data: memoryview) -> tuple[str, torch.Tensor]:
    shape, kind, name, raw = [], 0, "", memoryview(b"")
    for number, value in _fields(data):
        if number == 1:
            shape.append(value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = value
    return name, torch.from_numpy(np.frombuffer(raw, _TYPES[kind]).reshape(shape).copy())


def _node(data: memoryview) -> Node:
    inputs, outputs, attributes, name, op = [], [], {}, "", ""
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 3:
            name = _text(value)
        elif number == 4:
            op = _text(value)
        elif number == 5:
            attributes.update([_attribute(value)])
    return Node(op, name, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview) -> tuple[str, Any]:
    name, value, several = "", None, []
    for number, field in _fields(data):
        if number == 1:
            name = _text(field)
        elif number == 2:
            (value,) = struct.unpack("<f", field)
        elif number == 3:
            value = field
        elif number == 4:
            value = _text(field)
        elif number == 5:
            value = _tensor(field)[1]
        elif number == 8:
            several.append(field)
    return name, several or value


def _slice(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    out = x[0]
    axes = x[3].tolist() if len(x) > 3 else range(len(x[1]))
    steps = x[4].tolist() if len(x) > 4 else [1] * len(x[1])
    for axis, start, end, step in zip(axes, x[1].tolist(), x[2].tolist(), steps, strict=True):
        out = out[(slice(None),) * (axis % out.dim()) + (slice(start, min(end, out.shape[axis]), step),)]
    return out


def _resize(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    assert (a["mode"], a["coordinate_transformation_mode"], round(a["cubic_coeff_a"], 3)) == (
        "cubic",
        "half_pixel",
        -0.75,
    )
    return F.interpolate(x[0], size=x[3].tolist()[2:], mode="bicubic", align_corners=False)


def _reshape(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    return x[0].reshape([x[0].shape[i] if n == 0 else n for i, n in enumerate(x[1].tolist())])


def _unsqueeze(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    out = x[0]
    for axis in sorted(x[1].tolist()):
        out = out.unsqueeze(axis)
    return out


def _divide(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    return x[0] / x[1] if x[0].is_floating_point() else torch.div(x[0], x[1], rounding_mode="trunc")


def _gather(x: list[torch.Tensor], a: dict[str, Any]) -> torch.Tensor:
    return x[0].index_select(a["axis"], x[1].reshape(-1)).reshape(x[1].shape if x[0].dim() == 1 else (-1,))


_OPS: dict[str, Callable[[list[torch.Tensor], dict[str, Any]], torch.Tensor]] = {
    "Constant": lambda x, a: a["value"],
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Div": _divide,
    "Pow": lambda x, a: x[0] ** x[1],
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Erf": lambda x, a: x[0].erf(),
    "MatMul": lambda x, a: x[0] @ x[1],
    "Softmax": lambda x, a: x[0].softmax(a["axis"]),
    "ReduceMean": lambda x, a: x[0].mean(a["axes"], keepdim=True),
    "Shape": lambda x, a: torch.tensor(x[0].shape),
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Reshape": _reshape,
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Slice": _slice,
    "Cast": lambda x, a: x[0].to(_TORCH[a["to"]]),
    "Conv": lambda x, a: F.conv2d(*x, stride=a["strides"]) if not any(a["pads"]) else math.nan,  # type: ignore[arg-type]
    "ConstantOfShape": lambda x, a: a["value"].expand(x[0].tolist()),
    "Equal": lambda x, a: x[0] == x[1],
    "Where": lambda x, a: torch.where(*x),
    "Expand": lambda x, a: x[0].expand(torch.broadcast_shapes(x[0].shape, x[1].tolist())),
    "Resize": _resize,
}
