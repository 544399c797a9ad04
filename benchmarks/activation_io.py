"""How fast activations are written and read: our store beside the raw disk and what others use.

Run: export OMP_WAIT_POLICY=PASSIVE
     python benchmarks/activation_io.py --dir FOLDER          # 4 GB of 4,096 bfloat16 values a row
     python benchmarks/activation_io.py --dir FOLDER --quick  # 256 MB, to see that it runs

FOLDER must lie on the disk that is meant. Sides take turns, each in a process of its own, each round beginning with
another one. Every written side ends on the disk (fsync). For a cold reading the system is told to forget the files,
and it is checked that it did; a warm reading follows at once, from memory. The disk's own cache, if a host keeps one,
is out of reach: the raw reading of the same round meets it, too, so ratios are taken within a round.

The raw disk is read in two ways: as files are read (``raw, in order``), and past the system's memory
(``raw, past memory``: O_DIRECT), which is what the disk itself can do; ratios are given to both. A virtual machine may
have to ask its host for memory that it did not use lately, so each process first uses as much as it will need (not
timed).

SAELens' cache is smaller (--saelens-mb) because writing it takes long; its rate is of its own bytes. Sides that take
single rows read a part of them (see activation_io_sides.py). Memory is what a process held at most, less what it held
before the first row; mapped files count.

Prints medians and writes every row to benchmarks/results/activation_io.json.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from activation_io_sides import BLOCK_ROWS, READERS, ROW_BYTES, WRITERS

RESULTS = Path(__file__).parent / "results" / "activation_io.json"
SIDES = Path(__file__).parent / "activation_io_sides.py"
WRITE_TARGET, READ_TARGET, SAELENS_TARGET = 0.85, 0.85, 3.0
#: What a kind of measurement is compared with: how files are written and read, and what the disk can do.
RAW = {"write": "raw", "cold": "raw, in order", "warm": "raw, in order"}
DISK = {"write": "raw, past memory, written", "cold": "raw, past memory", "warm": "raw, in order"}
#: Share of a file's pages that may still be in memory when a reading is called cold.
STILL_CACHED = 0.01


def run(side: str, folder: Path, rows: int, under: list[str]) -> dict[str, Any]:
    """One side in a process of its own; SystemExit with its last words if it fails."""
    command = [*under, sys.executable, str(SIDES), side, str(folder), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"what": side, "mb_per_second": result["bytes"] / result["seconds"] / 1e6, **result}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def forget(folder: Path) -> None:
    """Take a folder's files out of the system's memory; SystemExit if they stay."""
    pages = kept = 0
    for path in files_of(folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        in_memory = _pages_in_memory(descriptor, path.stat().st_size)
        pages, kept = pages + len(in_memory), kept + sum(flag & 1 for flag in in_memory)
        os.close(descriptor)
    if kept > STILL_CACHED * pages:
        raise SystemExit(f"{folder}: {kept} of {pages} pages are still in memory; no cold reading is possible here")


def _pages_in_memory(descriptor: int, size: int) -> bytes:
    """One byte a page of a file, its lowest bit set if the page is in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        address = ctypes.addressof(hold := ctypes.c_char.from_buffer(mapped))
        failed = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), flags)
        del hold
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return flags.raw


def turns(names: list[str], number: int) -> list[str]:
    first = number % len(names)
    return names[first:] + names[:first]


def measure_writing(directory: Path, rows: int, rounds: int, under: list[str]) -> list[dict[str, Any]]:
    """Every side in every round; what the last round wrote stays."""
    measured = []
    for number in range(rounds):
        for side in turns([side for side in WRITERS if side != "saelens"], number):
            shutil.rmtree(directory / side, ignore_errors=True)
            (directory / side).mkdir()
            measured.append({"kind": "write", "round": number, **run(side, directory / side, rows, under)})
            forget(directory / side)
    return measured


def measure_reading(
    directory: Path, rows: int, saelens_rows: int, rounds: int, under: list[str]
) -> list[dict[str, Any]]:
    """Every side in every round, cold and at once again, of what :func:`measure_writing` left."""
    measured = []
    sizes = dict.fromkeys(WRITERS, rows) | {"saelens": saelens_rows}
    (directory / "saelens").mkdir()
    run("saelens", directory / "saelens", saelens_rows, under)
    for number in range(rounds):
        for side in turns(list(READERS), number):
            owner = READERS[side][0]
            forget(directory / owner)
            for kind in ("cold", "warm"):
                measured.append({"kind": kind, "round": number, **run(side, directory / owner, sizes[owner], under)})
            forget(directory / owner)
    return measured


