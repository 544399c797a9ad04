"""The tables of this room: every column of every file, and the words that their columns may hold.

This module is light on purpose (pyarrow only), so that a reader of the files needs nothing else of the room. The text
form of the same contract is ``docs/feature-table.md``.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

#: Version of the tables, stored in each file's metadata under ``interp.feature_table``.
VERSION = "1"
VERSION_KEY = b"interp.feature_table"

FEATURES_FILE = "features.parquet"
CONTEXTS_FILE = "contexts.parquet"
STUDY_ACTIVATIONS_FILE = "study_activations.parquet"
EXPLANATIONS_FILE = "explanations.parquet"
SCORES_FILE = "scores.parquet"
LLM_CALLS_FILE = "llm-calls.jsonl"

#: Folders under ``RUN/sae/NAME/``.
FEATURES_FOLDER = "features"
LABELS_FOLDER = "labels"

#: A label has at most this many words.
MAX_LABEL_WORDS = 12

#: The label of a feature for which a language model gave no valid answer.
FAILED_LABEL = "no valid answer from the language model"

#: Firing on more tokens than this share makes a feature ``dense``.
DENSE_RATE = 0.1


class Kind(StrEnum):
    """Why a context was chosen. In the first two the feature fires, in the last two it is quiet."""

    TOP = "top"
    QUANTILE = "quantile"
    HARD_NEGATIVE = "hard_negative"
    RANDOM_NEGATIVE = "random_negative"


class Hardness(StrEnum):
    """What makes a hard negative hard. A context is listed under the first that holds."""

    OTHER_POLARITY = "other_polarity"  # the finding that marks the firing contexts, with another status
    NEAREST_TEXT = "nearest_text"  # nearly the same words; of an image, a report that agrees in all else
    CO_FIRING = "co_firing"  # features that usually fire together with this one do


class Split(StrEnum):
    """What a context may be used for; a patient is in one split only, for all features."""

    EXPLAIN = "explain"
    SCORE = "score"


class Modality(StrEnum):
    """Where a feature fires; a context is ``image`` or ``text``, an explanation may be ``both``."""

    IMAGE = "image"
    TEXT = "text"
    BOTH = "both"


class Polarity(StrEnum):
    """What a label says of its concept; ``none`` where it names none."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    CHANGED = "changed"
    NONE = "none"


POSITIVE_KINDS: tuple[Kind, ...] = (Kind.TOP, Kind.QUANTILE)
NEGATIVE_KINDS: tuple[Kind, ...] = (Kind.HARD_NEGATIVE, Kind.RANDOM_NEGATIVE)

#: Token roles in the order of ``activations.roles.Role``; the fields of ``role_shares``.
ROLE_NAMES: tuple[str, ...] = (
    "special",
    "template",
    "image",
    "indication",
    "technique",
    "comparison",
    "prior_report",
    "report",
)

_NEIGHBOUR = pa.struct([pa.field("feature", pa.int32()), pa.field("cosine", pa.float32())])
_CO_FIRING = pa.struct(
    [pa.field("feature", pa.int32()), pa.field("n_tokens", pa.int32()), pa.field("jaccard", pa.float32())]
)
_TOKEN = pa.struct([pa.field("token", pa.string()), pa.field("value", pa.float32())])
_ROLE_SHARES = pa.struct([pa.field(name, pa.float32()) for name in ROLE_NAMES])

_FINDINGS = "`concept[:side]=status` of the sentence, or of the image's report; null if nothing tells"


