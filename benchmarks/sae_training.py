"""How fast an autoencoder is trained: ours beside SAELens, dictionary_learning and the product that none can avoid.

Run: python -m venv /tmp/dl && /tmp/dl/bin/pip install torch==2.13.0 dictionary-learning==0.1.0
     /tmp/dl/bin/pip uninstall -y torchvision            # a wheel for another torch; nothing here needs it
     export OMP_WAIT_POLICY=PASSIVE
     python benchmarks/sae_training.py --peer-python /tmp/dl/bin/python              # the comparison
     python benchmarks/sae_training.py --what size --sides limit,ours                # d = 4,096, F = 16,384 and 32,768
     python benchmarks/sae_training.py --what growth --sides limit,ours              # F from 4,096 to 65,536
     python benchmarks/sae_training.py --device cuda --peer-python /tmp/dl/bin/python                # on a GPU
     python benchmarks/sae_training.py --device cuda --what size --peer-python /tmp/dl/bin/python

dictionary_learning wants other versions of what we use, hence an environment of its own. Every side is a process of
its own with the same data and the same first decoder; the sides take steps in turn, each round beginning with another
one, and each round takes a step without dead features and one with a tenth of them declared dead. Ratios are taken
within a round. Memory is what a process held at most, less what it held when its trainer was ready.

On a GPU the peers run under autocast to bfloat16, the limit is the bfloat16 product, and ours measures its kernels at
the start. Besides the ratios it prints tokens a second and the share of what a bfloat16 product of 8,192³ reaches in
the same run (`peak`), counting what an exact step needs: 2 d F + 8 d k + 6 d G operations a token.

Prints medians and adds its rows to benchmarks/results/sae_training.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from side_worker import Worker

RESULTS = Path(__file__).parent / "results" / "sae_training.json"
SIDES = Path(__file__).parent / "sae_training_sides.py"
TARGETS = {"dictionary_learning": 4.0, "sae_lens": 6.0}
LIMIT_TARGET = 0.5
DEAD_SHARE = 0.1
N_BATCHES = 6


def start_of(
    d: int, F: int, k: int, batch: int, threads: int, device: str = "cpu", kernels: str = "auto"
) -> dict[str, Any]:
    """Batches that are sparse sums of hidden directions with noise, and unit decoder rows."""
    generator = torch.Generator().manual_seed(0)
    n_true = 2 * F
    hidden = torch.randn(min(n_true, 8192), d, generator=generator)
    hidden /= hidden.norm(dim=1, keepdim=True)
    x = []
    for _ in range(N_BATCHES):
        chosen = (torch.rand(batch, k, generator=generator) ** 3 * len(hidden)).long()
        strength = 0.5 + torch.rand(batch, k, generator=generator)
        sums = torch.nn.functional.embedding_bag(chosen, hidden, per_sample_weights=strength, mode="sum")
        x.append(sums + 0.02 * torch.randn(batch, d, generator=generator))
    W_dec = torch.randn(F, d, generator=generator)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    dead = torch.randperm(F, generator=generator)[: int(DEAD_SHARE * F)]
    groups = [F // 16, F // 16, F // 8, F // 4, F // 2]
    same = {"k": k, "batch": batch, "threads": threads, "device": device, "kernels": kernels}
    return {"x": x, "W_dec": W_dec, "dead": dead, "groups": groups, **same}


def measure(what: str, shape: dict[str, Any], sides: dict[str, str], rounds: int, warm: int) -> list[dict[str, Any]]:
    """One row a side, kind and round."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        torch.save(start_of(**shape), Path(folder) / "start.pt")
        workers = [Worker(side, python, SIDES, Path(folder)) for side, python in sides.items()]
        for number in range(-warm, rounds):
            for kind in ("clean", "dead"):
                turn = number % len(workers)
                for worker in workers[turn:] + workers[:turn]:
                    row = {
                        "what": what,
                        "side": worker.side,
                        "kind": kind,
                        "round": number,
                        **shape,
                        **worker.ask(kind),
                    }
                    if number >= 0:
                        rows.append(row)
        for worker in workers:
            worker.close()
    return rows


def seconds(rows: list[dict[str, Any]], side: str, kind: str) -> dict[int, float]:
    return {row["round"]: row["seconds"] for row in rows if row["side"] == side and row["kind"] == kind}


