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
# # Dose and response, with controls
#
# How much of a push brings a finding in, at what price, and how much of that would any push have done? An
# experiment writes reports for every strength and every control, and ends with a verdict in words. Phantoms only;
# research use only.

# %%
import os
import tempfile
from pathlib import Path

import pandas as pd

import interp
import steering
from dashboards.plots import dose_response

run = interp.open(os.environ.get("INTERP_RUN", "runs/demo"))
finding = "cardiomegaly"
n_studies = int(os.environ.get("INTERP_STUDIES", "24"))
pd.set_option("display.width", 160)

# %% [markdown]
# ## The experiment
#
# Ten features, each in its own mean map, at four strengths. Beside them, at every strength: five random
# directions of the same length patch by patch, random groups of other features, the push backwards, and features
# that fire as often.

# %%
experiment = steering.map_experiment(
    run.carriers(finding, 10), run.sae, finding, name="dose-response", strengths=(0.5, 1.0, 2.0, 4.0)
)
folder = Path(os.environ.get("INTERP_FOLDER", tempfile.mkdtemp())) / experiment.name
effects = steering.run_experiment(
    run.model,
    run.sae,
    experiment,
    run.studies_with_room(finding, "present", n_studies),
    folder,
    firing_rates=steering.firing_rates(run.features.frame, run.sae),
    pool=steering.feature_pool(run.features.frame),
)

# %% [markdown]
# Stopped with Ctrl-C, the cell above goes on where it was when it is run again with the same folder
# (`INTERP_FOLDER`).

# %%
dose_response(effects)

# %% [markdown]
# The same for what was not asked for: other findings that changed.

# %%
dose_response(effects, "off_target")

# %%
columns = [
    "condition",
    "control",
    "draw",
    "strength",
    "n",
    "on_target",
    "clean",
    "off_target",
    "parse_failures",
    "repetition",
]
effects[columns].round(3)

# %% [markdown]
# ## The verdict
#
# The strength is chosen on one half of the patients and judged on the other. With few studies the honest verdict
# is that there are too few.

# %%
verdict = pd.read_parquet(folder / "verdicts.parquet")
verdict[["condition", "strength", "n", "on_target", "random_on_target", "off_target", "verdict", "reason"]].T

# %% [markdown]
# ## Strengths that can be compared
#
# Twice a mean map means something else for every feature. Matched damage does not: it is the strength at which
# the next-token loss on reports of the data rises by a given amount.

# %%
spec = next(iter(experiment.conditions.values()))
damage = steering.calibrate_damage(
    run.model, run.sae, spec, run.studies_with_room(finding, "present", min(n_studies, 8)), damage=0.1
)
damage
