"""The training log on Weights & Biases, for those who ask for it.

Figures of the training, its configuration and the name of the run leave the machine, no activations and no texts; with
``WANDB_MODE=offline`` nothing does, and ``wandb sync`` sends the folder later.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae.errors import SAEError
from sae.files import read_json, write_json

#: Which W&B run an SAE's training is, so that a resumed training goes on with its curves.
RUN_FILE = "wandb.json"
FOLDER = "wandb"


class WandbLog:
    """Sends rows of the training log.

    Args:
        folder: of the SAE; W&B's own files go to `wandb` in it.
        project: as W&B calls it.
        name: shown for this training.
        config: shown beside the curves.

    Raises:
        SAEError: wandb is not installed, or does not start (no key, no network).
    """

    def __init__(self, folder: Path, project: str, name: str, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise SAEError(
                f"Weights & Biases was asked for, and wandb cannot be imported ({error}): pip install wandb, or train "
                "without it; metrics.parquet and the TensorBoard files are written anyway"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RUN_FILE
        known = read_json(path) if path.exists() else {"id": uuid.uuid4().hex[:12], "project": project}
        write_json(path, known)
        try:
            self._run = wandb.init(
                project=project,
                name=name,
                id=str(known["id"]),
                resume="allow",
                reinit="create_new",  # several may be trained at once
                dir=str(folder),
                config=dict(config),
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    host="-",
                    x_disable_meta=True,  # user, command line with its paths
                    x_save_requirements=False,
                ),
            )
        except (wandb.Error, wandb.errors.UsageError, OSError) as error:
            first_line = (str(error).splitlines() or [""])[0]
            raise SAEError(
                f"Weights & Biases does not start ({first_line}): log in with `wandb login`, or keep the files here "
                "with WANDB_MODE=offline"
            ) from error

    def add(self, row: Mapping[str, float]) -> None:
        """One row of the log."""
        self._run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self) -> None:
        """Send what is left and end the run there."""
        self._run.finish()
