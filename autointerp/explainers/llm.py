"""The explainers that ask a language model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from activations.studies_table import StudyIndex
from autointerp.explainers.answer import Answer
from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.llm_prompt import PromptForm
from autointerp.explanation import Explanation
from autointerp.schema import FAILED_LABEL
from radiology.llm.calls import Messages
from radiology.llm.endpoint import Endpoint, require_terms
from radiology.llm.questions import Outcome, Question

#: Studies of which nothing is known are treated as the strictest.
STRICTEST = "credentialed"


class Asker(Protocol):
    """:class:`radiology.llm.client.LLMClient` or :class:`radiology.llm.batch.BatchClient`."""

    endpoint: Endpoint
    allow_remote: bool

    def answers(self, questions: Iterable[Question[Any]]) -> Iterator[Outcome[Any]]: ...


class LLMExplainer:
    """Shows the contexts of features to a language model and takes its validated answers.

    An answer that is no valid JSON of the asked form gets one repair try. A feature without a valid answer gets the
    label :data:`FAILED_LABEL` and is counted in :attr:`failures`; running again asks for it again only where no answer
    came at all.

    Args:
        asker: asks and keeps the record.
        terms: study number → terms of its source.
        messages: what is shown of a feature; by default its contexts as text.
        name: stored with every explanation.
        needs_maps: whether ``messages`` needs the activation maps of contexts.
    """

    def __init__(
        self,
        asker: Asker,
        terms: Mapping[int, str],
        messages: Callable[[FeatureEvidence], Messages] | None = None,
        name: str = "llm",
        needs_maps: bool = False,
    ) -> None:
        self._asker, self._terms, self.name, self.needs_maps = asker, terms, name, needs_maps
        self._messages = messages or PromptForm(asker.endpoint.api).messages
        self.failures = 0

    def explain(self, evidence: FeatureEvidence) -> Explanation:
        """Explain one feature."""
        return next(self.explain_all([evidence]))

    def explain_all(self, evidences: Sequence[FeatureEvidence]) -> Iterator[Explanation]:
        """Explain many, in the order of the answers; features that never fire or have no context are not asked about.

        Raises:
            InputError: before anything is asked, if terms of some study forbid it; later if the server refuses.
            BudgetSpentError: the budget is used up.
        """
        asked = {one.number: one for one in evidences if _unaskable(one) is None}
        for evidence in asked.values():
            require_terms(self._asker.endpoint, self._terms_of(evidence), self._asker.allow_remote)
        for evidence in evidences:
            if evidence.number not in asked:
                yield self._without_asking(evidence)
        for outcome in self._asker.answers(self._question(evidence) for evidence in asked.values()):
            yield self._explanation(asked[int(outcome.question.key)], outcome)  # type: ignore[call-overload]

    def _question(self, evidence: FeatureEvidence) -> Question[Answer]:
        return Question.of_model(
            Answer,
            self._messages(evidence),
            f"{self.name}: explain feature {evidence.number}",
            key=evidence.number,
            terms=self._terms_of(evidence),
        )

    def _terms_of(self, evidence: FeatureEvidence) -> set[str]:
        return {self._terms.get(study, STRICTEST) for study in evidence.studies}

    def _without_asking(self, evidence: FeatureEvidence) -> Explanation:
        label, why = _unaskable(evidence) or ("", "")
        modality = evidence.modality.value
        return Explanation(feature=evidence.number, explainer=self.name, modality=modality, label=label, reasoning=why)

    def _explanation(self, evidence: FeatureEvidence, outcome: Outcome[Answer]) -> Explanation:
        fires = evidence.fires
        answer = outcome.value
        common: dict[str, Any] = {
            "feature": evidence.number,
            "explainer": self.name,
            "model": self._asker.endpoint.model,
            "prompt_hash": outcome.calls[0].prompt_hash,
            "cost": outcome.cost,
            "prompt_tokens": outcome.prompt_tokens,
            "completion_tokens": outcome.completion_tokens,
        }
        if answer is None:
            self.failures += 1
            return Explanation(
                **common, modality=evidence.modality.value, label=FAILED_LABEL, reasoning=outcome.problem
            )
        return Explanation(
            **common,
            n_firing=int(fires.sum()),
            n_quiet=int((~fires).sum()),
            modality=answer.modality.value,
            label=answer.label,
            concept=answer.concept,
            side=answer.side,
            polarity=answer.polarity.value,
            reasoning=answer.reasoning,
        )


def terms_of_run(run_dir: str | Path) -> dict[int, str]:
    """Study number → terms."""
    studies: pd.DataFrame = StudyIndex.read(run_dir).frame
    return dict(zip(studies["study"].astype(int), studies["terms"], strict=True))


def _unaskable(evidence: FeatureEvidence) -> tuple[str, str] | None:
    """Label and reason of a feature about which there is nothing to ask."""
    if bool(evidence.feature["dead"]):
        return "never fires", "It fires on none of the indexed tokens."
    if not evidence.fires.any():
        return "no context to explain it", "It fires in none of the images and sentences of the explain split."
    return None
