"""MAIRA-2 behind the common interface: ``open_model("microsoft/maira-2")``, or a folder with the published files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from activations.models.base import Generation, ModelInputs
from activations.models.checkpoints import KeyRules, Progress, load_checkpoint, match_tensors
from activations.models.hub import hub_folder
from activations.models.maira2 import Maira2Config, Maira2ForConditionalGeneration
from activations.models.maira2_config import read_config, read_json
from activations.models.maira2_processor import PROMPT_FILES, file_hashes, load_processor, prompt_code
from activations.models.maira2_prompts import Maira2Prompts
from activations.models.pixels import square, stretch
from activations.models.placement import place
from activations.models.transformer import TransformerReportModel
from activations.roles import TokenTable
from radiology.grounding import Grounded, parse_grounded

if TYPE_CHECKING:
    from radiology.study import Study

#: New tokens at most, by what the prompt asks for (arXiv 2406.04449).
MAX_NEW_TOKENS: dict[str, int] = {"report": 300, "grounded report": 450, "phrase": 150}

#: Published names are those of transformers before 4.52. Rope frequencies were stored by still older versions.
KEY_RULES = KeyRules(
    renamed=(
        (r"^(vision_tower\.encoder\.layer\.\d+\.attention)\.attention\.query\.", r"\1.q_proj."),
        (r"^(vision_tower\.encoder\.layer\.\d+\.attention)\.attention\.key\.", r"\1.k_proj."),
        (r"^(vision_tower\.encoder\.layer\.\d+\.attention)\.attention\.value\.", r"\1.v_proj."),
        (r"^(vision_tower\.encoder\.layer\.\d+\.attention)\.output\.dense\.", r"\1.o_proj."),
    ),
    ignored=(
        r"language_model\.model\.rotary_emb\.inv_freq",
        r"language_model\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    ),
)
_SMALL = ("config.json", "generation_config.json", *PROMPT_FILES, "*.py")
_LARGE = ("*.safetensors", "*.safetensors.index.json")


def open_maira2(
    folder_or_name: str,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    device_map: str | Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Maira2ReportModel:
    """Open a MAIRA-2 checkpoint.

    Everything but the weights is fetched, read and checked first.

    Args:
        folder_or_name: a folder with the published files, or a name on the Hugging Face hub.
        device: where to put it, unless ``device_map`` says so.
        dtype: bfloat16, float16 or float32; None is float32 on a CPU and what ``config.json`` says elsewhere.
        device_map: ``auto``, or module path → device.
        trust_remote_code: let the checkpoint's ``processing_maira2.py`` run, which writes the prompts.
        progress: called with tensors read and their total.

    Raises:
        InputError: files missing or damaged, code that was not allowed to run, another architecture, weights that do
            not fit, too little memory. The message says where and what to do.
    """
    local = Path(folder_or_name).expanduser()
    folder = local if local.is_dir() else hub_folder(folder_or_name, _SMALL)
    config = read_config(folder)
    code = prompt_code(folder, trust_remote_code)
    prompts = Maira2Prompts(load_processor(folder, code, config.vision_config.patch_size), config)
    raw = read_json(folder / "config.json")
    dtype = dtype or _own_dtype(raw, device if device_map is None else "")
    with torch.device("meta"):
        module = Maira2ForConditionalGeneration(config)
    placement = place(module, device, device_map, dtype, folder_or_name)
    if not local.is_dir():
        folder = hub_folder(folder_or_name, (*_SMALL, *_LARGE))
    fingerprint = load_checkpoint(
        module,
        folder,
        dtype=dtype,
        placement=placement,
        rules=KEY_RULES,
        described={"config": raw, "files": file_hashes(folder, code)},
        progress=progress,
    )
    return Maira2ReportModel(folder_or_name, module, prompts, fingerprint, _end_tokens(folder, config))


def check_maira2(folder: Path) -> Path:
    """Whether a folder's configuration and weights are MAIRA-2's; nothing is loaded and no code runs.

    Returns:
        The file with the code that writes prompts.

    Raises:
        InputError: as :func:`open_maira2`.
    """
    code = prompt_code(folder, trust_remote_code=True)
    with torch.device("meta"):
        module = Maira2ForConditionalGeneration(read_config(folder))
    match_tensors(module, folder, KEY_RULES)
    return code.file


def _own_dtype(raw: Mapping[str, Any], device: str) -> torch.dtype:
    """float32 on a CPU, else the checkpoint's own number format."""
    named = str(raw.get("torch_dtype") or raw.get("dtype") or "float32").removeprefix("torch.")
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return torch.float32 if device == "cpu" else known.get(named, torch.float32)


