"""Which stored tokens of each study a truth table looks at.

Report tokens leak: once a report has named a finding, every later token knows of it, even in a model with random
weights. Text is therefore looked at before the report begins, and in the report only before the finding is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activations import ActivationStore
from activations.roles import IMAGE_NAMES, Role
from autointerp.pieces import Pieces, text_of
from autointerp.reading import Reading, read_findings

#: Study → first row of each sentence of its report, and the concepts that the sentence names.
Sentences = Mapping[int, Sequence[tuple[int, frozenset[str]]]]


def frontal_tokens(store: ActivationStore) -> np.ndarray:
    """Mask of the patches of frontal images, (rows,) bool."""
    return (store.column("role") == int(Role.IMAGE)) & (store.column("image") == IMAGE_NAMES.index("frontal"))


def last_prompt_tokens(store: ActivationStore) -> np.ndarray:
    """Mask of the last token of each prompt, the one that chooses the report's first word, (rows,) bool.

    It belongs to the template; a store without template tokens has none.
    """
    template = np.flatnonzero(store.column("role") == int(Role.TEMPLATE))
    studies = store.column("study")[template]
    last = np.ones(len(template), dtype=bool)
    last[:-1] = studies[1:] != studies[:-1]
    mask = np.zeros(store.rows, dtype=bool)
    mask[template[last]] = True
    return mask


def report_sentences(store: ActivationStore, tokenizer: Any) -> Sentences:
    """The sentences of every stored report."""
    rows = np.flatnonzero(store.column("role") == int(Role.REPORT))
    if not len(rows):
        return {}
    ids, studies = store.column("token_id")[rows], store.column("study")[rows]
    ends = Pieces(tokenizer, ids).ends_sentence()
    starts = np.ones(len(rows), dtype=bool)
    starts[1:] = ends[:-1] | (studies[1:] != studies[:-1])
    first = np.flatnonzero(starts)
    stop = np.append(first[1:], len(rows))
    known: dict[bytes, frozenset[str]] = {}
    sentences: dict[int, list[tuple[int, frozenset[str]]]] = {}
    for a, b in zip(first.tolist(), stop.tolist(), strict=True):
        key = ids[a:b].tobytes()
        if key not in known:
            known[key] = _concepts(text_of(tokenizer, ids[a:b]))
        sentences.setdefault(int(studies[a]), []).append((int(rows[a]), known[key]))
    return sentences


def _concepts(sentence: str) -> frozenset[str]:
    return frozenset(Reading.parse(text).concept for text in read_findings(sentence))


def before_mention(store: ActivationStore, sentences: Sentences, finding: str) -> np.ndarray:
    """Mask of the report tokens before the first sentence that names the concept of a finding, (rows,) bool.

    A report that never names it has all its tokens there; one that begins with it has none.
    """
    concept = finding.split(":")[0]
    mask = store.column("role") == int(Role.REPORT)
    for study, of_study in sentences.items():
        first = next((row for row, concepts in of_study if concept in concepts), None)
        if first is not None:
            mask[first : store.rows_of_study(study).stop] = False
    return mask
