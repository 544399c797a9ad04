"""Our wording of a study for models that bring none of their own, put into the conversation of the checkpoint.

The words are ours; how a user's and an assistant's turn begin and end belongs to the checkpoint's chat template, which
is rendered with marks in the place of sections (:mod:`activations.models.prompts`). Without a template the prompt is
the plain words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

from activations.models.prompts import MARKS, special_ids
from activations.roles import Role
from radiology.errors import InputError

#: What the model is asked to do; a caller may put other words into ``PromptWriter.instruction``.
INSTRUCTION = (
    "Write the findings section of the radiology report for this study. Describe only what can be seen or what the "
    "given information says, in plain sentences."
)
IMAGE_WORDS: Mapping[str, str] = {
    "frontal": "Frontal image:",
    "lateral": "Lateral image:",
    "prior_frontal": "Frontal image of the prior study:",
}
SECTION_WORDS: Mapping[Role, str] = {
    Role.INDICATION: "INDICATION:",
    Role.TECHNIQUE: "TECHNIQUE:",
    Role.COMPARISON: "COMPARISON:",
    Role.PRIOR_REPORT: "PRIOR REPORT:",
}
MISSING = "N/A"
#: Where a prompt without a chat template ends and the report begins.
PLAIN_ANSWER = "FINDINGS:"
#: Some templates write the date of the day into the prompt; prompts must not change over night.
_DATE = date(2024, 7, 26)
_TODAY = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<format>.*?)(?P=quote)\s*\)""")

_Content = list[dict[str, str]]


@dataclass
class PromptWriter:
    """Writes marked prompts: one text for each set of images and sections, rendered once.

    Attributes:
        tokenizer: for the text of special tokens.
        renderer: a processor or tokenizer with ``apply_chat_template``; None for plain prompts.
        eos_token_ids: tokens at which the model stops.
        image_token: what stands for an image in a prompt; empty for a model without images.
        in_parts: whether the template takes a turn as a list of text and images, or as one string.
        instruction: what the model is asked to do.
    """

    tokenizer: Any
    renderer: Any
    eos_token_ids: Sequence[int]
    image_token: str = ""
    in_parts: bool = False
    instruction: str = INSTRUCTION
    _written: dict[Any, str] = field(default_factory=dict, repr=False)

    def marked(self, images: Sequence[str], sections: Collection[Role], *, prior: bool = False) -> str:
        """The prompt with a mark for each section of ``sections``.

        Args:
            images: names of the images, in their order in the prompt.
            sections: roles of the texts that there are; with ``Role.REPORT`` the prompt goes on with the assistant's
                answer and its end token.
            prior: whether to ask for the prior report, as ``N/A`` where it is not in ``sections``.

        Raises:
            InputError: the checkpoint's template cannot be rendered.
        """
        key = (tuple(images), frozenset(sections), prior, self.instruction)
        if key not in self._written:
            write = self._plain if self.renderer is None else self._chat
            self._written[key] = write(images, sections, prior)
        return self._written[key]

    def words(self, sections: Collection[Role], prior: bool) -> str:
        """Instruction and sections."""
        asked = [role for role in SECTION_WORDS if prior or role is not Role.PRIOR_REPORT]
        lines = [f"{SECTION_WORDS[role]} {MARKS[role] if role in sections else MISSING}" for role in asked]
        return "\n".join([self.instruction, *lines])

    def _plain(self, images: Sequence[str], sections: Collection[Role], prior: bool) -> str:
        pictures = [f"{IMAGE_WORDS[name]} {self.image_token}" for name in images]
        prompt = "\n".join([*pictures, self.words(sections, prior), PLAIN_ANSWER])
        # a new word begins with its space: the report goes on exactly where generation would
        return f"{prompt} {MARKS[Role.REPORT]}{self._end('')}" if Role.REPORT in sections else prompt

    def _chat(self, images: Sequence[str], sections: Collection[Role], prior: bool) -> str:
        content = _interleaved(images, self.words(sections, prior))
        prompt = self._render(content, answered=False)
        if not self._alternates(prompt, images):
            content = _images_first(images, self.words(sections, prior))
            prompt = self._render(content, answered=False)
        if Role.REPORT not in sections:
            return prompt
        before, _, after = self._render(content, answered=True).partition(MARKS[Role.REPORT])
        lead = before.removeprefix(prompt) if before.startswith(prompt) else ""
        return f"{prompt}{lead}{MARKS[Role.REPORT]}{self._end(after)}"

    def _alternates(self, prompt: str, images: Sequence[str]) -> bool:
        """Whether each image stands behind its word; some templates put all images before all words."""
        places = [prompt.find(text) for text in (*(IMAGE_WORDS[name] for name in images), self.instruction)]
        return all(prompt[start:end].count(self.image_token) == 1 for start, end in pairwise(places))

    def _render(self, content: _Content, answered: bool) -> str:
        answer = [{"role": "assistant", "content": self._turn([_text(MARKS[Role.REPORT])])}] if answered else []
        messages = [{"role": "user", "content": self._turn(content)}, *answer]
        template = self.renderer.chat_template
        other = {"chat_template": _dated(template)} if isinstance(template, str) else {}
        try:
            return str(
                self.renderer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not answered, **other)
            )
        except Exception as error:  # a template is a program and can raise anything
            raise InputError(
                f"prompt: the checkpoint's chat template cannot be rendered ({type(error).__name__}: {error})"
            ) from None

    def _turn(self, content: _Content) -> Any:
        return content if self.in_parts else "".join(part["text"] for part in content)

    def _end(self, after: str) -> str:
        """What ends a report: the template's words up to its end token, else the first end token alone."""
        ends = [str(self.tokenizer.convert_ids_to_tokens(i)) for i in self.eos_token_ids]
        found = [(after.index(end), end) for end in ends if end in after]
        if not found:
            return ends[0] if ends else ""
        at, end = min(found)
        return after[: at + len(end)]

    def turn_end(self) -> int | None:
        """The special token that the template writes after an answer, None if there is none."""
        if self.renderer is None:
            return None
        after = self._render([_text(self.instruction)], answered=True).partition(MARKS[Role.REPORT])[2].lstrip()
        special = {str(self.tokenizer.convert_ids_to_tokens(i)): i for i in special_ids(self.tokenizer)}
        return next((special[text] for text in sorted(special, key=len, reverse=True) if after.startswith(text)), None)


def _dated(template: str) -> str:
    """The template with the day on which it is rendered fixed."""
    return _TODAY.sub(lambda match: repr(_DATE.strftime(match["format"])), template)


def _interleaved(images: Sequence[str], words: str) -> _Content:
    """The user's turn: a word before each image, then instruction and sections."""
    parts: _Content = []
    for i, name in enumerate(images):
        parts += [_text(("\n" if i else "") + IMAGE_WORDS[name] + " "), {"type": "image"}]
    return [*parts, _text(("\n" if images else "") + words)]


def _images_first(images: Sequence[str], words: str) -> _Content:
    """The user's turn for a template that takes the images out of their places: which is which is said afterwards."""
    names = "; ".join(IMAGE_WORDS[name].rstrip(":").lower() for name in images)
    return [*({"type": "image"} for _ in images), _text(f"Images in this order: {names}.\n{words}")]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
