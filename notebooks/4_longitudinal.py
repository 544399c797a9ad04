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
# # A finding over time
#
# With an earlier picture a report says whether a finding is new, unchanged or gone. That takes a comparison of two
# images. One would expect a finding that is pushed on the present image only to come as *new*, on both as *unchanged*,
# and on the earlier one only as *resolved*. Look whether it does: on the demo's run the first holds, the second does
# not, and the third does in some reports only. Phantoms only; research use only.

# %%
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
import radiology
import steering

run = interp.open(os.environ.get("INTERP_RUN", "runs/demo"))
finding = "cardiomegaly"
n_studies = int(os.environ.get("INTERP_STUDIES", "16"))

# %% [markdown]
# ## Features that speak of change
#
# Labels carry a polarity; *changed* is one of them.

# %%
labels = run.features.labels
labels[labels["polarity"] == "changed"].head(10)

# %% [markdown]
# ## Push the present image, the earlier one, or both

# %%
studies = [s for s in run.studies_with_room(finding, "present", 8 * n_studies) if "prior_frontal" in s.images][
    :n_studies
]
inputs = run.model.encode_batch(studies)
group = run.carriers(finding, 10)
maps = {f.feature: f.mean_map.reshape(f.map_rows, f.map_cols) for f in group}
numbers = tuple(maps)


def pushed(image: str) -> steering.Intervention:
    """The features in their maps on one of the images."""
    return steering.Intervention(
        steering.Add(2.0, shape="map"),
        numbers,
        maps=tuple(maps.values()),
        tokens=steering.Tokens("prompt.image", image=image),
    )


site = str(run.sae.extra["site"])
conditions = {
    "present image": (pushed("frontal"),),
    "both": (pushed("frontal"), pushed("prior_frontal")),
    "earlier image": (pushed("prior_frontal"),),
}


# %%
def change_of(text: str) -> str:
    """What a report says about the finding and its course."""
    named = [found for found in radiology.read_report(text) if found.concept == finding]
    if not named:
        return "not named"
    return named[0].change or named[0].status


said = {"unsteered": Counter(change_of(one.text) for one in run.model.generate(inputs))}
for name, interventions in conditions.items():
    with steering.steer(run.model, run.sae, steering.SteeringSpec(site, interventions)) as applied:
        said[name] = Counter(change_of(one.text) for one in run.model.generate(inputs))
    print(f"{name:16s} {applied.proof.tokens}")
table = pd.DataFrame(said).fillna(0).T / len(studies)
table.round(2)

# %%
figure = go.Figure([go.Bar(name=word, x=table.index, y=table[word]) for word in table.columns])
figure.update_layout(barmode="stack", yaxis={"title": "share of reports", "range": [0, 1]}, height=340)
figure

# %% [markdown]
# ## Without the earlier picture
#
# The same push on the same chests, when the earlier picture and its report are taken away: the words about change
# must go with them.

# %%
alone = [
    replace(
        study,
        images={name: image for name, image in study.images.items() if name != "prior_frontal"},
        prior_report=None,
        comparison=None,
    )
    for study in studies
]
with steering.steer(run.model, run.sae, steering.SteeringSpec(site, conditions["present image"])):
    texts = [one.text for one in run.model.generate(run.model.encode_batch(alone))]
words = Counter(change_of(text) for text in texts)
print(dict(words), "mean words", np.mean([len(text.split()) for text in texts]))
