"""What may be changed while a model runs, where, and the hook that does it and proves it."""
