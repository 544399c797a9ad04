"""Whoever does the pass, and however often it is stopped, the tables are the same."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from autointerp import index as index_module
from autointerp import streaming
from autointerp.files import features_folder, read_frame
from autointerp.index import UNFINISHED, IndexSummary, index_features
from autointerp.schema import CONTEXTS_FILE, FEATURES_FILE, STUDY_ACTIVATIONS_FILE


class Threads:
    """Peers in threads of one process."""

    def __init__(self, rank: int, world: int, barrier: threading.Barrier, said: dict[int, list[Any]]) -> None:
        self.rank, self.world, self._barrier, self._said = rank, world, barrier, said

    def gather(self, value: Any) -> list[Any]:
        self._said[self.rank] = json.loads(json.dumps(value))
        self._barrier.wait(60)
        found = [self._said[rank] for rank in range(self.world)]
        self._barrier.wait(60)
        return found


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 3 chunks of 700 rows, and a state after each."""
    monkeypatch.setattr(index_module, "CHUNK_ROWS", 700)
    monkeypatch.setattr(index_module, "CHUNKS_PER_PART", 3)
    monkeypatch.setattr(streaming, "SECONDS_BETWEEN_STATES", 0.0)


def index(hand_run, out: Path, **options: Any) -> IndexSummary | None:
    options = {"sae": hand_run.sae, "contexts_per_kind": 4} | options
    sae = options.pop("sae")
    return index_features(
        hand_run.run_dir, sae, "language.0", model=hand_run.model, store=hand_run.store, out_dir=out, **options
    )


TABLES = [CONTEXTS_FILE, FEATURES_FILE, STUDY_ACTIVATIONS_FILE]


def same_tables(one: Path, other: Path) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(read_frame(one / name), read_frame(other / name), check_exact=True)


@pytest.fixture(scope="module")
def whole(hand_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a pass in one part, by one process."""
    out = tmp_path_factory.mktemp("whole")
    index(hand_run, out)
    return out


class Counting(torch.nn.Module):
    """The SAE of a run that counts the rows it encodes, and is stopped after so many."""

    def __init__(self, sae: Any, stop_after: float = float("inf")) -> None:
        super().__init__()
        self.sae, self.rows, self.stop_after = sae, 0, stop_after

    def __getattr__(self, name: str) -> Any:
        if name in ("sae", "rows", "stop_after"):
            return super().__getattr__(name)
        return getattr(self.__dict__["_modules"]["sae"], name)

    def encode(self, x_nd: torch.Tensor) -> Any:
        if self.rows >= self.stop_after:
            raise KeyboardInterrupt
        self.rows += len(x_nd)
        return self.sae.encode(x_nd)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.sae.state_dict(*args, **kwargs)


def test_the_cut_into_parts_changes_nothing(hand_run, whole: Path, tmp_path: Path) -> None:
    index(hand_run, tmp_path)
    same_tables(tmp_path, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == TABLES


def test_several_processes_make_the_tables_of_one(hand_run, whole: Path, tmp_path: Path) -> None:
    summaries = in_threads(lambda peers: index(hand_run, tmp_path, peers=peers), 3)
    same_tables(tmp_path, whole)
    assert summaries[0] is not None
    assert summaries[1:] == [None, None]


def test_a_stopped_pass_goes_on_where_it_was(hand_run, whole: Path, tmp_path: Path) -> None:
    first, rest = Counting(hand_run.sae, stop_after=9_000), Counting(hand_run.sae)
    with pytest.raises(KeyboardInterrupt):
        index(hand_run, tmp_path, sae=first)
    assert not (tmp_path / FEATURES_FILE).exists()
    index(hand_run, tmp_path, sae=rest)
    same_tables(tmp_path, whole)
    lost = first.rows + rest.rows - hand_run.store.rows
    assert 0 <= lost < 3 * 700  # the part in hand


def test_what_some_began_any_number_may_end(hand_run, whole: Path, tmp_path: Path) -> None:
    def begin(peers: Threads) -> None:
        with pytest.raises(KeyboardInterrupt):
            index(hand_run, tmp_path, sae=Counting(hand_run.sae, stop_after=5_000), peers=peers)

    in_threads(begin, 2)
    assert len(list((tmp_path / UNFINISHED).glob("state-*.npz"))) == 2
    rest = Counting(hand_run.sae)
    index(hand_run, tmp_path, sae=rest)
    same_tables(tmp_path, whole)
    assert rest.rows < hand_run.store.rows - 4_000


def test_stopped_while_contexts_are_written_nothing_is_encoded_again(hand_run, whole: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 1.05 * hand_run.store.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(hand_run, tmp_path, progress=stop)
    again = Counting(hand_run.sae)
    index(hand_run, tmp_path, sae=again)
    assert again.rows == 0
    same_tables(tmp_path, whole)


@pytest.mark.parametrize("changed", ["weights", "roles", "seed", "studies"])
def test_what_was_done_for_something_else_is_not_used(hand_run, tmp_path: Path, changed: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        index(hand_run, tmp_path / "a", sae=Counting(hand_run.sae, stop_after=9_000))
    options: dict[str, Any] = {
        "weights": {"sae": _louder(hand_run.sae)},
        "roles": {"roles": ["report", "image"]},
        "seed": {"seed": 3},
        "studies": {"max_context_studies": 20},
    }[changed]
    index(hand_run, tmp_path / "a", **options)
    index(hand_run, tmp_path / "b", **options)
    same_tables(tmp_path / "a", tmp_path / "b")


def test_a_lost_file_of_the_unfinished_pass_is_made_again(hand_run, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        index(hand_run, tmp_path, sae=Counting(hand_run.sae, stop_after=9_000))
    next((tmp_path / UNFINISHED).glob("*.entries.npy")).unlink()
    index(hand_run, tmp_path)
    same_tables(tmp_path, whole)


def test_studies_that_do_not_fit_in_memory_give_no_contexts(hand_run, tmp_path: Path, monkeypatch) -> None:
    whole = read_frame(features_folder(hand_run.run_dir, "main") / FEATURES_FILE)
    monkeypatch.setattr(index_module, "MAX_SEGMENTS", 3_000)
    summary = index(hand_run, tmp_path)
    assert summary is not None
    assert summary.context_studies in (75, 38)  # 300 halved until they fit
    assert read_frame(tmp_path / CONTEXTS_FILE)["study"].nunique() <= summary.context_studies
    counted = ["n_fires", "n_studies", "n_patients", "max_activation", "histogram"]
    pd.testing.assert_frame_equal(read_frame(tmp_path / FEATURES_FILE)[counted], whole[counted])


def in_threads(work: Callable[[Threads], Any], world: int) -> list[Any]:
    barrier, said, found = threading.Barrier(world), {}, [None] * world

    def one(rank: int) -> None:
        try:
            found[rank] = work(Threads(rank, world, barrier, said))
        except BaseException as error:
            barrier.abort()
            found[rank] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one_found in found:
        if isinstance(one_found, BaseException):
            raise one_found
    return found


def _louder(sae: Any) -> Any:
    louder = copy.deepcopy(sae)
    with torch.no_grad():
        louder.W_enc.mul_(1.5)
    return louder
