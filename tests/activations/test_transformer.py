"""What every opened transformer has in common: sites, ends of generation, batches, the lens, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import MambaConfig, MambaForCausalLM

from activations.models.base import ModelInputs
from activations.models.causal import CausalReportModel
from activations.models.general import open_general
from activations.models.layout import leading_rows
from activations.models.transformer import TransformerReportModel
from activations.models.vision_language import VisionLanguageModel
from activations.roles import TokenTable
from radiology.errors import InputError
from tests.activations import tiny_models
from tests.activations.tiny_models import example_studies

FULL, ONE, TEXT, _ = example_studies()


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> CausalReportModel:
    opened = open_general(str(tiny_models.llama_chat(tmp_path_factory.mktemp("models") / "chat")))
    assert isinstance(opened, CausalReportModel)
    return opened


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    opened = open_general(str(tiny_models.llava_clip(tmp_path_factory.mktemp("models") / "llava")))
    assert isinstance(opened, VisionLanguageModel)
    return opened


def test_sites_have_the_width_of_their_output(llava: VisionLanguageModel) -> None:
    assert {site: llava.width(site) for site in llava.sites()} == {
        "vision.0": 24,
        "vision.1": 24,
        "projector": 32,
        "language.0": 32,
        "language.1": 32,
        "language.2": 32,
    }
    with pytest.raises(InputError, match=r"site 'vision\.7'.*language\.2"):
        llava.width("vision.7")


def test_generation_ends_at_any_end_token(chat: CausalReportModel) -> None:
    inputs = chat.encode(TEXT)
    (free,) = chat.generate(inputs, max_new_tokens=6)
    assert not free.finished
    assert len(free.token_ids) == 6
    ends = chat.eos_token_ids
    chat.eos_token_ids = (*ends, free.token_ids[3])
    try:
        (ended,) = chat.generate(inputs, max_new_tokens=6)
    finally:
        chat.eos_token_ids = ends
    stop = free.token_ids.index(free.token_ids[3])
    assert (ended.finished, ended.token_ids) == (True, free.token_ids[:stop])


def test_text_of_generated_ids_leaves_special_tokens_out(chat: CausalReportModel) -> None:
    ids = chat.tokenizer("<|im_start|> There is no effusion.<|im_end|>")["input_ids"]
    assert chat.text_of(ids) == "There is no effusion."


def test_prompts_are_padded_on_the_left_with_all_that_belongs_to_a_token(llava: VisionLanguageModel) -> None:
    alone = [llava.encode(study) for study in (FULL, TEXT)]
    with_kinds = [
        ModelInputs(
            one.input_ids_bt,
            one.attention_mask_bt,
            one.pixel_values_nchw,
            one.tokens,
            one.study_ids,
            {"kind": one.input_ids_bt + 1, "sizes": torch.ones(2, 3)},
        )
        for one in alone
    ]
    batch = llava.collate(with_kinds)
    pad = batch.padding[1]
    assert pad > 0
    assert batch.padding[0] == 0
    assert set(batch.input_ids_bt[1, :pad].tolist()) == {llava.pad_token_id}
    assert set(batch.attention_mask_bt[1, :pad].tolist()) == {0}
    assert set(batch.extra["kind"][1, :pad].tolist()) == {0}
    assert torch.equal(batch.extra["kind"][1, pad:], alone[1].input_ids_bt[0] + 1)
    assert batch.extra["sizes"].shape == (4, 3)


def test_lens_needs_a_head_without_bias(chat: CausalReportModel) -> None:
    assert chat.unembedding() is not None
    head = chat.parts.head
    assert isinstance(head, nn.Linear)
    head.bias = nn.Parameter(torch.ones(head.out_features), requires_grad=False)
    try:
        assert chat.unembedding() is None
    finally:
        head.bias = None


def test_prompt_that_ends_before_the_report_could_begin_is_refused(chat: CausalReportModel) -> None:
    ids = torch.tensor([[5, chat.eos_token_id]])
    inputs = ModelInputs(ids, torch.ones_like(ids), None, (TokenTable.text(ids[0].tolist(), 1),), ("s",))  # type: ignore[arg-type]
    assert chat.checked(inputs, answered=True) is inputs
    with pytest.raises(InputError, match="ends every prompt with the end token"):
        chat.checked(inputs, answered=False)


def test_description_names_sites_and_number_format(llava: VisionLanguageModel) -> None:
    described = llava.describe()
    assert described["sites"] == list(llava.sites())
    assert (described["dtype"], described["grid"], described["image_size"]) == ("float32", [3, 3], 42)


def test_rows_that_are_not_the_patches_in_order_are_noticed(llava: VisionLanguageModel) -> None:
    inputs = llava.encode(ONE)
    assert leading_rows(llava, inputs) == 1
    blocks = llava.parts.vision_blocks[0]
    turned = blocks.register_forward_pre_hook(
        lambda module, args, kwargs: ((args[0].flip(1), *args[1:]), kwargs), with_kwargs=True
    )
    try:
        assert leading_rows(llava, inputs) is None
    finally:
        turned.remove()
    assert leading_rows(llava, llava.encode(TEXT)) is None


def test_a_model_without_attention_is_refused_with_its_tree(tmp_path: Path) -> None:
    folder = tiny_models.llama_chat(tmp_path)
    config = MambaConfig(vocab_size=420, hidden_size=16, num_hidden_layers=2, state_size=4, eos_token_id=2)
    MambaForCausalLM(config).save_pretrained(folder)
    with pytest.raises(InputError, match=r"no blocks found[\s\S]*layers: ModuleList\n    0: MambaBlock × 2"):
        open_general(str(folder))


def test_the_common_part_cannot_be_used_without_a_prompt() -> None:
    with pytest.raises(TypeError, match="encode"):
        TransformerReportModel(  # type: ignore[abstract]
            "x",
            nn.Identity(),
            fingerprint="",
            tokenizer=None,
            grid=(0, 0),
            image_size=0,
            pad_token_id=0,
            eos_token_ids=(),
        )
