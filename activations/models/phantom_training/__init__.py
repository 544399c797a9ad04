"""The recipe of the phantom weights: data, encoder, report writer, held-out evaluation (``interp phantom train``)."""
