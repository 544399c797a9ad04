"""Do other tools give the same features for what is exported, and is what they save read with theirs?

Run: python benchmarks/exchange_peers.py
     python benchmarks/exchange_peers.py --dictionary-learning OTHER/bin/python

SAELens is asked in this environment. dictionary_learning wants an nnsight that does not fit beside ours, so it lives in
an environment of its own, whose Python is given:

     python -m venv OTHER
     OTHER/bin/pip install --no-deps dictionary-learning==0.1.0
     OTHER/bin/pip install torch==2.13.0 tqdm einops numpy nnsight==0.3.7 transformers==4.51.3 huggingface-hub==0.34.4 \
         datasets zstandard pandas plotly
     OTHER/bin/pip uninstall torchvision      # nnsight brings it, and it may not fit the build of torch

Every row is one autoencoder of random weights (d = 64, F = 512, several groups; L0 says how many features pass the
threshold) and 2,000 random rows. "differ" counts activations that are on for one and off for the other; the largest
difference is over all activations. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sae import MatryoshkaSAE, SAEConfig, open_sae
from sae.formats.dictionary_learning import write_dictionary_learning
from sae.formats.saelens import write_saelens

RESULTS = Path(__file__).parent / "results" / "exchange_peers.json"
D, F, K, ROWS = 64, 512, 16, 2000
TARGET = 1e-5
# What the other environment runs: it opens or makes folders with its own code and writes what it gives for x.
PEER = """
import sys, torch
from importlib.metadata import version
folder, task = sys.argv[1], sys.argv[2]
x = torch.load(folder + "/x.pt")
if task == "open":
    from dictionary_learning.utils import load_dictionary
    sae = load_dictionary(folder, "cpu")[0]
