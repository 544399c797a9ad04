"""The sides of `dashboard_peers.py`: one builder of feature pages a process, which builds when it is told to.

Run by that script, not by hand: python dashboard_peers_sides.py SIDE FOLDER. FOLDER/start.pt says of what: the studies,
their tokens, the decoder and the features; FOLDER/sae holds the autoencoder in our form, FOLDER/saelens in SAELens'.
Each line of the input is one build; the answer is one JSON line. Models are open and libraries loaded before.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

#: A build: into this folder; gives the file, the seconds of its steps by name, and what is to be said of it.
Build = Callable[[Path], tuple[Path, dict[str, float], dict[str, Any]]]
#: Logits of the peer's decoder may be so far from ours: the same sums in another order.
LOGITS_APART = 1e-3
#: A run directory of ours is known by this file.
RUN_FILE = {"kind": "interp-run", "version": 1, "created": "2026-01-01T00:00:00+00:00", "stages": {}, "versions": {}}


class Clock:
    """Seconds of steps that follow each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def step(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def phantoms(start: dict[str, Any]) -> list[Any]:
    """The studies, with or without their pictures."""
    from radiology.phantom.cases import phantom_studies

    studies = phantom_studies(start["studies"], seed=start["seed"])
    return [study if start["images"] else replace(study, images={}) for study in studies]


def ours(start: dict[str, Any], folder: Path) -> Build:
    """`interp cache`, `interp index` and `interp dashboard --export`, without the command line around them."""
    from activations.caching import cache_activations
    from activations.models import open_model
    from activations.store import ActivationStore
    from autointerp.index import index_features
    from dashboards.build import LEVELS, PageBuilder
    from dashboards.export import export_html
    from dashboards.feature_page import choose_contexts
    from sae import MatryoshkaSAE

    model, studies, sae = open_model("phantom"), phantoms(start), MatryoshkaSAE.load(folder / "sae")

    def build(out: Path) -> tuple[Path, dict[str, float], dict[str, Any]]:
        run, html = out / "run", out / "ours.html"
        features = run / "sae" / "main" / "features"
        features.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps(RUN_FILE))
        sae.save(run / "sae" / "main")
        clock = Clock()
        cache_activations(model, studies, [start["site"]], run / "activations", roles=start["roles"])
        clock.step("model")
        with ActivationStore(run / "activations") as store:
            tokens = store.rows
            index_features(run, sae, start["site"], model=model, store=store, out_dir=features, roles=start["roles"])
        clock.step("index")
        summary = export_html(run, html)
        clock.step("page")
        builder = PageBuilder(run, "main", False, None)
        level = next(one for one in LEVELS if f"At most {one.contexts} contexts" in " ".join(summary.notes))
        contexts = choose_contexts(builder.run.context_index, builder.shown.numbers, level.contexts)[0]
        table = builder.run.features
        assert table is not None
        assert summary.features == len(table) == start["n_features"]
        facts = {
            "tokens": tokens,
            "contexts": len(contexts),
            "empty_bytes": builder.empty_bytes(),
            "max_activation": table.sort_index()["max_activation"].tolist(),
            "studies_in_file": summary.studies,
        }
        return html, clock.seconds, facts

    return build


def sae_dashboard(start: dict[str, Any], folder: Path, *, defaults: bool = False) -> Build:
    """SaeVisRunner and save_feature_centric_vis of SAEDashboard, on a HookedTransformer of the same weights.

    Args:
        defaults: its own number of sequences a feature, not as many as ours shows contexts.
    """
    from sae_dashboard.components_config import Column, SequencesConfig
    from sae_dashboard.data_writing_fns import save_feature_centric_vis
    from sae_dashboard.layout import SaeVisLayoutConfig
    from sae_dashboard.sae_vis_data import SaeVisConfig
    from sae_dashboard.sae_vis_runner import SaeVisRunner
    from sae_lens import SAE

    model, sae = hooked(start), SAE.load_from_disk(folder / "saelens")
    layout = SaeVisLayoutConfig.default_feature_centric_layout()
    if not defaults:
        sequences = SequencesConfig(
            stack_mode="stack-none", top_acts_group_size=start["top"], quantile_group_size=start["quantile"]
        )
        columns = [layout.columns[0], layout.columns[1], Column(sequences)]
        layout = SaeVisLayoutConfig(columns=columns, height=layout.height)

    def build(out: Path) -> tuple[Path, dict[str, float], dict[str, Any]]:
        config = SaeVisConfig(
            hook_point=start["hook"],
            features=list(range(start["n_features"])),
            ignore_tokens=set(start["ignored"]),
            feature_centric_layout=layout,
        )
        html, clock = out / "theirs.html", Clock()
        data = SaeVisRunner(config).run(encoder=sae, model=model, tokens=start["tokens_bt"])
        clock.step("data")
        save_feature_centric_vis(data, html)
        clock.step("page")
        found = [data.feature_data_dict[feature].sequence_data.seq_group_data for feature in config.features]
        tops = [re.search(r"MAX = ([0-9.]+)", groups[0].title) for groups in found]
        facts = {
            "tokens": int((~torch.isin(start["tokens_bt"], torch.tensor(start["ignored"]))).sum()),
            "contexts": sum(len(group.seq_data) for groups in found for group in groups),
            "empty_bytes": html.stat().st_size - len(data_in(html.read_text())),
            "max_activation": [float(top[1]) for top in tops if top],
        }
        return html, clock.seconds, facts

    return build


