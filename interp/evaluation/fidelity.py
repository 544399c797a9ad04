"""Loss recovered: how much of the model's skill survives when the SAE's reconstruction stands in for the residual.

    1 − (loss with reconstruction − clean loss) / (loss with mean ablation − clean loss)

The loss is the mean negative log-likelihood of the report tokens, teacher-forced (nats a token). 1: nothing lost; 0: as
bad as their mean in place of each of the replaced tokens. ``docs/evaluation.md`` says which tokens these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from activations.roles import Role
from interp.evaluation.splicing import Place, Replace, mean_of, mean_residual, random_error, reconstruction, replacing

if TYPE_CHECKING:
    from activations.models.base import ModelInputs, ReportModel
    from radiology.study import Study
    from sae.model import MatryoshkaSAE


def loss_recovered(
    model: ReportModel,
    sae: MatryoshkaSAE,
    place: Place,
    studies: Iterable[Study],
    *,
    batch: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The fields ``loss_…`` of ``docs/evaluation.md``, over studies that have a report; intervals over patients.

    Raises:
        ValueError: no study has a report, or no token of the roles is there.
    """
    chosen = [study for study in studies if study.report is not None]
    if not chosen:
        raise ValueError("loss recovered: no study has a report")
    batches = [chosen[start : start + batch] for start in range(0, len(chosen), batch)]
    inputs = [model.encode_batch(some, [study.report for study in some]) for some in batches]
    losses: dict[str, list[float]] = {}
    tokens: list[int] = []
    replacements = ways(sae, mean_residual(model, place, inputs), seed)
    for one in inputs:
        for name, replace in replacements.items():
            with replacing(model, place, one, replace):
                loss_s, count_s = report_loss(model.forward(one), one)
            losses.setdefault(name, []).extend(loss_s)
        tokens += count_s
        if progress is not None:
            progress(len(tokens), len(chosen))
    return _figures({name: np.array(loss_s) for name, loss_s in losses.items()}, np.array(tokens), chosen, seed)


def ways(sae: MatryoshkaSAE, mean_d: torch.Tensor, seed: int) -> dict[str, Replace | None]:
    """What is put in a residual's place: nothing, the reconstruction, and the two yardsticks."""
    rebuilt = reconstruction(sae)
    return {"clean": None, "sae": rebuilt, "ablated": mean_of(mean_d), "random_error": random_error(rebuilt, seed)}


def with_report(studies: Iterable[Study], n: int) -> list[Study]:
    """The first ``n`` studies that have a report of their own."""
    return list(islice((study for study in studies if study.report is not None), n))


def report_loss(logits_btv: torch.Tensor, inputs: ModelInputs) -> tuple[list[float], list[int]]:
    """Summed negative log-likelihood of the report tokens of each row, and their number."""
    losses, counts = [], []
    for i, table in enumerate(inputs.tokens):
        columns = torch.from_numpy(inputs.columns(i, table.where([Role.REPORT])))
        target_n = inputs.input_ids_bt[i, columns].to(logits_btv.device)
        log_p_nv = logits_btv[i, columns - 1].float().log_softmax(-1)
        losses.append(-float(log_p_nv.gather(1, target_n[:, None]).double().sum()))
        counts.append(len(columns))
    return losses, counts


def _figures(losses: Mapping[str, np.ndarray], tokens: np.ndarray, studies: list[Study], seed: int) -> dict[str, Any]:
    from sae.ranking import group_weights, percentile_interval

    patients = np.array([study.patient_id for study in studies])
    weights_bs = np.concatenate([np.ones((1, len(studies))), group_weights(patients, seed=seed)])
    mean_b = {name: weights_bs @ loss_s / (weights_bs @ tokens) for name, loss_s in losses.items()}
    found: dict[str, Any] = {}
    for field, name in (("loss_recovered", "sae"), ("loss_recovered_random_error", "random_error")):
        gap_b = mean_b["ablated"] - mean_b["clean"]
        share_b = np.where(gap_b > 0, 1 - (mean_b[name] - mean_b["clean"]) / np.where(gap_b > 0, gap_b, 1), np.nan)
        low, high = percentile_interval(share_b[1:])
        found |= {field: float(share_b[0]), f"{field}_low": low, f"{field}_high": high}
    found |= {f"loss_{name}": float(values_b[0]) for name, values_b in mean_b.items()}
    return found | {
        "loss_studies": len(studies),
        "loss_patients": len(set(patients.tolist())),
        "loss_tokens": int(tokens.sum()),
    }