def report(rows: list[dict[str, Any]], shape: dict[str, Any]) -> None:
    """Steps a second, and the median over rounds of a side's time over ours."""
    print("d = {d}, F = {F}, k = {k}, batch {batch}, {threads} threads".format(**shape))
    names = list(dict.fromkeys(row["side"] for row in rows))
    for kind in ("clean", "dead"):
        print("  no dead features" if kind == "clean" else f"  {DEAD_SHARE:.0%} of the features dead")
        mine = seconds(rows, "ours", kind)
        for side in names:
            times = seconds(rows, side, kind)
            ratio = statistics.median(times[number] / mine[number] for number in mine)
            last = [row for row in rows if row["side"] == side][-1]
            print(
                f"    {side:20} {1 / statistics.median(times.values()):7.2f} steps/s   "
                f"time × ours {ratio:6.2f}   peak +{last['peak_mb'] - last['base_mb']:.0f} MB"
                + share_of_peak(rows, side, kind)
            )


def share_of_peak(rows: list[dict[str, Any]], side: str, kind: str) -> str:
    """Tokens a second and the share of the card's best, where that was measured; see the head of this file."""
    best, times = seconds(rows, "peak", kind), seconds(rows, side, kind)
    if not best or side == "peak":
        return ""
    shape = next(row for row in rows if row["side"] == side)
    d, F, k = shape["d"], shape["F"], shape["k"]
    tokens = shape["batch"] / statistics.median(times.values())
    needed = 2 * d * F if side == "limit" else 2 * d * F + 8 * d * k + 6 * d * 5
    most = 2 * 8192**3 / statistics.median(best.values())
    return f"   {tokens:,.0f} tokens/s   {tokens * needed / most:.2f} of the peak"


def verdict(rows: list[dict[str, Any]]) -> None:
    """Each target with what was measured."""
    for kind in ("clean", "dead"):
        mine = seconds(rows, "ours", kind)
        goals = [*TARGETS.items(), ("limit", LIMIT_TARGET)]
        for side, wanted in goals:
            times = seconds(rows, side, kind)
            if times:
                found = statistics.median(times[number] / mine[number] for number in mine)
                word = "met" if found >= wanted else "MISSED"
                print(f"{kind:6} {side:20} wanted {wanted:.2f}  measured {found:.2f}  {word}")


def keep(what: str, rows: list[dict[str, Any]]) -> None:
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {(row["side"], row["F"]) for row in rows}
    rest = [row for row in old if row["what"] != what or (row["side"], row["F"]) not in new]
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rest + rows) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("compare", "size", "growth"), default="compare")
    parser.add_argument("--sides", help="default limit,ours,dictionary_learning,sae_lens; on a GPU peak besides")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--kernels", default="auto", help="of ours; see `interp train-sae --help`")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has dictionary_learning")
    parser.add_argument("--features", type=int, help="only this F of `size` and `growth`")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=3, help="rounds before the first that counts")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    usual = "limit,ours,dictionary_learning,sae_lens" + ("" if args.device == "cpu" else ",peak")
    pythons = {
        side: args.peer_python if side == "dictionary_learning" else sys.executable
        for side in (args.sides or usual).split(",")
    }
    small = {"d": 512, "F": 4096, "k": 32, "batch": 2048, "threads": args.threads}
    small |= {"device": args.device, "kernels": args.kernels}
    shapes = {
        "compare": [small],
        "size": [{**small, "d": 4096, "F": F, "k": 64} for F in (16384, 32768)],
        "growth": [{**small, "F": F} for F in (4096, 16384, 65536)],
    }[args.what]
    if args.features:
        shapes = [shape for shape in shapes if shape["F"] == args.features]
    label = args.what if args.device == "cpu" else f"{args.what} on {args.device}"
    if args.kernels != "auto":
        label += f", {args.kernels}"
    everything: list[dict[str, Any]] = []
    for shape in shapes:
        rows = measure(label, shape, pythons, args.rounds, args.warm)
        report(rows, shape)
        everything += rows
    if args.what == "compare":
        verdict(everything)
    keep(label, everything)


if __name__ == "__main__":
    main()
