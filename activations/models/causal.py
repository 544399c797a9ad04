"""Any causal language model: it reads the text of a study and never sees the images."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from activations.models.base import ModelInputs
from activations.models.chat import PromptWriter
from activations.models.prompts import pieces_of, section_texts, text_of, token_table
from activations.models.transformer import TransformerReportModel
from activations.roles import Role
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study


class CausalReportModel(TransformerReportModel):
    """A causal language model behind the common interface; its grid is (0, 0) and its ``image_size`` 0.

    Attributes:
        writer: the prompt's wording; ``writer.instruction`` may be changed.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        *,
        fingerprint: str,
        writer: PromptWriter,
        pad_token_id: int,
        eos_token_ids: Sequence[int],
    ) -> None:
        super().__init__(
            name,
            module,
            fingerprint=fingerprint,
            tokenizer=writer.tokenizer,
            grid=(0, 0),
            image_size=0,
            pad_token_id=pad_token_id,
            eos_token_ids=eos_token_ids,
        )
        self.writer = writer
        self._takes_positions = "position_ids" in inspect.signature(module.forward).parameters

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        self.refuse_boxes(grounded)
        texts = section_texts(study, report)
        if not texts:
            raise InputError(
                f"study {study.study_id!r}: has no indication, technique, comparison or report, and model "
                f"{self.name!r} reads text only"
            )
        marked = self.writer.marked((), tuple(texts), prior=Role.PRIOR_REPORT in texts)
        pieces = pieces_of(marked, texts)
        # a chat template writes the start token itself
        ids = self.tokenizer(text_of(pieces), add_special_tokens=self.writer.renderer is None)["input_ids"]
        table = token_table(self.tokenizer, pieces, ids)
        ids_bt = torch.from_numpy(table.token_id.astype(np.int64))[None]
        return self.checked(
            ModelInputs(ids_bt, torch.ones_like(ids_bt), None, (table,), (study.study_id,)), report is not None
        )

    @torch.no_grad()
    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        arguments = self.arguments(inputs)
        if self._takes_positions:  # counted from each row's first real token, as ``generate`` does
            arguments["position_ids"] = (arguments["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        return self.module(**arguments, use_cache=False).logits

    def preview(self, study: Study, image: str, size: int | None = None) -> Any:
        raise InputError(f"model {self.name!r}: reads text only; there is no image to show")
