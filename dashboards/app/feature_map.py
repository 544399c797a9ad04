"""The map of features: decoder rows laid out in two dimensions, computed once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import numpy as np
from flask import Flask, Response

from dashboards.app.view import LiveRun, RunView
from dashboards.encoding import compact
from radiology.errors import InputError

#: More live features than this are laid out by principal components alone: neighbour embeddings take minutes there.
MOST_FOR_TSNE = 6000
_COMPONENTS = 30
_VERSION = 1


def add_feature_map(server: Flask, run: LiveRun) -> None:
    """``/feature-map.json``: columns x, y, feature, label, concept, and by which method."""
    lock = threading.Lock()

    @server.get("/feature-map.json")
    def feature_map() -> Response:
        try:
            view = run.current()
            with lock:
                content = map_content(view)
        except InputError as error:
            content = {"error": str(error)}
        return Response(json.dumps(content, ensure_ascii=False), content_type="application/json")


def map_content(view: RunView) -> dict[str, object]:
    """The map with the labels of now.

    Raises:
        InputError: no feature table, or no weights that can be read.
    """
    if view.list is None:
        raise InputError("The feature table is not there yet.")
    rows = view.tables.ask("SELECT id, label, concept, dead FROM list ORDER BY id")
    live = [row for row in rows if not row["dead"]]
    xy_n2, method = _layout_of(view.data.sae_dir / "sae.safetensors", [row["id"] for row in live])
    top = np.abs(xy_n2).max(initial=1e-9)
    return {
        "method": method,
        "x": compact(xy_n2[:, 0] / top),
        "y": compact(xy_n2[:, 1] / top),
        "feature": [row["id"] for row in live],
        "label": [row["label"] for row in live],
        "concept": [row["concept"] for row in live],
    }


def _layout_of(weights: Path, features: list[int]) -> tuple[np.ndarray, str]:
    """(n, 2) places and the name of the method, from the cache if these weights were laid out before."""
    try:
        state = weights.stat()
    except OSError:
        raise InputError(f"{weights.name} is not there; make it with `interp train-sae`.") from None
    key = f"{_VERSION} {weights.resolve()} {state.st_mtime_ns} {state.st_size} {features}"
    cached = _cache_folder() / f"map-{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}.npz"
    if cached.is_file():
        try:
            with np.load(cached) as kept:
                return kept["xy"], str(kept["method"])
        except (OSError, ValueError, KeyError):
            cached.unlink(missing_ok=True)
    xy_n2, method = lay_out(_decoder(weights)[features])
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with (temporary := cached.with_suffix(f".{os.getpid()}.tmp")).open("wb") as file:
            np.savez(file, xy=xy_n2, method=np.array(method))
        temporary.replace(cached)
    except OSError:
        pass  # without a cache it is computed again
    return xy_n2, method


def lay_out(rows_nd: np.ndarray) -> tuple[np.ndarray, str]:
    """Places of directions in two dimensions: UMAP if installed, else t-SNE, by cosine; PCA where there are many.

    Args:
        rows_nd: (n, d) decoder rows of unit length.
    """
    n = len(rows_nd)
    if n < 8:
        return np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32), "order"
    from sklearn.decomposition import PCA

    k = min(_COMPONENTS, n - 1, rows_nd.shape[1])
    reduced = PCA(n_components=max(2, k), svd_solver="randomized", random_state=0).fit_transform(rows_nd)
    try:
        from umap import UMAP  # not a dependency: it brings a compiler along
    except ImportError:
        if n > MOST_FOR_TSNE:
            return reduced[:, :2].astype(np.float32), "principal components"
        from sklearn.manifold import TSNE

        near = TSNE(metric="cosine", init="pca", perplexity=min(30.0, (n - 1) / 3), random_state=0, max_iter=500)
        return near.fit_transform(reduced).astype(np.float32), "t-SNE"
    return UMAP(metric="cosine", random_state=0).fit_transform(reduced).astype(np.float32), "UMAP"


def _decoder(weights: Path) -> np.ndarray:
    """Decoder rows (F, d) float32."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(weights), framework="numpy") as file:
            return np.asarray(file.get_tensor("W_dec"), dtype=np.float32)
    except (SafetensorError, TypeError, OSError, ValueError) as error:
        raise InputError(f"{weights.name} cannot be read ({type(error).__name__}).") from error


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "interp" / "dashboard"