def _field(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


def _schema(*fields: pa.Field) -> pa.Schema:
    return pa.schema(list(fields), metadata={VERSION_KEY: VERSION.encode()})


FEATURES = _schema(
    _field("feature", pa.int32(), "number of the feature in the SAE"),
    _field("group", pa.int32(), "Matryoshka group that the feature belongs to, 0 first"),
    _field("firing_rate", pa.float64(), "share of the indexed tokens on which it fires"),
    _field("n_fires", pa.int64(), "tokens on which it fires"),
    _field("n_studies", pa.int32(), "studies in which it fires at least once"),
    _field("n_patients", pa.int32(), "patients in whose studies it fires at least once"),
    _field("max_activation", pa.float32(), "largest activation; 0 if dead"),
    _field("mean_activation", pa.float32(), "mean over the tokens on which it fires; 0 if dead"),
    _field("histogram", pa.list_(pa.int64()), "tokens per activation bin, firing tokens only"),
    _field("histogram_edges", pa.list_(pa.float32()), "bin edges (geometric), one more than bins; empty if dead"),
    _field("role_shares", _ROLE_SHARES, "share of its firing tokens per token role; all 0 if dead"),
    _field("image_share", pa.float32(), "share of its firing tokens that are image patches"),
    _field("text_share", pa.float32(), "share of its firing tokens that are running text of a section or report", True),
    _field("co_firing", pa.list_(_CO_FIRING), "features that fire on the same tokens most, by Jaccard index", True),
    _field("neighbours", pa.list_(_NEIGHBOUR), "features of nearest decoder direction, nearest first"),
    _field("promoted", pa.list_(_TOKEN), "tokens its direction raises most through the unembedding (logit lens)"),
    _field("suppressed", pa.list_(_TOKEN), "tokens its direction lowers most, lowest first"),
    _field("output_score", pa.float32(), "probability its promoted tokens gain in the lens at max activation", True),
    _field("dead", pa.bool_(), "never fires on the indexed tokens"),
    _field("dense", pa.bool_(), f"fires on more than {DENSE_RATE:.0%} of the tokens"),
    _field("mean_map", pa.list_(pa.float32()), "mean activation per frontal patch over studies where it fires", True),
    _field("map_rows", pa.int16(), "rows of the patch grid, 0 without image tokens"),
    _field("map_cols", pa.int16(), "columns of the patch grid, 0 without image tokens"),
)

CONTEXTS = _schema(
    _field("context", pa.int64(), "number of the context, unique in the file"),
    _field("feature", pa.int32(), "feature it was chosen for"),
    _field("kind", pa.string(), "top, quantile, hard_negative or random_negative"),
    _field("hardness", pa.string(), "other_polarity, nearest_text or co_firing; null if no hard negative", True),
    _field("split", pa.string(), "explain or score; by patient"),
    _field("study", pa.int32(), "number of the study, as in studies.parquet"),
    _field("study_id", pa.string(), "identifier of the study"),
    _field("patient_id", pa.string(), "identifier of the patient"),
    _field("modality", pa.string(), "image or text"),
    _field("role", pa.string(), "token role of the context: image, report, …"),
    _field("image", pa.string(), "image name; null for text", True),
    _field("row", pa.int16(), "patch row of the peak; null for text and for silent images", True),
    _field("col", pa.int16(), "patch column of the peak; null for text and for silent images", True),
    _field(
        "box", pa.list_(pa.float32()), "x0, y0, x1, y1 of that patch, in [0, 1] of the crop that the encoder sees", True
    ),
    _field("map", pa.list_(pa.float32()), "activations of all patches, row by row; null for text", True),
    _field("map_rows", pa.int16(), "rows of the patch grid; null for text", True),
    _field("map_cols", pa.int16(), "columns of the patch grid; null for text", True),
    _field("position", pa.int32(), "prompt position of the peak token; of the first token if it is silent"),
    _field("token_start", pa.int32(), "prompt position of the first token of the context"),
    _field("tokens", pa.list_(pa.string()), "tokens of the sentence; null for images", True),
    _field("activations", pa.list_(pa.float32()), "activation of each of `tokens`; null for images", True),
    _field("sentence", pa.string(), "the sentence that holds the peak token; null for images", True),
    _field("activation", pa.float32(), "activation at the peak; for quiet contexts 0 or close to it"),
    _field("findings", pa.list_(pa.string()), _FINDINGS, True),
)

STUDY_ACTIVATIONS = _schema(
    _field("feature", pa.int32(), "feature that fires; the table is in the order of features"),
    _field("study", pa.int32(), "number of the study, as in studies.parquet"),
    _field("modality", pa.string(), "image or text"),
    _field("role", pa.string(), "token role: image, report, …"),
    _field("image", pa.string(), "image name; null for text", True),
    _field("sentence", pa.string(), "the sentence; null for images", True),
    _field("activation", pa.float32(), "largest activation in this image or sentence"),
    _field("n_tokens", pa.int32(), "tokens of it on which the feature fires"),
    _field("patches", pa.list_(pa.int32()), "its strongest patches (row · columns + column); null for text", True),
    _field("weights", pa.list_(pa.uint8()), "activation of each of `patches`, 255 at the largest; null for text", True),
)

EXPLANATIONS = _schema(
    _field("feature", pa.int32(), "feature that is explained"),
    _field("explainer", pa.string(), "contrast, llm, vision, steer, or the name given to an imported file"),
    _field("label", pa.string(), f"at most {MAX_LABEL_WORDS} words"),
    _field("concept", pa.string(), "concept of the radiology vocabulary; null if the label names none", True),
    _field("side", pa.string(), "side (or other qualifier) of the concept; null if it does not matter", True),
    _field("polarity", pa.string(), "present, absent, uncertain, changed or none"),
    _field("modality", pa.string(), "where the label holds: image, text or both"),
    _field("reasoning", pa.string(), "why, in a sentence or two"),
    _field("n_firing", pa.int32(), "contexts of the explain split in which it fires"),
    _field("n_quiet", pa.int32(), "contexts of the explain split in which it is quiet"),
    _field("firing_share", pa.float64(), "share of the firing contexts that the label fits", True),
    _field("quiet_share", pa.float64(), "share of the quiet contexts that the label fits", True),
    _field("z", pa.float64(), "z-score of the log-odds behind the label", True),
    _field("model", pa.string(), "model that wrote it; null for offline explainers", True),
    _field("prompt_hash", pa.string(), "hash of the prompt; null for offline explainers", True),
    _field("cost", pa.float64(), "what it cost in US dollars where prices were given, 0 offline", True),
    _field("prompt_tokens", pa.int64(), "tokens sent, 0 offline"),
    _field("completion_tokens", pa.int64(), "tokens received, 0 offline"),
)

SCORES = _schema(
    _field("feature", pa.int32(), "feature whose label is scored"),
    _field("explainer", pa.string(), "explainer whose label is scored"),
    _field("scorer", pa.string(), "detection, fuzzing, intruder or embedding; with `:llm` if a language model judged"),
    _field("negative_kind", pa.string(), "hard_negative (all of them), random_negative, or a kind of hard ones"),
    _field("n", pa.int32(), "contexts used; 0 if the label or the contexts do not allow a score"),
    _field("n_patients", pa.int32(), "patients behind them"),
    _field("balanced_accuracy", pa.float64(), "mean of sensitivity and specificity; null if n is 0", True),
    _field("balanced_accuracy_low", pa.float64(), "2.5 % bootstrap bound over patients", True),
    _field("balanced_accuracy_high", pa.float64(), "97.5 % bootstrap bound over patients", True),
    _field("auc", pa.float64(), "area under the ROC curve of the graded prediction; null if n is 0", True),
    _field("auc_low", pa.float64(), "2.5 % bootstrap bound over patients", True),
    _field("auc_high", pa.float64(), "97.5 % bootstrap bound over patients", True),
    _field("baseline_balanced_accuracy", pa.float64(), "the same of other features' labels on these contexts", True),
    _field("baseline_auc", pa.float64(), "the same for the area under the curve", True),
    _field("flipped_balanced_accuracy", pa.float64(), "the same of the label with the opposite polarity", True),
    _field("flipped_auc", pa.float64(), "the same for the area under the curve", True),
    _field("purity", pa.float64(), "share of the contexts of strongest activation that the label fits", True),
    _field(
        "p", pa.float64(), "one-sided p that firing contexts fit better than quiet ones, patients counted once", True
    ),
    _field(
        "q", pa.float64(), "p adjusted over all labels of this explainer, scorer and kind (Benjamini, Hochberg)", True
    ),
    _field("model", pa.string(), "model that judged; null for rules", True),
    _field("note", pa.string(), "why there is no score; empty if there is one"),
)

#: Columns that files of an earlier program of this version lack; read from them, they are null.
LATER: dict[str, tuple[str, ...]] = {
    FEATURES_FILE: ("text_share", "co_firing"),
    CONTEXTS_FILE: ("hardness", "box"),
    SCORES_FILE: ("flipped_balanced_accuracy", "flipped_auc", "purity", "p", "q", "model"),
}

#: File name → schema.
TABLES: dict[str, pa.Schema] = {
    FEATURES_FILE: FEATURES,
    CONTEXTS_FILE: CONTEXTS,
    STUDY_ACTIVATIONS_FILE: STUDY_ACTIVATIONS,
    EXPLANATIONS_FILE: EXPLANATIONS,
    SCORES_FILE: SCORES,
}