else:
    import json
    torch.manual_seed(5)
    d, F, k = (int(part) for part in sys.argv[3].split(","))
    if task == "MatryoshkaBatchTopKSAE":
        from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
        sae = MatryoshkaBatchTopKSAE(d, F, k, [F // 2, F // 4, F // 4])
    elif task == "BatchTopKSAE":
        from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
        sae = BatchTopKSAE(d, F, k)
    else:
        import dictionary_learning.dictionary
        sae = getattr(dictionary_learning.dictionary, task)(d, F)
    with torch.no_grad():
        for tensor in sae.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
        if hasattr(sae, "threshold"):
            sae.threshold.copy_(torch.rand_like(sae.threshold))
    torch.save(sae.state_dict(), folder + "/ae.pt")
    with open(folder + "/config.json", "w") as handle:
        json.dump({"trainer": {"dict_class": task, "k": k}, "buffer": {}}, handle)
with torch.no_grad():
    features, output = sae.encode(x), sae(x)
torch.save({"features": features, "output": output, "version": version("dictionary-learning")}, folder + "/peer.pt")
"""
PEER_CLASSES = ("MatryoshkaBatchTopKSAE", "BatchTopKSAE", "JumpReluAutoEncoder", "AutoEncoder", "AutoEncoderNew")


@dataclass(frozen=True)
class Row:
    """One comparison: which way, of what, and how far features and reconstructions lie apart."""

    peer: str
    way: str
    what: str
    l0: float
    features: float
    differ: int
    output: float

    @property
    def good(self) -> bool:
        return self.features <= TARGET and self.differ == 0


def random_sae(kind: str) -> MatryoshkaSAE:
    """An autoencoder of random weights; "per feature" has a threshold for each feature."""
    groups = (F // 16, F // 16, F // 8, F // 4, F // 2)
    sae = MatryoshkaSAE(SAEConfig(d=D, n_features=F, k=K, groups=groups))
    sae.initialise(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        sae.W_enc += 0.1 * torch.randn(sae.W_enc.shape, generator=generator)
        sae.b_enc.copy_(0.1 * torch.randn(F, generator=generator))
        sae.b_dec.copy_(0.3 * torch.randn(D, generator=generator))
    sae.threshold = torch.tensor(1.8) if kind == "one threshold" else 1.5 + torch.rand(F, generator=generator)
    return sae


def compare(
    peer: str,
    way: str,
    what: str,
    sae: MatryoshkaSAE,
    x_nd: torch.Tensor,
    theirs: tuple[torch.Tensor, torch.Tensor],
) -> Row:
    """Our features and reconstruction beside theirs."""
    ours_nf, (theirs_nf, output_nd) = sae.encode(x_nd).dense(), theirs
    return Row(
        peer=peer,
        way=way,
        what=what,
        l0=float((ours_nf > 0).sum(1).float().mean()),
        features=float((ours_nf - theirs_nf).abs().max()),
        differ=int(((ours_nf > 0) != (theirs_nf > 0)).sum()),
        output=float((sae(x_nd).detach() - output_nd).abs().max()),
    )


def saelens_rows(x_nd: torch.Tensor, folder: Path) -> list[Row]:
    """SAELens opens ours, and ours opens what SAELens saved."""
    warnings.filterwarnings("ignore")
    import sae_lens

    torch.manual_seed(0)
    name, rows = f"sae-lens {version('sae-lens')}", []
    for kind in ("one threshold", "per feature"):
        sae = random_sae(kind)
        write_saelens(sae, folder / kind)
        loaded = sae_lens.SAE.load_from_disk(folder / kind)
        with torch.no_grad():
            rows.append(compare(name, "opens ours", kind, sae, x_nd, (loaded.encode(x_nd), loaded(x_nd))))
    config = sae_lens.MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=D, d_sae=F, k=K, matryoshka_widths=[F // 4, F // 2, F], decoder_init_norm=1.0
    )
    trained = sae_lens.MatryoshkaBatchTopKTrainingSAE(config)
    with torch.no_grad():
        trained.W_enc += 0.05 * torch.randn(D, F, generator=torch.Generator().manual_seed(2))
        trained.topk_threshold.fill_(0.9)
    trained.save_inference_model(folder / "theirs")
    trained.save_model(folder / "checkpoint")
    inference = sae_lens.SAE.load_from_disk(folder / "theirs")
    with torch.no_grad():
        theirs = inference.encode(x_nd), inference(x_nd)
    for kind in ("theirs", "checkpoint"):
        rows.append(compare(name, "ours opens", f"Matryoshka, {kind}", open_sae(folder / kind), x_nd, theirs))
    return rows


def ask(python: str, folder: Path, x_nd: torch.Tensor, task: str) -> tuple[str, tuple[torch.Tensor, torch.Tensor]]:
    """What the other environment gives for x; SystemExit with its last words if it fails."""
    torch.save(x_nd, folder / "x.pt")
    command = [python, "-c", PEER, str(folder), task, f"{D},{F},{K}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python}, {task}: {done.stderr[-2000:]}")
    found = torch.load(folder / "peer.pt")
    return f"dictionary_learning {found['version']}", (found["features"], found["output"])


def dictionary_learning_rows(python: str, x_nd: torch.Tensor, folder: Path) -> list[Row]:
    """dictionary_learning opens ours, and ours opens what it saved."""
    rows = []
    for kind in ("one threshold", "per feature"):
        sae = random_sae(kind)
        write_dictionary_learning(sae, folder / kind)
        name, theirs = ask(python, folder / kind, x_nd, "open")
        rows.append(compare(name, "opens ours", kind, sae, x_nd, theirs))
    for task in PEER_CLASSES:
        (folder / task).mkdir()
        name, (features_nf, output_nd) = ask(python, folder / task, x_nd, task)
        state = torch.load(folder / task / "ae.pt")
        rows_fd = state["W_dec"] if "W_dec" in state else state["decoder.weight"].T
        theirs = features_nf * rows_fd.norm(dim=1), output_nd
        rows.append(compare(name, "ours opens", task, open_sae(folder / task), x_nd, theirs))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dictionary-learning", metavar="PYTHON", help="Python of the environment that has it")
    arguments = parser.parse_args()
    x_nd = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(3))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        rows = saelens_rows(x_nd, folder / "a")
        if arguments.dictionary_learning:
            rows += dictionary_learning_rows(arguments.dictionary_learning, x_nd, folder / "b")
    print(f"{'peer':28}{'way':12}{'what':26}{'L0':>7}{'features':>11}{'differ':>8}{'output':>11}")
    for row in rows:
        print(
            f"{row.peer:28}{row.way:12}{row.what:26}{row.l0:7.1f}{row.features:11.1e}{row.differ:8}{row.output:11.1e}"
            + ("" if row.good else "   over the target")
        )
    if not arguments.dictionary_learning:
        print("dictionary_learning was not asked: give --dictionary-learning PYTHON")
    RESULTS.parent.mkdir(exist_ok=True)
    shown = {"torch": torch.__version__, "rows": [{**vars(row), "good": row.good} for row in rows]}
    RESULTS.write_text(json.dumps(shown, indent=1) + "\n")
    sys.exit(0 if all(row.good for row in rows) else 1)


if __name__ == "__main__":
    main()
