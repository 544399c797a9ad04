"""MAIRA-2's prompts: written by the checkpoint's own processor, with the role of every token.

Ids and pixels are the processor's, unchanged. Roles come from rendering the same prompt once with a mark in the place
of each section (:mod:`activations.models.prompts`); a processor that alters a section on the way is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from activations.models.maira2_processor import REPORTING
from activations.models.pixels import eight_bit
from activations.models.prompts import MARKS, Piece, pieces_of, recorded, section_texts, text_of, token_table
from activations.roles import IMAGE_NAMES, Role, TokenTable
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.maira2 import Maira2Config
    from radiology.study import Study

_GROUNDING = {"phrase_start": "<obj>", "phrase_end": "</obj>", "box_start": "<box>", "box_end": "</box>"}
_ARGUMENT_OF_IMAGE = {"frontal": "current_frontal", "lateral": "current_lateral", "prior_frontal": "prior_frontal"}
_ARGUMENT_OF_ROLE = {
    Role.INDICATION: "indication",
    Role.TECHNIQUE: "technique",
    Role.COMPARISON: "comparison",
    Role.PRIOR_REPORT: "prior_report",
}
#: Any picture that is not constant: the wording does not depend on what it shows.
_PICTURE = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


@dataclass(frozen=True)
class _Shape:
    """What the wording of a prompt depends on. ``lead`` is what stands before a report; ``None`` without one."""

    images: tuple[str, ...]
    sections: tuple[Role, ...]
    grounded: bool
    lead: str | None


class Maira2Prompts:
    """Prompts of one checkpoint.

    Args:
        processor: the checkpoint's own. A count of image tokens that is wrong by the CLS token is set right in it.
        config: of the model that reads the prompts.

    Attributes:
        tokenizer: the checkpoint's.
        grid: patches of one image, (rows, columns).
        image_size: side of the square crop, in pixels.
        bins: box bins an axis.
        grounding_ids: ids of object, box and coordinate tokens.

    Raises:
        InputError: tokenizer, image processor and model do not fit each other.
    """

    def __init__(self, processor: Any, config: Maira2Config) -> None:
        self._processor, self.tokenizer = processor, processor.tokenizer
        self._image_token_id = int(config.image_token_index)
        self.image_size = int(config.vision_config.image_size)
        side = self.image_size // int(config.vision_config.patch_size)
        self.grid = (side, side)
        self.bins = int(getattr(processor, "num_box_coord_bins", 100))
        self.grounding_ids = self._single_tokens(int(config.text_config.vocab_size))
        special = sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)))
        self._marked: dict[_Shape, str] = {}
        self._leads: dict[tuple[bool, bool], str] = {}
        self._check_geometry()
        self._count_image_tokens()
        self._black_chw = processor.image_processor([Image.new("L", (16, 16))], return_tensors="pt")["pixel_values"][0]

    def reporting(self, study: Study, report: str | None, grounded: bool) -> tuple[TokenTable, torch.Tensor]:
        """The prompt that asks for findings, followed by ``report`` if given: tokens and pixels (images, 3, H, W).

        Raises:
            InputError: no frontal image, a section that holds a special token, or a processor that alters a section.
        """
        names = self._images(study)
        texts = {role: text.strip() for role, text in section_texts(study, report).items()}
        if "prior_frontal" not in names:
            texts.pop(Role.PRIOR_REPORT, None)
        for role, text in texts.items():
            self._refuse_special(study, role.name.lower(), text, grounding=role is Role.REPORT)
        shape = _Shape(names, tuple(sorted(texts.keys() - {Role.REPORT})), grounded, None)
        if report is not None:
            shape = replace(shape, lead=self._lead(shape, texts))
        pictures = {name: self._picture(study, name) for name in names}
        result, text = self._call(shape, pictures, texts, f"study {study.study_id!r}")
        pieces = pieces_of(self._marked_text(shape), texts)
        _same_text(pieces, text, study)
        return self._finish(result, pieces, pictures)

    def phrase(self, study: Study, phrase: str) -> tuple[TokenTable, torch.Tensor]:
        """The prompt that asks where on the frontal image ``phrase`` is true; all of its words are ``template``."""
        names = self._images(study)[:1]
        self._refuse_special(study, "the phrase", phrase, grounding=False)
        pictures = {name: self._picture(study, name) for name in names}
        ask = self._processor.format_and_preprocess_phrase_grounding_input
        result, text = self._asked(
            lambda: ask(frontal_image=pictures["frontal"], phrase=phrase, return_tensors="pt"),
            f"study {study.study_id!r}",
        )
        return self._finish(result, [Piece(text, Role.TEMPLATE)], pictures)

    def _finish(
        self, result: Any, pieces: list[Piece], pictures: Mapping[str, Image.Image]
    ) -> tuple[TokenTable, torch.Tensor]:
        ids = result["input_ids"][0].tolist()
        table = token_table(
            self.tokenizer, pieces, ids, image_token_id=self._image_token_id, images=list(pictures), grid=self.grid
        )
        if any(piece.role is Role.REPORT for piece in pieces):  # box tokens are what the report says, special or not
            table.role[np.isin(table.token_id, list(self.grounding_ids))] = int(Role.REPORT)
        pixels_nchw = result["pixel_values"].float()
        if tuple(pixels_nchw.shape) != (len(pictures), 3, self.image_size, self.image_size):
            raise InputError(
                f"prompt: the checkpoint's processor gave images {tuple(pixels_nchw.shape)}, the model expects "
                f"{(len(pictures), 3, self.image_size, self.image_size)}"
            )
        for number, picture in enumerate(pictures.values()):
            low, high = picture.getextrema()
            if low == high:  # the checkpoint's min–max divides by zero here
                pixels_nchw[number] = self._black_chw
        return table, pixels_nchw

    def _images(self, study: Study) -> tuple[str, ...]:
        names = tuple(name for name in IMAGE_NAMES if name in study.images)
        if "frontal" not in names:
            raise InputError(f"study {study.study_id!r}: has no frontal image, without which MAIRA-2 has no prompt")
        return names

    def _picture(self, study: Study, name: str) -> Image.Image:
        return Image.fromarray(eight_bit(study.pixels(name)))

    def _refuse_special(self, study: Study, field: str, text: str, *, grounding: bool) -> None:
        for match in self._special.finditer(text):
            if not (grounding and self.tokenizer.convert_tokens_to_ids(match.group()) in self.grounding_ids):
                raise InputError(
                    f"study {study.study_id!r}: {field!r} holds {match.group()!r}, a special token of the model; "
                    "remove it"
                )

    def _call(
        self, shape: _Shape, pictures: Mapping[str, Image.Image], texts: Mapping[Role, str], what: str
    ) -> tuple[Any, str]:
        """The processor's answer, and the text that it tokenised."""
        images = {argument: pictures.get(name) for name, argument in _ARGUMENT_OF_IMAGE.items()}
        sections = {argument: texts.get(role) for role, argument in _ARGUMENT_OF_ROLE.items()}
        report = None if shape.lead is None else shape.lead + texts[Role.REPORT]
        ask = getattr(self._processor, REPORTING)
        return self._asked(
            lambda: ask(**images, **sections, get_grounding=shape.grounded, assistant_text=report, return_tensors="pt"),
            what,
        )

    def _asked(self, ask: Callable[[], Any], what: str) -> tuple[Any, str]:
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                return recorded(self._processor, ask)
        except InputError:
            raise
        except Exception as error:  # foreign code; its message may quote the study
            raise InputError(
                f"{what}: the checkpoint's processor {type(self._processor).__name__} failed ({type(error).__name__})"
            ) from error

    def _marked_text(self, shape: _Shape) -> str:
        """The prompt with marks in the place of sections; image tokens are there once a patch."""
        if shape not in self._marked:
            roles = shape.sections if shape.lead is None else (*shape.sections, Role.REPORT)
            texts = {role: MARKS[role] for role in roles}
            _, text = self._call(shape, dict.fromkeys(shape.images, _PICTURE), texts, "prompt")
            self._marked[shape] = text
        return self._marked[shape]

    def _lead(self, shape: _Shape, texts: Mapping[Role, str]) -> str:
        """What to put before a report, so that the model reads its prompt, one space, and the report.

        Completions begin with a space where the tokens of the prompt go on unchanged with it, else without one.
        """
        key = (shape.grounded, texts[Role.REPORT].startswith("<"))
        if key not in self._leads:
            prompt = self._marked_text(shape)
            before, _, _ = self._marked_text(replace(shape, lead="")).partition(MARKS[Role.REPORT])
            leads = [
                (prompt + space).removeprefix(before) for space in (" ", "") if (prompt + space).startswith(before)
            ]
            leads = leads or ["" if before[-1:].isspace() else " "]
            going_on = [lead for lead in leads if self._goes_on(shape, lead, texts)]
            if not going_on:
                warnings.warn(
                    "MAIRA-2: where the prompt ends and the report begins, teacher forcing shows the model other "
                    "tokens than generation does",
                    stacklevel=2,
                )
            self._leads[key] = (going_on or leads)[0]
        return self._leads[key]

    def _goes_on(self, shape: _Shape, lead: str, texts: Mapping[Role, str]) -> bool:
        """Whether the tokens of prompt and report begin with the tokens of the prompt."""
        sections = {role: texts[role] for role in shape.sections}
        prompt = text_of(pieces_of(self._marked_text(shape), sections))
        whole = text_of(pieces_of(self._marked_text(replace(shape, lead=lead)), texts))
        prompt_ids, whole_ids = (self.tokenizer(text)["input_ids"] for text in (prompt, whole))
        return bool(whole_ids[: len(prompt_ids)] == prompt_ids)

    def _single_tokens(self, vocabulary: int) -> frozenset[int]:
        """Ids of the grounding tokens, each of which has to be one token."""
        for name, token in _GROUNDING.items():
            own = getattr(self._processor, f"{name}_token", token)
            if own != token:
                raise InputError(f"processor: {name}_token is {own!r}; what is read and written here is {token!r}")
        tokens = [*_GROUNDING.values(), *(f"<{axis}{n}>" for axis in "xy" for n in range(self.bins))]
        ids = self.tokenizer.convert_tokens_to_ids(tokens)
        split = [
            token
            for token, number in zip(tokens, ids, strict=True)
            if self.tokenizer.encode(token, add_special_tokens=False) != [number] or not 0 <= number < vocabulary
        ]
        if split:
            raise InputError(f"tokenizer: {len(split)} of {len(tokens)} box tokens are no single tokens: {split[:8]}")
        own = self.tokenizer.convert_tokens_to_ids(self._processor.image_token)
        if own != self._image_token_id:
            raise InputError(f"tokenizer: the image token has id {own}, config.json says {self._image_token_id}")
        return frozenset(ids)

    def _check_geometry(self) -> None:
        """Crops are squares from the middle of the image, scaled by its shorter side: boxes and previews rely on it."""
        images, size = self._processor.image_processor, self.image_size
        asked = {
            "do_resize": (images.do_resize, True),
            "size": (_entry(images.size, "shortest_edge"), size),
            "do_center_crop": (images.do_center_crop, True),
            "crop_size": ((_entry(images.crop_size, "height"), _entry(images.crop_size, "width")), (size, size)),
        }
        for field, (value, wanted) in asked.items():
            if value != wanted:
                raise InputError(
                    f"preprocessor_config.json: {field!r} gives {value}; the model needs {wanted}: the shorter side "
                    f"scaled to {size} pixels, and the middle square of that"
                )

    def _count_image_tokens(self) -> None:
        """One image token a patch. transformers 5 takes one off for a CLS token that it does not count, unless told."""
        shape = _Shape(("frontal",), (), False, None)
        wanted = self.grid[0] * self.grid[1]
        for attempt in range(2):
            result, _ = self._call(shape, {"frontal": _PICTURE}, {}, "prompt")
            count = int((result["input_ids"] == self._image_token_id).sum())
            if count == wanted:
                return
            if attempt == 0 and wanted - count == 1:
                self._processor.num_additional_image_tokens = 1
        raise InputError(
            f"processor: makes {count} image tokens of an image of {wanted} patches; check processor_config.json"
        )


def _entry(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)


def _same_text(pieces: list[Piece], text: str, study: Study) -> None:
    """What was expected of the processor is what it made; else say where it differs."""
    expected = text_of(pieces)
    if expected == text:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(expected, text, strict=False)) if a != b), min(len(expected), len(text))
    )
    end = 0
    for piece in pieces:
        end += len(piece.text)
        if place < end:
            break
    raise InputError(
        f"study {study.study_id!r}: the checkpoint's processor alters {piece.role.name.lower()!r} (at its character "
        f"{place - end + len(piece.text)}), so that the roles of tokens are unknown"
    )
