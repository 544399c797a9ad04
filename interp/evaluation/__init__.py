"""What `interp eval-sae` measures: reconstruction, loss, concepts, absorption, stability, controls."""
