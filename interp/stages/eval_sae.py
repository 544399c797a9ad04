"""Stage ``eval-sae``: how good an SAE is, every figure beside its control; the file is ``docs/evaluation.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.evaluation.control import control_of
from interp.evaluation.stability import require_comparable, seeds_command
from interp.files import write_text
from interp.plain import later, plain
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

STAGE = "eval-sae"
FILE = "evaluation.json"
KIND, VERSION = "interp-evaluation", 2


@dataclass(frozen=True)
class EvalSAEConfig:
    """What to measure.

    Attributes:
        name: SAE of the run.
        findings: label keys of the truth table; empty takes all that the studies are labelled with.
        token_sets: token sets of the truth table; empty takes all.
        seed: of the halves of patients, of the bootstrap and of what is drawn.
        reconstruction_tokens: whole studies are drawn until they hold so many tokens.
        loss_studies: studies for loss recovered; 0 leaves it out.
        control: whether the run's random-weight control is measured beside it.
        report_studies: studies whose greedy report is written with and without the SAE; 0 leaves it out.
        absorption: whether splitting and absorption of findings are measured.
        seeds_of: SAEs of other seeds to compare with; empty leaves stability out.
    """

    name: str = "main"
    findings: tuple[str, ...] = ()
    token_sets: tuple[str, ...] = ()
    seed: int = 0
    reconstruction_tokens: int = 200_000
    loss_studies: int = 48
    control: bool = True
    report_studies: int = later(16)
    absorption: bool = later(True)
    seeds_of: tuple[str, ...] = later(())

    def __post_init__(self) -> None:
        if self.reconstruction_tokens < 1 or self.loss_studies < 0 or self.report_studies < 0:
            raise InputError("reconstruction_tokens must be at least 1, loss_studies and report_studies at least 0")


def eval_sae(run: Run, config: EvalSAEConfig, work: Work) -> StageResult:
    """Write ``RUN/sae/NAME/evaluation.json``.

    Raises:
        InputError: the control was asked for and has no SAE of this name, or another site or other studies; or an SAE
            of ``seeds_of`` cannot be compared.
    """
    control = control_of(run) if config.control else None
    stage = f"train-sae:{config.name}"
    run.require(stage)
    require_comparable(run, config.name, config.seeds_of)
    settings = plain(config)
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
        after=[stage, *(f"train-sae:{other}" for other in config.seeds_of)],
    )


def _require_alike(run: Run, control: Run, stage: str) -> None:
    from interp.evaluation.control import control_cache_config

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
    from interp.evaluation import evaluate

    asked = evaluate.Asked(run, config, progress)
    stored = asked.on_stored_tokens()
    there = None if control is None else evaluate.Asked(control, config, progress).on_stored_tokens()
    quality = stored.reconstruction | asked.loss()
    content = {
        "kind": KIND,
        "version": VERSION,
        "sae": config.name,
        "site": asked.site,
        "model": run.require("cache").summary["model"],
        "protocol": {
            "halves": "patients split by hash; features are chosen on one half and measured on the other",
            "intervals": "95 %, percentiles of 500 resamples of patients (stability: of features)",
            "seed": config.seed,
            "studies": len(run.study_index),
            "labelled_studies": int(run.study_index.frame["labels"].notna().sum()),
            "trained_on": asked.train["roles"],
        },
        "reconstruction": quality,
        "reports": asked.reports(),
        "control": None if control is None or there is None else evaluate.control_section(control, there),
        "control_command": None if control is not None else control_command("RUN", config.name),
        "stability": stored.stability if there is None else evaluate.beside(stored.stability, there.stability),
        "stability_command": None if config.seeds_of else seeds_command("RUN", config.name),
        **asked.concepts(control),
    }
    write_text(run.sae_dir(config.name) / FILE, json.dumps(plain(content), indent=1, ensure_ascii=False) + "\n")
    return {"reconstruction": quality, "summary": content["summary"], "findings": asked.findings}


def discard_older(run: Run, name: str) -> None:
    """Remove an evaluation that an older version wrote, so that it is made anew with what came since."""
    path = run.sae_dir(name) / FILE
    if path.is_file() and json.loads(path.read_text()).get("version", 0) < VERSION:
        run.discard(f"{STAGE}:{name}")


def control_command(run_path: str, name: str) -> str:
    """The command that makes the control and measures it."""
    return f"interp eval-sae --run {run_path} --sae {name} --make-control"
