"""Stage ``eval-sae``: reconstruction, loss recovered, and the truth table, beside a random-weight control."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from interp.control import control_of
from interp.files import write_text
from interp.plain import plain
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations import ActivationStore, StudyIndex
    from activations.models.base import ReportModel
    from interp.truth import Source
    from sae.model import MatryoshkaSAE

STAGE = "eval-sae"
FILE = "evaluation.json"
KIND, VERSION = "interp-evaluation", 1


@dataclass(frozen=True)
class EvalSAEConfig:
    """What to measure.

    Attributes:
        name: SAE of the run.
        findings: label keys of the truth table; empty takes all that the studies are labelled with.
        token_sets: token sets of the truth table; empty takes all.
        seed: of the halves of patients and of the bootstrap.
        reconstruction_tokens: at most so many tokens, drawn over the whole store.
        loss_studies: studies for loss recovered; 0 leaves it out.
        control: whether the run's random-weight control is measured beside it.
    """

    name: str = "main"
    findings: tuple[str, ...] = ()
    token_sets: tuple[str, ...] = ()
    seed: int = 0
    reconstruction_tokens: int = 200_000
    loss_studies: int = 48
    control: bool = True

    def __post_init__(self) -> None:
        if self.reconstruction_tokens < 1 or self.loss_studies < 0:
            raise InputError("reconstruction_tokens must be at least 1 and loss_studies at least 0")


def eval_sae(run: Run, config: EvalSAEConfig, work: Work) -> StageResult:
    """Write ``RUN/sae/NAME/evaluation.json``.

    Raises:
        InputError: the control was asked for and has no SAE of this name, or another site or other studies.
    """
    control = control_of(run) if config.control else None
    stage = f"train-sae:{config.name}"
    run.require(stage)
    settings = asdict(config)
    if control is not None:
        settings["control"] = control.require(stage).config_hash
        _require_alike(run, control, stage)
    return work.do(
        run,
        f"{STAGE}:{config.name}",
        f"Evaluating the SAE {config.name!r}",
        settings,
        [run.sae_dir(config.name) / FILE],
        lambda progress: _evaluate(run, control, config, progress),
        after=[stage],
    )


def _require_alike(run: Run, control: Run, stage: str) -> None:
    from interp.control import control_cache_config

    wanted = {stage: run.config_of(stage), "cache": plain(control_cache_config(run))}
    for name, config in wanted.items():
        there = control.config_of(name)
        for field in sorted(config):
            if there.get(field) != config[field]:
                raise InputError(
                    f"{control.path}: the control was made with {field} = {there.get(field)!r}, the run with "
                    f"{config[field]!r}. Make it anew: interp eval-sae --run {run.path} --make-control --redo"
                )


def _evaluate(run: Run, control: Run | None, config: EvalSAEConfig, progress: Progress) -> Mapping[str, Any]:
    from interp.truth import summarise

    model = run.model
    findings = list(config.findings) or _findings(run.study_index)
    source = _source(run, config.name, model)
    other = None if control is None else _source(control, config.name, model)
    truth, known = _truth(run, source, other, findings, config, progress) if findings else ([], [])
    quality = _reconstruction(run, config, source.site)
    quality |= _loss(run, model, config, source.site)
    train = run.config_of(f"train-sae:{config.name}")
    content = {
        "kind": KIND,
        "version": VERSION,
        "sae": config.name,
        "site": source.site,
        "model": run.require("cache").summary["model"],
        "protocol": {
            "halves": "patients split by hash; the feature is chosen on one half and measured on the other",
            "seed": config.seed,
            "studies": len(run.study_index),
            "labelled_studies": int(run.study_index.frame["labels"].notna().sum()),
            "trained_on": train["roles"],
        },
        "reconstruction": quality,
        "control": None if control is None or other is None else _control(control, config, other.site),
        "truth": truth,
        "summary": summarise(truth) if truth else {},
        "detectors": known,
    }
    write_text(run.sae_dir(config.name) / FILE, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")
    return {"reconstruction": quality, "summary": content["summary"], "findings": findings}


def _truth(
    run: Run, source: Source, other: Source | None, findings: Sequence[str], config: EvalSAEConfig, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from interp.truth import TOKEN_SETS, detectors, truth_table

    sets = config.token_sets or tuple(TOKEN_SETS)
    studies, seed = run.study_index, config.seed
    truth = truth_table(studies, findings, source, other, token_sets=sets, seed=seed, progress=progress)
    return truth, detectors(studies, findings, source, seed=seed)


def _findings(studies: StudyIndex) -> list[str]:
    """Label keys in the phantom's order where studies are phantoms, else all there are."""
    from radiology.phantom.factors import FINDING_KEYS

    known = set(studies.keys)
    if "phantom" in studies.terms and known.issuperset(FINDING_KEYS):
        return list(FINDING_KEYS)
    return sorted(known)


def _source(run: Run, name: str, model: ReportModel) -> Source:
    from interp.truth import Source

    site = str(run.config_of(f"train-sae:{name}")["site"])
    return Source(run.activations_dir, site, run.sae_named(name), model.tokenizer)


def _control(control: Run, config: EvalSAEConfig, site: str) -> dict[str, Any]:
    return {
        "path": control.path.name,
        "model": control.require("cache").summary["model"],
        "reconstruction": _reconstruction(control, config, site),
    }


def _reconstruction(run: Run, config: EvalSAEConfig, site: str) -> dict[str, Any]:
    """Over shuffled tokens of the roles that the SAE was trained on, and for each of these roles alone."""
    from activations import ActivationStore

    sae = run.sae_named(config.name)
    train = run.config_of(f"train-sae:{config.name}")
    limit = run.require(f"train-sae:{config.name}").summary["max_norm"]
    with ActivationStore(run.activations_dir) as store:
        roles = train["roles"].split(",")
        whole = _measure(store, sae, site, roles, limit, config)
        by_role = {}
        for role, count in run.require("cache").summary["rows_by_role"].items():
            if count and _in_roles(role, roles):
                by_role[role] = _measure(store, sae, site, [role], limit, config)
    return whole | {"by_role": {role: _short(figures) for role, figures in by_role.items()}}


def _measure(
    store: ActivationStore,
    sae: MatryoshkaSAE,
    site: str,
    roles: Sequence[str],
    limit: float | None,
    config: EvalSAEConfig,
) -> dict[str, Any]:
    from sae.evaluation import reconstruction

    batches = store.batches(site, 4096, seed=config.seed + 1, roles=roles, max_norm=limit)
    return reconstruction(sae, _at_most(batches, config.reconstruction_tokens))


def _in_roles(role: str, roles: Sequence[str]) -> bool:
    from activations import parse_roles

    return role.upper() in {one.name for one in parse_roles(roles)}


def _short(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("tokens", "variance_explained", "l0")}


def _at_most(batches: Iterable[Any], tokens: int) -> Iterable[Any]:
    for batch in batches:
        if tokens <= 0:
            return
        yield batch[:tokens]
        tokens -= len(batch)


def _loss(run: Run, model: ReportModel, config: EvalSAEConfig, site: str) -> dict[str, Any]:
    """Loss recovered; only for sites of the decoder, whose rows are the tokens of the prompt."""
    from activations import parse_roles
    from interp.fidelity import loss_recovered, with_report

    if not config.loss_studies or not site.startswith("language."):
        return {}
    studies = with_report(run.studies, config.loss_studies)
    if not studies:
        return {}
    roles = parse_roles(run.config_of(f"train-sae:{config.name}")["roles"])
    return dict(loss_recovered(model, run.sae_named(config.name), site, studies, roles))
