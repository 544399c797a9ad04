"""The form that a language model's answer about a feature must have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from autointerp.schema import MAX_LABEL_WORDS, Modality, Polarity
from radiology.vocabulary import CONCEPTS

_CONCEPT_SCHEMA = {"anyOf": [{"type": "string", "enum": list(CONCEPTS)}, {"type": "null"}]}


class Answer(BaseModel):
    """What the model must answer, as one JSON object."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    reasoning: str = Field(max_length=2000)
    label: str = Field(min_length=1)
    concept: Annotated[str | None, WithJsonSchema(_CONCEPT_SCHEMA)] = None
    side: Literal["left", "right", "bilateral", "misplaced"] | None = None
    polarity: Polarity
    modality: Modality

    @field_validator("label")
    @classmethod
    def _short(cls, label: str) -> str:
        if len(label.split()) > MAX_LABEL_WORDS:
            raise ValueError(f"label has more than {MAX_LABEL_WORDS} words")
        return label

    @field_validator("concept", mode="before")
    @classmethod
    def _known(cls, concept: object) -> object:
        if concept in (None, "", "none", "null"):
            return None
        if concept not in CONCEPTS:
            raise ValueError("concept is not one of the given keys; use null if none fits")
        return concept

    @model_validator(mode="after")
    def _whole(self) -> Answer:
        if self.concept is not None and self.polarity is Polarity.NONE:
            raise ValueError("a concept needs a polarity other than none")
        if self.concept is None and self.side is not None:
            raise ValueError("a side needs a concept")
        return self
