"""Loss recovered: how much of the model's skill survives when the SAE's reconstruction stands in for the residual.

    1 − (loss with reconstruction − clean loss) / (loss with mean ablation − clean loss)

Only tokens of the roles that the SAE was trained on are replaced. The loss is the mean negative log-likelihood of the
report tokens, teacher-forced (nats a token). 1: nothing lost; 0: as bad as their mean in place of each of these tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from activations.hooks import canonical_site, resolve_sites
from activations.roles import Role

if TYPE_CHECKING:
    from activations.models.base import ModelInputs, ReportModel
    from radiology.study import Study
    from sae.model import MatryoshkaSAE

Replace = Callable[[torch.Tensor], torch.Tensor]


def loss_recovered(
    model: ReportModel,
    sae: MatryoshkaSAE,
    site: str,
    studies: Iterable[Study],
    roles: Sequence[Role],
    *,
    batch: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float | int]:
    """Clean, reconstructed and mean-ablated loss, and the share recovered, over studies that have a report.

    Raises:
        ValueError: no study has a report.
    """
    chosen = [study for study in studies if study.report is not None]
    if not chosen:
        raise ValueError("loss recovered: no study has a report")
    batches = [chosen[start : start + batch] for start in range(0, len(chosen), batch)]
    inputs = [model.encode_batch(some, [study.report for study in some]) for some in batches]
    mean_d = _mean_residual(model, site, inputs, roles)

    def reconstruct(rows_nd: torch.Tensor) -> torch.Tensor:
        return sae.decode(sae.encode(rows_nd))

    def ablate(rows_nd: torch.Tensor) -> torch.Tensor:
        return mean_d.expand_as(rows_nd)

    total = {"clean": 0.0, "sae": 0.0, "ablated": 0.0}
    ways: dict[str, Replace | None] = {"clean": None, "sae": reconstruct, "ablated": ablate}
    tokens = 0
    for number, one in enumerate(inputs):
        for name, replace in ways.items():
            loss, n = _loss(model, site, one, roles, replace)
            total[name] += loss
        tokens += n
        if progress is not None:
            progress(min((number + 1) * batch, len(chosen)), len(chosen))
    clean, rebuilt, ablated = (total[name] / tokens for name in ways)
    gap = ablated - clean
    return {
        "loss_recovered": 1 - (rebuilt - clean) / gap if gap > 0 else float("nan"),
        "loss_clean": clean,
        "loss_sae": rebuilt,
        "loss_ablated": ablated,
        "loss_studies": len(chosen),
        "loss_tokens": tokens,
    }


def with_report(studies: Iterable[Study], n: int) -> list[Study]:
    """The first ``n`` studies that have a report of their own."""
    return list(islice((study for study in studies if study.report is not None), n))


def _mean_residual(model: ReportModel, site: str, inputs: Sequence[ModelInputs], roles: Sequence[Role]) -> torch.Tensor:
    sums: list[torch.Tensor] = []
    counts: list[int] = []

    def watch(rows_nd: torch.Tensor) -> torch.Tensor:
        sums.append(rows_nd.double().sum(0))
        counts.append(len(rows_nd))
        return rows_nd

    for one in inputs:
        _loss(model, site, one, roles, watch)
    return (torch.stack(sums).sum(0) / max(sum(counts), 1)).float()


def _loss(
    model: ReportModel, site: str, inputs: ModelInputs, roles: Sequence[Role], replace: Replace | None
) -> tuple[float, int]:
    """Summed negative log-likelihood of the report tokens and their number, with some rows of a site replaced."""
    rows, columns = _places(inputs, roles)

    def hook(module: Any, arguments: Any, output: Any) -> Any:
        h_btd = output[0] if isinstance(output, (tuple, list)) else output
        new_btd = h_btd.clone()
        new_btd[rows, columns] = replace(h_btd[rows, columns].float()).to(h_btd.dtype)  # type: ignore[misc]
        return (new_btd, *output[1:]) if isinstance(output, (tuple, list)) else new_btd

    module = resolve_sites(model, [site])[canonical_site(site)]
    handle = module.register_forward_hook(hook) if replace is not None else None
    try:
        logits_btv = model.forward(inputs)
    finally:
        if handle is not None:
            handle.remove()
    return _report_nll(logits_btv, inputs)


def _places(inputs: ModelInputs, roles: Sequence[Role]) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = [], []
    for i, table in enumerate(inputs.tokens):
        chosen = torch.from_numpy(inputs.columns(i, table.where(roles)))
        rows.append(torch.full_like(chosen, i))
        columns.append(chosen)
    return torch.cat(rows), torch.cat(columns)


def _report_nll(logits_btv: torch.Tensor, inputs: ModelInputs) -> tuple[float, int]:
    loss, count = 0.0, 0
    for i, table in enumerate(inputs.tokens):
        columns = torch.from_numpy(inputs.columns(i, table.where([Role.REPORT])))
        target_n = inputs.input_ids_bt[i, columns].to(logits_btv.device)
        log_p_nv = logits_btv[i, columns - 1].float().log_softmax(-1)
        loss -= float(log_p_nv.gather(1, target_n[:, None]).sum())
        count += len(columns)
    return loss, count
