"""What a feature's page costs: ours beside SAEDashboard, from the same decoder, tokens and autoencoder.

Run: python -m venv /tmp/sd
     /tmp/sd/bin/pip install torch==2.13.0 sae-dashboard==0.8.0 pyarrow==20.0.0
     /tmp/sd/bin/pip uninstall -y torchvision            # a wheel for another torch; nothing here needs it
     export OMP_WAIT_POLICY=PASSIVE
     python benchmarks/dashboard_peers.py --peer-python /tmp/sd/bin/python                    # both, on text
     python benchmarks/dashboard_peers.py --peer-python /tmp/sd/bin/python --studies 1200 --rounds 2
     python benchmarks/dashboard_peers.py --images                            # ours with pictures, which has no peer

SAEDashboard wants other versions of what we use, hence an environment of its own. Every side is a process of its own;
they build in turn, each round beginning with another one, and the first round does not count. A build begins with an
open model, an autoencoder and studies, and ends with one HTML file that has a page of each feature:

- ours: activations are cached to disk, indexed, exported (`interp cache`, `index`, `dashboard --export`); no labels.
- SAEDashboard: SaeVisRunner.run and save_feature_centric_vis, on a HookedTransformer with the phantom's weights, whose
  logits must be ours. It shows as many sequences a feature as ours shows contexts; as a third side, its default number.

Both read the reports and sections of phantom studies without their images, since SAEDashboard takes nothing but tokens;
padding, BOS and EOS are left out on both sides. That both see the same features is checked on the largest activation of
each. "Fixed" is what a file holds besides its data: our page brings plotly along.

Prints medians and writes its rows to benchmarks/results/dashboard_peers.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import dashboard_peers_sides
import torch
from side_worker import Worker

from activations.caching import cache_activations
from activations.models import open_model
from activations.models.phantom import PhantomReportModel
from activations.models.phantom_language import vocabulary
from activations.store import ActivationStore
from sae import MatryoshkaSAE, SAEConfig, TrainConfig
from sae.formats.saelens import write_saelens
from sae.trainer import train

RESULTS = Path(__file__).parent / "results" / "dashboard_peers.json"
SIDES = Path(dashboard_peers_sides.__file__)
LAYER, ROLES, SEED = 2, "content,template", 3
K, TRAIN_TOKENS, BATCH = 8, 500_000, 2048
PAD, BOS, EOS = 0, 1, 2
#: Contexts a feature in our page: eight of each of four kinds. Theirs: the strongest, and two of each of ten intervals.
TOP, QUANTILE = 12, 2
CHECKED = 8
#: Our rows are stored in bfloat16, which has 8 bits: largest activations may be so far apart, relative to the largest.
ACTIVATIONS_APART = 0.02


def start_of(images: bool, n_studies: int, n_features: int, threads: int) -> dict[str, Any]:
    """What all sides are given: plain values and tensors."""
    return {
        "images": images,
        "studies": n_studies,
        "seed": SEED,
        "n_features": n_features,
        "threads": threads,
        "site": f"language.{LAYER}",
        "hook": f"blocks.{LAYER}.hook_resid_post",
        "roles": ROLES,
        "top": TOP,
        "quantile": QUANTILE,
        "ignored": [PAD, BOS, EOS],
    }


def decoder_of(model: PhantomReportModel, studies: list[Any]) -> dict[str, Any]:
    """The decoder as weights of a LlamaForCausalLM, the studies as its tokens, and logits of the first ones."""
    encoded = [model.encode(study, study.report) for study in studies]
    rows = [inputs.input_ids_bt[0] for inputs in encoded]
    text = model.module.config.text_config
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    with torch.inference_mode():
        logits = [model.forward(inputs)[0].float().clone() for inputs in encoded[:CHECKED]]
    return {
        "tokens_bt": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD),
        "logits": logits,
        "llama": {name: getattr(text, name) for name in (*names, "rms_norm_eps")},
        "rope": {name: text.rope_parameters[name] for name in ("rope_theta", "factor")},
        "weights": dict(model.module.language_model.state_dict()),
        "vocabulary": {word: number for number, word in enumerate(vocabulary())},
    }


def trained(model: PhantomReportModel, studies: list[Any], start: dict[str, Any], folder: Path) -> MatryoshkaSAE:
    """An autoencoder of the studies' own activations."""
    cache_activations(model, studies, [start["site"]], folder / "activations", roles=ROLES)
    F = start["n_features"]
    config = SAEConfig(d=128, n_features=F, k=K, groups=(F // 8, F // 8, F // 4, F - F // 8 * 2 - F // 4))
    with ActivationStore(folder / "activations") as store:

        def batches(done: int) -> Any:
            return islice(store.batches(start["site"], BATCH, seed=SEED, endless=True), done, None)

        return train(batches, config, TrainConfig(n_tokens=TRAIN_TOKENS, batch_size=BATCH), folder / "sae")


def prepare(start: dict[str, Any], folder: Path) -> None:
    """Write what the sides read."""
    model = open_model("phantom")
    assert isinstance(model, PhantomReportModel)
    studies = dashboard_peers_sides.phantoms(start)
    sae = trained(model, studies, start, folder)
    write_saelens(sae, folder / "saelens", model_name="phantom", hook_name=start["hook"])
    torch.save(start if start["images"] else start | decoder_of(model, studies), folder / "start.pt")


def measure(start: dict[str, Any], pythons: dict[str, str], rounds: int) -> list[dict[str, Any]]:
    """One row a side and round; the round before the first is thrown away."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        prepare(start, Path(name))
        workers = [Worker(side, python, SIDES, Path(name)) for side, python in pythons.items()]
        for number in range(-1, rounds):
            turn = number % len(workers)
            for worker in workers[turn:] + workers[:turn]:
                row = {"side": worker.side, "round": number, **start, **worker.ask("build")}
                if number >= 0:
                    rows.append(row)
        for worker in workers:
            worker.close()
    return rows


def agree(rows: list[dict[str, Any]]) -> float:
    """How far the largest activations of features lie apart between the sides, relative to the largest of all.

    Raises:
        SystemExit: further than rounding explains, or not the same number of tokens.
    """
    per_side = {row["side"]: row for row in rows}
    tops = torch.tensor([row["max_activation"] for row in per_side.values()])
    apart = float((tops - tops[0]).abs().max() / tops.max())
    if apart > ACTIVATIONS_APART or len({row["tokens"] for row in rows}) > 1:
        raise SystemExit(f"the sides did not see the same: activations apart by {apart:.1%} of the largest")
    return apart


def report(rows: list[dict[str, Any]]) -> None:
    """Medians a feature; ratios are taken within a round."""
    first, ours = rows[0], {row["round"]: row for row in rows if row["side"] == "ours"}
    F = first["n_features"]
    print(
        f"{F} features, {first['studies']} studies {'with' if first['images'] else 'without'} images, "
        f"{first['tokens']:,} tokens, {first['threads']} threads; a feature:"
    )
    for side in dict.fromkeys(row["side"] for row in rows):
        mine = [row for row in rows if row["side"] == side]

        def median(values: Iterable[float]) -> float:
            return statistics.median(values) / F

        ratios = sorted(row["seconds"] / ours[row["round"]]["seconds"] for row in mine)
        steps = {name: 1000 * median(row["steps"][name] for row in mine) for name in mine[0]["steps"]}
        print(f"  {side}")
        print(
            f"    {1000 * median(row['seconds'] for row in mine):.1f} ms "
            f"({', '.join(f'{name} {value:.1f}' for name, value in steps.items())}), "
            f"× ours {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
        print(
            f"    {median(row['bytes'] for row in mine) / 1000:.1f} kB, of which fixed "
            f"{median(row['empty_bytes'] for row in mine) / 1000:.1f}; gzip makes the file "
            f"{median(row['gzip_bytes'] for row in mine) / 1000:.1f}"
        )
        print(f"    {mine[0]['contexts'] / F:.1f} contexts; loads {', '.join(mine[0]['loads']) or 'nothing'}")


def keep(rows: list[dict[str, Any]]) -> None:
    """Rows of the same studies replace those of an earlier run."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    rest = [row for row in old if any(row[name] != rows[0][name] for name in ("images", "studies", "n_features"))]
    kept = [{name: value for name, value in row.items() if name != "max_activation"} for row in rows]
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rest + kept) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the Python that has sae-dashboard; ours alone without it")
    parser.add_argument("--images", action="store_true", help="ours alone, on the studies with their pictures")
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pythons = {"ours": sys.executable}
    if args.peer_python and not args.images:
        theirs = [side for side in dashboard_peers_sides.SIDES if side != "ours"]
        pythons |= dict.fromkeys(theirs, args.peer_python)
    rows = measure(start_of(args.images, args.studies, args.features, args.threads), pythons, args.rounds)
    report(rows)
    if len(pythons) > 1:
        print(f"largest activations apart by at most {agree(rows):.2%} of the largest")
    keep(rows)


if __name__ == "__main__":
    main()
