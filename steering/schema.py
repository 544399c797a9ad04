"""Columns of the tables that steering writes. Light, so that a dashboard can read them without torch."""

from __future__ import annotations

from typing import Any, Literal, get_args

VERSION = 1

SPEC_FILE = "spec.json"
GENERATIONS_FILE = "generations.parquet"
EFFECTS_FILE = "effects.parquet"
SIDE_EFFECTS_FILE = "side_effects.parquet"
VERDICTS_FILE = "verdicts.parquet"
COUNTERFACTUAL_FILE = "counterfactual.parquet"
COUNTERFACTUAL_GENERATIONS_FILE = "counterfactual-generations.parquet"
CAUSAL_MAP_FILE = "causal_map.parquet"


def screen_file(finding: str) -> str:
    """Name of a finding's screening table, beside the experiments."""
    return f"screen-{finding.replace(':', '-')}.parquet"


#: What a row of ``generations`` / ``effects`` is compared for. ``none``: the intervention itself.
ControlKind = Literal["unsteered", "none", "random", "random_group", "wrong_sign", "equal_rate", "prompt_only", "image"]
CONTROL_KINDS: tuple[str, ...] = get_args(ControlKind)

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

#: Columns that ``generations`` got later, with what they hold in older tables.
GENERATION_LATER: dict[str, tuple[str, Any]] = {
    "patient_id": ("str", ""),  # "": the study stands for itself
    "prior": ("str", "kept"),  # "removed": the study without its earlier picture and report
    "boxes": ("str", "{}"),  # JSON object: finding that is present → boxes x0 y0 x1 y1, of grounded reports
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

_NAN = float("nan")
#: Columns that ``effects`` got later. Intervals are 95 % over patients, NaN where the measure does not apply.
EFFECT_LATER: dict[str, tuple[str, Any]] = {
    "prior": ("str", "kept"),
    "n_patients": ("int64", 0),
    "clean": ("float64", _NAN),  # share of n on target, readable, and with no other finding changed
    "clean_low": ("float64", _NAN),
    "clean_high": ("float64", _NAN),
    "random_clean": ("float64", _NAN),
    "random_clean_high": ("float64", _NAN),
    "excess": ("float64", _NAN),  # on-target rate beyond the mean of the random directions
    "excess_low": ("float64", _NAN),
    "excess_high": ("float64", _NAN),
    "unfinished": ("float64", _NAN),  # share of reports that were cut off at the token limit
    "repetition_delta": ("float64", _NAN),
    "radfact_added": ("float64", _NAN),  # mean phrases that only the steered report says
    "radfact_added_low": ("float64", _NAN),
    "radfact_added_high": ("float64", _NAN),
    "radfact_removed": ("float64", _NAN),  # mean phrases that only the unsteered report says
    "radfact_removed_low": ("float64", _NAN),
    "radfact_removed_high": ("float64", _NAN),
    "radfact_f1": ("float64", _NAN),  # logical F1 against the unsteered report
    "lunguage_f1": ("float64", _NAN),  # LUNGUAGESCORE against the unsteered report; 1 where nothing changed
    "lunguage_f1_low": ("float64", _NAN),
    "lunguage_f1_high": ("float64", _NAN),
    "monotonic": ("float64", _NAN),  # Spearman of strength and on-target rate, zero strength included
    "monotonic_low": ("float64", _NAN),
    "monotonic_high": ("float64", _NAN),
    "box_n": ("int64", 0),  # studies with boxes of the finding in both reports
    "box_iou": ("float64", _NAN),  # mean IoU of the unions of these boxes
    "box_iou_low": ("float64", _NAN),
    "box_iou_high": ("float64", _NAN),
    "box_shift": ("float64", _NAN),  # mean distance of their centres, in image sides
    "box_shift_low": ("float64", _NAN),
    "box_shift_high": ("float64", _NAN),
    "box_new": ("float64", _NAN),  # share of on-target reports that give the new finding a box
    "other_box_iou": ("float64", _NAN),  # the same of all other findings that have boxes in both reports
}

#: ``side_effects.parquet``: one row a steered or control arm × other finding.
SIDE_EFFECT_COLUMNS: dict[str, str] = {
    "condition": "str",
    "control": "str",
    "draw": "int64",
    "strength": "float64",
    "finding": "str",
    "n": "int64",  # studies of which both reports can be read
    "added": "int64",
    "removed": "int64",
    "rate": "float64",  # share of n in which its presence changed
    "low": "float64",
    "high": "float64",
    "random_rate": "float64",  # mean over the random directions at this strength
    "random_rate_high": "float64",
}

#: ``verdicts.parquet``: one row a condition. Strength from the select half of the patients, figures from the other.
VERDICT_COLUMNS: dict[str, str] = {
    "condition": "str",
    "key": "str",
    "goal": "str",
    "prior": "str",
    "verdict": "str",  # one of steering.experiments.verdicts.VERDICTS
    "reason": "str",  # the figures that decided, in a sentence
    "strength": "float64",
    "within_budget": "bool",  # whether some strength kept the budget on the select half
    "n_select": "int64",
    "n": "int64",  # studies of the report half that leave room
    "n_patients": "int64",
    "clean": "float64",
    "clean_low": "float64",
    "clean_high": "float64",
    "on_target": "float64",
    "on_target_low": "float64",
    "on_target_high": "float64",
    "off_target": "float64",
    "off_target_low": "float64",
    "off_target_high": "float64",
    "parse_failures": "float64",
    "repetition_delta": "float64",
    "random_on_target": "float64",
    "random_on_target_high": "float64",
    "random_clean": "float64",
    "excess": "float64",
    "excess_low": "float64",
    "excess_high": "float64",
    "p": "float64",
    "p_adjusted": "float64",  # Benjamini-Hochberg over the conditions
    "monotonic": "float64",
    "monotonic_low": "float64",
    "monotonic_high": "float64",
}

#: ``counterfactual.parquet``: one row a condition × control draw × strength.
COUNTERFACTUAL_COLUMNS: dict[str, str] = {
    "condition": "str",
    "control": "str",
    "draw": "int64",
    "strength": "float64",
    "key": "str",
    "goal": "str",
    "n": "int64",  # pairs whose reports can all be read and whose image changed the report
    "n_pairs": "int64",
    "image_target": "float64",  # share of n in which the image brought the goal about
    "steered_target": "float64",  # share of n in which steering did
    "jaccard": "float64",  # mean likeness of the two sets of changed findings
    "jaccard_low": "float64",
    "jaccard_high": "float64",
    "f1": "float64",  # of the changed findings, the image's as truth, pooled over pairs
    "f1_low": "float64",
    "f1_high": "float64",
    "same": "float64",  # share of pairs with exactly the same changed findings
    "same_low": "float64",
    "same_high": "float64",
    "random_f1": "float64",
    "random_f1_high": "float64",
    "p": "float64",  # paired permutation of jaccard against the random directions
    "p_adjusted": "float64",
}

#: ``screen-FINDING.parquet``: one row a feature.
SCREEN_COLUMNS: dict[str, str] = {
    "finding": "str",
    "goal": "str",
    "feature": "int64",
    "effect": "float64",  # change of the log-odds of the finding's report against the one without it, nats
    "effect_low": "float64",
    "effect_high": "float64",
    "output_score": "float64",  # change of the probability of the finding's word where the two reports part
    "confidence": "float64",  # change of the mean probability of the likeliest token along the report without it
    "n_pairs": "int64",
    "by_label": "bool",  # its label names the finding, and says that it is there
    "label": "str",
    "label_score": "float64",  # balanced accuracy of the label on hard negatives
    "generated": "bool",  # whether reports were written with it
    "strength": "float64",  # of those tried, the one with most clean success on the select half
    "select_n": "int64",
    "select_clean": "float64",
    "select_on_target": "float64",
    "select_off_target": "float64",
    "select_parse_failures": "float64",
    "report_n": "int64",
    "report_clean": "float64",
    "report_on_target": "float64",
    "report_off_target": "float64",
    "report_parse_failures": "float64",
}

#: ``screen-FINDING-groups.parquet``: one row a way of choosing; the best features of each, steered together.
SCREEN_GROUP_COLUMNS: dict[str, str] = {
    "way": "str",  # clean generations, effect, output score, confidence, label; random 0, random 1 … are the control
    "features": "str",  # comma-separated
    "strength": "float64",  # with most clean success on the select half
    "select_n": "int64",
    "select_clean": "float64",
    "select_on_target": "float64",
    "select_off_target": "float64",
    "select_parse_failures": "float64",
    "report_n": "int64",
    "report_clean": "float64",
    "report_on_target": "float64",
    "report_off_target": "float64",
    "report_parse_failures": "float64",
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
