"""The program that the kill and fault tests start: it fills a store with the rows of conftest.py and is killed at it.

It imports once and forks for every order, since importing takes seconds and filling a store takes hundredths. An order
is one line of JSON on standard input (see :func:`fill` and :func:`prepare`), the answer one line on standard output:
``status`` of each writer as ``subprocess`` gives it (−9 is SIGKILL), what it ``said`` if it came to its end, and
``seconds``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import activations
from activations.manifest import StoreConfig
from activations.roles import Role
from activations.write_behind import WriteBehind
from activations.writer import StoreWriter

WIDTHS = {"language.0": 8, "language.1": 4}
#: Modules through which every change of the disk goes.
WATCHED = {str(Path(activations.__file__).with_name(f"{n}.py")) for n in ("files", "shard", "studies_files", "writer")}
MS_REMOUNT, MS_REC, MS_PRIVATE = 0x20, 0x4000, 0x40000
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def load_conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_conftest", Path(__file__).with_name("conftest.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(writers: int = 1, **changes: Any) -> StoreConfig:
    fields = {"sites": WIDTHS, "dtype": "bfloat16", "roles": (Role.IMAGE, Role.REPORT)}
    return StoreConfig("none", **{"fingerprint": "fingerprint", **fields, "writers": writers, **changes})


def fill(conftest: ModuleType, order: dict[str, Any], rank: int = 0) -> None:
    """Fill ``directory`` with ``studies`` studies in shards of ``shard_rows``, as one of ``writers``.

    With ``behind`` (unless told otherwise) a thread writes, as in ``interp cache``.
    """
    writers = order.get("writers", 1)
    with ExitStack() as stack:
        writer: Any = StoreWriter(Path(order["directory"]), config(writers), rank=rank, shard_rows=order["shard_rows"])
        writer = stack.enter_context(writer)
        mine = range(rank, order["studies"], writers)[writer.studies_done :]
        sink = stack.enter_context(WriteBehind(writer)) if order.get("behind", True) else writer
        for number in mine:
            sink.add([conftest.synthetic_rows(number, WIDTHS)])
        if not writer.complete:
            sink.finish()


def prepare(conftest: ModuleType, order: dict[str, Any], rank: int) -> Any:
    """Carry out an order in a process of its own.

    ``line`` [function, n]: SIGKILL when ``n`` lines of that function of the watched modules have been run. ``watch``:
    say all those lines. ``flushed``: see :func:`keep_what_is_flushed`. ``disks``: see :func:`on_small_disks`.
    ``read_only``: obey modes even as root.
    """
    if "disks" in order:
        return on_small_disks(conftest, order)
    lines = watch(order.get("line")) if "line" in order or order.get("watch") else None
    if "flushed" in order:
        keep_what_is_flushed(Path(order["directory"]), Path(order["flushed"]))
    if order.get("read_only"):
        obey_modes()
    try:
        fill(conftest, order, rank)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
        sys.settrace(None)
    return lines


def watch(fatal: Sequence[Any] | None) -> list[str]:
    """Note the lines of the watched modules that are run, in all threads; at ``fatal`` the process dies.

    ``fatal`` is a function and how many lines of it have been run before: threads take turns as they like, but what
    one function does is the same each time.
    """
    lines: list[str] = []
    counts: Counter[str] = Counter()
    one_at_a_time = threading.Lock()

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            function = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
            with one_at_a_time:
                if fatal is not None and [function, counts[function]] == list(fatal):
                    os.kill(os.getpid(), signal.SIGKILL)
                counts[function] += 1
                lines.append(function)
        return on_line

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        return on_line if frame.f_code.co_filename in WATCHED else None

    threading.settrace(on_call)
    sys.settrace(on_call)
    return lines


def keep_what_is_flushed(directory: Path, into: Path) -> None:
    """Whenever a folder is flushed, copy what a power cut would leave: flushed names with flushed contents only."""
    contents: dict[int, bytes] = {}
    names: dict[Path, dict[str, int]] = {}
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        flush(descriptor)
        status = os.fstat(descriptor)
        folders = [path for path in (directory, directory.parent) if os.path.samestat(path.stat(), status)]
        if not folders:
            contents[status.st_ino] = os.pread(descriptor, status.st_size, 0)
            return
        with os.scandir(descriptor) as entries:
            names[folders[0]] = {entry.name: entry.inode() for entry in entries if entry.is_file()}
        state = into / f"{len(list(into.iterdir())):05d}"
        for folder, files in names.items():
            there = state / folder.relative_to(directory.parent)
            there.mkdir(parents=True, exist_ok=True)
            for name, inode in files.items():
                (there / name).write_bytes(contents.get(inode, b""))

    os.fsync = fsync


def obey_modes() -> None:
    """Give up the capabilities by which root may write into read-only folders; others have none."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capset(header, none):
        raise SystemExit("capset failed")


def on_small_disks(conftest: ModuleType, order: dict[str, Any]) -> list[str]:
    """Fill the store on a disk that has ``disks`` kilobytes, one size after the other; the last is large enough.

    The disk is a tmpfs that only this process sees. Where the system gives none, a limit on the size of a file
    refuses writes in its place. After every attempt the run is copied to ``copies``/0, 1 and so on.
    """
    run, copies = Path(order["directory"]).parent, Path(order["copies"])
    libc = private_mounts()
    said = []
    for i, kilobytes in enumerate(order["disks"]):
        if libc is not None:
            options = f"size={kilobytes}k,mode=700".encode()
            if libc.mount(b"none", str(run).encode(), b"tmpfs", MS_REMOUNT if i else 0, options):
                raise SystemExit("the small disk could not be mounted")
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 256, resource.RLIM_INFINITY))
        try:
            fill(conftest, order)
        except OSError as error:
            said.append(f"{type(error).__name__}: {error}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        shutil.copytree(run, copies / str(i))
    return said


def private_mounts() -> Any:
    """The C library, if this process may mount what others do not see; else None."""
    libc = ctypes.CDLL(None)
    user, group = os.getuid(), os.getgid()
    if not hasattr(libc, "unshare"):
        return None
    if libc.unshare(CLONE_NEWNS):
        if libc.unshare(CLONE_NEWNS | CLONE_NEWUSER):
            return None
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    return libc if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0 else None


def start(work: Callable[[], Any], said: Any) -> int:
    """Fork; the child leaves what ``work`` returns in the file ``said``."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        said.write(json.dumps(work()).encode())
        said.flush()
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def carry_out(conftest: ModuleType, order: dict[str, Any]) -> dict[str, Any]:
    """Start the writers of an order, kill each ``after`` its seconds if so ordered, and wait for their ends."""
    writers = range(order.get("writers", 1))
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in writers]
        began = time.monotonic()
        children = [start(partial(prepare, conftest, order, rank), files[rank]) for rank in writers]
        for delay, child in sorted(zip(order.get("after", ()), children, strict=False)):
            time.sleep(max(0.0, began + delay - time.monotonic()))
            os.kill(child, signal.SIGKILL)
        status = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        seconds = time.monotonic() - began
        for file in files:
            file.seek(0)
        said = [json.load(file) if code == 0 else None for code, file in zip(status, files, strict=True)]
    return {"status": status, "said": said, "seconds": seconds}


def serve() -> None:
    conftest = load_conftest()
    with tempfile.TemporaryDirectory() as folder:  # libraries do much at their first call, in every child otherwise
        fill(conftest, {"directory": f"{folder}/activations", "studies": 3, "shard_rows": 1, "behind": False})
    for line in sys.stdin:
        print(json.dumps(carry_out(conftest, json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
