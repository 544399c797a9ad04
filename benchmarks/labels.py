"""Are labels right? Labels of features whose meaning is known from truth, on phantoms; delphi's recipe beside ours.

Run: python benchmarks/labels.py --run DIR [--studies phantom:n=640,seed=2] [--llm 20] [--json FILE]

Without a run in DIR one is made: phantoms are cached at language.2, an SAE is trained, evaluated and indexed (some five
minutes on two cores). A feature is known if its largest activation on the frontal image tells one factor from its
absence with AUROC ≥ .9 on both halves of the patients, and no other factor (interp/evaluation/truth_detectors.py).
Labels are made from the explain split, scores from the score split.

- contrast: our offline explainer.
- recipe of delphi, offline: the same contexts without what delphi does not look at: the strongest ones against random
  negatives, and a finding counts as named whatever is said of it; so there is no polarity, and "present" is assumed.
- llm, delphi prompt: SmolLM2-135M on this machine (--llm N: on the first N known features), with our prompt, and with
  delphi's rules on the strongest contexts; concept and polarity of its free text are read by rules.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.exchange import meaning_of
from autointerp.explain import explain_features, read_contexts
from autointerp.explainers.base import FeatureEvidence, grouped
from autointerp.explainers.contrast import ContrastExplainer
from autointerp.explainers.evidence import contrasts
from autointerp.explainers.llm import LLMExplainer, terms_of_run
from autointerp.explainers.llm_prompt import PromptForm
from autointerp.explanation import Explanation, label_words
from autointerp.files import features_folder, read_frame
from autointerp.reading import Reading
from autointerp.schema import CONTEXTS_FILE, FEATURES_FILE, MAX_LABEL_WORDS, Kind, Split
from autointerp.scorers.base import Asked, Label
from autointerp.scorers.detection import DetectionScorer
from autointerp.scorers.embedding import EmbeddingJudge
from autointerp.truth import TruthAgreement, agreement
from interp.demo import DemoConfig
from interp.run import Run
from interp.stages.base import Work
from interp.stages.cache import cache
from interp.stages.eval_sae import eval_sae
from interp.stages.index import index
from interp.stages.language_model import Asking
from interp.stages.train_sae import train_sae
from radiology.llm.questions import Question

DELPHI_RULES = """Your task is to analyze text and provide an explanation that thoroughly encapsulates possible \
patterns found in it. You will be given examples on which special words are selected between delimiters like <<this>>. \
Try to produce a concise final description. Keep your explanation short. Answer as JSON: {"explanation": "..."}"""


def make_run(path: Path, studies: str) -> Run:
    """The demo's way up to the index, without what labels do not need."""
    run = Run.create(path)
    demo = replace(DemoConfig(late=None), studies=studies)
    work = Work()
    evaluation = replace(
        demo.evaluation, control=False, loss_studies=0, report_studies=0, absorption=False, token_sets=("image",)
    )
    with run.writing("benchmarks/labels.py"):
        cache(run, demo.cache, work)
        train_sae(run, demo.sae, work)
        eval_sae(run, evaluation, work)
        index(run, demo.index, work)
    return run


def delphi_recipe(evidence: FeatureEvidence) -> Explanation:
    """The concept most often named in the strongest contexts and least in random ones, whatever is said of it."""
    kinds = evidence.contexts["kind"]
    firing = evidence.contexts[kinds == Kind.TOP.value]
    quiet = evidence.contexts[kinds == Kind.RANDOM_NEGATIVE.value]
    table = contrasts(_named(firing), _named(quiet), np.ones(len(firing)))
    best = max(table, key=lambda concept: table[concept].z, default=None)
    common: dict[str, Any] = {"feature": evidence.number, "explainer": "delphi"}
    if best is None or table[best].z <= 0:
        return Explanation(**common, label="no pattern")
    concept = str(best)
    return Explanation(**common, label=label_words(concept, None, "present"), concept=concept, polarity="present")


def _named(contexts: pd.DataFrame) -> list[frozenset[str]]:
    return [
        frozenset() if found is None else frozenset(Reading.parse(str(text)).concept for text in found)
        for found in contexts["findings"]
    ]


def delphi_prompt(run: Run, asker: Any, evidences: Sequence[FeatureEvidence]) -> list[Explanation]:
    """delphi's rules with the strongest contexts and nothing quiet; the answer is free text."""
    form = {"type": "object", "properties": {"explanation": {"type": "string"}}, "required": ["explanation"]}
    terms = set(terms_of_run(run.path).values())

    def question(evidence: FeatureEvidence) -> Question[str]:
        top = evidence.contexts[evidence.contexts["kind"] == Kind.TOP.value].head(4)
        lines = [f"Example {i}: {_marked(row)}" for i, row in enumerate(top.itertuples(), start=1)]
        messages = [{"role": "system", "content": DELPHI_RULES}, {"role": "user", "content": "\n".join(lines)}]
        return Question(messages, form, lambda a: str(a["explanation"]), "delphi", evidence.number, terms)

    found = []
    for outcome in asker.answers(question(one) for one in evidences):
        text = " ".join((outcome.value or "no answer").split()) or "no answer"
        label = " ".join(text.split()[:MAX_LABEL_WORDS])
        found.append(
            Explanation(feature=int(outcome.question.key), explainer="delphi llm", label=label, **meaning_of(text))  # type: ignore[call-overload]
        )
    return found


