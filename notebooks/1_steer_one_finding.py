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
# # Steer one finding
#
# A finding is brought into reports of chests that do not have it. Everything here is a **phantom**: a synthetic
# chest with known truth and a small model trained on it. Research use only.
#
# `interp demo` makes the run that this notebook opens.

# %%
import os

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import interp
import radiology
import steering

run = interp.open(os.environ.get("INTERP_RUN", "runs/demo"))
finding = "cardiomegaly"
n_studies = int(os.environ.get("INTERP_STUDIES", "16"))

# %% [markdown]
# ## Which features?
#
# Labels say what features fire on. They are made on one half of the patients and scored on the other.

# %%
run.features.search(finding).head(10)

# %% [markdown]
# One finding is often split over several features. `carriers` gives those whose mean activation it raises most,
# told on the half of the patients that nothing is reported on.

# %%
group = run.carriers(finding, 10)
pd.DataFrame({"feature": [f.feature for f in group], "label": [f.label for f in group]})

# %% [markdown]
# Where do they fire? Each has a mean map over the frontal image; the push will have this shape.

# %%
shown = group[:5]
maps = make_subplots(rows=1, cols=len(shown), subplot_titles=[f"feature {f.feature}" for f in shown])
for column, feature in enumerate(shown, start=1):
    grid = feature.mean_map.reshape(feature.map_rows, feature.map_cols)
    maps.add_trace(go.Heatmap(z=grid, colorscale="Viridis", showscale=False), row=1, col=column)
    maps.update_yaxes(autorange="reversed", showticklabels=False, row=1, col=column)
    maps.update_xaxes(showticklabels=False, row=1, col=column)
maps.update_layout(height=260, title="Mean activation by patch of the frontal image")
maps

# %% [markdown]
# ## Steer
#
# The reports of chests without the finding, first as they are, then with the group pushed at twice its mean maps.

# %%
studies = run.studies_with_room(finding, "present", n_studies)
inputs = run.model.encode_batch(studies)
before = run.model.generate(inputs)
push = {tuple(group): steering.Add(2.0, shape="map")}
with steering.steer(run.model, run.sae, push) as applied:
    after = run.model.generate(inputs)

# %% [markdown]
# The proof says which tokens were really changed. A hook that never fired would have been an error.

# %%
applied.proof

# %%
change = radiology.compare(before[0].text, after[0].text)
print("before:", before[0].text)
print("after: ", after[0].text)
print("flipped:", [f"{pair.before.concept}: {pair.before.status} → {pair.after.status}" for pair in change.flipped])
print("added:  ", [found.concept for found in change.added])
print("removed:", [found.concept for found in change.removed])

# %% [markdown]
# ## Was it the direction?
#
# The same push, patch by patch of the same length, along five random directions. What these do too is no effect
# of the features.


# %%
def says_it(generations) -> float:
    """Share of reports that affirm the finding."""
    reports = [radiology.read_report(one.text) for one in generations]
    return float(np.mean([any(f.concept == finding and f.status == "present" for f in found) for found in reports]))


spec, width = applied.spec, run.model.width(applied.spec.site)
shares = {"unsteered": says_it(before), "features": says_it(after)}
for draw in range(5):
    with steering.steer(run.model, run.sae, steering.in_random_direction(spec, width, draw)):
        shares[f"random {draw}"] = says_it(run.model.generate(inputs))
figure = go.Figure(go.Bar(x=list(shares), y=list(shares.values())))
figure.update_layout(yaxis={"title": f"reports that affirm {finding}", "range": [0, 1]}, height=320)
figure
