"""How fast and in how much memory the feature table is made.

Run: export OMP_WAIT_POLICY=PASSIVE
     python benchmarks/index.py                                        # tokens/s beside encoding alone
     python benchmarks/index.py --what memory                          # 32,768 features, 100,000 and 1,000,000 tokens

Speed: in each round the store is first streamed through the SAE and nothing else is done with the codes, then indexed;
the ratio is taken within a round. "Pass" is the part that grows with the tokens; choosing and writing contexts grows
with the features, and with the contexts asked for.

Memory: each size is a process of its own; what it held at most is what the system says (ru_maxrss). Before anything is
indexed it has loaded torch, the store's index and the SAE: that is "at start".

Studies are phantom ones, with their real reports; residuals are sums of a few hidden directions, which the SAE knows.
Prints medians and adds its rows to benchmarks/results/index.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from activations.manifest import StoreConfig
from activations.models.phantom_language import build_prompt, build_tokenizer, vocabulary
from activations.roles import Role, TokenTable
from activations.store import ActivationStore
from activations.studies_table import base_record
from activations.writer import StoreWriter, StudyRows
from autointerp import index as index_module
from autointerp.index import index_features
from radiology.phantom.factors import sample_factors, sample_nuisance
from radiology.phantom.grammar import report_text, write_report, write_sections
from radiology.study import Study
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE

RESULTS = Path(__file__).parent / "results" / "index.json"
SITE = "language.0"
GRID = (16, 16)
ROLES = (Role.IMAGE, Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT, Role.REPORT)
SPEED_TARGET = 0.6
MEMORY_TARGET_GB = 4.0


@dataclass(frozen=True)
class Words:
    """What the index asks of a report model: words, patch grid, unembedding."""

    grid: tuple[int, int]
    tokenizer: Any
    width: int

    def unembedding(self) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(2)
        return torch.ones(self.width), torch.randn(len(vocabulary()), self.width, generator=generator)


def planted_sae(d: int, F: int, k: int) -> MatryoshkaSAE:
    """Random unit directions, and the threshold that about k of them pass on a token of :func:`residuals`."""
    sae = MatryoshkaSAE(SAEConfig(d=d, n_features=F, k=k, groups=(F // 4, F - F // 4)))
    sae.initialise(0)
    sample = residuals(np.random.default_rng(1), sae, 256, k)
    pre_nf = sae.pre_activations(torch.from_numpy(sample)).detach()
    sae.threshold.fill_(float(pre_nf.topk(k, dim=1).values[:, -1].median()))
    return sae


def residuals(rng: np.random.Generator, sae: MatryoshkaSAE, n: int, k: int) -> np.ndarray:
    """(n, d) sums of k directions each; some directions are drawn far more often than others."""
    chosen = torch.from_numpy((rng.random((n, k)) ** 3 * sae.n_features).astype(np.int64))
    strength = torch.from_numpy(0.5 + rng.random((n, k), dtype=np.float32))
    sums = torch.nn.functional.embedding_bag(chosen, sae.W_dec.detach(), per_sample_weights=strength, mode="sum")
    return sums.numpy()


def write_run(run: Path, sae: MatryoshkaSAE, n_tokens: int, k: int) -> None:
    """A run directory with about n_tokens tokens of phantom studies, of two patients each."""
    rng = np.random.default_rng(0)
    config = StoreConfig("synthetic", "synthetic", {SITE: sae.d}, "bfloat16", ROLES, grid=GRID)
    with StoreWriter(run / "activations", config, shard_rows=65_536) as writer:
        rows = number = 0
        while rows < n_tokens:
            study = _study(rng, number)
            table = build_prompt(study, GRID, study.report, False)
            kept = table.where(ROLES)
            part = TokenTable(*(getattr(table, name)[kept] for name in TokenTable.__dataclass_fields__))
            record = {**base_record(study, number, "synthetic"), "report": study.report, "report_source": "given"}
            acts_nd = torch.from_numpy(residuals(rng, sae, len(kept), k))
            writer.add([StudyRows(record | {"rows": len(kept)}, part, kept, {SITE: acts_nd})])
            rows, number = rows + len(kept), number + 1
        writer.finish()
    sae.save(run / "sae" / "main")


def _study(rng: np.random.Generator, number: int) -> Study:
    factors = sample_factors(rng)
    return Study(
        study_id=f"study-{number}",
        patient_id=f"patient-{number // 2}",
        images={"frontal": Path("frontal.png")},
        terms="phantom",
        report=report_text(write_report(rng, factors)),
        labels=factors.labels(),
        **write_sections(rng, factors, None, sample_nuisance(rng, factors)),  # type: ignore[arg-type]
    )


def encode_only(store: ActivationStore, sae: MatryoshkaSAE) -> float:
    """Seconds to stream a store through the SAE."""
    start = time.perf_counter()
    for chunk in store.iter_chunks(SITE, index_module.CHUNK_ROWS, columns=()):
        sae.encode(torch.from_numpy(chunk.acts_nd))
    return time.perf_counter() - start


def index_it(run: Path, store: ActivationStore, sae: MatryoshkaSAE) -> dict[str, float]:
    """Seconds of a whole index, and of its pass over the store."""
    words = Words(GRID, build_tokenizer(), sae.d)
    start, ends = time.perf_counter(), [0.0]

    def note(done: int, total: int) -> None:
        if done <= store.rows:
            ends[0] = time.perf_counter()

    with tempfile.TemporaryDirectory() as out:
        index_features(
            run,
            sae,
            SITE,
            model=words,  # type: ignore[arg-type]
            store=store,
            out_dir=out,
            progress=note,
        )
    return {"pass": ends[0] - start, "whole": time.perf_counter() - start}


def speed(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sae = planted_sae(arguments.d, arguments.features, arguments.k)
    write_run(folder / "run", sae, arguments.tokens, arguments.k)
    rounds = []
    with ActivationStore(folder / "run" / "activations") as store:
        l0 = sae.encode(torch.from_numpy(store.read(SITE, slice(0, 2000)))).l0
        for _ in range(arguments.rounds):
            rounds.append({"encode": encode_only(store, sae)} | index_it(folder / "run", store, sae))
        rows = store.rows
    ratios = {name: statistics.median(r["encode"] / r[name] for r in rounds) for name in ("pass", "whole")}
    encode = rows / statistics.median(r["encode"] for r in rounds)
    print(f"d {arguments.d}, F {arguments.features}, L0 {l0:.0f}, {rows} tokens, {torch.get_num_threads()} threads")
    print(f"encoding alone {encode:,.0f} tokens/s")
    for name, ratio in ratios.items():
        print(f"index, {name}: {ratio * encode:,.0f} tokens/s, {ratio:.2f} of it (aim {SPEED_TARGET})")
    return {"what": "speed", "rows": rows, "l0": l0, "rounds": rounds, "ratios": ratios, "encode_tokens_s": encode}


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found = []
    for n_tokens in arguments.sizes:
        command = [sys.executable, __file__, "--what", "one", "--run", str(folder / str(n_tokens))]
        command += ["--tokens", str(n_tokens), "--d", str(arguments.d), "--features", str(arguments.features)]
        subprocess.run([*command, "--k", str(arguments.k), "--prepare"], check=True)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            f"d {arguments.d}, F {arguments.features}, {found[-1]['rows']:,} tokens: "
            f"{found[-1]['peak_gb']:.2f} GB at most, {found[-1]['start_gb']:.2f} GB at start "
            f"(aim {MEMORY_TARGET_GB:.0f} GB at most); {found[-1]['seconds']:.0f} s"
        )
    return {"what": "memory", "sizes": found}


def one(arguments: argparse.Namespace) -> None:
    """One process of the memory measurement: write the run, or index it and say what was held at most."""
    if arguments.prepare:
        write_run(
            arguments.run, planted_sae(arguments.d, arguments.features, arguments.k), arguments.tokens, arguments.k
        )
        return
    sae = MatryoshkaSAE.load(arguments.run / "sae" / "main")
    with ActivationStore(arguments.run / "activations") as store:
        start = _peak_gb()
        seconds = index_it(arguments.run, store, sae)
        print(json.dumps({"rows": store.rows, "start_gb": start, "peak_gb": _peak_gb(), "seconds": seconds["whole"]}))


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("speed", "memory", "one"), default="speed")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--d", type=int, help="width [speed: 1024, memory: 64]")
    parser.add_argument("--features", type=int, help="[speed: 8192, memory: 32768]")
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.d = arguments.d or (1024 if arguments.what == "speed" else 64)
    arguments.features = arguments.features or (8192 if arguments.what == "speed" else 32_768)
    if arguments.what == "one":
        return one(arguments)
    with tempfile.TemporaryDirectory() as folder:
        row = {"speed": speed, "memory": memory}[arguments.what](arguments, Path(folder))
    row |= {"d": arguments.d, "features": arguments.features, "k": arguments.k, "threads": torch.get_num_threads()}
    rows = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([*rows, row], indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
