"""MAIRA-2 at full size with random weights, for benchmarks/hooks.py: time does not depend on what the weights say.

FLOPs are counted as two a multiply-add, matrix products only. With N = patches + 1 of an image, T = tokens of a prompt:

- encoder, an image: 2·P·(3·p²)·d for the patch embedding, then a layer 2·N·(4·d² + 2·d·m) + 4·N²·d,
  with d its width, m its MLP's, p the patch size, P = patches;
- projector, an image: 2·P·(d·D + 3·D²);
- decoder, a prompt: a block 2·T·(2·D² + 2·D·D·kv/heads + 3·D·M) + 2·T²·D, attention being causal: half of 4·T²·D;
- head, a prompt: 2·T·D·V.

A pass that stops at block L has L + 1 blocks and no head. The share of the peak is these FLOPs over the time and the
card's dense bfloat16 peak, as its data sheet has it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from transformers import Dinov2Config, LlamaConfig

from activations.models.base import ModelInputs
from activations.models.maira2 import Maira2Config, Maira2ForConditionalGeneration
from activations.models.transformer import TransformerReportModel
from activations.roles import IMAGE_NAMES, Role, TokenTable

#: Images of a prompt, and its tokens of text and report.
IMAGES, TEXT_TOKENS, REPORT_TOKENS = 3, 200, 100
SEED = 3
#: Dense bfloat16 TFLOP/s by device name, from NVIDIA's data sheets.
PEAKS = {
    "A100": 312.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "GH200": 989.0,
    "L40S": 362.0,
    "L4": 121.0,
}


class FullSize(TransformerReportModel):
    """A model that is given its inputs ready-made: it has no processor."""

    def encode(self, study: Any, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        raise NotImplementedError("random weights have no processor")

    def preview(self, study: Any, image: str, size: int | None = None) -> np.ndarray:
        raise NotImplementedError("random weights have no processor")


def config(tiny: bool) -> Maira2Config:
    """The published sizes (arXiv 2406.04449); in miniature, the same with everything small."""
    vision = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 518}
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    words, image_token = 32207, 32204
    if tiny:
        vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56}
        text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2}
        words, image_token = 512, 511
    encoder = Dinov2Config(  # type: ignore[call-arg]
        **vision,
        patch_size=14,
        out_features=[f"stage{vision['num_hidden_layers']}"],
        apply_layernorm=True,
        reshape_hidden_states=True,
    )
    decoder = LlamaConfig(
        **text,
        vocab_size=words,
        max_position_embeddings=6144,
        rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0},
        tie_word_embeddings=False,
    )
    return Maira2Config(encoder, decoder, image_token_index=image_token, pad_token_id=0, tie_word_embeddings=False)


def build(device: str, batch: int, *, tiny: bool) -> tuple[FullSize, ModelInputs]:
    """The model in bfloat16 on the device, drawn there, and a batch of teacher-forced prompts on the CPU."""
    shape = config(tiny)
    torch.manual_seed(SEED)
    with torch.device(device):
        module = Maira2ForConditionalGeneration._from_config(shape, dtype=torch.bfloat16)
    side = shape.vision_config.image_size // shape.vision_config.patch_size
    model = FullSize(
        "maira2-full",
        module,
        fingerprint="random",
        tokenizer=None,
        grid=(side, side),
        image_size=shape.vision_config.image_size,
        pad_token_id=0,
        eos_token_ids=(2,),
    )
    return model, _prompts(shape, batch, side)


def _prompts(shape: Maira2Config, batch: int, side: int) -> ModelInputs:
    rng = np.random.default_rng(SEED)
    words = min(shape.image_token_index, shape.text_config.vocab_size)

    def text(count: int, role: Role) -> TokenTable:
        return TokenTable.text(rng.integers(3, words, count).tolist(), role)

    tables = tuple(
        TokenTable.concatenate(
            [TokenTable.patches(shape.image_token_index, name, side, side) for name in IMAGE_NAMES[:IMAGES]]
            + [text(TEXT_TOKENS, Role.TEMPLATE), text(REPORT_TOKENS, Role.REPORT)]
        )
        for _ in range(batch)
    )
    ids_bt = torch.from_numpy(np.stack([table.token_id.astype(np.int64) for table in tables]))
    pixels = torch.randn(batch * IMAGES, 3, shape.vision_config.image_size, shape.vision_config.image_size)
    return ModelInputs(ids_bt, torch.ones_like(ids_bt), pixels, tables, tuple(str(i) for i in range(batch)))


def site(model: FullSize) -> str:
    """The block whose residual is cached: 15 of 32, the middle of any."""
    return f"language.{(len(model.parts.language_blocks) - 1) // 2}"


def flops(shape: Maira2Config, batch: int, tokens: int, blocks: int, head: bool) -> float:
    """FLOPs of a pass over ``batch`` prompts of ``tokens`` tokens each; the formula stands at the top of this file."""
    vision, text = shape.vision_config, shape.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    d, mlp, seen = vision.hidden_size, vision.hidden_size * vision.mlp_ratio, patches + 1
    layer = 2 * seen * (4 * d**2 + 2 * d * mlp) + 4 * seen**2 * d
    encoder = 2 * patches * 3 * vision.patch_size**2 * d + vision.num_hidden_layers * layer
    width, keys = text.hidden_size, text.num_key_value_heads / text.num_attention_heads
    projector = 2 * patches * (d * width + 3 * width**2)
    linear = 2 * width**2 + 2 * width**2 * keys + 3 * width * text.intermediate_size
    block = 2 * tokens * linear + 2 * tokens**2 * width
    unembedding = 2 * tokens * width * text.vocab_size if head else 0
    return float(batch * (IMAGES * (encoder + projector) + blocks * block + unembedding))


def facts(model: FullSize, inputs: ModelInputs, sites: list[str], peak_tflops: float | None) -> dict[str, Any]:
    """Sizes, FLOPs with and without a stop after the site, and the card's peak, if it is known."""
    shape = model.module.config
    batch, tokens = inputs.input_ids_bt.shape
    last = max(int(name.removeprefix("language.")) for name in sites)
    return {
        "parameters": sum(p.numel() for p in model.module.parameters()),
        "image_tokens": int((inputs.input_ids_bt[0] == shape.image_token_index).sum()),
        "flops": flops(shape, batch, tokens, len(model.parts.language_blocks), head=True),
        "flops_stop": flops(shape, batch, tokens, last + 1, head=False),
        "peak_tflops": peak_tflops or _peak(model.device),
    }


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if re.search(rf"\b{part}\b", name)), None)


def rates(line: dict[str, Any], known: dict[str, Any], batch: int, tokens: int) -> dict[str, float]:
    """Studies and tokens a second of a side, and the share of the card's peak that its matrix products make up."""
    seconds = line["median_seconds"]
    found = {"studies/s": batch / seconds, "tokens/s": tokens / seconds}
    if known["peak_tflops"]:
        done = known["flops_stop"] if "stop" in line["what"] else known["flops"]
        found["of peak"] = done / seconds / (known["peak_tflops"] * 1e12)
    return found
