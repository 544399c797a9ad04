"""Open-i (Indiana University), as tables or XML."""
