"""One truth for three ways to look: hooks, nnsight and TransformerLens read and edit the same numbers.

The same on trained weights is in ``test_smollm2.py``, which has them open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CTRLConfig, CTRLLMHeadModel

from activations.hooks import capture
from activations.models import open_model
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from activations.models.views import bridge_arguments, bridge_view, nnsight_view, site_of, trace_arguments
from activations.roles import Role
from radiology.errors import InputError
from radiology.phantom.cases import phantom_studies
from tests.activations.three_ways import added, alike, resid_post, state, three_edits, three_ways, zeroed
from tests.activations.tiny_models import CAUSAL, VISION_LANGUAGE, byte_tokenizer, dinov2, example_studies, llama_chat


def opened(folder: Path) -> TransformerReportModel:
    model = open_model(str(folder))
    assert isinstance(model, TransformerReportModel)
    return model


# --- the phantom: images, prompts of different length, text that may not see the images in its first blocks ---


@pytest.fixture(scope="module")
def phantom() -> TransformerReportModel:
    model = open_model("phantom")
    assert isinstance(model, TransformerReportModel)
    return model


@pytest.fixture(scope="module")
def batch(phantom: TransformerReportModel) -> ModelInputs:
    studies = list(phantom_studies(4, seed=11))
    inputs = phantom.encode_batch(studies, [study.report for study in studies])
    assert len(set(inputs.padding)) > 1
    assert len(inputs.pixel_values_nchw) > len(inputs)  # type: ignore[arg-type]
    return inputs


@pytest.fixture(scope="module")
def bridge(phantom: TransformerReportModel) -> Any:
    return bridge_view(phantom)


def tokens_of(inputs: ModelInputs, role: Role) -> torch.Tensor:
    """Where the tokens of a role stand in the padded batch, (B, T) bool."""
    there_bt = torch.zeros_like(inputs.attention_mask_bt, dtype=torch.bool)
    for i, table in enumerate(inputs.tokens):
        there_bt[i, inputs.columns(i, table.where([role]))] = True
    return there_bt


def test_all_three_read_the_same_residuals(phantom: TransformerReportModel, batch: ModelInputs, bridge: Any) -> None:
    three_ways(phantom, bridge, batch)


@pytest.mark.parametrize("site", ["language.1", "language.4"])
def test_an_edit_has_the_same_effect_through_each(
    phantom: TransformerReportModel, batch: ModelInputs, bridge: Any, site: str
) -> None:
    report_bt, image_bt = tokens_of(batch, Role.REPORT), tokens_of(batch, Role.IMAGE)
    three_edits(phantom, bridge, batch, site, added(report_bt, phantom.width(site)))
    three_edits(phantom, bridge, batch, site, zeroed(image_bt))


def test_a_model_is_the_same_after_each_view(batch: ModelInputs) -> None:
    model = open_model("phantom")
    assert isinstance(model, TransformerReportModel)
    before, left = model.forward(batch), state(model)
    bridge = bridge_view(model)
    with bridge.hooks([(resid_post("language.2"), lambda output, hook: output * 0)]):
        assert torch.equal(model.forward(batch), before)
        bridge(**bridge_arguments(model, batch))
    bridge.enable_compatibility_mode()
    assert state(model) == left
    assert torch.equal(model.forward(batch), before)
    view = nnsight_view(model)
    with view.trace(**trace_arguments(model, batch)):
        site_of(view, model, "language.2").output = site_of(view, model, "language.2").output * 0
    assert state(model) == left
    assert torch.equal(model.forward(batch), before)
    alike(bridge_view(model)(**bridge_arguments(model, batch)), before, batch)  # of a module that nnsight has wrapped


def test_the_bridge_holds_no_copy(phantom: TransformerReportModel, bridge: Any) -> None:
    theirs = dict(bridge.original_model.named_parameters())
    (own,) = [name for name in theirs if name.startswith("lm_head") and name.endswith("bias")]
    assert not theirs.pop(own).any()
    language: Any = phantom.module.language_model
    assert {tensor.data_ptr() for tensor in theirs.values()} == {t.data_ptr() for t in language.parameters()}


def test_hooks_on_the_model_do_not_reach_the_bridge(phantom: TransformerReportModel, batch: ModelInputs) -> None:
    with capture(phantom, ["language.2"]) as recorder:
        phantom.forward(batch)
        bridge = bridge_view(phantom)
        bridge(**bridge_arguments(phantom, batch))
        assert recorder.fired == {"language.2": 1}


# --- other architectures ---


@pytest.mark.parametrize("family", ["llava-clip", "llava-dino", "gemma3", "llama-chat", "gpt2"])
def test_other_architectures_agree_with_and_without_images(family: str, tmp_path: Path) -> None:
    builders = VISION_LANGUAGE | CAUSAL
    model = opened(builders[family](tmp_path / family))
    studies = example_studies(images=family in VISION_LANGUAGE)
    inputs = model.encode_batch(studies, [study.report for study in studies])
    assert len(set(inputs.padding)) > 1
    bridge = bridge_view(model)
    three_ways(model, bridge, inputs)
    _, cache = bridge.run_with_cache(**bridge_arguments(model, inputs), names_filter="blocks.1.attn.hook_pattern")
    weights_nt = cache["blocks.1.attn.hook_pattern"].sum(1)[inputs.attention_mask_bt.bool()]
    heads = float(cache["blocks.1.attn.hook_pattern"].shape[1])
    torch.testing.assert_close(weights_nt.sum(-1), torch.full((len(weights_nt),), heads))


def test_a_text_model_is_fed_tokens(tmp_path: Path) -> None:
    model = opened(llama_chat(tmp_path))
    inputs = model.encode(example_studies()[2])
    assert torch.equal(bridge_arguments(model, inputs)["input"], inputs.input_ids_bt)


def ctrl(folder: Path) -> Path:
    """A decoder that TransformerLens has no adapter for."""
    tokenizer = byte_tokenizer(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = CTRLConfig(vocab_size=len(tokenizer), n_positions=64, n_embd=32, dff=48, n_layer=2, n_head=2)
    CTRLLMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (dinov2, "no language half"),
        (VISION_LANGUAGE["qwen2.5-vl"], "decoder .Qwen2_5_VLTextConfig. is not a language model of its own"),
        (ctrl, "cannot bridge CTRLLMHeadModel .* Unsupported architecture"),
    ],
)
def test_what_cannot_be_bridged_is_refused_with_the_reason(
    build: Callable[[Path], Path], why: str, tmp_path: Path
) -> None:
    model = opened(build(tmp_path))
    with pytest.raises(InputError, match=why):
        bridge_view(model)


def test_weights_that_are_elsewhere_are_not_bridged(tmp_path: Path) -> None:
    model = opened(llama_chat(tmp_path))
    model.module.to("meta")
    with pytest.raises(InputError, match="offloaded"):
        bridge_view(model)


def test_a_site_that_is_not_there_is_refused(phantom: TransformerReportModel) -> None:
    with pytest.raises(InputError, match="it has vision"):
        site_of(nnsight_view(phantom), phantom, "language.6")
