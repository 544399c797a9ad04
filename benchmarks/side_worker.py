"""One side of a comparison in a process of its own, which measures when it is told to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Worker:
    """A running side.

    Args:
        side: its name, the first argument of the script.
        python: the interpreter of its environment.
        script: prints one JSON line when it is ready and one after each line that it is sent; ends with its input.
        folder: what it reads, the second argument.
    """

    def __init__(self, side: str, python: str, script: Path, folder: Path) -> None:
        self.side = side
        command = [python, "-W", "ignore", str(script), side, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        """Have it measure ``what`` once.

        Raises:
            SystemExit: the side has stopped.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side} stopped; its last words stand above")
        answer: dict[str, Any] = json.loads(line)
        return answer