def hooked(start: dict[str, Any]) -> Any:
    """A HookedTransformer with the decoder's weights.

    TransformerLens 2 has no linear scaling of rotary positions, so its tables of angles are filled in here.

    Raises:
        SystemExit: its logits are not those of the decoder.
    """
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = LlamaConfig(**start["llama"])
    llama = LlamaForCausalLM(settings)
    llama.load_state_dict(start["weights"])
    heads = settings.num_attention_heads
    config = HookedTransformerConfig(
        n_layers=settings.num_hidden_layers,
        d_model=settings.hidden_size,
        n_heads=heads,
        d_head=settings.hidden_size // heads,
        d_mlp=settings.intermediate_size,
        d_vocab=settings.vocab_size,
        n_ctx=start["tokens_bt"].shape[1],
        act_fn="silu",
        eps=settings.rms_norm_eps,
        normalization_type="RMS",
        final_rms=True,
        positional_embedding_type="rotary",
        rotary_base=int(start["rope"]["rope_theta"]),
        rotary_dim=settings.hidden_size // heads,
        rotary_adjacent_pairs=False,
        gated_mlp=True,
        original_architecture="LlamaForCausalLM",
        device="cpu",
    )
    model = HookedSAETransformer(config)
    model.load_state_dict(convert_llama_weights(llama, config), strict=False)
    half = torch.arange(0, config.d_head, 2) / config.d_head
    angles = torch.arange(config.n_ctx)[:, None] / start["rope"]["factor"] / start["rope"]["rope_theta"] ** half
    angles = torch.cat([angles, angles], dim=1)
    for block in model.blocks:
        block.attn.rotary_sin.copy_(angles.sin())
        block.attn.rotary_cos.copy_(angles.cos())
    with torch.inference_mode():
        found_btv = model(start["tokens_bt"][: len(start["logits"])])
    pairs = zip(found_btv, start["logits"], strict=True)
    apart = max(float((found_tv[: len(logits_tv)] - logits_tv).abs().max()) for found_tv, logits_tv in pairs)
    if not apart < LOGITS_APART:
        raise SystemExit(f"the HookedTransformer is not the decoder: its logits are {apart:.1e} away")
    model.tokenizer = SimpleNamespace(vocab=start["vocabulary"], padding_side="right")
    return model.eval()


SIDES: dict[str, Callable[[dict[str, Any], Path], Build]] = {
    "ours": ours,
    "SAEDashboard": sae_dashboard,
    "SAEDashboard, its defaults": lambda start, folder: sae_dashboard(start, folder, defaults=True),
}


def data_in(html: str) -> str:
    """What a page of SAEDashboard holds about features."""
    found = re.search(r"function defineData\(\) \{.*?return (\{.*\});\n\}", html, re.DOTALL)
    if found is None:
        raise SystemExit("SAEDashboard writes its data in another place than 0.8.0 does")
    return found[1]


def loaded_from(html: str) -> list[str]:
    """The addresses that a page loads scripts, styles and pictures from."""
    return sorted(set(re.findall(r"""<(?:script|link|img)[^>]*?(?:src|href)=["'](https?://[^"']+)""", html)))


def serve(side: str, folder: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    start = torch.load(folder / "start.pt")
    torch.set_num_threads(start["threads"])
    build = SIDES[side](start, folder)
    print(json.dumps({"ready": side}), file=answers, flush=True)
    for _ in sys.stdin:
        with tempfile.TemporaryDirectory() as out:
            html, seconds, facts = build(Path(out))
            data = html.read_bytes()
        row = {"steps": seconds, "seconds": sum(seconds.values()), "bytes": len(data), **facts}
        row |= {"gzip_bytes": len(gzip.compress(data)), "loads": loaded_from(data.decode())}
        print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
