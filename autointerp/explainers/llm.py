"""The explainer that asks a language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activations.studies_table import StudyIndex
from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.llm_calls import Call, CallLog
from autointerp.explainers.llm_client import Endpoint, LLMClient
from autointerp.explainers.llm_prompt import Answer, first_messages, parse_answer, repair_messages
from autointerp.explanation import Explanation
from autointerp.files import labels_folder
from autointerp.schema import FAILED_LABEL, LLM_CALLS_FILE
from radiology.errors import InputError


class LLMExplainer:
    """Shows the contexts of a feature to a language model and takes its validated answer.

    An answer that is no valid JSON of the asked form gets one repair try. A feature without a valid answer gets the
    label :data:`FAILED_LABEL` and is counted in :attr:`failures`; running again asks for it again only where no answer
    came at all.

    Args:
        client: asks and keeps the record.
        terms: study number → terms of its source.
        allow_remote: let text of credentialed studies go to a server that is not on this machine.
    """

    name = "llm"

    def __init__(self, client: LLMClient, terms: Mapping[int, str], *, allow_remote: bool = False) -> None:
        self._client, self._terms, self._allow_remote = client, terms, allow_remote
        self.failures = 0

    @staticmethod
    def for_run(run_dir: str | Path, sae_name: str, endpoint: Endpoint, *, allow_remote: bool = False) -> LLMExplainer:
        """An explainer whose calls are recorded in ``RUN/sae/NAME/labels/llm-calls.jsonl``."""
        studies = StudyIndex.read(run_dir).frame
        terms = dict(zip(studies["study"].astype(int), studies["terms"], strict=True))
        log = CallLog(labels_folder(run_dir, sae_name) / LLM_CALLS_FILE)
        return LLMExplainer(LLMClient(endpoint, log), terms, allow_remote=allow_remote)

    def explain(self, evidence: FeatureEvidence) -> Explanation:
        """Explain one feature; features that never fire or have no context are not asked about.

        Raises:
            InputError: text of credentialed studies would leave the machine, or the server refuses the request.
        """
        common: dict[str, Any] = {
            "feature": evidence.number,
            "explainer": self.name,
            "modality": evidence.modality.value,
        }
        if bool(evidence.feature["dead"]):
            return Explanation(**common, label="never fires", reasoning="It fires on none of the indexed tokens.")
        if len(evidence.contexts) == 0:
            return Explanation(**common, label="no context to explain it", reasoning="It has no indexed context.")
        self._check_terms(evidence)
        messages = first_messages(evidence)
        purpose = f"explain feature {evidence.number}"
        calls = [self._client.ask(messages, purpose)]
        answer, problem = _read(calls[-1])
        if answer is None and calls[-1].error is None:
            again = repair_messages(messages, calls[-1].answer or "", problem)
            calls.append(self._client.ask(again, f"repair {purpose}"))
            answer, problem = _read(calls[-1])
        common |= self._bill(calls)
        if answer is None:
            self.failures += 1
            return Explanation(**common, label=FAILED_LABEL, reasoning=problem)
        fires = evidence.contexts["kind"].isin(["top", "quantile"])
        return Explanation(
            **common
            | {"modality": answer.modality.value, "n_firing": int(fires.sum()), "n_quiet": int((~fires).sum())},
            label=answer.label,
            concept=answer.concept,
            side=answer.side,
            polarity=answer.polarity.value,
            reasoning=answer.reasoning,
        )

    def _check_terms(self, evidence: FeatureEvidence) -> None:
        endpoint = self._client.endpoint
        if self._allow_remote or endpoint.is_local:
            return
        # A study of which nothing is known is treated as the strictest.
        terms = {self._terms.get(int(study), "credentialed") for study in evidence.contexts["study"].unique()}
        if "credentialed" in terms:
            raise InputError(
                f"the studies are credentialed and {endpoint.base_url} is not on this machine; use a local server, or "
                "allow_remote (--allow-remote) if your data use agreement permits to send them there"
            )

    def _bill(self, calls: list[Call]) -> dict[str, Any]:
        tokens = sum(call.prompt_tokens for call in calls), sum(call.completion_tokens for call in calls)
        return {
            "model": self._client.endpoint.model,
            "prompt_hash": calls[0].prompt_hash,
            "cost": self._client.endpoint.cost(*tokens),
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
        }


def _read(call: Call) -> tuple[Answer | None, str]:
    """The answer of a call, or what is wrong with it."""
    if call.error is not None:
        return None, f"the call failed: {call.error}"
    try:
        return parse_answer(call.answer or ""), ""
    except ValueError as error:
        return None, " ".join(str(error).split())[:500]
