"""Ways to measure whether a label is true of its feature."""