def _marked(row: Any) -> str:
    if row.modality == "image":
        return f"<<image>> report: {'; '.join(row.findings if row.findings is not None else ())}"
    peak = max(row.activations)
    return " ".join(f"<<{t}>>" if a > 0.3 * peak else str(t) for t, a in zip(row.tokens, row.activations, strict=True))


def evidence_of(run: Run, features: Sequence[int]) -> list[FeatureEvidence]:
    folder = features_folder(run.path, "main")
    numbers = np.array(sorted(features))
    table = read_frame(folder / FEATURES_FILE).set_index("feature", drop=False).loc[numbers]
    contexts = read_contexts(folder / CONTEXTS_FILE, Split.EXPLAIN, numbers)
    records = table.to_dict("records")
    return [FeatureEvidence(record, own) for record, (_, own) in zip(records, grouped(contexts, numbers), strict=True)]


def wilson(right: float, n: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if n == 0:
        return "–"
    z = 1.96
    middle, half = right + z * z / (2 * n), z * np.sqrt(right * (1 - right) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return f"{right:.2f} ({low:.2f}–{high:.2f})"


def line(name: str, found: TruthAgreement) -> str:
    named = found.n_labelled / max(found.n_features, 1)
    concept, polarity = (wilson(one, found.n_features) for one in (found.right_concept, found.right_polarity))
    return (
        f"{name:24} {found.n_features:3}   named {named:.2f}   concept {concept}   and polarity {polarity}   "
        f"side {wilson(found.right_side, found.n_sided)}   several: {found.n_several}, names one {found.names_one:.2f}"
    )


def negatives(run: Run, labels: pd.DataFrame, name: str) -> dict[str, dict[str, float]]:
    """Mean balanced accuracy by rules and AUC by likeness of words, by kind of negatives."""
    own = labels[labels["explainer"] == name]
    numbers = np.sort(own["feature"].to_numpy())
    contexts = dict(
        grouped(read_contexts(features_folder(run.path, "main") / CONTEXTS_FILE, Split.SCORE, numbers), numbers)
    )
    parsed = {int(row.feature): Label.of(row) for row in own.itertuples()}
    asked = [Asked(feature, parsed[feature], contexts[feature], list(parsed.values())) for feature in numbers.tolist()]
    found: dict[str, dict[str, float]] = {}
    for scorer in (DetectionScorer(), DetectionScorer(EmbeddingJudge(), base="embedding")):
        rows = pd.DataFrame([row for rows in scorer.score_all(asked) for row in rows])
        columns = ["balanced_accuracy", "flipped_balanced_accuracy", "auc"]
        means = rows[rows["n"] > 0].groupby("negative_kind")[columns].mean()
        found |= {f"{scorer.name} {kind}": row for kind, row in means.to_dict("index").items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--studies", default="phantom:n=640,seed=2")
    parser.add_argument("--llm", type=int, default=0, metavar="N", help="ask SmolLM2 about the first N known features")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = Run.open(options.run) if (options.run / "run.json").is_file() else make_run(options.run, options.studies)
    known = pd.DataFrame(json.loads((run.sae_dir("main") / "evaluation.json").read_text())["detectors"])
    frame = explain_features(run.path, "main", ContrastExplainer(), known["feature"])
    evidences = evidence_of(run, known["feature"].tolist())
    labels = pd.concat([frame, pd.DataFrame([delphi_recipe(one).row() for one in evidences])], ignore_index=True)
    results: dict[str, Any] = {}
    for name in ("contrast", "delphi"):
        found = agreement(labels, known, name)
        results[name] = {k: v for k, v in vars(found).items() if k != "table"}
        print(line({"delphi": "delphi's recipe, offline"}.get(name, name), found), flush=True)
    print("\ncontrast labels that are not right:")
    table = agreement(labels, known, "contrast").table
    wrong = table[~table["polarity_is_right"] & table["others"].map(lambda one: len(one) == 0)]
    print(wrong[["feature", "key", "known_polarity", "auroc", "label"]].to_string(index=False))
    results["negatives"] = {name: negatives(run, labels, name) for name in ("contrast", "delphi")}
    for name in ("contrast", "delphi"):
        print(f"\nscores of {name}'s labels     balanced accuracy   opposite polarity   AUC")
        for kind, row in results["negatives"][name].items():
            print(
                f"{kind:36} {row['balanced_accuracy']:.3f}   {row['flipped_balanced_accuracy']:.3f}   {row['auc']:.3f}"
            )
    if options.llm:
        single = known[known["others"].map(len) == 0].head(options.llm)
        some = [one for one in evidences if one.number in set(single["feature"])]
        with Asking(local=True).asker(None, None, False, options.run / "labels-llm-calls.jsonl") as asker:
            ours = LLMExplainer(asker, terms_of_run(run.path), PromptForm(asker.endpoint.api, 4).messages)
            rows = [one.row() for one in ours.explain_all(some)]
            rows += [one.row() for one in delphi_prompt(run, asker, some)]
        told = pd.concat([pd.DataFrame(rows), frame], ignore_index=True)
        print(f"\nSmolLM2-135M on the first {len(single)} known features")
        for name in ("llm", "delphi llm", "contrast"):
            found = agreement(told, single, name)
            results[f"{name} on {len(single)}"] = {k: v for k, v in vars(found).items() if k != "table"}
            print(line(name, found), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
