"""The sides of activation_io.py, each run in a process of its own: ways to write and to read the same rows.

Run by activation_io.py: python activation_io_sides.py SIDE DIRECTORY ROWS, prints one JSON object.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from activations.encoding import block_rows
from activations.manifest import StoreConfig
from activations.roles import Role, TokenTable
from activations.store import ActivationStore
from activations.writer import StoreWriter, StudyRows

WIDTH, BATCH, SEED, SITE = 4096, 2048, 3, "language.0"
ROW_BYTES = 2 * WIDTH
RAW_BYTES = 8 << 20
SHARD_ROWS, BLOCK_ROWS, STUDIES_AT_A_TIME = 65_536, 1024, 16
#: SAELens: rows of a sequence, sequences read at a time, sequences in the mixing buffer (128 MiB as stored, like our
#: pool). Its cache cannot hold bfloat16; float16 has as many bytes.
CONTEXT, AT_A_TIME, IN_BUFFER = 128, 16, 128
#: Memory that a side may need beside the rows: pools, buffers, batches.
MORE_MEMORY = 1 << 30
#: Share of the rows that sides read which take single rows: all of them would take long and tell nothing more.
MEMMAP_SHARE, H5PY_SHARE = 1 / 8, 1 / 64


def blocks(rows: int) -> Iterator[tuple[int, torch.Tensor]]:
    """(first row, (1024, d) bfloat16) until there are ``rows``; sixteen different blocks over and over."""
    drawn = torch.randn(16, BLOCK_ROWS, WIDTH, generator=torch.Generator().manual_seed(SEED)).bfloat16()
    yield 0, drawn[0][:0]  # whoever takes this one first does not measure the drawing
    for start in range(0, rows, BLOCK_ROWS):
        yield start, drawn[start // BLOCK_ROWS % 16][: rows - start]


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write_raw(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    with (folder / "rows.bin").open("wb", buffering=0) as file:
        for _, block_nd in source:
            file.write(block_nd.view(torch.int16).numpy().data)
        os.fsync(file.fileno())


def write_past_memory(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    """O_DIRECT, 8 MiB at a time: what the disk itself takes."""
    descriptor = os.open(folder / "rows.bin", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    with mmap.mmap(-1, RAW_BYTES) as memory:
        waiting = 0
        for _, block_nd in source:
            memory[waiting : waiting + ROW_BYTES * len(block_nd)] = block_nd.view(torch.int16).numpy().tobytes()
            waiting += ROW_BYTES * len(block_nd)
            if waiting == RAW_BYTES:
                os.write(descriptor, memory)
                waiting = 0
        os.write(descriptor, memoryview(memory)[:waiting])
    os.fsync(descriptor)
    os.close(descriptor)


def write_store(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    """As caching does: the studies of one pass of the model at a time."""
    config = StoreConfig("synthetic", "benchmark", {SITE: WIDTH}, "bfloat16", (Role.REPORT,))
    with StoreWriter(folder, config, shard_rows=SHARD_ROWS) as writer:
        while studies := [_study(start, block_nd) for start, block_nd in islice(source, STUDIES_AT_A_TIME)]:
            writer.add(studies)
        writer.finish()


def _study(start: int, block_nd: torch.Tensor) -> StudyRows:
    n, number = len(block_nd), start // BLOCK_ROWS
    none = np.full(n, -1, np.int16)
    table = TokenTable(np.zeros(n, np.int32), np.full(n, Role.REPORT, np.uint8), none.astype(np.int8), none, none)
    names = {"study_id": f"s{number}", "patient_id": f"p{number}", "terms": "phantom", "split": "train"}
    return StudyRows({"study": number, "rows": n, **names}, table, np.arange(n), {SITE: block_nd})


def write_safetensors(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    waiting: list[torch.Tensor] = []
    per_file = min(SHARD_ROWS, rows // 4)
    for start, block_nd in source:
        waiting.append(block_nd)
        if sum(map(len, waiting)) >= per_file or start + len(block_nd) == rows:
            path = folder / f"{start:09d}.safetensors"
            save_file({"rows": torch.cat(waiting)}, path)
            sync(path)
            waiting = []


def write_memmap(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    path = folder / "rows.npy"
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(rows, WIDTH))
    for start, block_nd in source:
        mapped[start : start + len(block_nd)] = block_nd.view(torch.int16).numpy().view(np.uint16)
    mapped.flush()
    sync(path)


def write_h5py(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    chunks = (block_rows(WIDTH, "bfloat16"), WIDTH)
    with h5py.File(folder / "rows.h5", "w") as file:
        dataset = file.create_dataset("rows", (rows, WIDTH), np.uint16, chunks=chunks)
        for start, block_nd in source:
            dataset[start : start + len(block_nd)] = block_nd.view(torch.int16).numpy().view(np.uint16)
    sync(folder / "rows.h5")


def write_saelens(folder: Path, rows: int, source: Iterator[tuple[int, torch.Tensor]]) -> None:
    """The data set that its CacheActivationsRunner writes; made to be read, not measured."""
    from datasets import Array2D, Dataset, Features, Sequence, Value, concatenate_datasets

    shape = Array2D(shape=(CONTEXT, WIDTH), dtype="float16")
    features = Features({"hook": shape, "token_ids": Sequence(Value("int32"), length=CONTEXT)})
    parts = []
    for _, block_nd in source:
        acts = block_nd.half().numpy().reshape(-1, CONTEXT, WIDTH)
        ids = np.zeros((len(acts), CONTEXT), np.int32)
        parts.append(Dataset.from_dict({"hook": acts, "token_ids": ids}, features=features))
    concatenate_datasets(parts).save_to_disk(str(folder / "cache"))


def read_raw(folder: Path, rows: int) -> Iterator[int]:
    buffer = bytearray(RAW_BYTES)
    with (folder / "rows.bin").open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield count // ROW_BYTES


def read_past_memory(folder: Path, rows: int) -> Iterator[int]:
    """O_DIRECT, 8 MiB at a time: what the disk itself gives."""
    descriptor = os.open(folder / "rows.bin", os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, RAW_BYTES) as memory:
        offset = 0
        while count := os.preadv(descriptor, [memory], offset):
            offset += count
            yield count // ROW_BYTES
    os.close(descriptor)


def read_shuffled(folder: Path, rows: int, dtype: torch.dtype = torch.float32) -> Iterator[int]:
    with ActivationStore(folder) as store:
        for batch in store.batches(SITE, BATCH, seed=SEED, dtype=dtype):
            yield len(batch)


def read_shuffled_bfloat16(folder: Path, rows: int) -> Iterator[int]:
    return read_shuffled(folder, rows, torch.bfloat16)


def read_in_order(folder: Path, rows: int) -> Iterator[int]:
    with ActivationStore(folder) as store:
        for chunk in store.iter_chunks(SITE, columns=()):
            yield len(chunk.acts_nd)


def read_safetensors(folder: Path, rows: int) -> Iterator[int]:
    """Files in random order, rows shuffled within a file, as float32."""
    rng = np.random.default_rng(SEED)
    paths = sorted(folder.glob("*.safetensors"))
    for number in rng.permutation(len(paths)):
        rows_nd = load_file(paths[number])["rows"]
        for chosen in torch.from_numpy(rng.permutation(len(rows_nd))).split(BATCH):
            yield len(rows_nd[chosen].float())


def read_memmap(folder: Path, rows: int) -> Iterator[int]:
    mapped = np.load(folder / "rows.npy", mmap_mode="r")
    order = np.random.default_rng(SEED).permutation(rows)[: int(rows * MEMMAP_SHARE)]
    for start in range(0, len(order), BATCH):
        rows_nd = mapped[order[start : start + BATCH]]
        yield len(torch.from_numpy(rows_nd.view(np.int16)).view(torch.bfloat16).float())


def read_h5py(folder: Path, rows: int) -> Iterator[int]:
    """h5py takes rows by ascending number only."""
    order = np.random.default_rng(SEED).permutation(rows)[: int(rows * H5PY_SHARE)]
    with h5py.File(folder / "rows.h5") as file:
        for start in range(0, len(order), BATCH):
            rows_nd = np.stack([file["rows"][row] for row in order[start : start + BATCH]])
            yield len(torch.from_numpy(rows_nd.view(np.int16)).view(torch.bfloat16).float())


def read_saelens(folder: Path, rows: int) -> Iterator[int]:
    """Its own loader over its own cache, with its mixing buffer."""
    from sae_lens.training.activations_store import ActivationsStore

    model: Any = None  # not used when a cache is read
    store = ActivationsStore(
        model, None, False, "hook", None, CONTEXT, WIDTH, IN_BUFFER, rows, AT_A_TIME, BATCH, False, "none",
        torch.device("cpu"), "float32", cached_activations_path=str(folder / "cache"),
    )  # fmt: skip
    left = rows
    while left > 0:
        left -= (count := len(next(store)))
        yield count


Writer = Callable[[Path, int, Iterator[tuple[int, torch.Tensor]]], None]
WRITERS: dict[str, Writer] = {
    "raw": write_raw,
    "raw, past memory, written": write_past_memory,
    "store": write_store,
    "safetensors": write_safetensors,
    "memmap": write_memmap,
    "h5py": write_h5py,
    "saelens": write_saelens,
}
#: side → (whose files it reads, how)
READERS: dict[str, tuple[str, Callable[[Path, int], Iterator[int]]]] = {
    "raw, in order": ("raw", read_raw),
    "raw, past memory": ("raw", read_past_memory),
    "store, shuffled": ("store", read_shuffled),
    "store, shuffled, bfloat16": ("store", read_shuffled_bfloat16),
    "store, in order": ("store", read_in_order),
    "safetensors, by file": ("safetensors", read_safetensors),
    "memmap, random rows": ("memmap", read_memmap),
    "h5py, random rows": ("h5py", read_h5py),
    "SAELens": ("saelens", read_saelens),
}


def memory(which: str) -> int:
    """Memory of this process in bytes: VmRSS now, VmHWM at most. ru_maxrss would begin with the parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(which)))


def use_memory(size: int) -> None:
    """Write to so many bytes and give them back, so that no side waits for a host to find them."""
    np.empty(size, np.uint8)[:: mmap.PAGESIZE] = 1
    Path("/proc/self/clear_refs").write_text("5")  # the highest point of memory is counted from here


def main() -> None:
    torch.set_num_threads(1)
    side, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    use_memory(rows * ROW_BYTES + MORE_MEMORY)
    if side in READERS:
        if side == "SAELens":
            import sae_lens.training.activations_store  # noqa: F401  not part of the time
        before, began = memory("VmRSS"), time.perf_counter()
        count = sum(READERS[side][1](folder, rows))
    else:
        source = blocks(rows)
        next(source)
        before, began, count = memory("VmRSS"), time.perf_counter(), rows
        WRITERS[side](folder, rows, source)
    seconds = time.perf_counter() - began
    print(
        json.dumps({"seconds": seconds, "bytes": count * ROW_BYTES, "memory_before": before, "memory": memory("VmHWM")})
    )


if __name__ == "__main__":
    main()
