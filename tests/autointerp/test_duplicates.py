"""Near-duplicates have nearly the same words and tell the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.duplicates import MIN_LIKENESS, near_duplicates

TEXTS = st.lists(st.frozensets(st.sampled_from("abcdefghijkl")).map(lambda s: tuple(sorted(s))), max_size=25)


@settings(deadline=None)
@given(TEXTS)
def test_every_text_is_like_the_first_of_its_group_and_like_no_earlier_first(texts: list[tuple[str, ...]]) -> None:
    """What the index of rare words finds is what comparing all with all would find."""
    group = near_duplicates(texts, [0] * len(texts))
    leaders: list[tuple[int, set[str]]] = []
    for text, number in zip(texts, group.tolist(), strict=True):
        words = set(text)
        likeness = {leader: len(words & other) / max(len(words | other), 1) for leader, other in leaders}
        like = [leader for leader, share in likeness.items() if share >= MIN_LIKENESS]
        assert number == (like[0] if like else len(leaders))
        if not like:
            leaders.append((number, words))


def test_one_word_of_ten_makes_no_difference_but_what_is_told_does() -> None:
    words = tuple("abcdefghi")
    group = near_duplicates([(*words, "lower"), (*words, "upper"), (*words, "no")], ["yes", "yes", "no"])
    assert group[0] == group[1] != group[2]
    assert len(np.unique(near_duplicates([("a", "b"), ("a", "c")], ["yes", "yes"]))) == 2