def summarise(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over rounds: rate, its ratios to the raw disk in the same round, memory."""
    found = {(row["kind"], row["round"], row["what"]): row["mb_per_second"] for row in measured}
    lines = []
    for kind, what in dict.fromkeys((row["kind"], row["what"]) for row in measured):
        mine = [row for row in measured if (row["kind"], row["what"]) == (kind, what)]
        rates = [row["mb_per_second"] for row in mine]
        line = {"kind": kind, "what": what, "mb_per_second": statistics.median(rates)}
        for name, raw in (("over_raw", RAW[kind]), ("over_disk", DISK[kind])):
            line[name] = statistics.median(row["mb_per_second"] / found[kind, row["round"], raw] for row in mine)
        line |= {"least": min(rates), "most": max(rates)}
        lines.append(line | {"memory": max(row["memory"] - row["memory_before"] for row in mine)})
    return sorted(lines, key=lambda line: list(RAW).index(line["kind"]))


def report(lines: list[dict[str, Any]]) -> None:
    found = {(line["kind"], line["what"]): line for line in lines}
    print(f"{'':33s} {'median':>12s} {'of raw':>8s} {'of disk':>8s}")
    for line in lines:
        print(
            f"{line['kind']:5s}  {line['what']:26s} {line['mb_per_second']:7.0f} MB/s {line['over_raw']:8.2f} "
            f"{line['over_disk']:8.2f}   min {line['least']:6.0f}   max {line['most']:6.0f}"
            f"   memory {line['memory'] / 1e6:6.0f} MB"
        )
    for kind, what, target in (
        ("write", "store", WRITE_TARGET),
        ("cold", "store, shuffled", READ_TARGET),
        ("cold", "store, shuffled, bfloat16", READ_TARGET),
    ):
        if (kind, what) not in found:
            continue
        over, disk = found[kind, what]["over_raw"], found[kind, what]["over_disk"]
        met = "yes" if over >= target else "NO"
        print(f"{kind}, {what}: × {over:.2f} of raw, × {disk:.2f} of the disk; wanted {target} of raw: {met}")
    for kind in ("cold", "warm"):
        if (kind, "SAELens") not in found:
            continue
        over = found[kind, "store, shuffled"]["mb_per_second"] / found[kind, "SAELens"]["mb_per_second"]
        met = "yes" if over >= SAELENS_TARGET else "NO"
        print(f"{kind}, store, shuffled: × {over:.1f} of SAELens; wanted {SAELENS_TARGET:.0f}: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="folder on the disk to measure; default: the system's temporary one")
    parser.add_argument("--gb", type=float, default=4.0, help="size of the rows, in 10⁹ bytes")
    parser.add_argument("--saelens-mb", type=float, default=512.0, help="size of SAELens' cache, in 10⁶ bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write-only", action="store_true", help="keep the readings of an earlier run")
    parser.add_argument("--under", type=shlex.split, default=[], help="command that starts each side, such as 'nice'")
    parser.add_argument("--quick", action="store_true", help="256 MB, 64 MB for SAELens, one round; writes no results")
    chosen = parser.parse_args()
    gb, saelens_mb, rounds = (0.256, 64.0, 1) if chosen.quick else (chosen.gb, chosen.saelens_mb, chosen.rounds)
    rows, saelens_rows = (
        -(-int(size) // (ROW_BYTES * BLOCK_ROWS)) * BLOCK_ROWS for size in (gb * 1e9, saelens_mb * 1e6)
    )
    with tempfile.TemporaryDirectory(prefix="activation-io-", dir=chosen.dir) as directory:
        measured = measure_writing(Path(directory), rows, rounds, chosen.under)
        if not chosen.write_only:
            measured += measure_reading(Path(directory), rows, saelens_rows, rounds, chosen.under)
    report(summarise(measured))
    if chosen.write_only and not chosen.quick:
        kept = json.loads(RESULTS.read_text())["rows_measured"]
        measured += [row for row in kept if row["kind"] != "write"]
    lines = summarise(measured)
    if not chosen.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        about = {"rows": rows, "saelens_rows": saelens_rows, "row_bytes": ROW_BYTES, "processors": os.cpu_count()}
        versions = {name: version(name) for name in ("torch", "h5py", "numpy", "safetensors", "sae-lens", "datasets")}
        RESULTS.write_text(
            json.dumps({**about, "versions": versions, "summary": lines, "rows_measured": measured}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
