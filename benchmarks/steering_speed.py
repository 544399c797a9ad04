"""What steering costs: reports of a batch unsteered, steered in several ways, and steered as other tools do it.

Run: export OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
     python benchmarks/steering_speed.py

All sides generate reports of the same phantom studies with KV cache, at the site language.2. The strengths are so small
that the reports stay what they are, which is checked, so that every side computes the same steps; what a change costs
does not depend on its size. The sides take turns in one process, each round in another order. Ours include the proof.

SAELens has no hook for a model with images. Its two ways to steer are taken over as forward hooks of the same module:
the one of its tutorials adds a decoder row at all tokens; the other puts the SAE into the model
(``HookedSAETransformer`` with ``use_error_term``), so that every token is encoded and decoded with all features, here
by SAELens' own class.

Prints two figures for each side: the median of the ratios to the unsteered time of the same round, which holds the
noise of the machine, and for ours the median of what is spent inside the change itself (selection, formula, proof), as
a share of the unsteered time. Every row is in benchmarks/results/steering_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

from activations.models import open_model
from activations.models.base import Generation
from radiology.phantom.cases import phantom_studies
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.interventions.apply import steer
from steering.interventions.changes import SiteChange
from steering.interventions.kinds import Add, Floor, Scale
from steering.interventions.nnsight_way import steer_with_nnsight
from steering.interventions.spec import Gate, Intervention, SteeringSpec, Tokens

RESULTS = Path(__file__).parent / "results" / "steering_speed.json"
SITE, SEED, TARGET, TINY = "language.2", 3, 1.05, 1e-5
FEATURES = (5, 17, 30)
Side = Callable[[], list[Generation]]


def specs(grid: tuple[int, int]) -> dict[str, SteeringSpec]:
    """Ways to steer, weak enough to change no word."""
    add, tops = Add(TINY, unit="activation"), (1.0,) * len(FEATURES)
    in_map = Intervention(Add(TINY, shape="map"), FEATURES, maps=(np.ones(grid),) * len(FEATURES))
    return {
        "add, image, in maps": SteeringSpec(SITE, (in_map,), Tokens(image="frontal")),
        "add, all tokens": SteeringSpec(SITE, (Intervention(add, FEATURES),), Tokens("all")),
        "add, report": SteeringSpec(SITE, (Intervention(add, FEATURES),), Tokens("generated")),
        "scale, all tokens": SteeringSpec(SITE, (Intervention(Scale(1 + TINY), FEATURES),), Tokens("all")),
        "floor, gated, report": SteeringSpec(
            SITE,
            (Intervention(Floor(TINY), FEATURES[:1], max_activations=tops[:1]),),
            Tokens("generated"),
            Gate(feature=FEATURES[0], above=-1.0),
        ),
        "add, report, on a topic": SteeringSpec(
            SITE, (Intervention(add, FEATURES),), Tokens("generated"), Gate(topic="cardiomegaly")
        ),
    }


def hooked(model: Any, inputs: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Side:
    """Generation with a plain forward hook that changes every token."""

    def run() -> list[Generation]:
        def hook(module: Any, arguments: Any, output: Any) -> Any:
            whole = isinstance(output, tuple)
            new_btd = change(output[0] if whole else output)
            return (new_btd, *output[1:]) if whole else new_btd

        handle = model.sites()[SITE].register_forward_hook(hook)
        try:
            return model.generate(inputs)
        finally:
            handle.remove()

    return run


def saelens_sides(model: Any, inputs: Any, sae: MatryoshkaSAE) -> dict[str, Side]:
    """SAELens' two ways: a vector, and the SAE itself with its error term, one feature changed."""
    theirs = JumpReLUSAE(JumpReLUSAEConfig(d_in=sae.d, d_sae=sae.n_features, apply_b_dec_to_input=True))
    with torch.no_grad():
        theirs.W_enc.copy_(sae.W_enc.T)
        theirs.W_dec.copy_(sae.W_dec)
    row_d = sae.W_dec[FEATURES[0]].detach()

    def spliced(h_btd: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            acts_btf = theirs.encode(h_btd)
            error_btd = h_btd - theirs.decode(acts_btf)
            acts_btf[..., FEATURES[0]] += TINY
            return theirs.decode(acts_btf) + error_btd

    return {
        "SAELens: vector hook": hooked(model, inputs, lambda h_btd: h_btd + TINY * row_d),
        "SAELens: SAE in the model": hooked(model, inputs, spliced),
    }


def all_sides(batch: int, features: int) -> dict[str, Side]:
    model: Any = open_model("phantom")
    inputs = model.encode_batch(list(phantom_studies(batch, seed=SEED)))
    sae = MatryoshkaSAE(SAEConfig(d=model.width(SITE), n_features=features, k=16), extra={"site": SITE})
    sae.initialise(0)

    def steered(spec: SteeringSpec, way: Any, **options: Any) -> Side:
        def run() -> list[Generation]:
            with way(model, sae, spec, **options):
                return model.generate(inputs)

        return run

    sides: dict[str, Side] = {"unsteered": lambda: model.generate(inputs)}
    sides |= {name: steered(spec, steer) for name, spec in specs(model.grid).items()}
    sides |= saelens_sides(model, inputs, sae)
    view = model.nnsight()  # the wrapper that it leaves around every forward is there on all sides
    sides["nnsight, add, all tokens"] = steered(specs(model.grid)["add, all tokens"], steer_with_nnsight, view=view)
    return sides


class Inside:
    """Seconds spent in ``SiteChange.act``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        act = SiteChange.act

        def timed(change: SiteChange, h_btd: torch.Tensor) -> torch.Tensor | None:
            start = time.perf_counter()
            try:
                return act(change, h_btd)
            finally:
                self.seconds += time.perf_counter() - start

        SiteChange.act = timed  # type: ignore[method-assign]


def measure(sides: dict[str, Side], inside: Inside, number: int) -> list[dict[str, Any]]:
    """One row a side; the order turns with the number of the round."""
    names, rows = list(sides), []
    turn = number % len(names)
    for name in names[turn:] + names[:turn]:
        inside.seconds, start = 0.0, time.perf_counter()
        sides[name]()
        rows.append({"round": number, "side": name, "seconds": time.perf_counter() - start, "inside": inside.seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--features", type=int, default=2048, help="features of the SAE")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=200.0, help="stop early when this much time is used")
    options = parser.parse_args()
    sides, inside = all_sides(options.batch, options.features), Inside()
    texts = sides["unsteered"]()
    for name, side in sides.items():  # also warms everything up
        if side() != texts:
            raise SystemExit(f"{name}: the reports are not those of the unsteered side; lower TINY")
    began, rows, rounds = time.perf_counter(), [], 0
    while rounds < options.rounds and time.perf_counter() - began < options.seconds:
        rows += measure(sides, inside, rounds)
        rounds += 1
    steps = max(len(one.token_ids) + one.finished for one in texts)
    print(
        f"phantom: {options.batch} studies, {steps} steps, {SITE}, {options.features} features, {rounds} rounds, "
        f"{torch.get_num_threads()} threads"
    )
    base = {row["round"]: row["seconds"] for row in rows if row["side"] == "unsteered"}
    summary = {}
    for name in sides:
        mine = [row for row in rows if row["side"] == name]
        ratios = sorted(row["seconds"] / base[row["round"]] for row in mine)
        own = statistics.median(row["inside"] / base[row["round"]] for row in mine)
        summary[name] = {"ratio": statistics.median(ratios), "inside": own}
        seconds = statistics.median(row["seconds"] for row in mine)
        share = f"   inside {own:.1%}" if own else ""
        print(
            f"  {name:<27} median {seconds:6.3f} s   × {summary[name]['ratio']:.3f}   min {ratios[0]:.3f}   "
            f"max {ratios[-1]:.3f}{share}"
        )
    facts = {name: version(name) for name in ("torch", "transformers", "nnsight", "sae-lens")}
    facts |= {"cpus": str(os.cpu_count()), "threads": str(torch.get_num_threads())}
    RESULTS.write_text(
        json.dumps({"facts": facts, "target": TARGET, "summary": summary, "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
