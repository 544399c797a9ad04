"""A tiny report model with random weights: real hooks, real KV cache, real left padding, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from activations.models.base import Generation, ModelInputs, ReportModel
from activations.roles import Role, TokenTable
from radiology.study import Study
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.reading import Reading

GRID = (2, 3)
WIDTH = 32
BLOCKS = 3
PAD, BOS, EOS, IMAGE, ASK, ANSWER, WORDS = 0, 1, 2, 3, 4, 5, 6
VOCABULARY = 40


class TinyEncoder(nn.Module):
    """Pixels (images, patches, 4) → (images, 1 + patches, 8), a CLS token first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.cls = nn.Parameter(torch.randn(8))

    def forward(self, pixels_npc: torch.Tensor) -> torch.Tensor:
        patches = self.embed(pixels_npc)
        return torch.cat([self.cls.expand(len(patches), 1, -1), patches], dim=1)


class TinyModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = TinyEncoder()
        self.projector = nn.Linear(8, WIDTH)
        self.language = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=WIDTH,
                intermediate_size=64,
                num_hidden_layers=BLOCKS,
                num_attention_heads=4,
                max_position_embeddings=128,
                initializer_range=0.3,
                pad_token_id=PAD,
                bos_token_id=BOS,
                eos_token_id=EOS,
                tie_word_embeddings=False,
            )
        )

    def embeds(self, inputs: ModelInputs) -> torch.Tensor:
        embeds = self.language.get_input_embeddings()(inputs.input_ids_bt)
        patches_nd = self.projector(self.encoder(inputs.pixel_values_nchw)[:, 1:]).flatten(0, 1)
        image_bt = torch.zeros_like(inputs.input_ids_bt, dtype=torch.bool)
        for i, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
            image_bt[i, pad:] = torch.from_numpy(table.role == Role.IMAGE)
        return embeds.masked_scatter(image_bt[..., None], patches_nd)


class TinyReportModel(ReportModel):
    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = TinyModule()
            module.language.lm_head.weight.data[EOS] *= 1.4  # so that reports end at different lengths
        self.name = "tiny"
        self.fingerprint = f"tiny-{seed}"
        self.module: TinyModule = module.eval().requires_grad_(False)
        self.tokenizer = None
        self.grid = GRID
        self.image_size = 6
        self.pad_token_id, self.eos_token_id = PAD, EOS

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        parts = [TokenTable.text([BOS], Role.SPECIAL), TokenTable.text([ASK], Role.TEMPLATE)]
        pixels = []
        for name in ("frontal", "lateral", "prior_frontal"):
            if name in study.images:
                parts.append(TokenTable.patches(IMAGE, name, *GRID))
                grey = torch.from_numpy(study.pixels(name).astype(np.float32) / 64 - 2)
                pixels.append(grey.reshape(GRID[0], 2, GRID[1], 2).permute(0, 2, 1, 3).reshape(-1, 4))
        if study.indication is not None:
            parts.append(TokenTable.text(word_ids(study.indication), Role.INDICATION))
        parts.append(TokenTable.text([ANSWER], Role.TEMPLATE))
        if report is not None:
            parts += [TokenTable.text(word_ids(report), Role.REPORT), TokenTable.text([EOS], Role.SPECIAL)]
        table = TokenTable.concatenate(parts)
        ids_bt = torch.from_numpy(table.token_id.astype(np.int64))[None]
        stacked = torch.stack(pixels) if pixels else None
        return ModelInputs(ids_bt, torch.ones_like(ids_bt), stacked, (table,), (study.study_id,))

    def sites(self) -> dict[str, nn.Module]:
        blocks = self.module.language.model.layers
        towers: dict[str, nn.Module] = {"vision.0": self.module.encoder, "projector": self.module.projector}
        return towers | {f"language.{i}": block for i, block in enumerate(blocks)}

    def width(self, site: str) -> int:
        return 8 if site.startswith("vision") else WIDTH

    @torch.no_grad()
    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        positions = (inputs.attention_mask_bt.cumsum(-1) - 1).clamp(min=0)
        return self.module.language(
            inputs_embeds=self.module.embeds(inputs),
            attention_mask=inputs.attention_mask_bt,
            position_ids=positions,
            use_cache=False,
        ).logits

    @torch.no_grad()
    def generate(
        self, inputs: ModelInputs, *, max_new_tokens: int | None = None, do_sample: bool = False, num_beams: int = 1
    ) -> list[Generation]:
        new_bt = self.module.language.generate(
            inputs_embeds=self.module.embeds(inputs),
            attention_mask=inputs.attention_mask_bt,
            max_new_tokens=max_new_tokens or 8,
            do_sample=do_sample,
            num_beams=num_beams,
        )
        return [
            self._generation(study_id, row.tolist()) for study_id, row in zip(inputs.study_ids, new_bt, strict=True)
        ]

    def _generation(self, study_id: str, ids: list[int]) -> Generation:
        finished = EOS in ids
        kept = tuple(ids[: ids.index(EOS)] if finished else ids)
        return Generation(study_id, ids_words(kept), kept, finished)

    def text_of(self, ids: Sequence[int]) -> str:
        return ids_words(ids)

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return study.pixels(image)

    def unembedding(self) -> tuple[torch.Tensor, torch.Tensor]:
        language = self.module.language
        return language.model.norm.weight, language.lm_head.weight


def word_ids(text: str) -> list[int]:
    return [int(word[1:]) for word in text.split()]


def ids_words(ids: Sequence[int]) -> str:
    return " ".join(f"w{number}" for number in ids)


def keyword_reader(text: str) -> Reading:
    """Findings ``w6`` … ``w39``: present where the word is in the text, absent otherwise."""
    words = set(text.split())
    keys = [f"w{number}" for number in range(WORDS, VOCABULARY)]
    return Reading({key: "present" if key in words else "absent" for key in keys}, bool(words))


@pytest.fixture(scope="session")
def reader() -> Callable[[str], Reading]:
    return keyword_reader


@pytest.fixture
def model() -> TinyReportModel:
    return TinyReportModel()


@pytest.fixture(scope="session")
def sae() -> MatryoshkaSAE:
    """Random unit rows, encoder equal to decoder: about half of the features are active on a token."""
    autoencoder = MatryoshkaSAE(SAEConfig(d=WIDTH, n_features=64, k=8), extra={"site": "language.1"})
    autoencoder.initialise(3)
    return autoencoder


def make_study(number: int, *, lateral: bool = False, words: int = 2, report: str | None = "w7 w8 w9") -> Study:
    rng = np.random.default_rng(number)
    images = {"frontal": rng.integers(0, 256, (4, 6), dtype=np.uint8)}
    if lateral:
        images["lateral"] = rng.integers(0, 256, (4, 6), dtype=np.uint8)
    indication = " ".join(f"w{n}" for n in rng.integers(WORDS, VOCABULARY, words)) if words else None
    return Study(f"s{number}", f"p{number}", images, "own", indication=indication, report=report)


@pytest.fixture
def studies() -> list[Study]:
    """Prompts of 10, 15, 8 and 17 tokens."""
    return [
        make_study(0, words=1),
        make_study(1, words=0, lateral=True),
        make_study(2, words=0),
        make_study(3, words=2, lateral=True),
    ]


@pytest.fixture(scope="session")
def study_maker() -> Callable[..., Study]:
    return make_study
