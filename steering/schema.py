"""Columns of the tables that steering writes. Light, so that a dashboard can read them without torch."""

from __future__ import annotations

from typing import Literal

VERSION = 1

SPEC_FILE = "spec.json"
GENERATIONS_FILE = "generations.parquet"
EFFECTS_FILE = "effects.parquet"
CAUSAL_MAP_FILE = "causal_map.parquet"

#: What a row of ``generations`` / ``effects`` is compared for. ``none``: the intervention itself.
ControlKind = Literal["unsteered", "none", "random", "wrong_sign", "equal_rate", "prompt_only"]
CONTROL_KINDS: tuple[str, ...] = ("unsteered", "none", "random", "wrong_sign", "equal_rate", "prompt_only")

#: ``generations.parquet``: one row a study × condition × control draw × strength.
GENERATION_COLUMNS: dict[str, str] = {
    "study": "int64",  # place of the study in the experiment's list
    "study_id": "str",
    "condition": "str",  # name of the condition; "unsteered" for the baseline
    "control": "str",  # one of CONTROL_KINDS
    "draw": "int64",  # number of the random direction, 0 otherwise
    "strength": "float64",  # factor on the strengths of the spec; 0 for the baseline and for prompt_only
    "text": "str",
    "parse_ok": "bool",
    "findings": "str",  # JSON object: finding key → present / absent / uncertain
    "finished": "bool",  # False: stopped by the token limit
    "tokens": "int64",  # tokens written
    "proof": "str",  # JSON object of steering.interventions.proof.Proof for this study; "{}" where nothing was steered
}

#: ``effects.parquet``: one row a condition × control draw × strength. Rates are in [0, 1], NaN where n is 0.
EFFECT_COLUMNS: dict[str, str] = {
    "condition": "str",
    "control": "str",
    "draw": "int64",
    "strength": "float64",
    "key": "str",  # the finding that should change
    "goal": "str",  # "present" or "absent"
    "n": "int64",  # studies whose unsteered report leaves room for the effect
    "n_studies": "int64",
    "on_target": "float64",  # share of n whose report now says what the goal asks
    "on_target_low": "float64",
    "on_target_high": "float64",
    "off_target": "float64",  # share of (study, other finding) that changed, in readable reports
    "off_target_low": "float64",
    "off_target_high": "float64",
    "added": "str",  # JSON object: other finding → studies in which it became present
    "removed": "str",  # JSON object: other finding → studies in which it is no longer present
    "parse_failures": "float64",
    "repetition": "float64",  # mean share of word trigrams that were there before in the same text
    "length": "float64",  # mean words
    "length_delta": "float64",  # against the unsteered report of the same study
    "tokens_changed": "float64",  # mean tokens a study that the hooks changed
    "random_on_target": "float64",  # mean over the random directions at this strength
    "random_on_target_low": "float64",  # the lowest of them
    "random_on_target_high": "float64",  # the highest of them
    "p": "float64",  # paired permutation against the random directions; NaN for controls
    "p_adjusted": "float64",  # Benjamini-Hochberg over the rows that have a p
}

#: ``causal_map.parquet``: one row a finding × site × token scope.
CAUSAL_MAP_COLUMNS: dict[str, str] = {
    "key": "str",
    "site": "str",
    "scope": "str",  # prompt.image, prompt.text, prompt.last, generated, all
    "effect": "float64",  # share of the donor-minus-recipient log-odds that the swap carries over
    "low": "float64",
    "high": "float64",
    "gap": "float64",  # mean donor-minus-recipient log-odds (nats): what there was to carry
    "n": "int64",  # pairs
    "skipped": "int64",  # pairs left out because their prompts do not line up
    "flip_rate": "float64",  # share of pairs whose generated report takes over the donor's status; NaN if not asked
    "flip_n": "int64",  # pairs whose clean reports differ on the key
}
