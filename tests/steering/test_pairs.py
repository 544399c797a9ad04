from __future__ import annotations

import pytest

from steering.errors import SteeringError
from steering.reading import phantom_reader
from steering.tracing.pairs import phantom_pairs, same_prompt


def test_phantom_pairs_differ_in_one_finding():
    for key, pairs in phantom_pairs(["cardiomegaly", "pleural_effusion:left"], 2, seed=3).items():
        assert len(pairs) == 2
        for recipient, donor in pairs:
            before, after = phantom_reader(recipient.report), phantom_reader(donor.report)
            changed = {name for name in before.findings if before.findings[name] != after.findings[name]}
            assert changed == {key}
            assert after.findings[key] == "present"
            assert recipient.metadata["split"] == "test"
            assert set(recipient.images) == {"frontal"}
            assert (recipient.pixels("frontal") != donor.pixels("frontal")).any()


def test_the_prompt_is_the_same(study_maker):
    recipient, donor = same_prompt((study_maker(1, words=2), study_maker(2, words=4)))
    assert donor.indication == recipient.indication
    assert donor.study_id == "s2"


def test_an_unknown_key_is_refused():
    with pytest.raises(SteeringError, match="key 'nasogastric_tube:misplaced'"):
        phantom_pairs(["nasogastric_tube:misplaced"], 1)
