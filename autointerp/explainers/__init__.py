"""Ways to say in words what a feature means."""
