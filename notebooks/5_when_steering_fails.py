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
# # When steering fails, and how to see it
#
# Four ways to fail, each with its sign. Phantoms only; research use only.
#
# 1. The place is wrong: the finding is decodable there, and nothing reads it.
# 2. The push is too strong: the text breaks.
# 3. One feature is not enough: the finding is split over several.
# 4. Any push does it: a random direction suppresses just as well.

# %%
import os

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

import interp
import radiology
import steering

run = interp.open(os.environ.get("INTERP_RUN", "runs/demo"))
finding = "cardiomegaly"
n_studies = int(os.environ.get("INTERP_STUDIES", "16"))
site = str(run.sae.extra["site"])
width = run.model.width(site)
image = steering.Tokens("prompt.image", image="frontal")


def statuses(texts: list[str]) -> list[dict[str, str]]:
    return [{found.concept: found.status for found in radiology.read_report(text)} for text in texts]


def written(studies, spec=None, sae=run.sae) -> list[str]:
    inputs = run.model.encode_batch(studies)
    if spec is None:
        return [one.text for one in run.model.generate(inputs)]
    with steering.steer(run.model, sae, spec) as applied:
        texts = [one.text for one in run.model.generate(inputs)]
    print(f"{applied.proof.total} tokens changed")
    return texts


def share(texts: list[str], status: str = "present") -> float:
    return float(np.mean([found.get(finding) == status for found in statuses(texts)]))


# %% [markdown]
# ## 1. The place is wrong
#
# The difference of means over patches, between chests with and without the finding, added to all patches: once at
# the site that the causal map recommends, once after the last block, where the patches are never read again.

# %%
without = run.studies_with_room(finding, "present", n_studies)
with_it = run.studies_with_room(finding, "absent", n_studies)
last = [name for name in run.model.sites() if name.startswith("language.")][-1]
half = len(without) // 2
results = {}
for place in (site, last):
    positive, negative = (steering.image_residuals(run.model, place, some).mean(dim=1) for some in (with_it, without))
    direction = steering.difference_of_means(positive[:half], negative[:half], finding)
    vector = torch.tensor(direction.vector, dtype=torch.float32)
    above = (positive[half:] @ vector)[:, None] > (negative[half:] @ vector)[None]
    spec = steering.SteeringSpec(place, (steering.Intervention(steering.Add(4.0), direction=direction),), image)
    results[place] = {
        "AUROC on the other half": float(above.float().mean()),
        "reports with it": share(written(without, spec)),
    }
pd.DataFrame(results).T

# %% [markdown]
# ## 2. The push is too strong
#
# One feature at all tokens, as it is often done. Watch what is said about everything else, and how long the texts
# are.

# %%
feature = run.carriers(finding, 1)[0]
clean = written(without)
rows = []
for strength in (0.25, 0.5, 1.0, 2.0):
    with steering.steer(run.model, run.sae, {feature: steering.Add(strength)}, tokens="all"):
        texts = [one.text for one in run.model.generate(run.model.encode_batch(without))]
    changed = [
        sum((now.get(c) == "present") != (then.get(c) == "present") for c in {*now, *then} - {finding})
        for now, then in zip(statuses(texts), statuses(clean), strict=True)
    ]
    unique = [len(set(text.split())) / max(len(text.split()), 1) for text in texts]
    rows.append(
        {
            "strength": strength,
            "on target": share(texts),
            "other findings changed": np.mean(changed),
            "different words": np.mean(unique),
        }
    )
table = pd.DataFrame(rows)
table.round(3)

# %%
figure = go.Figure(
    [go.Scatter(x=table["strength"], y=table[m], name=m, mode="lines+markers") for m in table.columns[1:]]
)
figure.update_layout(xaxis={"title": "strength × max activation", "type": "log"}, height=340)
figure

# %% [markdown]
# ## 3. One feature is not enough
#
# Its own map, at the strength that is enough for the group.

# %%
group = run.carriers(finding, 10)
shares = {}
for n in (1, 2, 5, len(group)):
    with steering.steer(run.model, run.sae, {tuple(group[:n]): steering.Add(2.0, shape="map")}):
        texts = [one.text for one in run.model.generate(run.model.encode_batch(without))]
    shares[f"{n} features"] = share(texts)
shares

# %% [markdown]
# ## 4. Any push does it
#
# The group's maps taken away where the finding is, beside random directions of the same length: only what goes
# beyond them is an effect of the features.

# %%
spec = steering.map_experiment(group, run.sae, finding, name="away", goal="absent").conditions
spec = next(iter(spec.values()))
gone = {"features": 1 - share(written(with_it, steering.at_strength(spec, 2.0)))}
for draw in range(5):
    control = steering.in_random_direction(steering.at_strength(spec, 2.0), width, draw)
    gone[f"random {draw}"] = 1 - share(written(with_it, control))
gone["unsteered"] = 1 - share(written(with_it))
figure = go.Figure(go.Bar(x=list(gone), y=list(gone.values())))
figure.update_layout(yaxis={"title": "reports without the finding", "range": [0, 1]}, height=320)
figure
