# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Push the image or the text?
#
# The same direction can be added to patches of the image, to the words of the prompt, or to the report while it
# is written. What a report says about the image is read from its patches at some depth: before that, pushing
# patches works, and behind it nothing does. Phantoms only; research use only.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
import radiology
import steering

run = interp.open(os.environ.get("INTERP_RUN", "runs/demo"))
finding, side = "cardiomegaly", None
n_studies = int(os.environ.get("INTERP_STUDIES", "16"))

# %% [markdown]
# ## What the causal map says
#
# Residuals of a chest with the finding, put into the run on its twin without it: the share of the difference in
# what the model would say that comes along. Steering follows it.

# %%
cells = pd.read_parquet(Path(run.path) / "trace" / "causal_map.parquet")
cells = cells[cells["key"] == finding].pivot(index="site", columns="scope", values="effect")
go.Figure(go.Heatmap(z=cells, x=cells.columns, y=cells.index, zmin=0, zmax=1, colorscale="Viridis")).update_layout(
    title=f"Where {finding} is carried", height=340
)

# %% [markdown]
# ## The same features at different places
#
# In maps on the whole image, in the maps' shape but only inside a box, uniformly on the words of the prompt, and
# uniformly on the report as it is written. Uniform pushes have the strength of half a max activation.

# %%
group = tuple(run.carriers(finding, 10))
studies = run.studies_with_room(finding, "present", n_studies)
inputs = run.model.encode_batch(studies)
lower, upper = (0.0, 0.5, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5)
image = steering.Tokens("prompt.image", image="frontal")
places = {
    "image, in maps": (steering.Add(2.0, shape="map"), image),
    "image, lower half": (
        steering.Add(2.0, shape="map"),
        steering.Tokens("prompt.image", image="frontal", box=lower),
    ),
    "image, upper half": (
        steering.Add(2.0, shape="map"),
        steering.Tokens("prompt.image", image="frontal", box=upper),
    ),
    "prompt text": (steering.Add(0.5), steering.Tokens("prompt.text")),
    "report": (steering.Add(0.5), steering.Tokens("generated")),
}


# %%
def statuses(text: str) -> dict[str, str]:
    return {found.concept: found.status for found in radiology.read_report(text)}


def row(texts: list[str], before: list[str]) -> dict[str, float]:
    now, then = [statuses(text) for text in texts], [statuses(text) for text in before]
    others = sorted({concept for found in (*now, *then) for concept in found} - {finding})
    moved = [(a.get(c) == "present") != (b.get(c) == "present") for a, b in zip(now, then, strict=True) for c in others]
    return {
        "on target": float(np.mean([found.get(finding) == "present" for found in now])),
        "other findings changed": float(np.mean(moved)) if moved else float("nan"),
        "words": float(np.mean([len(text.split()) for text in texts])),
    }


clean = [one.text for one in run.model.generate(inputs)]
table = {"unsteered": row(clean, clean)}
for name, (kind, tokens) in places.items():
    with steering.steer(run.model, run.sae, {group: kind}, tokens=tokens) as applied:
        table[name] = row([one.text for one in run.model.generate(inputs)], clean)
    table[name]["tokens changed"] = applied.proof.total
pd.DataFrame(table).T.round(3)

# %%
measures = ["on target", "other findings changed"]
figure = go.Figure([go.Bar(name=m, x=list(table), y=[table[place][m] for place in table]) for m in measures])
figure.update_layout(barmode="group", yaxis={"range": [0, 1]}, height=340)
figure

# %% [markdown]
# Every push above changed tokens: the proof counts them. Where the bar is empty nothing was wrong with the hook;
# nothing reads the finding there.
