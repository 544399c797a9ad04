"""The parts of ``evaluation.json``, each measured on a run; :mod:`interp.stages.eval_sae` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from interp.progress import Progress
from interp.run import Run

if TYPE_CHECKING:
    from activations import StudyIndex
    from interp.evaluation.splicing import Place
    from interp.problems import Source
    from interp.stages.eval_sae import EvalSAEConfig


@dataclass(frozen=True)
class Stored:
    """What is measured on a sample of the stored tokens: fields of ``reconstruction``, and ``stability`` if asked."""

    reconstruction: dict[str, Any]
    stability: dict[str, Any] | None


@dataclass(frozen=True)
class Asked:
    """One SAE of a run and what is to be measured of it; the run may be a control."""

    run: Run
    config: EvalSAEConfig
    progress: Progress

    @cached_property
    def train(self) -> dict[str, Any]:
        """Settings that the SAE was trained with."""
        return self.run.config_of(f"train-sae:{self.config.name}")

    @property
    def site(self) -> str:
        return str(self.train["site"])

    @property
    def _max_norm(self) -> float | None:
        limit = self.run.require(f"train-sae:{self.config.name}").summary["max_norm"]
        return None if limit is None else float(limit)

    @cached_property
    def findings(self) -> list[str]:
        return list(self.config.findings) or known_findings(self.run.study_index)

    def on_stored_tokens(self) -> Stored:
        """Reconstruction and stability; stability only against seeds that this run has."""
        from activations import ActivationStore
        from interp.evaluation.quality import figures, measured, sample_rows
        from interp.evaluation.stability import TRAIN, stability_of

        run, config, site = self.run, self.config, self.site
        seeds = [other for other in config.seeds_of if run.is_done(f"{TRAIN}:{other}")]
        with ActivationStore(run.activations_dir) as store:
            sample = sample_rows(run, store, config.name, tokens=config.reconstruction_tokens, seed=config.seed + 1)
            meter = measured(store, site, run.sae_named(config.name), sample)
            stability = stability_of(run, config.name, seeds, store, site, sample, config.seed) if seeds else None
        return Stored(figures(meter, sample, config.seed), stability)

    def loss(self) -> dict[str, Any]:
        """Loss recovered; only at sites of the decoder, whose rows are the tokens of the prompt."""
        from interp.evaluation.fidelity import loss_recovered, with_report

        place = self._place()
        if place is None or not self.config.loss_studies:
            return {}
        studies = with_report(self.run.studies, self.config.loss_studies)
        if not studies:
            return {}
        return loss_recovered(
            self.run.model, self.run.sae_named(self.config.name), place, studies, seed=self.config.seed
        )

    def reports(self) -> dict[str, Any] | None:
        """Greedy reports with and without the SAE; None where the model writes none, or none were asked for."""
        from interp.evaluation.report_effect import report_effect

        place, model = self._place(), self.run.model
        if place is None or not self.config.report_studies or not model.writes:
            return None
        studies = list(islice(iter(self.run.studies), self.config.report_studies))
        return report_effect(
            model,
            self.run.sae_named(self.config.name),
            place,
            studies,
            max_new_tokens=self.run.config_of("cache").get("max_new_tokens"),
            seed=self.config.seed,
        )

    def _place(self) -> Place | None:
        from activations import parse_roles
        from interp.evaluation.splicing import Place

        if not self.site.startswith("language."):
            return None
        return Place(self.site, tuple(parse_roles(self.train["roles"])), self._max_norm)

    def concepts(self, control: Run | None) -> dict[str, Any]:
        """Truth table, sparse probes, absorption and known detectors, beside the control."""
        from interp.evaluation.absorption import absorption_table
        from interp.evaluation.truth import Truth
        from interp.evaluation.truth_detectors import detectors
        from interp.problems import TOKEN_SETS, Sides, problems

        config, studies = self.config, self.run.study_index
        empty: dict[str, Any] = {"truth": [], "summary": {}, "sparse": [], "sparse_summary": {}}
        if not self.findings:
            return {**empty, "absorption": [], "detectors": []}
        token_sets = config.token_sets or tuple(TOKEN_SETS)
        sides = Sides(len(studies), self._source(self.run), None if control is None else self._source(control))
        truth = Truth.over(studies, config.seed)
        total = len(token_sets) * len(self.findings)
        for problem in problems(studies, self.findings, sides, token_sets=token_sets, seed=config.seed):
            truth.add(problem)
            self.progress(len(truth.rows), total, f"{problem.tokens}: {problem.finding}")
        found = {"truth": truth.rows, "summary": truth.summary()}
        found |= {"sparse": truth.sparse, "sparse_summary": truth.sparse_summary(), "absorption": []}
        tokens = next((name for name in token_sets if TOKEN_SETS[name] == "max"), None)
        if config.absorption and tokens is not None:
            found["absorption"] = absorption_table(studies, self.findings, sides, tokens=tokens, seed=config.seed)
        return found | {"detectors": detectors(studies, self.findings, sides, seed=config.seed)}

    def _source(self, run: Run) -> Source:
        from interp.problems import Source

        site = str(run.config_of(f"train-sae:{self.config.name}")["site"])
        return Source(run.activations_dir, site, run.sae_named(self.config.name), self.run.model.tokenizer)


def control_section(control: Run, stored: Stored) -> dict[str, Any]:
    """The section ``control``."""
    return {
        "path": control.path.name,
        "model": control.require("cache").summary["model"],
        "reconstruction": stored.reconstruction,
    }


def beside(stability: dict[str, Any] | None, random: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The section ``stability`` with that of the control's SAEs inside."""
    if stability is None:
        return None
    short = ("saes", "features", "cosine", "low", "high", "same", "chance", "chance_same", "by_group")
    return stability | {"random": None if random is None else {name: random[name] for name in short}}


def known_findings(studies: StudyIndex) -> list[str]:
    """Label keys in the phantom's order where studies are phantoms, else all there are."""
    from radiology.phantom.factors import FINDING_KEYS

    known = set(studies.keys)
    if "phantom" in studies.terms and known.issuperset(FINDING_KEYS):
        return list(FINDING_KEYS)
    return sorted(known)