def _end_tokens(folder: Path, config: Maira2Config) -> tuple[int, ...]:
    path = folder / "generation_config.json"
    given = read_json(path).get("eos_token_id") if path.is_file() else None
    ends = config.text_config.eos_token_id if given is None else given
    return tuple(ends) if isinstance(ends, list) else (int(ends),)


@dataclass(frozen=True)
class Maira2Inputs(ModelInputs):
    """Prompts that know what they ask for: a key of :data:`MAX_NEW_TOKENS`."""

    task: str = "report"


class Maira2ReportModel(TransformerReportModel):
    """MAIRA-2: three images, sections and a prior report in, findings out, with boxes if asked for them.

    Args:
        prompts: the checkpoint's own wording.
        end_tokens: ids that end a report.
    """

    module: Maira2ForConditionalGeneration

    def __init__(
        self,
        name: str,
        module: Maira2ForConditionalGeneration,
        prompts: Maira2Prompts,
        fingerprint: str,
        end_tokens: Sequence[int],
    ) -> None:
        pad = module.config.pad_token_id
        super().__init__(
            name,
            module,
            fingerprint=fingerprint,
            tokenizer=prompts.tokenizer,
            grid=prompts.grid,
            image_size=prompts.image_size,
            pad_token_id=0 if pad is None else int(pad),
            eos_token_ids=end_tokens,
            max_new_tokens=MAX_NEW_TOKENS["report"],
        )
        self.prompts = prompts

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> Maira2Inputs:
        """One prompt; ``grounded`` asks for boxes. A prior report is asked about only where there is a prior image.

        Raises:
            InputError: no frontal image, or a section that holds a special token of the model.
        """
        made = self.prompts.reporting(study, report, grounded)
        return self._inputs(*made, study, "grounded report" if grounded else "report")

    def encode_phrase(self, study: Study, phrase: str) -> Maira2Inputs:
        """The prompt that asks where on the frontal image a phrase is true."""
        return self._inputs(*self.prompts.phrase(study, phrase), study, "phrase")

    @staticmethod
    def _inputs(table: TokenTable, pixels_nchw: torch.Tensor, study: Study, task: str) -> Maira2Inputs:
        ids_bt = torch.from_numpy(table.token_id.astype(np.int64))[None]
        return Maira2Inputs(ids_bt, torch.ones_like(ids_bt), pixels_nchw, (table,), (study.study_id,), task=task)

    def collate(self, batch: Sequence[ModelInputs]) -> Maira2Inputs:
        """Left-pad prompts into one batch, which may take as long as its most talkative one."""
        joined = super().collate(batch)
        tasks = [getattr(one, "task", "report") for one in batch]
        return Maira2Inputs(
            joined.input_ids_bt,
            joined.attention_mask_bt,
            joined.pixel_values_nchw,
            joined.tokens,
            joined.study_ids,
            joined.extra,
            task=max(tasks, key=MAX_NEW_TOKENS.__getitem__),
        )

    def generate(
        self, inputs: ModelInputs, *, max_new_tokens: int | None = None, do_sample: bool = False, num_beams: int = 1
    ) -> list[Generation]:
        """Continue each prompt; without a limit, as far as what it asks for may take."""
        limit = max_new_tokens or MAX_NEW_TOKENS[getattr(inputs, "task", "report")]
        return super().generate(inputs, max_new_tokens=limit, do_sample=do_sample, num_beams=num_beams)

    def ground(self, study: Study, phrase: str) -> Grounded:
        """Where on the frontal image a phrase is true, in the model's eyes; boxes in [0, 1] of the crop."""
        return self.grounded(self.generate(self.encode_phrase(study, phrase))[0].text)

    def grounded(self, text: str) -> Grounded:
        return parse_grounded(text, self.prompts.bins)

    def text_of(self, ids: Sequence[int]) -> str:
        """Text of generated ids, box tokens included, also where the tokenizer calls them special."""
        left_out = set(self.tokenizer.all_special_ids) - self.prompts.grounding_ids
        kept = [number for number in ids if number not in left_out]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False)).strip()

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return square(stretch(study.pixels(image)), size or self.image_size)
