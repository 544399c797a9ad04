"""What is done to the residual of one site, and the book that is kept about it; whoever calls it, hook or trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from activations.models.base import Generation, ModelInputs, ReportModel
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.deltas import DeltaRule, Weighing
from steering.interventions.positions import Ledger, Places
from steering.interventions.proof import ChangeLog, Proof
from steering.interventions.selection import Choice
from steering.interventions.spec import SteeringSpec, unconditional
from steering.interventions.transcript import Transcript


class SiteChange:
    """The interventions of a spec at one site, through the calls of one batch after another.

    Attributes:
        site: canonical name.
        proof: of everything so far.
    """

    def __init__(
        self,
        spec: SteeringSpec,
        site: str,
        model: ReportModel,
        sae: MatryoshkaSAE | None,
        transcript: Transcript | None = None,
    ) -> None:
        self.site = site
        self.proof = Proof(site)
        self._parts = spec.by_site[site]
        self._grid = model.grid
        self._rule = DeltaRule(spec, sae, model.device, site)
        self._transcript = transcript
        self._ledger: Ledger | None = None
        self._log: ChangeLog | None = None
        self._choices: list[Choice] = []
        self._on_steps = self._plain_steps = False
        self._on_step: list[Weighing | None] = []
        self._found = np.zeros(len(self._parts), dtype=np.int64)
        self._ever = np.zeros(len(self._parts), dtype=np.int64)

    def begin(self, inputs: ModelInputs) -> None:
        """A batch starts.

        Raises:
            SteeringError: a study without the map or mask that the spec gives to each study.
        """
        self._rule.for_studies(inputs.study_ids)
        self._choices = [Choice(part, inputs, self._grid, self._transcript) for part in self._parts]
        acting = [choice for choice in self._choices if choice.on_steps]
        self._on_steps = bool(acting)
        self._plain_steps = all(choice.plain_on_steps for choice in acting)
        self._on_step = [Weighing() if choice.on_steps else None for choice in self._choices]
        self._ledger = Ledger(self.site, inputs)
        self._log = ChangeLog(self.site, inputs)
        self._found[:] = 0

    def stop(self) -> None:
        """No batch is running any more."""
        self._ledger = self._log = None

    def end(self, written: Sequence[Generation] | None) -> list[Proof]:
        """A batch came back: the proof of each of its studies.

        Raises:
            SteeringError: the site was not part of the pass, an intervention found none of its tokens, or an addition
                changed nothing.
        """
        if self._ledger is None or self._log is None:
            raise SteeringError(f"site {self.site}: a batch ended that never began")
        calls = self._ledger.calls
        if not calls:
            raise SteeringError(f"site {self.site}: the hook never ran; this site is not part of the pass")
        for part, choice, found in zip(self._parts, self._choices, self._found, strict=True):
            if not found and not choice.conditional:
                scopes = list(part.tokens.scopes) if part.tokens else []
                raise SteeringError(f"site {self.site}: none of the tokens {scopes} was there to steer")
        self._ever += self._found
        proofs = self._log.proofs(calls, written)
        batch = sum(proofs, Proof(self.site))
        self.proof += Proof(self.site, calls, batch.tokens, batch.delta_norm)
        if unconditional(self._parts) and not batch.total:
            raise SteeringError(
                f"site {self.site}: no token was changed; the change is lost in rounding, or the map is empty"
            )
        return proofs

    def check_done(self, effective: bool) -> None:
        """Refuse a block in which nothing happened.

        Raises:
            SteeringError: the site never ran, an intervention never found a token, or no token was changed although a
                change was asked for.
        """
        if not self.proof.calls:
            raise SteeringError(
                f"site {self.site}: the hook never ran; call model.generate or model.forward inside the block"
            )
        if not effective:
            return
        for number, ever in enumerate(self._ever):
            if not ever:
                raise SteeringError(
                    f"site {self.site}: intervention {number} of this site found no token in {self.proof.calls} calls; "
                    "its pattern, topic, schedule or masks chose none"
                )
        if not self.proof.total:
            raise SteeringError(
                f"site {self.site}: no token was changed in {self.proof.calls} calls; the features never fired there, "
                "the gate never opened, or the change is lost in rounding"
            )

    def act(self, h_btd: torch.Tensor) -> torch.Tensor | None:
        """The steered residual in place of (rows, tokens, width), or ``None`` where it stays as it is.

        Raises:
            SteeringError: no batch is running, tokens that cannot be told, or a residual that is no longer finite.
        """
        ledger = self._ledger
        if ledger is None:
            raise SteeringError(
                f"site {self.site}: run the model through model.generate or model.forward while it is steered"
            )
        shape = tuple(h_btd.shape)
        start = ledger.count(shape)
        if start and not self._on_steps:
            return None  # a step of a cached generation, and only the prompt is steered
        if start and shape[1] == 1 and self._plain_steps:
            return self._step(h_btd, start)
        places = ledger.places(shape, start)
        weights, opens = zip(*(choice.weights(places) for choice in self._choices), strict=True)
        rows, columns = np.nonzero(weights[0] if len(weights) == 1 else np.maximum.reduce(weights))
        if not len(rows):
            return None
        index = (torch.from_numpy(rows).to(h_btd.device), torch.from_numpy(columns).to(h_btd.device))
        old_nd, here = h_btd[index], places[rows, columns]
        weighings = [
            self._weighing(w[rows, columns], o, rows, columns, old_nd) for w, o in zip(weights, opens, strict=True)
        ]
        self._found += [int(np.count_nonzero(w)) for w in weights]
        new_nd = moved(old_nd, self._rule(old_nd, here, weighings))
        if not self._noted(old_nd, new_nd, here, rows):
            return None
        steered_btd = h_btd.clone()
        steered_btd[index] = new_nd
        return steered_btd

    def _step(self, h_btd: torch.Tensor, slot: int) -> torch.Tensor | None:
        """A step at which every row is steered, and nothing depends on which token it is."""
        assert self._ledger is not None
        assert self._log is not None
        old_nd = h_btd[:, 0]
        new_nd = moved(old_nd, self._rule(old_nd, None, self._on_step))
        self._found += [len(old_nd) if weighing else 0 for weighing in self._on_step]
        norms_n = self._norms(old_nd, new_nd)
        self._log.note_step(slot, norms_n, self._ledger.copies)
        return new_nd[:, None] if norms_n.any() else None

    @staticmethod
    def _weighing(
        weights_n: np.ndarray, opens_bs: np.ndarray | None, rows: np.ndarray, columns: np.ndarray, like: torch.Tensor
    ) -> Weighing:
        plain = bool((weights_n == 1).all())
        return Weighing(
            None if plain else torch.from_numpy(weights_n).to(like.device),
            None if opens_bs is None else torch.from_numpy(opens_bs[rows, columns]).to(like.device),
        )

    def _noted(self, old_nd: torch.Tensor, new_nd: torch.Tensor, here: Places, rows: np.ndarray) -> bool:
        """Write the change into the log; whether there is any."""
        assert self._ledger is not None
        assert self._log is not None
        norms_n = self._norms(old_nd, new_nd)
        self._log.note(here, here.study if self._ledger.by_image else rows, norms_n, self._ledger.copies)
        return bool(norms_n.any())

    def _norms(self, old_nd: torch.Tensor, new_nd: torch.Tensor) -> np.ndarray:
        """Length of every token's change, (n,); above 0 wherever a single bit of its value differs."""
        norms_n = torch.linalg.vector_norm(new_nd.float() - old_nd.float(), dim=-1)
        sure_n = torch.isfinite(norms_n) & (norms_n > 0)
        if not bool(sure_n.all()):  # the square of a small or large change leaves float32
            exact_n = (new_nd.double() - old_nd.double()).norm(dim=-1)
            norms_n = torch.where(sure_n, norms_n.double(), exact_n)
            if not bool(torch.isfinite(norms_n).all()):
                raise SteeringError(
                    f"site {self.site}: the steered residual is not finite; the strength is too large for "
                    f"{old_nd.dtype}"
                )
        return norms_n.cpu().numpy()


def moved(old_nd: torch.Tensor, delta_nd: torch.Tensor) -> torch.Tensor:
    """old + delta, added in float32; bit for bit the old value wherever the delta is zero."""
    new_nd = (old_nd.float() + delta_nd).to(old_nd.dtype)
    return torch.where(delta_nd != 0, new_nd, old_nd)
