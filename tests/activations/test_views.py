"""One truth for three ways to look: hooks, nnsight and TransformerLens read and edit the same numbers.

nnsight runs the module itself, so it agrees to the bit. TransformerLens computes the same attention from its parts
(scores, softmax, weighted sum), so it agrees to the rounding of float32: ``ROUNDING`` of a token's largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from nnsight import NNsight
from transformers import CTRLConfig, CTRLLMHeadModel

from activations.hooks import capture
from activations.models import open_model
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from activations.models.views import bridge_arguments, bridge_view, nnsight_view, site_of, trace_arguments
from activations.roles import Role, TokenTable
from radiology.errors import InputError
from radiology.phantom.cases import phantom_studies
from tests.activations.tiny_models import CAUSAL, VISION_LANGUAGE, byte_tokenizer, dinov2, example_studies, llama_chat

ROUNDING = 2e-5
Edit = Callable[[torch.Tensor], torch.Tensor]


def alike(theirs: torch.Tensor, ours: torch.Tensor, inputs: ModelInputs) -> None:
    """Equal to rounding at every token, some of which are a hundred times as large as others; padding is nobody's."""
    real_bt = inputs.attention_mask_bt.bool()
    largest_n1 = ours[real_bt].abs().amax(-1, keepdim=True)
    apart = ((theirs[real_bt] - ours[real_bt]).abs() / largest_n1).max().item()
    assert apart < ROUNDING


def hooked(model: TransformerReportModel, site: str, edit: Edit, inputs: ModelInputs) -> torch.Tensor:
    """Logits with the output of a site edited by a hook."""
    handle = model.sites()[site].register_forward_hook(lambda _module, _arguments, output: edit(output))
    try:
        return model.forward(inputs)
    finally:
        handle.remove()


def state(model: TransformerReportModel) -> Any:
    """What a view could have left behind."""
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
    kinds = [type(part) for part in model.module.modules()]
    weights = [(name, id(tensor), tensor.data_ptr()) for name, tensor in model.module.named_parameters()]
    tokenizer = None if model.tokenizer is None else (model.tokenizer.padding_side, model.tokenizer.pad_token)
    return hooks, kinds, weights, model.module.config.to_dict(), tokenizer


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


def blocks(model: TransformerReportModel) -> list[str]:
    return [site for site in model.sites() if site.startswith("language")]


def resid_post(site: str) -> str:
    return f"blocks.{site.removeprefix('language.')}.hook_resid_post"


def tokens_of(inputs: ModelInputs, role: Role) -> torch.Tensor:
    """Where the tokens of a role stand in the padded batch, (B, T) bool."""
    there_bt = torch.zeros_like(inputs.attention_mask_bt, dtype=torch.bool)
    for i, table in enumerate(inputs.tokens):
        there_bt[i, inputs.columns(i, table.where([role]))] = True
    return there_bt


def added(there_bt: torch.Tensor, width: int) -> Edit:
    """Adds one vector to some tokens."""
    vector_d = torch.from_numpy(np.random.default_rng(5).standard_normal(width).astype(np.float32))
    return lambda output: torch.where(there_bt[..., None], output + vector_d, output)


def zeroed(there_bt: torch.Tensor) -> Edit:
    return lambda output: output.masked_fill(there_bt[..., None], 0)


def three_ways(model: TransformerReportModel, bridge: Any, inputs: ModelInputs) -> None:
    """The three read the same residuals at every block, and the same logits."""
    with capture(model, blocks(model)) as recorder:
        logits = model.forward(inputs)
    ours = {site: recorder.take(site) for site in blocks(model)}

    view = NNsight(model.module)
    with view.trace(**trace_arguments(model, inputs)):
        theirs = nnsight.save({site: site_of(view, model, site).output for site in blocks(model)})
        of_nnsight = view.output.logits.save()
    assert torch.equal(of_nnsight, logits)
    assert all(torch.equal(theirs[site], output) for site, output in ours.items())

    names = [resid_post(site) for site in ours]
    of_bridge, cache = bridge.run_with_cache(**bridge_arguments(model, inputs), names_filter=names)
    alike(of_bridge, logits, inputs)
    for site, output in ours.items():
        alike(cache[resid_post(site)], output, inputs)


def three_edits(model: TransformerReportModel, bridge: Any, inputs: ModelInputs, site: str, edit: Edit) -> None:
    """An edit of a residual gives the same logits through each of the three, and not those without it."""
    expected = hooked(model, site, edit, inputs)
    assert (expected - model.forward(inputs))[inputs.attention_mask_bt.bool()].abs().max() > 0.1

    view = NNsight(model.module)
    with view.trace(**trace_arguments(model, inputs)):
        site_of(view, model, site).output = edit(site_of(view, model, site).output)
        of_nnsight = view.output.logits.save()
    assert torch.equal(of_nnsight, expected)

    of_bridge = bridge.run_with_hooks(
        **bridge_arguments(model, inputs), fwd_hooks=[(resid_post(site), lambda output, hook: edit(output))]
    )
    alike(of_bridge, expected, inputs)


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


# --- real weights, text alone ---


SENTENCES = ("No pleural effusion.", "The heart is enlarged and the lungs are clear.")


@pytest.fixture(scope="module")
def sentences(smollm2: TransformerReportModel) -> ModelInputs:
    tables = [TokenTable.text(smollm2.tokenizer(text)["input_ids"], Role.REPORT) for text in SENTENCES]
    rows = [torch.from_numpy(table.token_id.astype(np.int64))[None] for table in tables]
    return smollm2.collate(
        [
            ModelInputs(ids_bt, torch.ones_like(ids_bt), None, (table,), (text,))
            for ids_bt, table, text in zip(rows, tables, SENTENCES, strict=True)
        ]
    )


def test_three_ways_agree_on_real_weights(smollm2: TransformerReportModel, sentences: ModelInputs) -> None:
    assert sentences.padding[0] > 0
    bridge = bridge_view(smollm2)
    three_ways(smollm2, bridge, sentences)
    every_other_bt = (torch.arange(sentences.input_ids_bt.shape[1]) % 2).bool().expand_as(sentences.input_ids_bt)
    three_edits(smollm2, bridge, sentences, "language.12", added(every_other_bt, smollm2.width("language.12")))
    three_edits(smollm2, bridge, sentences, "language.20", zeroed(every_other_bt))
    ours, left = smollm2.forward(sentences), state(smollm2)
    view = nnsight_view(smollm2)
    with view.trace(**trace_arguments(smollm2, sentences)):
        logits = view.output.logits.save()
    assert torch.equal(logits, ours)
    with view.trace(SENTENCES[1]):
        of_text = view.output.logits.save()
    torch.testing.assert_close(of_text[0], ours[1], rtol=0, atol=ROUNDING * ours[1].abs().max().item())
    assert state(smollm2) == left
    assert torch.equal(smollm2.forward(sentences), ours)


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
