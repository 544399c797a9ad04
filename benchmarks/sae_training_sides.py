"""The sides of `sae_training.py`: one trainer a process, which takes a step when it is told to.

Run by that script, not by hand: python sae_training_sides.py SIDE FOLDER. FOLDER/start.pt holds the shape, the data
and the first weights. Each line of the input is "clean" or "dead"; the answer is one JSON line. Before a dead step the
named features are declared dead in the trainer's own record, so that every trainer has the same work.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

Step = Callable[[torch.Tensor, bool], float]
FOREVER = 10**12


def limit(start: dict[str, Any]) -> Step:
    """The encoder product alone, into a kept buffer: the only dense part that no trainer can avoid.

    On a GPU in bfloat16, which is what its tensor cores are fast in.
    """
    device = start["device"]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    W_enc = start["W_dec"].clone().to(device, dtype)
    b_enc = torch.zeros(len(W_enc), device=device, dtype=dtype)
    out_nf = torch.empty(start["batch"], len(b_enc), device=device, dtype=dtype)

    def step(x_nd: torch.Tensor, dead: bool) -> float:
        torch.addmm(b_enc, x_nd.to(dtype), W_enc.T, out=out_nf)
        return 0.0

    return step


def peak(start: dict[str, Any]) -> Step:
    """A bfloat16 product of 8,192³, 1.1e12 operations: what the card reaches at its best."""
    left, right = (torch.randn(8192, 8192, device=start["device"], dtype=torch.bfloat16) for _ in range(2))

    def step(x_nd: torch.Tensor, dead: bool) -> float:
        torch.mm(left, right)
        return 0.0

    return step


def ours(start: dict[str, Any]) -> Step:
    """`TrainingState.advance`, which is what `interp train-sae` runs."""
    from sae.config import SAEConfig, TrainConfig
    from sae.state import TrainingState

    F, d = start["W_dec"].shape
    config = SAEConfig(d=d, n_features=F, k=start["k"], groups=tuple(start["groups"]))
    state = TrainingState(
        config,
        TrainConfig(
            n_tokens=FOREVER,
            batch_size=start["batch"],
            warmup_fraction=0,
            decay_fraction=0,
            dead_after_tokens=FOREVER,
            device=start["device"],
            kernels=start["kernels"],
        ),
    )
    with torch.no_grad():
        state.sae.W_dec.copy_(start["W_dec"])
        state.sae.W_enc.copy_(start["W_dec"])

    def step(x_nd: torch.Tensor, dead: bool) -> float:
        state.silent_tokens_f[start["dead"]] = FOREVER if dead else 0
        state.advance(x_nd, measure=False)
        if state.choice is not None:
            print(state.choice.words(), file=sys.stderr)
            state.choice = None
        return 0.0

    return step


def dictionary_learning(start: dict[str, Any]) -> Step:
    """MatryoshkaBatchTopKTrainer of dictionary_learning."""
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

    F, d = start["W_dec"].shape
    trainer = MatryoshkaBatchTopKTrainer(
        steps=10**6,
        activation_dim=d,
        dict_size=F,
        k=start["k"],
        layer=0,
        lm_name="none",
        group_fractions=[size / F for size in start["groups"]],
        warmup_steps=0,
        device=start["device"],
    )
    if trainer.group_sizes != list(start["groups"]):
        raise SystemExit(f"dictionary_learning made groups {trainer.group_sizes} of {start['groups']}")
    with torch.no_grad():
        trainer.ae.W_dec.copy_(start["W_dec"])
        trainer.ae.W_enc.copy_(start["W_dec"].T)
    count = 0

    def step(x_nd: torch.Tensor, dead: bool) -> float:
        nonlocal count
        trainer.num_tokens_since_fired[start["dead"]] = FOREVER if dead else 0
        with _autocast(start["device"]):  # as dictionary_learning's own loop does
            loss = float(trainer.update(count, x_nd))
        count += 1
        return loss

    return step


def sae_lens(start: dict[str, Any]) -> Step:
    """SAETrainer of SAELens with its Matryoshka BatchTopK autoencoder."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.matryoshka_batchtopk_sae import (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )
    from sae_lens.training.sae_trainer import SAETrainer

    F, d = start["W_dec"].shape
    widths = torch.tensor(start["groups"]).cumsum(0).tolist()
    config = MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=d, d_sae=F, k=start["k"], matryoshka_widths=widths, device=start["device"]
    )
    sae = MatryoshkaBatchTopKTrainingSAE(config)
    with torch.no_grad():
        sae.W_dec.copy_(start["W_dec"])
        sae.W_enc.copy_(start["W_dec"].T)
        sae.b_dec.copy_(start["x"][0].mean(0))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            n_checkpoints=0,
            checkpoint_path=None,
            save_final_checkpoint=False,
            total_training_samples=10**9,
            device=start["device"],
            autocast=start["device"] != "cpu",
            lr=3e-4,
            lr_end=3e-5,
            lr_scheduler_name="constant",
            lr_warm_up_steps=0,
            adam_beta1=0.9,
            adam_beta2=0.999,
            lr_decay_steps=0,
            n_restart_cycles=1,
            train_batch_size_samples=start["batch"],
            dead_feature_window=10**6,
            feature_sampling_window=10**6,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter(()),
    )

    def step(x_nd: torch.Tensor, dead: bool) -> float:
        trainer.n_forward_passes_since_fired[start["dead"]] = FOREVER if dead else 0
        result = trainer.step(x_nd)
        trainer.n_training_steps += 1
        return float(result.loss.detach())

    return step


def _autocast(device: str) -> AbstractContextManager[Any]:
    return nullcontext() if device == "cpu" else torch.autocast("cuda", dtype=torch.bfloat16)


SIDES: dict[str, Callable[[dict[str, Any]], Step]] = {
    "limit": limit,
    "peak": peak,
    "ours": ours,
    "dictionary_learning": dictionary_learning,
    "sae_lens": sae_lens,
}


def memory(field: str) -> float:
    """Megabytes of this process, by the name that the kernel gives them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def _gpu_memory(n_bytes: int) -> float:
    return n_bytes / 1024**2


def serve(side: str, folder: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    start = torch.load(folder / "start.pt", mmap=True)
    torch.set_num_threads(start["threads"])
    on_gpu = start["device"] != "cpu"
    # Libraries are loaded before memory is counted.
    step = SIDES[side](start)
    batches = [x_nd.to(start["device"]) for x_nd in start["x"]] if on_gpu else start["x"]
    base = _gpu_memory(torch.cuda.memory_allocated()) if on_gpu else memory("VmRSS")
    print(json.dumps({"ready": side, "torch": torch.__version__}), file=answers, flush=True)
    for count, line in enumerate(sys.stdin):
        x_nd = batches[count % len(batches)]
        if on_gpu:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        loss = step(x_nd, line.strip() == "dead")
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        most = _gpu_memory(torch.cuda.max_memory_allocated()) if on_gpu else memory("VmHWM")
        row = {"seconds": seconds, "loss": loss, "peak_mb": most, "base_mb": base}
        print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
