"""The way as a whole: every stage after the other, each skipped if it was done before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp.demo import DemoConfig
from interp.evaluation.control import make_control
from interp.run import Run
from interp.stages.base import Work
from interp.stages.cache import cache
from interp.stages.dashboard import dashboard
from interp.stages.eval_sae import eval_sae
from interp.stages.explain import explain
from interp.stages.index import index
from interp.stages.score import score
from interp.stages.steer import SteerConfig, steer
from interp.stages.trace import trace
from interp.stages.train_sae import train_sae
from interp.steering_targets import carriers, room_for


def run_demo(run: Run, config: DemoConfig, work: Work) -> None:
    """Do the whole way in a run directory.

    Raises:
        InputError: images that cannot be used, or a run directory that was made with other settings (unless
            ``work.redo``).
    """
    saes = [config.sae] if config.late is None else [config.sae, config.late]
    with run.writing("interp demo"):
        cache(run, config.cache, work)
        trace(run, config.trace, work)
        for sae in saes:
            train_sae(run, sae, work)
        make_control(run, [sae.name for sae in saes], work)
        eval_sae(run, config.evaluation, work)
        if config.late is not None:
            eval_sae(run, config.late_evaluation, work)
        index(run, config.index, work)
        explain(run, config.explain, work)
        score(run, config.score, work)
        for experiment in steering_configs(run, config):
            steer(run, experiment, work)
        dashboard(run, work, config.sae.name)


def steering_configs(run: Run, config: DemoConfig) -> list[SteerConfig]:
    """The demo's experiments: the strongest feature and the group of each finding, and one on own images."""
    wanted = config.steering
    name = config.sae.name
    found = carriers(run, name, list(wanted.findings), wanted.group, seed=config.evaluation.seed)

    def experiment(label: str, finding: str, study_ids: list[str], **changes: Any) -> SteerConfig:
        features = found[finding].features
        groups: Mapping[str, tuple[int, ...]] = {f"feature {features[0]}": features[:1]}
        if len(features) > 1:
            groups = {**groups, f"group of {len(features)}": features}
        settings: dict[str, Any] = {"strengths": wanted.strengths, "random": wanted.random, "groups": groups}
        settings["max_new_tokens"] = config.max_new_tokens
        return SteerConfig(label, finding, study_ids=tuple(study_ids), name=name, **(settings | changes))

    def room(finding: str) -> list[str]:
        return room_for(run, finding, "present", wanted.studies, seed=config.evaluation.seed, terms="phantom")

    configs = [experiment(finding.replace(":", "-"), finding, room(finding)) for finding in wanted.findings]
    own = own_image_ids(run, config)[: wanted.image_studies]
    if own:
        first = wanted.findings[0]
        label = f"own-images-{first.replace(':', '-')}"
        configs.append(experiment(label, first, own, strengths=wanted.strengths[:1]))
    return configs


def own_image_ids(run: Run, config: DemoConfig) -> list[str]:
    """Ids of the studies that come from the user's own images."""
    if config.image_source is None:
        return []
    frame = run.study_index.frame
    return [str(study_id) for study_id in frame["study_id"][frame["source"] == config.image_source]]
