"""Ways to steer a finding, as recipes that give specs: from one direction everywhere to fields patch by patch.

- :mod:`steering.methods.contrast`: what the patches of studies with and without a finding hold, from a store.
- :mod:`steering.methods.features`: features of an autoencoder: uniform, in their maps, in groups, ablated.
- :mod:`steering.methods.fields`: a vector of its own for every patch: difference of means, counterfactual pairs.
- :mod:`steering.methods.cleaned`: directions without what they would disturb.
"""
