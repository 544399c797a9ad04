"""Where a training step spends its time on a CPU, by torch's profiler, at the size of `sae_training.py`.

Run: OMP_WAIT_POLICY=PASSIVE python benchmarks/sae_step_profile.py

Prints milliseconds a step of each operator, without what it calls, without dead features and with a tenth of them dead.
"""

from __future__ import annotations

import torch
from sae_training import start_of
from sae_training_sides import ours
from torch.profiler import ProfilerActivity, profile

STEPS, SHOWN = 12, 16


def main() -> None:
    torch.set_num_threads(2)
    start = start_of(d=512, F=4096, k=32, batch=2048, threads=2)
    batches = start["x"]
    step = ours(start)
    for number in range(6):
        step(batches[number % len(batches)], number % 2 == 1)
    for dead in (False, True):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for number in range(STEPS):
                step(batches[number % len(batches)], dead)
        rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
        total = sum(row.self_cpu_time_total for row in rows) / 1000 / STEPS
        print(f"{'a tenth of the features dead' if dead else 'no dead features'}: {total:.0f} ms a step")
        for row in rows[:SHOWN]:
            name = row.key.removeprefix("aten::")
            print(f"  {name:50} {row.self_cpu_time_total / 1000 / STEPS:6.1f} ms  {row.count / STEPS:5.0f} calls")


if __name__ == "__main__":
    main()
