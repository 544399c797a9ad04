"""Explanations an hour against a language model of fixed latency, at 1, 16 and 64 calls at once; delphi beside us.

Run: python benchmarks/explanation_rate.py [--delphi FOLDER] [--json benchmarks/results/explanation_rate.json]

The ideal is concurrency / latency. Ours is the whole explainer: prompts from contexts, the client, the record of calls
on disk, checked answers. delphi's is its DefaultExplainer in its Pipeline with its client (OpenRouter, sent here). To
have it: pip install --no-deps --target FOLDER eai-delphi==0.1.3 aiofiles orjson blobfile; what it imports and its
explainer does not use (vllm, faiss …) is replaced by empty modules. Sides take turns; each is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.abc
import importlib.machinery
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

HERE = Path(__file__).parent
CONCURRENCY = (1, 16, 64)
LATENCY_S = 1.0
ROUNDS = 8
REPEATS = 3
SENTENCE = ["There", "is", "no", "pleural", "effusion", "or", "pneumothorax", "."]
#: Contexts shown, firing and quiet each.
SHOWN = 16


@contextmanager
def server(latency_s: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "latency_server.py"), str(latency_s)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


def ours(url: str, concurrency: int, n: int) -> float:
    """Seconds for n explanations."""
    import pandas as pd

    from autointerp.explainers.base import FeatureEvidence
    from autointerp.explainers.llm import LLMExplainer
    from radiology.llm.calls import CallLog
    from radiology.llm.client import LLMClient
    from radiology.llm.endpoint import Endpoint

    def evidence(feature: int) -> FeatureEvidence:
        kinds = (
            ["top"] * (SHOWN // 2) + ["quantile"] * (SHOWN // 2) + ["hard_negative", "random_negative"] * (SHOWN // 2)
        )
        row = {"split": "explain", "modality": "text", "role": "report", "findings": None, "study": 0}
        words = [f"Film{feature}", *SENTENCE[1:]]  # no two prompts are the same: what was asked is not asked again
        row |= {"sentence": " ".join(words), "tokens": words, "activation": 1.0 + feature}
        values = [0.0] * 4 + [1.0 + feature] + [0.0] * 3
        contexts = pd.DataFrame([row | {"kind": kind, "activations": values} for kind in kinds])
        record = {"feature": feature, "image_share": 0.0, "dead": False, "max_activation": 2.0 + 2 * feature}
        return FeatureEvidence(record, contexts)

    evidences = [evidence(feature) for feature in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint(url, "m", concurrency=concurrency)
        with LLMClient(endpoint, CallLog(Path(folder) / "calls.jsonl")) as client:
            client.ask(LLMExplainer(client, {})._question(evidence(n)))  # what is loaded once
            begin = time.perf_counter()
            labels = [one.label for one in LLMExplainer(client, {}).explain_all(evidences)]
            seconds = time.perf_counter() - begin
        calls = (Path(folder) / "calls.jsonl").read_text().splitlines()
    assert len(calls) == n + 1
    assert labels == ["no pleural effusion"] * n
    return seconds


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules in place of packages that are imported and not used."""

    names = (
        "vllm",
        "faiss",
        "sentence_transformers",
        "bitsandbytes",
        "datasets",
        "sparsify",
        "simple_parsing",
        "asyncer",
    )

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in self.names else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module: Any = MagicMock(name=spec.name)
        module.__spec__, module.__path__ = spec, []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing."""


def delphi(url: str, concurrency: int, n: int) -> float:
    """The same of delphi."""
    sys.meta_path.append(_Absent())
    import torch
    from delphi.clients.openrouter import OpenRouter
    from delphi.explainers.default.default import DefaultExplainer
    from delphi.latents.latents import ActivatingExample
    from delphi.pipeline import Pipeline

    class Record:
        def __init__(self, feature: int) -> None:
            values = torch.tensor([0.0] * 4 + [1.0 + feature] + [0.0] * 3)
            example = ActivatingExample(
                tokens=torch.arange(8),
                activations=values,
                str_tokens=[f" {word}" for word in SENTENCE],
                normalized_activations=(values > 0) * 10,
            )
            self.train = [example] * (2 * SHOWN)  # as many contexts as ours
            self.latent = feature

    explainer = DefaultExplainer(OpenRouter("m", "k", base_url=f"{url}/chat/completions"))
    found = []

    async def explain(record: Any) -> Any:
        result = await explainer(record)
        found.append(result.explanation)
        return result

    async def both() -> float:
        await explainer(Record(n))  # type: ignore[arg-type]
        begin = time.perf_counter()
        await Pipeline(lambda: [Record(feature) for feature in range(n)], explain).run(concurrency)
        return time.perf_counter() - begin

    seconds = asyncio.run(both())
    assert found == ["no pleural effusion"] * n
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--delphi", type=Path, help="folder that delphi is installed in")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--side", nargs=4, metavar=("SIDE", "URL", "CONCURRENCY", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side, url, concurrency, n = options.side
        print(json.dumps({"ours": ours, "delphi": delphi}[side](url, int(concurrency), int(n))))
        return
    sides = ["ours", *(["delphi"] if options.delphi else [])]
    rows = []
    with server(LATENCY_S) as url:
        for repeat in range(REPEATS):
            for concurrency in CONCURRENCY:
                for side in sides if repeat % 2 == 0 else sides[::-1]:
                    n = concurrency * ROUNDS
                    seconds = _run(side, url, concurrency, n, options.delphi)
                    rows.append({"side": side, "concurrency": concurrency, "n": n, "seconds": seconds})
    print(f"explanations an hour against a model that takes {LATENCY_S:g} s, medians of {REPEATS}")
    for concurrency in CONCURRENCY:
        ideal = concurrency / LATENCY_S * 3600
        for side in sides:
            rates = [r["n"] / r["seconds"] * 3600 for r in rows if (r["side"], r["concurrency"]) == (side, concurrency)]
            rate = statistics.median(rates)
            print(f"{concurrency:3d} at once  {side:7} {rate:9,.0f}   {rate / ideal:.3f} of the ideal {ideal:9,.0f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"latency_s": LATENCY_S, "rows": rows}, indent=1) + "\n")


def _run(side: str, url: str, concurrency: int, n: int, folder: Path | None) -> float:
    paths = [str(HERE.parent), *([str(folder)] if folder and side == "delphi" else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--side", side, url, str(concurrency), str(n)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side}: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
