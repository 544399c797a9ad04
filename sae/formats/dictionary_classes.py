"""The classes of dictionary_learning that can be read: which tensors each has, and how they lie."""

from __future__ import annotations

from dataclasses import dataclass

MATRYOSHKA, BATCH_TOP_K, JUMP_RELU = "MatryoshkaBatchTopKSAE", "BatchTopKSAE", "JumpReluAutoEncoder"
# Keeps the k largest of each row, which no threshold does: known, and refused by name.
ROW_TOP_K = "AutoEncoderTopK"


@dataclass(frozen=True)
class DictionaryClass:
    """One of the library's classes: its tensors in the order W_enc, b_enc, W_dec, b_dec, then what else it has."""

    weights: tuple[str, str, str, str]
    more: tuple[str, ...] = ()
    linear: bool = False
    """The weights are those of `nn.Linear`: W_enc (F, d) and W_dec (d, F) instead of the other way round."""
    subtracts_b_dec: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.weights, *self.more)


PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
CLASSES = {
    MATRYOSHKA: DictionaryClass(PLAIN, ("k", "threshold", "group_sizes")),
    BATCH_TOP_K: DictionaryClass(
        ("encoder.weight", "encoder.bias", "decoder.weight", "b_dec"), ("k", "threshold"), linear=True
    ),
    JUMP_RELU: DictionaryClass(PLAIN, ("threshold",), subtracts_b_dec=False),
    "AutoEncoder": DictionaryClass(("encoder.weight", "encoder.bias", "decoder.weight", "bias"), linear=True),
    "AutoEncoderNew": DictionaryClass(
        ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"), linear=True, subtracts_b_dec=False
    ),
}
